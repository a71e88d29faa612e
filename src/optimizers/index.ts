// Methods
export { grpo, grpoDefaults, resolveGrpoConfig, type GrpoConfig } from './grpo.js'
export { withTrlNames, type QwenVlGrpoConfig } from './grpoNames.js'
export { srpo, srpoDefaults, resolveSrpoConfig, type SrpoConfig } from './srpo.js'
export { dpo, dpoDefaults, resolveDpoConfig, type DpoConfig } from './dpo.js'
export { sft, sftDefaults, resolveSftConfig, type CompletionRow, type SftConfig } from './sft.js'
export type { PairRow, PromptRow } from './rollout.js'

// Their mathematics
export { groupAdvantages, type AdvantageOptions, type Components } from './groupAdvantages.js'
export { grpoLoss, type GrpoBatch, type GrpoLossConfig, type GrpoLossType } from './grpoLoss.js'
export { dpoLoss, type DpoLossConfig, type DpoLossType, type PairBatch } from './dpoLoss.js'

// What updates weights
export { adamw, adamwState, type AdamwConfig, type AdamwState } from './adamw.js'
export { learningRate, type LearningRateConfig, type LearningRateSchedule } from './learningRate.js'
export { valueAndGrad } from './valueAndGrad.js'
export type { TrainState } from './trainState.js'

// What a method returns
export { Run, type Row } from './run.js'
