import type { Qwen2Config } from '../../src/models/qwen2.js'

/** Of weights and products; `autocast` has weights in f32 and multiplies in bf16. */
export type Type = 'f32' | 'bf16' | 'autocast'

/** One measurement. Each subject's program is handed it as JSON. */
export type Case = {
  /** What `npm run bench -- NAME` selects by, from its beginning. */
  name: string
  /** Runs that count in each process, after one that does not. */
  runs: number
} & (
  | { kind: 'copy'; megabytes: number }
  | { kind: 'matmul'; size: number; type: 'f32' | 'bf16' }
  | { kind: 'call' }
  | { kind: 'chain'; operations: number }
  | { kind: 'step'; parameters: number; size: number }
  | { kind: 'trace'; layers: number; width: number; heads: number; rows: number; tokens: number }
  | { kind: 'train'; model: Qwen2Config; rows: number; tokens: number; type: Type }
  | {
      kind: 'decode'
      model: Qwen2Config
      rows: number
      prompt: number
      tokens: number
      type: 'f32' | 'bf16'
      greedy: boolean
    }
  /** A step of `grpo` on a model directory: completions drawn, scored, one update of all weights. Prompts and completions in tokens. */
  | { kind: 'grpo'; model: Qwen2Config; prompts: number; generations: number; prompt: number; completion: number }
  /** A step of `dpo`, with the reference's scores. */
  | { kind: 'dpo'; model: Qwen2Config; pairs: number; prompt: number; completion: number }
  /** A step of GRPO of data/models/tiny-kontext: pictures drawn and scored, one update. */
  | { kind: 'edit'; rows: number; group: number; steps: number; window: number }
)
export type Kind = Case['kind']
export type CaseOf<K extends Kind> = Extract<Case, { kind: K }>

/** What a subject's program prints, as one line of JSON. */
export interface Measured {
  /** Of each run; of one call or operation where a run is many. */
  seconds: number[]
  /** Largest resident memory of the process, and what of it was there when the libraries were loaded. */
  peakBytes: number
  loadedBytes: number
  versions: string
  /** Of the model: the same for all subjects, or they do not measure the same. */
  parameters?: number
  /** Of the first step: near ln V for all. */
  loss?: number
  /** Recording the program, and compiling it. */
  traceSeconds?: number
  compileSeconds?: number
  /** How much was recorded. */
  note?: string
}

const shared = { max_position_embeddings: 512, rms_norm_eps: 1e-6, rope_theta: 10000, tie_word_embeddings: true, initializer_range: 0.02 } // prettier-ignore
/** Qwen2.5-0.5B with 6 of its 24 layers and a vocabulary of 32,000: 118 million weights. */
const sixLayers: Qwen2Config = { ...shared, vocab_size: 32000, hidden_size: 896, intermediate_size: 4864, num_hidden_layers: 6, num_attention_heads: 14, num_key_value_heads: 2 } // prettier-ignore
const small = (vocab_size: number): Qwen2Config => ({ ...shared, vocab_size, hidden_size: 256, intermediate_size: 768, num_hidden_layers: 4, num_attention_heads: 4, num_key_value_heads: 2 }) // prettier-ignore

const train = { kind: 'train', runs: 2, model: sixLayers, rows: 4, tokens: 128 } as const
const decode = { kind: 'decode', runs: 2, model: sixLayers, rows: 8, prompt: 64, tokens: 128 } as const
const texts = { prompt: 64, completion: 48 } as const
const decodeSmall = { kind: 'decode', runs: 3, rows: 64, prompt: 64, tokens: 128, type: 'f32' } as const

export const CASES: readonly Case[] = [
  { name: 'copy', kind: 'copy', runs: 10, megabytes: 512 },
  { name: 'matmul-f32', kind: 'matmul', runs: 20, size: 2048, type: 'f32' },
  { name: 'matmul-bf16', kind: 'matmul', runs: 20, size: 2048, type: 'bf16' },
  { name: 'call', kind: 'call', runs: 20 },
  { name: 'chain', kind: 'chain', runs: 20, operations: 1000 },
  { name: 'step', kind: 'step', runs: 500, parameters: 100, size: 8 },
  { name: 'trace', kind: 'trace', runs: 5, layers: 24, width: 64, heads: 4, rows: 2, tokens: 16 },
  { name: 'train-f32', ...train, type: 'f32' },
  { name: 'train-bf16', ...train, type: 'bf16' },
  { name: 'train-autocast', ...train, type: 'autocast' },
  { name: 'decode-f32', ...decode, type: 'f32', greedy: false },
  { name: 'decode-bf16', ...decode, type: 'bf16', greedy: false },
  { name: 'decode-small', ...decodeSmall, model: small(1024), greedy: false },
  { name: 'decode-small-greedy', ...decodeSmall, model: small(1024), greedy: true },
  { name: 'decode-small-32k', ...decodeSmall, model: small(32000), greedy: false },
  { name: 'grpo-tiny', kind: 'grpo', runs: 5, model: small(1024), prompts: 8, generations: 8, ...texts },
  { name: 'grpo-6layer', kind: 'grpo', runs: 2, model: sixLayers, prompts: 2, generations: 8, ...texts },
  { name: 'dpo-tiny', kind: 'dpo', runs: 5, model: small(1024), pairs: 32, ...texts },
  { name: 'dpo-6layer', kind: 'dpo', runs: 3, model: sixLayers, pairs: 4, ...texts },
  { name: 'edit-grpo', kind: 'edit', runs: 5, rows: 144, group: 12, steps: 6, window: 3 },
]
