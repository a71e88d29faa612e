import { encodePng } from '../src/plots/encodePng.js'
import { displaySymbol, isDisplayable } from '../src/widgets/display.js'
import { isPixels, isTable, isVegaLite, plainText, type Table, type VegaLite } from '../src/widgets/plainText.js'

/** Representations of one value by MIME type; the front end shows the richest it knows. */
export type MimeBundle = Record<string, unknown>

/** Rows of a table that are shown. */
const ROWS = 20

/** A value → how to show it; empty for what shows nothing. */
export async function mimeBundle(value: unknown): Promise<MimeBundle> {
  if (isDisplayable(value)) return await value[displaySymbol]()
  const text = { 'text/plain': plainText(value) }
  if (isVegaLite(value)) return chart(value)
  if (isTable(value)) return { ...text, 'text/html': tableHtml(value) }
  if (isPixels(value)) return { ...text, 'image/png': encodePng(value).toString('base64') }
  const image = value instanceof Uint8Array ? imageType(value) : undefined
  if (image) return { 'text/plain': image, [image]: Buffer.from(value as Uint8Array).toString('base64') }
  return text
}

/** The spec for a live front end (JupyterLab 4 renders version 5 of vega-lite and no later one), and a picture of it
 * for those without a renderer and for exported notebooks. */
async function chart(spec: VegaLite): Promise<MimeBundle> {
  const bundle = { 'application/vnd.vegalite.v5+json': spec, 'text/plain': plainText(spec) }
  try {
    const { renderSvg } = await import('../src/plots/index.js')
    return { ...bundle, 'image/svg+xml': await renderSvg(spec) }
  } catch (error) {
    return { ...bundle, 'text/plain': `${bundle['text/plain']} (no picture: ${String(error)})` }
  }
}

/** arquero escapes cells but not the names of columns. */
function tableHtml(table: Table): string {
  const names = table.columnNames().map(name => [name, escapeHtml(name)] as const)
  const rest = table.numRows() - ROWS
  const more = rest > 0 ? `<p>${rest} more rows</p>` : ''
  return table.rename(Object.fromEntries(names)).toHTML({ limit: ROWS }) + more
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function imageType(bytes: Uint8Array): 'image/png' | 'image/jpeg' | undefined {
  if (bytes[0] === 0x89 && bytes[1] === 0x50 && bytes[2] === 0x4e && bytes[3] === 0x47) return 'image/png'
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'image/jpeg'
  return undefined
}
