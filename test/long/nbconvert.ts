/* The executed comparison notebook (or the one named) through `jupyter nbconvert`: to HTML; to PDF by Chromium's print, which is
 * what nbconvert's webpdf does, and by LaTeX. Every chart must be there, its words too. Conversions whose programs are not on the PATH
 * are named as not run. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { textBoxes } from '../plots/textBoxes.js'

interface Output {
  data?: Record<string, string | string[]>
}

const notebook = resolve(process.argv[2] ?? 'notebooks/grpo_dpo_srpo_comparison.ipynb')
const { cells } = JSON.parse(readFileSync(notebook, 'utf8')) as { cells: { outputs?: Output[] }[] }
const charts = cells
  .flatMap(cell => cell.outputs ?? [])
  .flatMap(({ data = {} }) =>
    'application/vnd.vegalite.v5+json' in data ? [[data['image/svg+xml'] ?? []].flat().join('')] : [],
  )

const began = performance.now()
const folder = mkdtempSync(join(tmpdir(), 'nbconvert-'))
const results: string[] = [`${charts.length} charts`]
let wrong = charts.length === 0

try {
  nbconvert('--to', 'html', '--output', 'notebook')
  const html = readFileSync(join(folder, 'notebook.html'), 'utf8')
  const images = [...html.matchAll(/src="data:image\/svg\+xml;base64,([^"]+)"/g)].map(([, base64]) =>
    Buffer.from(base64!, 'base64').toString(),
  )
  tell('HTML', charts.map(chart => chart !== '' && images.some(image => words(image).join() === words(chart).join()))) // prettier-ignore

  const chromium = ['chromium', 'chromium-browser', 'google-chrome'].find(isThere)
  if (chromium && isThere('pdftotext')) {
    const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [] // root has none
    const print = [
      '--headless',
      '--disable-gpu',
      '--no-pdf-header-footer',
      `--print-to-pdf=${join(folder, 'chromium.pdf')}`,
    ]
    execFileSync(chromium, [...print, ...sandbox, join(folder, 'notebook.html')], { stdio: 'pipe', timeout: 120_000 })
    tell('PDF by Chromium', keptIn('chromium.pdf'))
  } else results.push('PDF by Chromium not run (needs chromium, pdftotext)')

  if (['xelatex', 'pandoc', 'rsvg-convert', 'pdftotext'].every(isThere)) {
    const convert = 'rsvg-convert --format=pdf --output={to_filename} {from_filename}'
    nbconvert('--to', 'pdf', '--output', 'latex', `--SVG2PDFPreprocessor.command=${convert}`)
    tell('PDF by LaTeX', keptIn('latex.pdf'))
  } else results.push('PDF by LaTeX not run (needs xelatex, pandoc, rsvg-convert, pdftotext)')
} finally {
  rmSync(folder, { recursive: true })
}
console.log(`nbconvert: ${results.join('; ')}; ${((performance.now() - began) / 1000).toFixed(0)} s`)
process.exitCode = wrong ? 1 : 0

function nbconvert(...args: string[]): void {
  const jupyter = resolve('.venv/bin/jupyter')
  execFileSync(jupyter, ['nbconvert', notebook, '--output-dir', folder, ...args], { stdio: 'pipe', timeout: 240_000 })
}

function isThere(program: string): boolean {
  return spawnSync('which', [program]).status === 0
}

/** The texts of a chart, as drawn. */
function words(svg: string): string[] {
  return textBoxes(svg).map(box => box.text)
}

/** Whether a PDF has the words of each chart, each as often as all charts together. */
function keptIn(pdf: string): boolean[] {
  const text = execFileSync('pdftotext', ['-raw', join(folder, pdf), '-'], { encoding: 'utf8' })
  const wanted = charts.flatMap(words)
  const count = (word: string) => text.replace(/\s+/g, ' ').split(word).length - 1
  return charts.map(
    chart => chart !== '' && words(chart).every(word => count(word) >= wanted.filter(other => other === word).length),
  )
}

function tell(what: string, kept: readonly boolean[]): void {
  const missing = kept.flatMap((is, i) => (is ? [] : [i + 1]))
  wrong ||= missing.length > 0
  results.push(missing.length === 0 ? `${what} has all` : `${what} lacks ${missing.join(', ')}`)
}
