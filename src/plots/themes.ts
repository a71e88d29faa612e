export type Theme = 'screen' | 'paper'

/** Arial's widths everywhere: Arimo in exported files, Arial, Liberation Sans or Helvetica in a browser. */
const font = 'Arimo, Arial, Liberation Sans, Helvetica, sans-serif'

/** Everything about a chart's looks that its rows do not decide, as a Vega-Lite `config`. Sizes in CSS pixels, 96 an inch. */
function config(size: Record<'label' | 'title' | 'line' | 'point' | 'width' | 'height' | 'columns', number>) {
  const text = { labelFontSize: size.label, titleFontSize: size.title, labelColor: '#333', titleColor: '#111' }
  return {
    background: 'white',
    font,
    padding: 4,
    view: {
      stroke: null,
      continuousWidth: size.width,
      continuousHeight: size.height,
      discreteWidth: size.width,
      discreteHeight: size.height,
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
      labelLimit: size.width / 3,
    },
    axisX: { grid: false, labelFlush: false, tickCount: 6 },
    axisY: { domain: false, ticks: false, labelPadding: 4, tickCount: 5 },
    legend: {
      ...text,
      orient: 'top',
      direction: 'horizontal',
      columns: size.columns, // of the legend; names are cut so that they fit side by side
      title: null,
      titleFontWeight: 'normal',
      gradientLength: 100,
      gradientThickness: size.label,
      offset: 8,
      symbolSize: size.point * 2,
      symbolStrokeWidth: 2 * size.line,
      labelLimit: size.width / size.columns - 24,
    },
    line: { strokeJoin: 'round', strokeCap: 'round' },
    rule: { strokeWidth: size.line },
    point: { size: size.point, filled: true, opacity: 1 },
    text: { fontSize: size.label, color: '#222' },
    style: {
      // the mark's own config would win over a style, so widths of lines stand here only
      mean: { strokeWidth: size.line },
      end: { filled: false, size: 4 * size.point, strokeWidth: size.line },
      raw: { strokeWidth: size.line / 2, opacity: 0.25 },
      band: { opacity: 0.18 },
      reference: { color: '#888', strokeDash: [3, 3], strokeWidth: 1 },
    },
  }
}

/** `screen` for notebooks; `paper` fills one column of a two-column page (3.3 in) with 7 and 8 point text. */
export const themes = {
  screen: config({ label: 12, title: 13, line: 2, point: 50, width: 520, height: 300, columns: 4 }),
  paper: {
    ...config({ label: 7 / 0.75, title: 8 / 0.75, line: 1.25, point: 24, width: 316, height: 190, columns: 3 }),
    autosize: { type: 'fit', contains: 'padding' },
    padding: 3,
  },
} satisfies Record<Theme, object>
