import { learningCurves, ranked, sampleGallery, type Chart, type Sample } from '../plots/index.js'
import { escapeHtml } from '../plots/escapeHtml.js'
import {
  button,
  display,
  displaySymbol,
  hbox,
  html,
  notebook,
  outputArea,
  progressBar,
  vbox,
} from '../widgets/index.js'
import { scoredGroups } from '../widgets/scoredGroups.js'
import { terminated } from './interrupt.js'
import type { Run } from './run.js'
import { warnings } from './warnings.js'

/** Milliseconds between looks at the run. */
const REFRESH = 1000
/** Steps whose mean time gives the rate. */
const RECENT = 20

export interface FollowOptions {
  /** Metrics, or what draws the rows so far. */
  readonly draw: readonly string[] | (() => unknown) | undefined
  /** Of the cell that shows the run. */
  readonly signal: AbortSignal | undefined
}

/** Pulls a run to its end, or until somebody stops it, and shows how it goes. While it goes the display is made of widgets, which
 * change without a flicker; at its end plain outputs take their places, which every reader of the notebook can show.
 * @param advance does an update; false at the end */
export async function follow(
  run: Run,
  advance: () => Promise<boolean>,
  { draw, signal }: FollowOptions,
): Promise<void> {
  const pace = new Pace(run)
  let stopping = false
  const halt = () => {
    stopping = true
    refresh()
  }
  const page = notebook() ? livePage(run, halt) : terminalPage(run)
  let drawn = -1
  const refresh = () => {
    page.progress(stopping ? `stopping …` : pace.toString(), notes(run))
    if (drawn === run.rows.length || run.rows.length === 0) return
    drawn = run.rows.length
    page.show(figure(run, draw), samples(run))
  }
  const timer = setInterval(refresh, REFRESH)
  signal?.addEventListener('abort', halt)
  refresh()
  const broken = terminated(signal)
  let end = 'ended by an error'
  try {
    let more = true
    while (!stopping && (more = await Promise.race([advance(), broken.rejects]))) pace.tick()
    signal?.throwIfAborted()
    end = more ? 'stopped' : 'done'
  } catch (error) {
    if (signal?.aborted === true) end = 'stopped'
    throw error
  } finally {
    clearInterval(timer)
    broken.forget()
    signal?.removeEventListener('abort', halt)
    const last = run.rows.length > 0
    page.end(pace.summary(end), notes(run), last ? figure(run, draw) : undefined, last ? samples(run) : [])
  }
}

const notes = (run: Run): string[] => warnings(run.rows).map(({ text }) => text)

interface Page {
  progress(line: string, warnings: readonly string[]): void
  show(figure: unknown, samples: readonly Sample[]): void
  end(line: string, warnings: readonly string[], figure: unknown, samples: readonly Sample[]): void
}

/** Three outputs of the cell, each first a widget and at the end what it showed last. */
function livePage(run: Run, halt: () => void): Page {
  const bar = progressBar({ max: run.steps })
  const [line, notes] = [html(''), html('')]
  const stop = button('Stop', () => {
    stop.set({ disabled: true })
    halt()
  })
  const controls = vbox(hbox(bar, stop, line), notes)
  const [chart, gallery] = [outputArea(), outputArea()]
  const outputs = [controls, chart, gallery].map(widget => ({ widget, output: display(widget) }))
  return {
    progress(text, warnings) {
      bar.value = run.rows.at(-1)?.step ?? 0
      line.value = lineHtml(run, text)
      notes.value = warningsHtml(warnings)
    },
    show(figure, samples) {
      void chart.show(figure)
      void gallery.show(sampleGallery(samples))
    },
    end(text, warnings, figure, samples) {
      const page = {
        'text/html': lineHtml(run, text) + warningsHtml(warnings),
        'text/plain': plain(run, text, warnings),
      }
      const last = [bundle(page), figure ?? bundle({}), samples.length > 0 ? sampleGallery(samples) : bundle({})]
      outputs.forEach(({ widget, output }, i) => {
        output.update(last[i])
        widget.close()
      })
    },
  }
}

