import * as tf from '@tensorflow/tfjs-core'
import type { Policy } from '../policies/policy.js'
import type { WeightedRewards } from '../rewards/index.js'
import { productFlops } from '../xla/productFlops.js'
import { disposeTree, type TensorTree } from '../xla/tree.js'
import { orNull } from './rollout.js'
import type { Course } from './interrupt.js'
import { checkLearningParts, learningRates } from './partRates.js'
import { Run, type Row } from './run.js'
import type { ReferenceConfig } from './referenceConfig.js'
import type { TrainingConfig } from './trainingConfig.js'
import { stepState, type StepState, type TrainState } from './trainState.js'
import { trainStep, type LossFunction } from './trainStep.js'

/** Where a run stands, apart from its weights. */
export interface Progress {
  /** Updates done, skipped ones among them. */
  step: number
  /** Steps that were skipped, of all so far and in a row now. */
  skipped: readonly [all: number, inARow: number]
  /** Rows drawn from the data set. */
  position: number
  /** Tokens (denoising steps) trained on. */
  tokens: number
  /** What a method carries from step to step, in float32 precision. */
  live: Live
}

export type Live = Readonly<Record<string, readonly number[]>>

/** What a method prepares for its next update. */
export interface Batch<R> {
  /** Tensors for the loss; every leading axis is the row. Disposed after the update. */
  rows: R
  /** Numbers for the loss that change from step to step. */
  scalars?: Record<string, number>
  /** Updates to do on these rows. */
  updates?: number
  /** Rows drawn from the data set. */
  drawn: number
  live?: Live
  /** Entries of the row beside those of the update. */
  metrics: Record<string, number | string | null>
}

export interface TrainOptions<R extends TensorTree> {
  name: string
  policy: Policy
  /** Whether the loss reads the policy's reference. */
  usesReference: boolean
  config: TrainingConfig & Partial<ReferenceConfig>
  /** Updates in the whole run. */
  steps: number
  /** Rows of the data set, for the epoch. */
  datasetSize: number
  loss: LossFunction<R>
  next: (progress: Progress) => Promise<Batch<R>>
  /** To go on from. */
  state: TrainState | undefined
  /** What ranks the completions that the run draws, if it draws any. */
  rewards?: WeightedRewards | null
  /** Called once, before the first update and before a given state replaces the weights. */
  prepare?: () => Promise<void>
  /** Called once, with what the given state carries. */
  resume?: (live: Live) => void
}

/** The loop that all methods share: prepare a batch, update the policy's weights by one compiled step, report a row.
 *
 * Nothing happens before the first row is asked for. `num_tokens` counts what the loss counts, and `skipped_steps` the updates whose loss or gradient was not finite, all so
 * far. A run may be continued from its state after any update that ends a
 * batch (each does, unless `num_iterations` is above 1). */
export function train<R extends TensorTree>(options: TrainOptions<R>): Run {
  const { name, policy, config, steps } = options
  checkLearningParts(name, config, policy)
  const update = trainStep(name, options.loss, config, policy)
  let state: TrainState | undefined
  const begin = () =>
    (state ??= options.state === undefined ? firstState(policy, config) : adopted(policy, options.state))

  let reference: Policy['reference'] | undefined
  let known: Progress | undefined

  async function* source(course: Course): AsyncGenerator<Row, void> {
    if (known === undefined) {
      if (options.usesReference) reference = policy.reference // before a given state replaces the weights
      await options.prepare?.()
      known = await progressOf(begin())
      if (options.state !== undefined) options.resume?.(known.live)
    }
    let progress = known
    while (progress.step < steps) {
      let started = performance.now()
      const { rows, updates = 1, scalars, drawn, live, metrics } = await options.next(progress)
      try {
        if (course.stop) throw course.stop.reason
        for (let i = 1; i <= updates && progress.step < steps; i++) {
          const core = coreOf(begin())
          if (policy.weights.trainable !== core.trainable)
            throw new Error(
              `${name}: the policy's weights were replaced during the run. Give each run its own policy.fork().`,
            )
          const rates = learningRates(progress.step, steps, config)
          const tensors = mapValues({ ...scalars, ...rates }, x => tf.scalar(x))
          const updated = update.async(core, { policy: policy.weights.frozen, reference }, rows, tensors)
          course.updating = true
          const [next, results] = await updated
          disposeTree([core, tensors]) // the handles: their memory was donated
          policy.weights = { trainable: next.trainable, frozen: policy.weights.frozen }
          const { tokens, skipped, ...values } = await read(results)
          const ends = i === updates
          known = progress = {
            step: progress.step + 1,
            skipped: skipped ? [progress.skipped[0] + 1, progress.skipped[1] + 1] : [progress.skipped[0], 0],
            position: progress.position + (ends ? drawn : 0),
            tokens: progress.tokens + (tokens ?? 0),
            live: ends && live !== undefined ? mapValues(live, numbers => numbers.map(Math.fround)) : progress.live,
          }
          disposeTree(countersOf(state!))
          state = { ...next, ...progressTensors(progress) }
          course.updating = false
          const seconds = (performance.now() - started) / 1000
          started += 1000 * seconds
          yield {
            step: progress.step,
            epoch: progress.position / options.datasetSize,
            ...values,
            ...rates,
            ...metrics,
            num_tokens: progress.tokens,
            skipped_steps: progress.skipped[0],
            step_time: seconds,
          }
          if (skipped && progress.skipped[1] >= config.max_skipped_steps)
            throw skippedTooOften(name, progress, values['loss'] === null ? 'loss' : 'gradient')
        }
      } finally {
        disposeTree(rows)
      }
    }
  }

  const cost: Run['cost'] = (rows, scalars) => {
    const frozen = { policy: policy.weights.frozen, reference: options.usesReference ? policy.reference : undefined }
    const tensors = mapValues({ ...scalars, ...learningRates(0, steps, config) }, x => tf.scalar(x))
    const args = [coreOf(begin()), frozen, rows as R, tensors] as const
    return { ...update.memory(...args), flops: productFlops(update.lower(...args)) }
  }
  const free = () => disposeTree({ ...state, trainable: {} })
  return new Run({
    name: config.run_name ?? name,
    seed: config.seed,
    config: { ...config },
    steps,
    rows: source,
    state: begin,
    scored: () => options.rewards?.last && { ...options.rewards.last, weights: options.rewards.weights },
    free,
    cost,
  })
}

