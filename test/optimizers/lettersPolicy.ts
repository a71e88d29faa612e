import * as tf from '@tensorflow/tfjs-core'
import { rng } from '../../src/datasets/index.js'
import type { Evaluation, Policy, SampleOptions, Samples, Trajectories, Weights } from '../../src/policies/policy.js'
import { disposeTree, mapTensors, type TensorTree } from '../../src/xla/index.js'

/** Letters that an answer may hold; the first ends it. */
export const LETTERS = '.abc'
const [P, T, V] = [4, 3, LETTERS.length]

type Outputs = { prompts: tf.Tensor; tokens: tf.Tensor; mask: tf.Tensor }

/** The smallest policy: prompts are 0…3, answers up to three letters of `abc` ended by a full stop, and the logits are
 * a table [P, T, V]: trainable part plus frozen part. Letters do not depend on those before them. */
export class LettersPolicy implements Policy<number, string> {
  weights: Weights
  readonly reference: Weights

  constructor(weights?: Weights) {
    const table = () => tf.zeros([P, T, V])
    this.weights = weights ?? { trainable: { table: table() }, frozen: { bias: tf.tensor1d([-0.5, 0, 0, 0]) } }
    this.reference = { trainable: copied(this.weights.trainable), frozen: this.weights.frozen }
  }

  async sample(prompts: readonly number[], options: SampleOptions): Promise<Samples<string>> {
    const { num_generations = 1, seed, greedy = false } = options
    const rows = prompts.flatMap(prompt => Array.from({ length: num_generations }, () => prompt))
    const logProbs = tf.tidy(() => tf.logSoftmax(logits(this.weights, tf.tensor1d(rows, 'int32'))))
    const values = (await logProbs.array()) as number[][][]
    logProbs.dispose()
    const random = rng(seed)
    const outputs = values.map(row => {
      const letters = row.map(
        step => LETTERS[greedy ? step.indexOf(Math.max(...step)) : drawn(step, random.uniform())]!,
      )
      const end = letters.indexOf('.')
      return (end === -1 ? letters : letters.slice(0, end + 1)).join('')
    })
    const encoded = this.encode(rows, outputs)
    const trajectories = tf.tidy(() => {
      const { logProbs } = this.evaluate(this.weights, { outputs: encoded } as unknown as Trajectories)
      const finished = tf.tensor1d(outputs.map(output => (output.endsWith('.') ? 1 : 0)))
      return { logProbs, finished }
    })
    return { outputs, trajectories: { outputs: encoded, mask: tf.clone((encoded as Outputs).mask), ...trajectories } }
  }

  evaluate(weights: Weights, { outputs }: Trajectories, { entropy = false } = {}): Evaluation {
    const { prompts, tokens, mask } = outputs as Outputs
    const all = tf.logSoftmax(logits(weights, prompts)) // [B, T, V]
    const logProbs = tf.mul(tf.sum(tf.mul(all, tf.oneHot(tokens as tf.Tensor2D, V)), -1), mask)
    return entropy ? { logProbs, mask, entropy: tf.neg(tf.sum(tf.mul(tf.exp(all), all), -1)) } : { logProbs, mask }
  }

  /** Answers without a full stop are cut at T letters. */
  encode(prompts: readonly number[], outputs: readonly string[]): TensorTree {
    const padded = outputs.map(output => [...output.padEnd(T, '.')].slice(0, T))
    return {
      prompts: tf.tensor1d([...prompts], 'int32'),
      tokens: tf.tensor2d(
        padded.map(letters => letters.map(letter => LETTERS.indexOf(letter))),
        [padded.length, T],
        'int32',
      ),
      mask: tf.tensor2d(outputs.map(output => Array.from({ length: T }, (_, t) => (t < output.length ? 1 : 0)))),
    }
  }

  replay(prompts: readonly number[], given: readonly string[]): Promise<Trajectories> {
    const outputs = this.encode(prompts, given) as Outputs
    const finished = tf.ones([prompts.length])
    const logProbs = tf.tidy(() => this.evaluate(this.weights, { outputs } as unknown as Trajectories).logProbs)
    return Promise.resolve({ outputs, logProbs, mask: tf.clone(outputs.mask), finished })
  }

  score(weights: Weights, outputs: TensorTree): { score: tf.Tensor; length: tf.Tensor } {
    const { logProbs, mask } = this.evaluate(weights, { outputs } as unknown as Trajectories)
    return { score: tf.sum(logProbs, 1), length: tf.sum(mask, 1) }
  }

  fork(): LettersPolicy {
    return new LettersPolicy({ trainable: copied(this.weights.trainable), frozen: this.weights.frozen })
  }

  dispose(): void {
    disposeTree([this.weights, this.reference.trainable])
  }

  /** Probability of an answer (first letters count, so "ab." is different from "ab"). */
  probability(prompt: number, output: string): number {
    const outputs = this.encode([prompt], [output])
    return Math.exp(tf.tidy(() => this.score(this.weights, outputs).score.dataSync()[0]!))
  }
}

function logits(weights: Weights, prompts: tf.Tensor): tf.Tensor {
  const { table } = weights.trainable as { table: tf.Tensor }
  const { bias } = weights.frozen as { bias: tf.Tensor }
  return tf.add(tf.gather(table, prompts as tf.Tensor1D), bias) // [B, T, V]
}

function copied(tree: TensorTree): TensorTree {
  return mapTensors(tree, t => tf.tensor(t.dataSync(), t.shape))
}

function drawn(logProbs: number[], uniform: number): number {
  let below = 0
  const at = logProbs.findIndex(logProb => (below += Math.exp(logProb)) > uniform)
  return at === -1 ? logProbs.length - 1 : at
}
