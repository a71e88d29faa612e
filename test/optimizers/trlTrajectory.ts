/* Ten steps as TRL's trainers did them, of the fixture trl_trajectories: how far ours are from them. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import {
  dpo,
  grpo,
  sft,
  type CompletionRow,
  type PairRow,
  type PromptRow,
  type Run,
} from '../../src/optimizers/index.js'
import { loadPolicy, type LanguagePolicy, type Prompt, type TokenRows } from '../../src/policies/index.js'
import { weighted } from '../../src/rewards/index.js'

const MODEL = 'data/models/tiny-qwen2'
const FIXTURES = 'test/fixtures/optimizers'
const ADAPTER = `${FIXTURES}/trl_adapter`
/** Steps agree to this share of the value: float32 sums in another order, and what ten updates make of the difference. */
export const RELATIVE = 1e-4
/** Smaller values are compared as if they were of this size: losses and margins are differences of numbers of size 1. */
const FLOOR = 0.1
/** ‖w − w_TRL‖ / ‖w_TRL − w₀‖. Adam divides by the gradient's size, so that entries of almost no gradient move by its rounding. */
export const MOVED = 1e-3

/** What is compared. */
const METRICS: Record<Recorded['optimizer'], string[]> = {
  sft: ['loss', 'grad_norm', 'learning_rate'],
  dpo: ['loss', 'grad_norm', 'learning_rate', 'rewards/chosen', 'rewards/rejected', 'rewards/accuracies', 'rewards/margins', 'logps/chosen', 'logps/rejected'], // prettier-ignore
  grpo: ['loss', 'grad_norm', 'learning_rate', 'reward', 'reward_std', 'frac_reward_zero_std', 'rewards/digits/mean', 'rewards/digits/std', 'rewards/sevens/mean', 'rewards/sevens/std', 'clip_ratio/low_mean', 'clip_ratio/high_mean', 'clip_ratio/region_mean', 'completions/mean_length', 'completions/min_length', 'completions/max_length', 'completions/clipped_ratio', 'completions/mean_terminated_length', 'completions/min_terminated_length', 'completions/max_terminated_length'], // prettier-ignore
}

/** Of a run with one micro-batch: TRL logs the mean of the micro-batches' means, between which it shuffles rows. */
const UNDIVIDED = ['kl', 'entropy']

interface Drawn {
  prompt_ids: number[][]
  completion_ids: number[][]
  texts: string[]
}
interface Recorded {
  optimizer: 'dpo' | 'sft' | 'grpo'
  config: Record<string, unknown>
  rows: Record<string, unknown>[]
  adapter: boolean
  drawn?: Drawn[]
  log: Record<string, number>[]
}

export const { made_by, runs } = JSON.parse(readFileSync(`${FIXTURES}/trl_trajectories.json`, 'utf8')) as {
  made_by: { stride: number }
  runs: Record<string, Recorded>
}

/** Two rewards as in the fixture's script. */
const scored = (weights: number[]) => {
  const of = (text: (t: string) => number | null) => (batch: { completions: readonly unknown[] }) =>
    batch.completions.map(completion => text(completion as string))
  const count = (text: string, pattern: RegExp) => text.match(pattern)?.length ?? 0
  return weighted({
    digits: [of(t => (t === '' ? null : count(t, /\d/g) / [...t].length)), weights[0]!],
    sevens: [of(t => count(t, /7/g)), weights[1]!],
  })
}

