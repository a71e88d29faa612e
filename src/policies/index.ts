export { KontextPolicy, loadKontextPolicy, type FlowRows, type FlowSampleOptions, type ImagePrompt, type KontextPolicyOptions } from './kontextPolicy.js' // prettier-ignore
export { LanguagePolicy, type LanguageSampleOptions } from './languagePolicy.js'
export { bucket, type Prompt, type TokenRows } from './tokenRows.js'
export type { StoredPrompt, VisionPrompt } from './visionPrompts.js'
export type { TunedParts } from './learningParts.js'
export { loadPolicy, type PolicyOptions } from './loadPolicy.js'
export type { Message } from '../io/tokenizer.js'
export type {
  Evaluation,
  Grouped,
  Policy,
  SampleOptions,
  Samples,
  SaveOptions,
  Trajectories,
  Weights,
} from './policy.js'
export { scorePairs, type PairScores } from './scorePairs.js'
