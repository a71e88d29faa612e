import { renderPdf, renderPng, renderSvg } from './render.js'
import { writeWhole } from '../io/writeWhole.js'

export type FigureFormat = 'svg' | 'pdf' | 'png'

/** Writes a chart as figure files. Folders are made; each file appears whole or not at all.
 * @param spec a chart of this module or any Vega-Lite specification with its rows inside
 * @param path without extension: `figures/curves` gives `figures/curves.svg`, …
 * @param formats SVG and PDF are vector graphics set in Arimo, which the PDF embeds
 * @param dpi of the PNG, 10 to 2400, by default 300; a chart of the `paper` theme is 3.25 in wide
 * @returns the paths written, in the order of the formats
 * @throws if it is no Vega-Lite specification, it refers to something outside, or a format or the dpi is not as said */
export async function exportFigure(
  spec: object,
  path: string,
  formats: readonly FigureFormat[] = ['svg', 'pdf', 'png'],
  { dpi = 300 }: { dpi?: number } = {},
): Promise<string[]> {
  const paths: string[] = []
  for (const format of formats) {
    const content = await render(spec, format, dpi)
    paths.push(await writeWhole(`${path}.${format}`, content))
  }
  return paths
}

function render(spec: object, format: FigureFormat, dpi: number): Promise<string | Buffer> {
  switch (format) {
    case 'svg':
      return renderSvg(spec)
    case 'pdf':
      return renderPdf(spec)
    case 'png':
      return renderPng(spec, { dpi })
    default:
      throw new Error(`exportFigure: format is "${String(format)}", needed svg, pdf or png.`)
  }
}
