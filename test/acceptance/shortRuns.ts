import { fileURLToPath } from 'node:url'
import { arithmeticProblems, corruptedReplies } from '../../src/datasets/index.js'
import { dpo, grpo, sft, srpo, type Row, type Run } from '../../src/optimizers/index.js'
import { loadPolicy, type LanguagePolicy } from '../../src/policies/index.js'
import { answerFormat, exactAnswer, operationClass, weighted } from '../../src/rewards/index.js'

export const tinyQwen2 = fileURLToPath(new URL('../../../data/models/tiny-qwen2', import.meta.url))

export type Method = 'sft' | 'dpo' | 'grpo' | 'srpo'

/** Of similar length, so that each method compiles one program of each kind. */
const train = arithmeticProblems({ seed: 3, size: 400 }).train.filter(
  ({ question: { length } }) => length > 70 && length < 80,
)
const replies = corruptedReplies(train, { seed: 3, filler: 0 })
const pairs = train.map(({ prompt, completion }, i) => ({
  prompt,
  chosen: completion,
  rejected: replies[i]!.completion,
}))
const rewards = () =>
  weighted({ format: [answerFormat(), 0.2], correct: [exactAnswer(), 0.6], operation: [operationClass(), 0.2] })
const drawn = { per_device_train_batch_size: 16, num_generations: 4, max_completion_length: 24 }

/** Each method on the shipped model, as a notebook would call it, but with few and small steps. */
const runs: Record<Method, (policy: LanguagePolicy, steps: number, seed: number) => Run> = {
  sft: (policy, max_steps, seed) => sft(policy, train, { max_steps, seed, learning_rate: 1e-3 }),
  dpo: (policy, max_steps, seed) => dpo(policy, pairs, { max_steps, seed, learning_rate: 1e-3 }),
  grpo: (policy, max_steps, seed) =>
    grpo(policy, train, rewards(), { ...drawn, max_steps, seed, learning_rate: 1e-3, beta: 0.04 }),
  srpo: (policy, max_steps, seed) => srpo(policy, train, rewards(), { ...drawn, max_steps, seed, learning_rate: 1e-3 }),
}

/** The rows of a short run from the shipped weights, without the time that each step took. */
export async function rowsOf(method: Method, steps: number, seed: number): Promise<Row[]> {
  const policy = await loadPolicy(tinyQwen2)
  const run = await runs[method](policy, steps, seed).done()
  run.dispose()
  policy.dispose()
  return run.rows.map(row => ({ ...row, step_time: 0 }))
}
