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
  /** Does one update a pull. */
  rows: AsyncIterator<Row, void>
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
 * in an update ends the run: it reaches whoever asked for the row, then and later, and the rows before it stay. */
export class Run implements AsyncIterable<Row> {
  readonly name: string
  readonly seed: number
  readonly config: Readonly<Record<string, unknown>>
  readonly steps: number
  readonly rows: Row[] = []
  readonly #source: AsyncIterator<Row, void>
  readonly #state: () => TrainState
  readonly #free: () => void
  #advancing: Promise<boolean> | undefined
  #error: { reason: unknown } | undefined

  constructor(options: RunOptions) {
    this.name = options.name
    this.seed = options.seed
    this.config = options.config
    this.steps = options.steps
    this.#source = options.rows
    this.#state = options.state
    this.#free = options.free
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Row> {
    for (let i = 0; i < this.rows.length || (await this.#advance()); i++) yield this.rows[i]!
  }

  /** Runs to the end.
   * @throws what an update threw, or the reason of an interrupt (the run can then go on) */
  async done(): Promise<this> {
    while (await this.#advance());
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
    const { newDisplay } = await import('../widgets/index.js')
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
    try {
      while (await this.#advance()) show(false)
    } finally {
      show(true)
    }
    return this
  }

  /** Frees moments and the like, but not the policy's weights; the rows stay. An unfinished run ends here. */
  dispose(): void {
    void this.#source.return?.()
    this.#free()
  }

  /** Does one update for all who wait for it; false at the end. */
  async #advance(): Promise<boolean> {
    if (this.#error !== undefined) throw this.#error.reason
    this.#advancing ??= this.#pull().finally(() => (this.#advancing = undefined))
    return this.#advancing
  }

  async #pull(): Promise<boolean> {
    interruptSignal()?.throwIfAborted()
    try {
      const { done, value } = await this.#source.next()
      if (done !== true) this.rows.push(value)
      return done !== true
    } catch (reason) {
      this.#error = { reason }
      throw reason
    }
  }
}

const REDRAW_MS = 1000

function progressLine(run: Run, first: number, seconds: number): string {
  const step = run.rows.at(-1)?.step ?? 0
  const rate = (run.rows.length - first) / seconds
  if (rate === 0) return `${run.name}: starting at step ${step}/${run.steps}`
  const left = step === run.steps ? 'done' : `${Math.ceil((run.steps - step) / rate)} s left`
  return `${run.name}: step ${step}/${run.steps} · ${rate.toPrecision(3)} steps/s · ${left}`
}

/** The signal by which a notebook kernel interrupts long work, where there is one. */
function interruptSignal(): AbortSignal | undefined {
  const current = (globalThis as Record<symbol, unknown>)[Symbol.for('rewardlab.signal')]
  return typeof current === 'function' ? (current as () => AbortSignal | undefined)() : undefined
}
