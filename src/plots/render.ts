import { crc32 } from 'node:zlib'
import { Resvg } from '@resvg/resvg-js'
import PDFDocument from 'pdfkit'
import SVGtoPDF from 'svg-to-pdfkit'
import * as vega from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'
import { fontFiles, fontStyle, registerFonts, textWidth } from './fonts.js'

/** Exported by Vega, but not in its types. */
const { textMetrics, resetSVGClipId, resetSVGDefIds } = vega as unknown as {
  textMetrics: { width: (item: TextItem, text: string | number | null | undefined) => number }
  resetSVGClipId: () => void
  resetSVGDefIds: () => void
}

// Vega measures text with a canvas, which Node lacks: measure the font that is drawn, up to where Vega will cut it
textMetrics.width = (item, text) => {
  const bold = item.fontWeight === 'bold' || Number(item.fontWeight) >= 600
  const style = fontStyle(bold, item.fontStyle === 'italic')
  const width = textWidth(String(text ?? '').trim(), item.fontSize ?? 11, style)
  return item.limit && item.limit > 0 ? Math.min(width, item.limit) : width
}

interface TextItem {
  limit?: number
  fontSize?: number
  fontWeight?: string | number
  fontStyle?: string
}

/** Draws a Vega-Lite specification as an SVG document. The same specification gives the same text. Its expressions and addresses
 * reach neither network nor files: rows stand in the specification, images are `data:` addresses.
 * @throws if it is no Vega-Lite specification, an expression fails, or it refers to something outside */
export async function renderSvg(spec: object): Promise<string> {
  const errors: unknown[] = []
  const logger = vega.logger(vega.Error, 'error', (_method, _level, input) => errors.push(...(input as unknown[])))
  const view = new vega.View(parse(spec), {
    renderer: 'none',
    logger,
    loader: closedLoader(error => errors.push(error)),
  })
  try {
    resetSVGClipId()
    resetSVGDefIds()
    const svg = await view.toSVG()
    if (errors.length > 0) throw errors[0]
    return svg
  } finally {
    view.finalize()
  }
}

/** Draws a Vega-Lite specification as a PNG file.
 * @param dpi pixels an inch, 10 to 2400, by default 300; a CSS pixel is 1/96 in, so 192 doubles the chart's size. Stored in the file
 * for page layout
 * @returns the file's bytes
 * @throws as {@link renderSvg} does, or if the dpi is out of range */
export async function renderPng(spec: object, { dpi = 300 }: { dpi?: number } = {}): Promise<Buffer> {
  if (!(dpi >= 10 && dpi <= 2400))
    throw new Error(`renderPng: dpi is ${dpi}, needed a number from 10 to 2400. Use 300.`)
  const resvg = new Resvg(await renderSvg(spec), {
    fitTo: { mode: 'zoom', value: dpi / 96 },
    font: { loadSystemFonts: false, fontFiles: Object.values(fontFiles), defaultFontFamily: 'Arimo' },
  })
  return withResolution(resvg.render().asPng(), dpi)
}

/** Draws a Vega-Lite specification as a PDF file of one page, the size of the chart: vector graphics, fonts embedded. The same
 * specification gives the same bytes.
 * @returns the file's bytes
 * @throws as {@link renderSvg} does, or if the drawing holds what PDF cannot */
export async function renderPdf(spec: object): Promise<Buffer> {
  const svg = await renderSvg(spec)
  const [width, height] = sizeOf(svg)
  const pdf = new PDFDocument({ size: [width, height], margin: 0, info: { CreationDate: new Date(0) } })
  const chunks: Buffer[] = []
  const done = new Promise<Buffer>((resolve, reject) => {
    pdf.on('data', (chunk: Buffer) => chunks.push(chunk))
    pdf.on('end', () => resolve(Buffer.concat(chunks)))
    pdf.on('error', reject)
  })
  registerFonts(pdf)
  SVGtoPDF(pdf, svg, 0, 0, {
    width,
    height,
    fontCallback: (_family, bold, italic) => fontStyle(bold, italic),
    imageCallback: href => href,
    warningCallback: message => {
      throw new Error(`renderPdf: ${message}`)
    },
  })
  pdf.end()
  return done
}

function parse(spec: object): vega.Runtime {
  try {
    return vega.parse(compile(spec as TopLevelSpec).spec)
  } catch (error) {
    throw new Error(`renderSvg: ${(error as Error).message} Needed a Vega-Lite 5 specification.`, { cause: error })
  }
}

/** Page size in points: an SVG pixel is 0.75 pt. */
function sizeOf(svg: string): [number, number] {
  const match = /<svg[^>]* width="([\d.]+)" height="([\d.]+)"/.exec(svg)!
  return [Number(match[1]) * 0.75, Number(match[2]) * 0.75]
}

function closedLoader(refused: (error: Error) => void): vega.Loader {
  const refuse = (uri: string) => {
    const error = new Error(
      `renderSvg: the chart refers to "${uri}", and charts load nothing. Put rows under data.values and images into data: addresses.`,
    )
    refused(error)
    return Promise.reject(error)
  }
  return {
    load: refuse,
    http: refuse,
    file: refuse,
    sanitize: uri => (/^data:image\/(png|jpeg|gif);/.test(uri) ? Promise.resolve({ href: uri }) : refuse(uri)),
  }
}

/** Adds the `pHYs` chunk (pixels a metre) behind a PNG's 33 bytes of signature and header. */
function withResolution(png: Buffer, dpi: number): Buffer {
  const chunk = Buffer.alloc(21)
  const perMetre = Math.round(dpi / 0.0254)
  chunk.writeUInt32BE(9, 0)
  chunk.write('pHYs', 4, 'latin1')
  chunk.writeUInt32BE(perMetre, 8)
  chunk.writeUInt32BE(perMetre, 12)
  chunk.writeUInt8(1, 16)
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 17)), 17)
  return Buffer.concat([png.subarray(0, 33), chunk, png.subarray(33)])
}
