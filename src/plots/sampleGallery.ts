import { encodePng, type Pixels } from './encodePng.js'
import { escapeHtml } from './escapeHtml.js'

/** Pixels, or the bytes of a PNG or JPEG file. */
export type Picture = Pixels | Uint8Array

/** A sample to look at. Other properties are ignored, so rows of a run's samples can be passed. */
export interface Sample {
  prompt: string
  /** What was drawn; '' where it is images alone. */
  completion: string
  /** Images that belong to it, shown side by side: what was drawn, or first what it was drawn from. */
  images?: readonly Picture[]
  /** Total reward. */
  reward?: number | null
  /** Each component's score; null where it does not apply. */
  components?: Readonly<Record<string, number | null>>
  /** What drew it, as the method or the step. */
  name?: string
}

export interface SampleGalleryOptions {
  /** Samples shown, by default 12; the rest is counted below. */
  limit?: number
}

/** What a notebook shows as HTML, by the convention that JavaScript kernels share. */
export interface Display {
  [display: symbol]: () => { 'text/html': string; 'text/plain': string }
}

/** Samples as cards, side by side where there is room: prompt, images, completion and reward components. All text is escaped, so what a
 * model writes is shown and never run; images stand in the page itself.
 * @throws if an image is none, or its pixels are not width × height × 3 or 4 bytes */
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
    pictures(sample) +
    (sample.completion === '' ? '' : pre(sample.completion, 'font-family:monospace;max-height:16em;overflow-y:auto')) +
    `<div style="display:flex;flex-wrap:wrap;gap:4px;margin-top:6px;font-size:12px">${scores.join('')}</div></div>`
  )
}

function pictures({ prompt, images = [] }: Sample): string {
  if (images.length === 0) return ''
  const shown = images.map(
    image =>
      `<img src="${dataUrl(image)}" alt="${escapeHtml(prompt)}" style="max-width:100%;min-width:96px;max-height:256px;image-rendering:pixelated">`,
  )
  return `<div style="display:flex;flex-wrap:wrap;gap:4px;margin:4px 0">${shown.join('')}</div>`
}

/** @throws if it is none, or its pixels do not fill its size */
export function dataUrl(image: Picture): string {
  const file = image instanceof Uint8Array ? Buffer.from(image) : encodePng(checked(image))
  const [first, second] = file
  const type = first === 0x89 && second === 0x50 ? 'png' : first === 0xff && second === 0xd8 ? 'jpeg' : undefined
  if (!type) throw new Error('sampleGallery: an image has neither the first bytes of a PNG nor those of a JPEG file.')
  return `data:image/${type};base64,${file.toString('base64')}`
}

function checked(image: Pixels): Pixels {
  const { data, width, height } = image
  const pixels = width * height
  if (pixels > 0 && (data.length === 3 * pixels || data.length === 4 * pixels)) return image
  throw new Error(
    `sampleGallery: an image of ${width} × ${height} pixels has ${data.length} bytes, needed ${3 * pixels} (RGB) or ${4 * pixels} (RGBA).`,
  )
}

function text(sample: Sample): string {
  const images = (sample.images ?? []).map(image =>
    'width' in image ? `image ${image.width} × ${image.height}` : 'image',
  )
  const scores = scoresOf(sample).map(([name, score]) => `${name} ${score}`)
  return [sample.name, sample.prompt, ...images, sample.completion, scores.join(', ')].filter(Boolean).join('\n')
}

function scoresOf({ reward, components = {} }: Sample): [name: string, score: string][] {
  const parts =
    reward === undefined ? Object.entries(components) : [...Object.entries({ reward }), ...Object.entries(components)]
  return parts.map(([name, score]) => [name, score === null ? '–' : String(Number(score.toPrecision(4)))])
}
