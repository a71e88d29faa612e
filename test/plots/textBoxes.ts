import { textWidth } from '../../src/plots/fonts.js'

interface Point {
  x: number
  y: number
}

/** A line of text in a drawn chart, and the corners of its box in pixels of the page, in order around it. */
export interface TextBox {
  text: string
  corners: Point[]
}

/** Where the visible texts of an SVG by Vega lie. A box is as high as capitals are: what an eye takes for touching. */
export function textBoxes(svg: string): TextBox[] {
  const boxes: TextBox[] = []
  const open: Element[] = [{ at: [1, 0, 0, 1, 0, 0], attributes: '', name: '', base: 0 }]
  for (const [, content, close, name, attributes, empty] of svg.matchAll(token)) {
    const inside = open.at(-1)!
    if (content?.trim()) boxes.push(...boxOf(content, inside, open.at(-2)!))
    else if (close) open.pop()
    else if (name && !empty) {
      if (name === 'tspan') inside.base += numberOf(attributes!, 'dy')
      open.push({ at: times(inside.at, transformOf(attributes!)), attributes: attributes!, name, base: 0 })
    }
  }
  return boxes
}

const token = /([^<>]+)(?=<)|<(\/?)(\w+)((?:"[^"]*"|[^">/]|\/(?!>))*)(\/?)>/g

interface Element {
  name: string
  attributes: string
  at: Matrix
  /** Of a text: how far below its place the current line stands. */
  base: number
}

const numberOf = (attributes: string, key: string) => Number(new RegExp(` ${key}="([^"]*)"`).exec(attributes)?.[1] ?? 0)

/** [a, b, c, d, e, f] of SVG: x → a·x + c·y + e, y → b·x + d·y + f. */
type Matrix = readonly [number, number, number, number, number, number]

function boxOf(content: string, inner: Element, outer: Element): TextBox[] {
  const { attributes, at, base } = inner.name === 'tspan' ? outer : inner
  const read = (key: string) => new RegExp(` ${key}="([^"]*)"`).exec(attributes)?.[1]
  if (read('opacity') === '0' || read('stroke') === 'white') return [] // hidden, or the edge of another text
  const text = content.replaceAll('&amp;', '&').replaceAll('&lt;', '<').replaceAll('&gt;', '>').trim()
  const size = parseFloat(read('font-size')!)
  const width = textWidth(text, size, read('font-weight') === 'bold' ? 'Arimo-Bold' : 'Arimo')
  const left = { start: 0, middle: -width / 2, end: -width }[read('text-anchor') ?? 'start']!
  const top = base - CAPITALS * size
  const corners = [[left, base], [left + width, base], [left + width, top], [left, top]] as const // prettier-ignore
  const [a, b, c, d, e, f] = at
  return [{ text, corners: corners.map(([x, y]) => ({ x: a * x + c * y + e, y: b * x + d * y + f })) }]
}

const CAPITALS = 0.72

function transformOf(attributes: string): Matrix {
  const [x = 0, y = 0] = /translate\(([^)]*)\)/.exec(attributes)?.[1]?.split(/[ ,]+/).map(Number) ?? []
  const angle = (Number(/rotate\(([^)]*)\)/.exec(attributes)?.[1] ?? 0) * Math.PI) / 180
  return [Math.cos(angle), Math.sin(angle), -Math.sin(angle), Math.cos(angle), x, y]
}

function times([a, b, c, d, e, f]: Matrix, [g, h, i, j, k, l]: Matrix): Matrix {
  return [a * g + c * h, b * g + d * h, a * i + c * j, b * i + d * j, a * k + c * l + e, b * k + d * l + f]
}

/** Whether two boxes share more than a seam: no direction of their sides parts them by a pixel's fraction. */
export function overlap(one: TextBox, other: TextBox): boolean {
  const sides = [one, other].flatMap(({ corners: [a, b, c] }) => [
    { x: b!.x - a!.x, y: b!.y - a!.y },
    { x: c!.x - b!.x, y: c!.y - b!.y },
  ])
  return sides.every(({ x, y }) => {
    const length = Math.hypot(x, y)
    const along = (box: TextBox) => box.corners.map(corner => (corner.x * x + corner.y * y) / length)
    const [p, q] = [along(one), along(other)]
    return Math.min(Math.max(...p), Math.max(...q)) - Math.max(Math.min(...p), Math.min(...q)) > 0.5
  })
}

/** What a reader would complain of: texts that leave the page, and texts over one another. */
export function faults(svg: string): string[] {
  const [, width, height] = /<svg[^>]* width="([\d.]+)" height="([\d.]+)"/.exec(svg)!.map(Number)
  const boxes = textBoxes(svg)
  const cut = boxes.filter(({ corners }) =>
    corners.some(({ x, y }) => x < -0.5 || y < -0.5 || x > width! + 0.5 || y > height! + 0.5),
  )
  const over = boxes.flatMap((one, i) =>
    boxes.slice(i + 1).flatMap(other => (overlap(one, other) ? [`"${one.text}" over "${other.text}"`] : [])),
  )
  return [...cut.map(({ text }) => `"${text}" leaves the page`), ...over]
}
