export { autoencoderKl, autoencoderKlConfig, type AutoencoderKl, type AutoencoderKlConfig } from './autoencoderKl.js'
export {
  clipText,
  clipTextConfig,
  clipVision,
  clipVisionConfig,
  type ClipTextConfig,
  type ClipVisionConfig,
} from './clip.js'
export { blip2, blip2Config, type Blip2Config } from './blip2.js'
export { clipModel, clipModelConfig, type ClipModelConfig } from './clipModel.js'
export { causalForward } from './causalForward.js'
export type { CausalModel, DecodeStep, Features, KeyValueCache, TokenInput } from './causalModel.js'
export type { DecoderConfig, LayerType } from './decoderConfig.js'
export { gemma3, gemma3Config, type Gemma3Config } from './gemma3.js'
export { gemma3Vl, gemma3VlConfig, type Gemma3VlConfig } from './gemma3Vl.js'
export { llama, llamaConfig, mistral, mistralConfig, type LlamaConfig } from './llama.js'
export { llava, llavaConfig, type LlavaConfig } from './llava.js'
export { llavaOnevision, llavaOnevisionConfig, type LlavaOnevisionConfig } from './llavaOnevision.js'
export { loadCausalModel } from './loadCausalModel.js'
export { flowMatchEulerConfig, type FlowMatchEulerConfig } from './flowMatchEulerConfig.js'
export { fluxTransformer, fluxTransformerConfig, type FluxTransformerConfig } from './fluxTransformer.js'
export { FORWARD_CLASSES, loadForwardModel, type ForwardInput, type ForwardModel, type Loaded } from './forwardModel.js'
export {
  PREFERRED_KONTEXT_RESOLUTIONS,
  decodeLatents,
  encodeImages,
  kontextVelocity,
  latentImageIds,
  packLatents,
  preferredResolution,
  unpackLatents,
  type KontextConditions,
} from './kontext.js'
export { estimateKontext, kontextPlans, type EstimateOptions, type KontextEstimate } from './estimateKontext.js'
export {
  kontextConfigs,
  loadKontext,
  type Kontext,
  type KontextConfigs,
  type KontextOptions,
  type TextFeatures,
} from './loadKontext.js'
export {
  initAdapter,
  loadAdapter,
  loraDefaults,
  mergeAdapter,
  saveAdapter,
  saveMerged,
  type Adapter,
  type LoraConfig,
} from './lora.js'
export { opt, optConfig, type OptConfig } from './opt.js'
export { initQwen2, qwen2, qwen2Config, type Qwen2Config } from './qwen2.js'
export { qwen25Vl, qwen25VlConfig, type Qwen25VlConfig } from './qwen25vl.js'
export { qwen3, qwen3Config, type Qwen3Config } from './qwen3.js'
export { initQualityNet, qualityNet, qualityNetConfig, type QualityNetConfig } from './qualityNet.js'
export { t5Config, t5Encoder, type T5Config } from './t5Encoder.js'
export {
  featuresOf,
  tokenTypes,
  visionPartOf,
  type Look,
  type Rows,
  type Seen,
  type Sight,
  type Vision,
  type VisionPart,
} from './vision.js'