function firstState(policy: Policy, config: TrainOptions<TensorTree>['config']): TrainState {
  return {
    ...stepState(policy, config.seed, {
      ema: config.ema_decay > 0,
      reference: config.sync_ref_model === true,
      eightBit: config.optim === 'adamw_8bit',
    }),
    ...progressTensors({ step: 0, skipped: [0, 0], position: 0, tokens: 0, live: {} }),
  }
}

/** The part of a state that a compiled update replaces. */
function coreOf({ trainable, ema, reference, m, v, step, key }: TrainState): StepState {
  return { trainable, ...(ema && { ema }), ...(reference && { reference }), m, v, step, key }
}

/** A given state, whose weights become the policy's. */
function adopted(policy: Policy, state: TrainState): TrainState {
  if (policy.weights.trainable !== state.trainable) disposeTree(policy.weights.trainable)
  policy.weights = { trainable: state.trainable, frozen: policy.weights.frozen }
  return state
}

type Counters = Pick<TrainState, 'position' | 'tokens' | 'skipped' | 'live'>

/** The part of a state that the loop replaces. */
const countersOf = ({ position, tokens, skipped, live }: TrainState): Counters => ({ position, tokens, skipped, live })

function progressTensors({ position, tokens, skipped, live }: Progress): Counters {
  return {
    skipped: tf.tensor1d([...skipped], 'int32'),
    position: tf.scalar(position, 'int32'),
    tokens: tf.scalar(tokens, 'int32'),
    live: mapValues(live, numbers => tf.tensor1d([...numbers])),
  }
}

async function progressOf({ step, position, tokens, skipped, live }: TrainState): Promise<Progress> {
  const numbers = async (t: tf.Tensor) => Array.from(await t.data())
  const [all, inARow] = (await numbers(skipped)) as [number, number]
  const entries = Object.entries(live).map(async ([name, t]) => [name, await numbers(t)] as const)
  return {
    step: (await numbers(step))[0]! + all,
    skipped: [all, inARow],
    position: (await numbers(position))[0]!,
    tokens: (await numbers(tokens))[0]!,
    live: Object.fromEntries(await Promise.all(entries)),
  }
}

function skippedTooOften(name: string, { step, skipped: [, n] }: Progress, what: string): Error {
  const [which, weights] = n === 1 ? [`step ${step}`, 'those before it'] : [`${n} steps in a row, ${step - n + 1} to ${step},`, `those of step ${step - n}`] // prettier-ignore
  return new Error(
    `${name}: the ${what} of ${which} is not finite, and max_skipped_steps is ${n}; the weights are ${weights}. ` +
      'Lower learning_rate, look at the rows of these steps, or find the operation with debugNans.',
  )
}

/** Reads scalars and disposes them. */
async function read(scalars: Record<string, tf.Tensor>): Promise<Record<string, number | null>> {
  const entries = Object.entries(scalars).map(async ([name, t]) => [name, orNull((await t.data())[0]!)] as const)
  const values = Object.fromEntries(await Promise.all(entries))
  disposeTree(scalars)
  return values
}

function mapValues<A, B>(values: Readonly<Record<string, A>>, f: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, f(value)]))
}
