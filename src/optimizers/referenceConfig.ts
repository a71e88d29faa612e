import { requireWhole } from '../config.js'

/** How the reference follows the policy (TR-DPO, arXiv 2404.09656); names and defaults are those of TRL 1.16. */
export interface ReferenceConfig {
  /** Every `ref_model_sync_steps` updates, reference ← α·weights + (1 − α)·reference with α = `ref_model_mixup_alpha`. All weights must be
   * trained: the reference of an adapter is the frozen model. */
  sync_ref_model: boolean
  ref_model_mixup_alpha: number
  ref_model_sync_steps: number
}

export const referenceDefaults: ReferenceConfig = {
  sync_ref_model: false,
  ref_model_mixup_alpha: 0.6,
  ref_model_sync_steps: 512,
}

/** @throws naming the first field that is out of range */
export function checkReferenceConfig(where: string, config: ReferenceConfig): void {
  requireWhole(where, 'ref_model_sync_steps', config.ref_model_sync_steps, 1)
  const alpha = config.ref_model_mixup_alpha
  if (!(alpha >= 0 && alpha <= 1)) throw new Error(`${where}: ref_model_mixup_alpha is ${alpha}, needs 0 to 1.`)
}