/** Gives the completions that TRL drew, in its order, with the log-probabilities of the policy as it is. */
function replaying(policy: LanguagePolicy, { drawn, config }: Recorded): void {
  const { max_completion_length: bound, temperature = 1 } = config as {
    max_completion_length: number
    temperature?: number
  }
  const batches = drawn!.values()
  const [stop] = policy.tokenizer.encode('<|im_end|>', { specials: false })
  const int = (rows: number[][]) => tf.tensor2d(rows, undefined, 'int32')
  policy.sample = () => {
    const { prompt_ids: prompts, completion_ids: completions, texts } = batches.next().value as Drawn
    assert.deepEqual(
      completions.map(row => policy.tokenizer.decode(row)),
      texts,
    )
    const P = Math.max(...prompts.map(row => row.length))
    const left = (row: number[]) => [...zeros(P - row.length), ...row]
    const right = (row: number[]) => [...row, ...zeros(bound - row.length)]
    const outputs: TokenRows = {
      prompt_ids: int(prompts.map(left)),
      prompt_mask: int(prompts.map(row => left(row.map(() => 1)))),
      completion_ids: int(completions.map(right)),
      completion_mask: int(completions.map(row => right(row.map(() => 1)))),
      temperature: tf.fill([texts.length], temperature),
    }
    const drawn = {
      outputs,
      mask: tf.cast(outputs.completion_mask, 'float32'),
      finished: tf.tensor1d(completions.map(row => (row.at(-1) === stop ? 1 : 0))),
    }
    const { logProbs } = policy.evaluate(policy.weights, { ...drawn, logProbs: drawn.mask })
    return Promise.resolve({ outputs: texts, trajectories: { ...drawn, logProbs } })
  }
}

const zeros = (length: number): number[] => Array.from({ length }, () => 0)

function start(policy: LanguagePolicy, recorded: Recorded): Run {
  const { reward_weights, ...config } = recorded.config
  const args = { ...config, shuffle: false }
  const rows = recorded.rows as unknown
  if (recorded.optimizer === 'dpo') return dpo(policy, rows as PairRow<Prompt>[], args)
  if (recorded.optimizer === 'sft') return sft(policy, rows as CompletionRow<Prompt, string>[], args)
  replaying(policy, recorded)
  return grpo(policy, rows as PromptRow<Prompt>[], scored(reward_weights as number[]), args)
}

/** ‖w − w_TRL‖ / ‖w_TRL − w₀‖ over the entries that the fixture keeps. */
async function apart(policy: LanguagePolicy, name: string): Promise<number> {
  const { adapter } = runs[name]!
  const [from, file, stride] = adapter ? [ADAPTER, 'adapter_model', 1] : [MODEL, 'model', made_by.stride]
  const dir = await mkdtemp(join(tmpdir(), 'trajectory-'))
  await policy.save(dir)
  const paths = [
    `${from}/${file}.safetensors`,
    `${dir}/${file}.safetensors`,
    `${FIXTURES}/trl_trajectories.safetensors`,
  ]
  const sources = await Promise.all(paths.map(openSafetensors))
  const [before, after, moved] = sources as [TensorSource, TensorSource, TensorSource]
  let [difference, distance] = [0, 0]
  for (const tensor of after.tensors.keys()) {
    const [w0, w] = [await before.read(tensor), await after.read(tensor)]
    const expected = await moved.read(`${name}/${tensor}`)
    expected.forEach((move, i) => {
      const ours = w[i * stride]! - w0[i * stride]!
      difference += (ours - move) ** 2
      distance += move ** 2
    })
  }
  await Promise.all(sources.map(source => source.close()))
  await rm(dir, { recursive: true })
  return Math.sqrt(difference / distance)
}

/** Repeats a run of the fixture.
 * @returns the largest relative difference of a logged number, and which it is; how far the weights are apart */
export async function repeated(name: string): Promise<{ off: number; what: string; moved: number }> {
  const recorded = runs[name]!
  const adapter = recorded.adapter ? { adapter: ADAPTER } : {}
  const policy = await loadPolicy(MODEL, { gradient_checkpointing: false, ...adapter })
  const run = await start(policy, recorded).done()
  const metrics = [...METRICS[recorded.optimizer], ...(name === 'grpo_off_policy' ? UNDIVIDED : [])]
  for (const metric of metrics) assert.ok(metric in recorded.log[0]!, metric)
  assert.equal(run.rows.length, recorded.log.length)
  let worst = { off: 0, what: '' }
  for (const [i, row] of run.rows.entries())
    for (const metric of metrics) {
      const expected = recorded.log[i]![metric]
      if (expected === undefined) continue // TRL logs what concerns a batch of completions at its first update only
      const off = Math.abs((row[metric] as number) - expected) / Math.max(FLOOR, Math.abs(expected))
      if (!(off <= worst.off)) worst = { off, what: `step ${i + 1} ${metric}: ${row[metric]}, TRL ${expected}` }
    }
  const moved = await apart(policy, name)
  run.dispose()
  policy.dispose()
  return { ...worst, moved }
}
