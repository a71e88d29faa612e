import { escapeHtml } from './escapeHtml.js'

/** A sample to look at. Other properties are ignored, so rows of a run's samples can be passed. */
export interface Sample {
  prompt: string
  completion: string
  /** Total reward. */
  reward?: number | null
  /** Each component's score; null where it does not apply. */
  components?: Readonly<Record<string, number | null>>
  /** What drew it, as the method or the step. */
  name?: string
}

export interface SampleGalleryOptions {
  /** Samples shown; the rest is counted below. */
  limit?: number
}

/** What a notebook shows as HTML, by the convention that JavaScript kernels share. */
export interface Display {
  [display: symbol]: () => { 'text/html': string; 'text/plain': string }
}

/** Samples as cards, side by side where there is room: prompt, completion and reward components. All text is escaped, so what a model
 * writes is shown and never run. */
export function sampleGallery(samples: Iterable<Sample>, { limit = 12 }: SampleGalleryOptions = {}): Display {
  const all = [...samples]
  const shown = all.slice(0, limit)
  const rest = all.length - shown.length
  const html =
    `<div style="display:grid;grid-template-columns:repeat(auto-fill,minmax(280px,1fr));gap:10px">` +
    `${shown.map(card).join('')}</div>${rest > 0 ? `<p>and ${rest} more</p>` : ''}`
  const plain = shown.map(text).join('\n\n') + (rest > 0 ? `\n\nand ${rest} more` : '')
  return { [Symbol.for('Jupyter.display')]: () => ({ 'text/html': html, 'text/plain': plain }) }
}

function card(sample: Sample): string {
  const pre = (text: string, style: string) =>
    `<div style="white-space:pre-wrap;overflow-wrap:anywhere;${style}">${escapeHtml(text)}</div>`
  const scores = scoresOf(sample).map(
    ([name, score]) =>
      `<span style="border:1px solid #8888;border-radius:4px;padding:0 5px">${escapeHtml(name)} <b>${score}</b></span>`,
  )
  return (
    `<div style="border:1px solid #8888;border-radius:6px;padding:8px;font-size:13px;line-height:1.4">` +
    (sample.name === undefined ? '' : `<div style="opacity:.7">${escapeHtml(sample.name)}</div>`) +
    pre(sample.prompt, 'opacity:.75;border-bottom:1px solid #8884;padding-bottom:4px;margin-bottom:4px') +
    pre(sample.completion, 'font-family:monospace;max-height:16em;overflow-y:auto') +
    `<div style="display:flex;flex-wrap:wrap;gap:4px;margin-top:6px;font-size:12px">${scores.join('')}</div></div>`
  )
}

function text(sample: Sample): string {
  const scores = scoresOf(sample).map(([name, score]) => `${name} ${score}`)
  return [sample.name, sample.prompt, sample.completion, scores.join(', ')].filter(Boolean).join('\n')
}

function scoresOf({ reward, components = {} }: Sample): [name: string, score: string][] {
  const parts =
    reward === undefined ? Object.entries(components) : [...Object.entries({ reward }), ...Object.entries(components)]
  return parts.map(([name, score]) => [name, score === null ? '–' : String(Number(score.toPrecision(4)))])
}
