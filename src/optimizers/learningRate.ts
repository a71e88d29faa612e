export type LearningRateSchedule = 'constant' | 'constant_with_warmup' | 'linear' | 'cosine'

export interface LearningRateConfig {
  /** Peak rate. */
  learning_rate: number
  lr_scheduler_type: LearningRateSchedule
  /** Steps of linear warm-up from 0; a value below 1 is a share of all steps. */
  warmup_steps: number
}

/** Fraction of the peak rate at progress 0…1 after the warm-up. */
const decay: Record<LearningRateSchedule, (progress: number) => number> = {
  constant: () => 1,
  constant_with_warmup: () => 1,
  linear: progress => 1 - progress,
  cosine: progress => (1 + Math.cos(Math.PI * progress)) / 2,
}

/** Learning rate of a step.
 * @param step from 0
 * @param steps of the whole run
 * @source transformers, get_scheduler: `constant` has no warm-up, unlike `constant_with_warmup` */
export function learningRate(step: number, steps: number, config: LearningRateConfig): number {
  const { learning_rate, lr_scheduler_type, warmup_steps } = config
  if (lr_scheduler_type === 'constant') return learning_rate
  const warmup = warmup_steps >= 1 ? Math.floor(warmup_steps) : Math.ceil(steps * warmup_steps)
  if (step < warmup) return (learning_rate * step) / warmup
  return (
    learning_rate * Math.max(0, decay[lr_scheduler_type](Math.min(1, (step - warmup) / Math.max(1, steps - warmup))))
  )
}
