import { newDisplay } from '../widgets/display.js'
import { interruptSignal, patiently } from '../interrupt.js'
import { interruptible, type Course } from './interrupt.js'
import type { Scored, Weights } from '../rewards/index.js'
import type { TensorTree } from '../xla/tree.js'
import type { TrainState } from './trainState.js'

/** One update's metrics under TRL's names. */
export interface Row {
  /** Updates done, from 1. */
  step: number
  readonly [metric: string]: number | string | null
}

/** A scored batch with the weights of the moment. */
export interface ScoredComponents extends Scored {
  readonly weights: Weights
}

export interface RunOptions {
  name: string
  seed: number
  /** Every field, defaults filled in. */
  config: Readonly<Record<string, unknown>>
  /** Updates that the run will have done at its end. */
  steps: number
  /** Does one update a pull. Called again where a course has ended early. */
  rows: (course: Course) => AsyncIterator<Row, void>
  state: () => TrainState
  /** The completions that the run scored last, if it scores any. */
  scored?: () => ScoredComponents | undefined
  /** Frees what the state holds beside the policy's weights. */
  free: () => void
  /** What {@link Run.cost} gives. */
  cost?: Run['cost']
}

/** A training run: does an update whenever someone asks for the next row, and keeps the rows.
 *
 *     for await (const row of run) console.log(row.step, row.loss)
 *     await run.done()
 *     await run.live(['reward', 'entropy'])
 *
 * Each loop over a run sees its rows from the first; leaving a loop early pauses the run, a later loop goes on. An error
 * reaches whoever asked for the row, and the rows before it stay; a later loop tries that update again, with a reward that was mended, unless
 * the error came while weights were changed: it ends the run. The interrupt of a notebook's cell ends its loop once the program that is
 * running ends, or that update; a later loop goes on. */
export class Run implements AsyncIterable<Row> {
  readonly name: string
  readonly seed: number
  readonly config: Readonly<Record<string, unknown>>
  readonly steps: number
  readonly rows: Row[] = []
  #begin: RunOptions['rows']
  readonly #state: () => TrainState
  readonly #free: () => void
  /** Bytes that the compiled update takes on rows of these shapes, beside weights and state, and floating-point operations of its products;
   * compiled, not run.
   * @param rows what the method's loss takes, and its scalars; their values do not count */
  readonly cost: (rows: TensorTree, scalars: Record<string, number>) => { temporary: number; outputs: number; aliased: number; flops: number } // prettier-ignore
  readonly #scored: () => ScoredComponents | undefined
  /** Whether a live display tells that the run stops. */
  #followed = false
  #rows: { readonly source: AsyncIterator<Row, void>; readonly course: Course } | undefined
  #advancing: Promise<boolean> | undefined
  #error: { reason: unknown } | undefined
  /** Of the last interrupt. */
  #interrupt: unknown

  constructor(options: RunOptions) {
    this.name = options.name
    this.seed = options.seed
    this.config = options.config
    this.steps = options.steps
    this.#begin = options.rows
    this.#state = options.state
    this.#free = options.free
    this.cost = options.cost ?? (() => ({ temporary: 0, outputs: 0, aliased: 0, flops: 0 }))
    this.#scored = options.scored ?? (() => undefined)
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Row> {
    const signal = interruptSignal()
    for (let i = 0; i < this.rows.length || (await this.#advance(signal)); i++) yield this.rows[i]!
  }

  /** Runs to the end.
   * @throws what an update threw, or the reason of an interrupt (the run can then go on) */
  async done(): Promise<this> {
    const signal = interruptSignal()
    while (await this.#advance(signal));
    return this
  }

  /** The run's end; reading it starts what is left of the run. */
  get finished(): Promise<this> {
    return this.done()
  }

  /** What a continued run needs: a tree of tensors, valid until the next update. */
  get state(): TrainState {
    return this.#state()
  }

  /** The completions that were scored last; undefined before the first, and for methods without rewards. */
  get scored(): ScoredComponents | undefined {
    return this.#scored()
  }

  /** Runs to the end, or until its Stop button is pressed, while a display follows: progress with rate and remaining time, a
   * chart that grows, the completions drawn last, and warnings in words. A stopped run goes on when somebody asks for more.
   * @param chart metrics to draw, by default the reward or the loss; or a function that draws the rows so far */
  async live(chart?: readonly string[] | ((run: this) => unknown)): Promise<void> {
    const signal = interruptSignal()
    const { follow } = await import('./live.js')
    const draw = typeof chart === 'function' ? () => chart(this) : chart
    this.#followed = true
    try {
      await follow(this, () => this.#advance(signal), { draw, signal })
    } finally {
      this.#followed = false
    }
  }

  /** Frees moments and the like, but not the policy's weights; the rows stay. An unfinished run ends here. */
  dispose(): void {
    void this.#rows?.source.return?.()
    this.#rows = undefined
    this.#begin = noRows
    this.#free()
  }

  /** Does one update for all who wait for it; false at the end.
   * @param signal of the cell whose loop asks */
  async #advance(signal: AbortSignal | undefined): Promise<boolean> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error.reason
      signal?.throwIfAborted()
      this.#advancing ??= this.#pull(signal).finally(() => (this.#advancing = undefined))
      try {
        return await this.#advancing
      } catch (reason) {
        signal?.throwIfAborted()
        if (reason !== this.#interrupt) throw reason // else another's interrupt: go on
      }
    }
  }

  async #pull(signal: AbortSignal | undefined): Promise<boolean> {
    const { source, course } = (this.#rows ??= this.#start())
    delete course.stop
    const interrupt = interruptible(course, signal, () => this.#stopping())
    try {
      const { done, value } = await patiently(() => Promise.race([source.next(), interrupt.givenUp]))
      if (done !== true) this.rows.push(value)
      return done !== true
    } catch (reason) {
      const stop = stopOf(course)
      if (course.updating && !stop) this.#error = { reason }
      else this.#rows = undefined
      if (!stop) throw reason
      throw (this.#interrupt = stop.reason)
    } finally {
      interrupt.forget()
    }
  }

  #start() {
    const course: Course = { updating: false }
    return { source: this.#begin(course), course }
  }

  /** Tells that the run is stopping. @returns tells in the same place that it has stopped */
  #stopping(): () => void {
    if (this.#followed) return () => {}
    const shown = newDisplay()
    shown.update(`${this.name}: stopping …`)
    return () => {
      const { step } = this.rows.at(-1) ?? { step: 0 }
      shown.update(`${this.name}: stopped after step ${step}/${this.steps}; await run.done() goes on from there`)
    }
  }
}

/** Why a course shall stop; it was set meanwhile, which the compiler does not see. */
const stopOf = (course: Course) => course.stop

async function* noRows(): AsyncGenerator<Row, void> {}
