import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  exportFigure,
  learningCurves,
  renderPdf,
  renderPng,
  renderSvg,
  themed,
  type FigureFormat,
} from '../../src/plots/index.js'
import { textWidth } from '../../src/plots/fonts.js'
import { figures } from './figures.js'
import { study } from './study.js'

const paper = themed(learningCurves(study({ seeds: 2, steps: 10 })), 'paper')
const bar = { mark: 'bar', encoding: { x: { field: 'a', type: 'nominal' } }, data: { values: [{ a: 1 }] } }

describe('plots/renderSvg', () => {
  it('draws the paper theme one column wide, the same each time', async () => {
    const svg = await renderSvg(paper)
    assert.match(svg, /^<svg[^>]* width="312"/)
    assert.match(svg, />grpo<\/text>/)
    assert.equal(await renderSvg(paper), svg)
  })

  it('measures text in Arimo, whose widths are Arial’s', () => {
    // Arial at 1000 units an em: W 944, i 222; bold W 944, i 278
    assert.ok(Math.abs(textWidth('W', 1000, 'Arimo') - 944) < 1)
    assert.ok(Math.abs(textWidth('i', 1000, 'Arimo') - 222) < 1)
    assert.ok(Math.abs(textWidth('i', 1000, 'Arimo-Bold') - 278) < 1)
  })

  it('loads nothing from files or network', async () => {
    for (const url of ['package.json', 'file:///etc/hostname', 'https://example.com/rows.csv'])
      await assert.rejects(renderSvg({ ...bar, data: { url } }), /refers to ".*", and charts load nothing/)
    const image = (url: string) => ({ mark: { type: 'image', url, width: 9, height: 9 }, data: { values: [{}] } })
    await assert.rejects(renderSvg(image('https://example.com/x.png')), /charts load nothing/)
    await assert.rejects(
      renderSvg({ ...bar, mark: { type: 'bar', href: 'javascript:alert(1)' } }),
      /charts load nothing/,
    )
    assert.match(await renderSvg(image('data:image/png;base64,iVBORw0KGgo=')), /<image/)
  })

  it('refuses expressions that reach for JavaScript', async () => {
    for (const expression of [
      'process.exit()',
      'require("fs")',
      'fetch("https://example.com")',
      'datum.constructor.constructor("return process")()',
    ])
      await assert.rejects(renderSvg({ ...bar, transform: [{ calculate: expression, as: 'b' }] }))
  })

  it('says what is no specification', async () => {
    await assert.rejects(
      renderSvg({ mark: 'bar', layer: 3 }),
      /^Error: renderSvg: .*Needed a Vega-Lite 5 specification/,
    )
    await assert.rejects(renderSvg({}), /Needed a Vega-Lite 5 specification/)
  })

  it('shows markup in rows as text', async () => {
    const svg = await renderSvg({ ...bar, data: { values: [{ a: '<script>alert(1)</script>' }] } })
    assert.ok(!svg.includes('<script>') && svg.includes('&lt;script&gt;'))
  })
})

describe('plots/renderPng', () => {
  it('has as many pixels as the resolution asks, and says so', async () => {
    for (const dpi of [96, 300]) {
      const png = await renderPng(paper, { dpi })
      assert.equal(png.readUInt32BE(16), Math.round((312 * dpi) / 96)) // width in the header
      assert.equal(png.toString('latin1', 37, 41), 'pHYs')
      assert.equal(png.readUInt32BE(41), Math.round(dpi / 0.0254))
    }
  })

  it('refuses a resolution out of range', () => assert.rejects(renderPng(paper, { dpi: 0 }), /dpi is 0/))
})

describe('plots/renderPdf', () => {
  it('is vector graphics with embedded fonts, the same each time', async () => {
    const pdf = await renderPdf(paper)
    const text = pdf.toString('latin1')
    assert.ok(text.startsWith('%PDF-') && text.trimEnd().endsWith('%%EOF'))
    assert.ok(!text.includes('/Subtype /Image'))
    assert.match(text, /\/MediaBox \[0 0 234 /) // 312 px of 0.75 pt, 3.25 in
    assert.ok(pdf.equals(await renderPdf(paper)))
  })
})

/** Fonts of an uncompressed PDF by kind, and whether their files are inside. */
function fontsOf(pdf: string): string[] {
  const objects = new Map([...pdf.matchAll(/^(\d+) 0 obj\n([^]*?)\nendobj/gm)].map(([, id, body]) => [id, body!]))
  return [...objects.values()]
    .filter(body => /\/Type \/Font\b(?!Descriptor)/.test(body) && !body.includes('/DescendantFonts'))
    .map(body => {
      const descriptor = objects.get(/\/FontDescriptor (\d+) 0 R/.exec(body)?.[1] ?? '') ?? ''
      const [, name] = /\/BaseFont \/(?:[A-Z]{6}\+)?(\S+)/.exec(body)!
      return `${name} ${/\/Subtype \/(\w+)/.exec(body)![1]} ${/\/FontFile2 \d+ 0 R/.test(descriptor) ? 'embedded' : 'missing'}`
    })
}

describe('plots/renderPdf: fonts', () => {
  it('are embedded in every kind of chart, TrueType all of them', async () => {
    for (const draw of Object.values(figures)) {
      const fonts = fontsOf((await renderPdf(themed(draw(), 'paper'))).toString('latin1'))
      assert.ok(fonts.length > 0)
      for (const font of fonts) assert.match(font, /^Arimo-\w+ CIDFontType2 embedded$/)
    }
  })
})

describe('plots/exportFigure', () => {
  it('writes the formats asked for, whole, into new folders', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'figure-'))
    try {
      const formats: FigureFormat[] = ['svg', 'pdf', 'png']
      const paths = await exportFigure(paper, join(folder, 'figures/curves'), formats)
      assert.deepEqual(
        paths,
        formats.map(format => join(folder, `figures/curves.${format}`)),
      )
      assert.deepEqual(readdirSync(join(folder, 'figures')).sort(), ['curves.pdf', 'curves.png', 'curves.svg'])
      assert.equal(readFileSync(paths[0]!, 'utf8'), await renderSvg(paper))
      await assert.rejects(
        exportFigure(paper, join(folder, 'x'), ['gif' as never]),
        /format is "gif", needed svg, pdf or png/,
      )
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
