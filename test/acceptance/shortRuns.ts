import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { arithmeticProblems, corruptedReplies } from '../../src/datasets/index.js'
import { dpo, grpo, sft, srpo, type Row, type Run } from '../../src/optimizers/index.js'
import { loadPolicy, type LanguagePolicy, type PolicyOptions } from '../../src/policies/index.js'
import { answerFormat, exactAnswer, operationClass, weighted } from '../../src/rewards/index.js'

const tinyQwen2 = fileURLToPath(new URL('../../../data/models/tiny-qwen2', import.meta.url))

export const METHODS = ['sft', 'dpo', 'grpo', 'srpo'] as const
export type Method = (typeof METHODS)[number]

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

/** The rows of a short run from the shipped weights.
 * @param options of the policy
 * @param after is called before the run is let go */
export async function timedRowsOf(
  method: Method,
  steps: number,
  seed: number,
  options: PolicyOptions = {},
  after?: () => void,
): Promise<Row[]> {
  const policy = await loadPolicy(tinyQwen2, options)
  const run = await runs[method](policy, steps, seed).done()
  after?.()
  run.dispose()
  policy.dispose()
  return run.rows
}

/** The same without the time that each step took. */
export async function rowsOf(method: Method, steps: number, seed: number): Promise<Row[]> {
  return (await timedRowsOf(method, steps, seed)).map(row => ({ ...row, step_time: 0 }))
}

/** The rows of all methods, computed by another process. */
export async function rowsElsewhere(steps: number, seed: number): Promise<Record<Method, Row[]>> {
  const program = `
    import { METHODS, rowsOf } from ${JSON.stringify(import.meta.url)}
    const rows = {}
    for (const method of METHODS) rows[method] = await rowsOf(method, ${steps}, ${seed})
    console.log(JSON.stringify(rows))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program])
  return JSON.parse(stdout) as Record<Method, Row[]>
}
