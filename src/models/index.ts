export type { CausalModel, DecodeStep, KeyValueCache, TokenInput } from './causalModel.js'
export { loadCausalModel } from './loadCausalModel.js'
export { initAdapter, loadAdapter, mergeAdapter, saveAdapter, type Adapter, type LoraConfig } from './lora.js'
export { initQwen2, qwen2, qwen2Config, type Qwen2Config } from './qwen2.js'
