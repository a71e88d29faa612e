import { textWidth } from './fonts.js'

export type Theme = 'screen' | 'paper'

/** Arial's widths everywhere: Arimo in exported files, Arial, Liberation Sans or Helvetica in a browser. */
const font = 'Arimo, Arial, Liberation Sans, Helvetica, sans-serif'

/** In CSS pixels, 96 an inch. `legend` is the width that a legend may take, above the plot. */
interface Sizes {
  label: number
  title: number
  line: number
  point: number
  width: number
  height: number
  legend: number
}

/** `paper` fills one column of a two-column page (3.25 in) with 7 and 8 point text. */
const sizes: Record<Theme, Sizes> = {
  screen: { label: 12, title: 13, line: 2, point: 50, width: 520, height: 300, legend: 520 },
  paper: { label: 7 / 0.75, title: 8 / 0.75, line: 1.25, point: 24, width: 312, height: 190, legend: 262 },
}

/** Everything about a chart's looks that its rows do not decide, as a Vega-Lite `config`.
 * @param legend names in the legend: as many stand in a line as fit whole, and a figure for paper grows with the lines */
export function themeConfig(theme: Theme, legend: readonly string[] = []): Record<string, unknown> {
  const size = sizes[theme]
  const columns = legendColumns(legend, size)
  const moreLines = Math.max(0, Math.ceil(legend.length / columns) - 1)
  const height = theme === 'paper' ? size.height + moreLines * (size.label + 4) : size.height
  const text = { labelFontSize: size.label, titleFontSize: size.title, labelColor: '#333', titleColor: '#111' }
  return {
    background: 'white',
    font,
    ...(theme === 'paper' ? { padding: 3, autosize: { type: 'fit', contains: 'padding' } } : { padding: 4 }),
    view: {
      stroke: null,
      continuousWidth: size.width,
      continuousHeight: height,
      discreteWidth: size.width,
      discreteHeight: height,
    },
    title: { fontSize: size.title + 1, anchor: 'start', offset: 6, color: '#111' },
    axis: {
      ...text,
      titleFontWeight: 'normal',
      gridColor: '#e6e6e6',
      domainColor: '#888',
      tickColor: '#888',
      tickSize: 4,
      labelOverlap: true,
      labelLimit: size.width * 0.45,
    },
    axisX: { grid: false, labelFlush: false, tickCount: 6 },
    axisY: { domain: false, ticks: false, labelPadding: 4, tickCount: 5 },
    legend: {
      ...text,
      orient: 'top',
      direction: 'horizontal',
      columns,
      title: null,
      titleFontWeight: 'normal',
      gradientLength: 100,
      gradientThickness: size.label,
      offset: 8,
      symbolSize: size.point * 2,
      symbolOpacity: 1,
      symbolStrokeWidth: 2 * size.line,
      labelLimit: size.legend - symbolWidth(size),
    },
    line: { strokeJoin: 'round', strokeCap: 'round' },
    rule: { strokeWidth: size.line },
    point: { size: size.point, filled: true, opacity: 1 },
    text: { fontSize: size.label, color: '#222' },
    style: {
      // the mark's own config would win over a style, so widths of lines stand here only
      mean: { strokeWidth: size.line },
      partial: { strokeWidth: size.line, strokeDash: [2 * size.line, 2 * size.line] },
      end: { filled: false, size: 4 * size.point, strokeWidth: size.line },
      raw: { strokeWidth: size.line / 2 },
      band: { opacity: 0.2 },
      reference: { color: '#888', strokeDash: [3, 3], strokeWidth: 1 },
    },
  }
}

/** The most columns, filled evenly, in which no name is cut. */
function legendColumns(names: readonly string[], size: Sizes): number {
  const widths = names.map(name => textWidth(name, size.label, 'Arimo'))
  for (let columns = names.length; columns > 1; columns--) {
    const widest = Array.from({ length: columns }, (_, column) =>
      Math.max(...widths.filter((_, i) => i % columns === column)),
    )
    const total = widest.reduce((sum, width) => sum + symbolWidth(size) + width, 0) + (columns - 1) * COLUMN_PADDING
    if (total <= size.legend) return Math.ceil(names.length / Math.ceil(names.length / columns))
  }
  return 1
}

/** A legend's symbol and the space before its name. */
const symbolWidth = (size: Sizes): number => Math.sqrt(2 * size.point) + 2 * size.line + 8

const COLUMN_PADDING = 10 // Vega's default