/** Outside a notebook: a line now and then. */
function terminalPage(run: Run): Page {
  let told = 0
  const tell = (text: string, warnings: readonly string[]) => {
    console.log(plain(run, text, warnings.slice(told)))
    told = Math.max(told, warnings.length)
  }
  return { progress: tell, show: () => {}, end: tell }
}

const bundle = (data: Record<string, unknown>) => ({ [displaySymbol]: () => data })

const plain = (run: Run, text: string, warnings: readonly string[]): string =>
  [`${run.name}: ${text}`, ...warnings.map(warning => `⚠ ${warning}`)].join('\n')

const lineHtml = (run: Run, text: string): string => `<b>${escapeHtml(run.name)}</b> ${escapeHtml(text)}`

const warningsHtml = (warnings: readonly string[]): string =>
  warnings
    .map(
      warning =>
        `<div style="border-left:4px solid #e69f00;background:#e69f0022;padding:4px 8px;margin:4px 0;line-height:1.4">⚠ ${escapeHtml(warning)}</div>`,
    )
    .join('')

/** How fast a run goes, told in words. */
class Pace {
  readonly #run: Run
  readonly #began = performance.now()
  readonly #times: number[] = []

  constructor(run: Run) {
    this.#run = run
  }

  /** A step has ended. */
  tick(): void {
    this.#times.push(performance.now())
  }

  /** As `step 12/36 · 0.43 steps/s · 55 s left`. */
  toString(): string {
    const { rows, steps } = this.#run
    const at = `step ${rows.at(-1)?.step ?? 0}/${steps}`
    const recent = this.#times.slice(-RECENT)
    const [first, last] = [recent[0], recent.at(-1)]
    if (first === undefined || last === undefined || first === last)
      return `${at} · ${words((performance.now() - this.#began) / 1000)} so far`
    const rate = (1000 * (recent.length - 1)) / (last - first)
    const left = (steps - (rows.at(-1)?.step ?? 0)) / rate - (performance.now() - last) / 1000
    return `${at} · ${rate.toPrecision(2)} steps/s · ${words(Math.max(0, left))} left`
  }

  summary(end: string): string {
    const { rows, steps } = this.#run
    const seconds = (performance.now() - this.#began) / 1000
    return `${end} at step ${rows.at(-1)?.step ?? 0}/${steps} · ${this.#times.length} steps in ${words(seconds)}`
  }
}

/** A time as people say it: `8 s`, `2 min 5 s`, `1 h 12 min`. */
function words(seconds: number): string {
  const whole = Math.ceil(seconds)
  if (whole < 60) return `${whole} s`
  const minutes = Math.floor(whole / 60)
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** The given metrics below each other, or what the given function draws. */
function figure(run: Run, draw: FollowOptions['draw']): unknown {
  if (typeof draw === 'function') return draw()
  const metrics = draw ?? ['reward' in run.rows[0]! ? 'reward' : 'loss']
  const [first, ...others] = metrics.map(metric => learningCurves([run], { metric }))
  if (first === undefined || others.length === 0) return first
  const own = { $schema: undefined, config: undefined, height: 160 } // the whole has schema and theme
  const panels = [first, ...others].map(panel => ({ ...panel, ...own }))
  return { $schema: first.$schema, vconcat: panels, config: first['config'] } satisfies Chart
}

/** Best and worst completion of each of the last prompts. */
function samples({ scored }: Run): Sample[] {
  if (scored === undefined) return []
  const names = Object.keys(scored.weights)
  return scoredGroups(scored, names)
    .slice(-PROMPTS)
    .flatMap(group => {
      const order = ranked(group, scored.weights)
      return [
        { ...order[0]!, name: `best of ${order.length}` },
        { ...order.at(-1)!, name: `worst of ${order.length}` },
      ]
    })
}

/** Prompts whose completions are shown. */
const PROMPTS = 2
