import * as tf from '@tensorflow/tfjs-core'
import { disposeTree, jit, random, type TensorTree } from '../xla/index.js'
import type { Policy, Weights } from './policy.js'

/** Scores of both outputs of pairs, one a row: Σ log-prob of tokens, or −½·mean‖v−u‖² of flows. */
export interface PairScores {
  chosen: number[]
  rejected: number[]
  /** The same under the reference: the margin against it is (chosen − refChosen) − (rejected − refRejected). */
  refChosen: number[]
  refRejected: number[]
}

/** How likely a policy and its reference find given outputs: what DPO's metrics are made of, for held-out rows.
 * @param options.size rows scored at once. Default 64
 * @param options.seed of noise and time, where the policy is a flow. Default 0
 * @param options.reference default: the policy's own */
export async function scorePairs<Prompt, Output>(
  policy: Policy<Prompt, Output>,
  rows: readonly { prompt: Prompt; chosen: Output; rejected: Output }[],
  { size = 64, seed = 0, reference = policy.reference }: { size?: number; seed?: number; reference?: Weights } = {},
): Promise<PairScores> {
  const program = jit(
    (weights: Weights, reference: Weights, chosen: TensorTree, rejected: TensorTree, key: tf.Tensor) => {
      const score = (w: Weights, side: TensorTree) => policy.score(w, side, key).score // [B]; one key: flows draw the same noise
      return tf.stack([weights, reference].flatMap(w => [score(w, chosen), score(w, rejected)])) // [4, B]
    },
    { name: 'pairs' },
  )
  const scores: [number[], number[], number[], number[]] = [[], [], [], []]
  const whole = Math.min(size, rows.length) // the last batch is filled up with its last row, for one program
  for (let from = 0; from < rows.length; from += whole) {
    const part = rows.slice(from, from + whole)
    const batch = Array.from({ length: whole }, (_, i) => part[i] ?? part.at(-1)!)
    const prompts = batch.map(row => row.prompt)
    const chosen = await policy.encode(
      prompts,
      batch.map(row => row.chosen),
    )
    const rejected = await policy.encode(
      prompts,
      batch.map(row => row.rejected),
    )
    const key = random.key(seed)
    const result = await program.async(policy.weights, reference, chosen, rejected, key)
    const values = (await result.array()) as number[][]
    disposeTree([chosen, rejected, key, result])
    values.forEach((row, i) => scores[i]!.push(...row.slice(0, part.length)))
  }
  const [chosen, rejected, refChosen, refRejected] = scores
  return { chosen, rejected, refChosen, refRejected }
}
