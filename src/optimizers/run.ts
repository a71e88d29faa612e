import { newDisplay } from '../widgets/display.js'
import { interruptible, interruptSignal, type Course } from './interrupt.js'
import type { TrainState } from './trainState.js'

/** One update's metrics under TRL's names. */
export interface Row {
  /** Updates done, from 1. */
  step: number
  readonly [metric: string]: number | string | null
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
  /** Frees what the state holds beside the policy's weights. */
  free: () => void
}

/** A training run: does an update whenever someone asks for the next row, and keeps the rows.
 *
 *     for await (const row of run) console.log(row.step, row.loss)
 *     await run.done()
 *     await run.live(run => learningCurves([run]))
 *
 * Each loop over a run sees its rows from the first; leaving a loop early pauses the run, a later loop goes on. An error
 * in an update ends the run: it reaches whoever asked for the row, then and later, and the rows before it stay. The
 * interrupt of a notebook's cell ends its loop once the program that is running ends, or that update; a later loop goes on. */
export class Run implements AsyncIterable<Row> {
  readonly name: string
  readonly seed: number
  readonly config: Readonly<Record<string, unknown>>
  readonly steps: number
  readonly rows: Row[] = []
  #begin: RunOptions['rows']
  readonly #state: () => TrainState
  readonly #free: () => void
  #rows: { readonly source: AsyncIterator<Row, void>; readonly course: Course } | undefined
  #advancing: Promise<boolean> | undefined
  #error: { reason: unknown } | undefined

  constructor(options: RunOptions) {
    this.name = options.name
    this.seed = options.seed
    this.config = options.config
    this.steps = options.steps
    this.#begin = options.rows
    this.#state = options.state
    this.#free = options.free
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

  /** Runs to the end while displays follow: a line with step, rate and remaining time, and a chart.
   * @param chart drawn anew, at most once a second, from the run's rows so far */
  async live(chart?: (run: this) => unknown): Promise<this> {
    const start = performance.now()
    const [first, progress] = [this.rows.length, newDisplay()]
    const figure = newDisplay()
    let drawn = -Infinity
    const show = (last: boolean) => {
      if (!last && performance.now() - drawn < REDRAW_MS) return
      drawn = performance.now()
      progress.update(progressLine(this, first, (drawn - start) / 1000))
      if (chart !== undefined && this.rows.length > 0) figure.update(chart(this))
    }
    const signal = interruptSignal()
    try {
      while (await this.#advance(signal)) show(false)
    } finally {
      show(true)
    }
    return this
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
        if (this.#error !== undefined || signal?.aborted) throw reason // else another's interrupt: go on
      }
    }
  }

  async #pull(signal: AbortSignal | undefined): Promise<boolean> {
    const { source, course } = (this.#rows ??= this.#start())
    delete course.stop
    const interrupt = interruptible(course, signal, () => this.#stopping())
    try {
      const { done, value } = await Promise.race([source.next(), interrupt.givenUp])
      if (done !== true) this.rows.push(value)
      return done !== true
    } catch (reason) {
      if (course.stop) this.#rows = undefined
      else this.#error = { reason }
      throw reason
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
    const shown = newDisplay()
    shown.update(`${this.name}: stopping …`)
    return () => {
      const { step } = this.rows.at(-1) ?? { step: 0 }
      shown.update(`${this.name}: stopped after step ${step}/${this.steps}; await run.done() goes on from there`)
    }
  }
}

async function* noRows(): AsyncGenerator<Row, void> {}

const REDRAW_MS = 1000

function progressLine(run: Run, first: number, seconds: number): string {
  const step = run.rows.at(-1)?.step ?? 0
  const rate = (run.rows.length - first) / seconds
  if (rate === 0) return `${run.name}: starting at step ${step}/${run.steps}`
  const left = step === run.steps ? 'done' : `${Math.ceil((run.steps - step) / rate)} s left`
  return `${run.name}: step ${step}/${run.steps} · ${rate.toPrecision(3)} steps/s · ${left}`
}
