import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { comparisonTable, exportTable, formatTable } from '../../src/plots/index.js'
import { escapeLatex } from '../../src/plots/exportTable.js'

const rows = [
  { method: 'a_b & 50% <i>|', n: 3, score: 0.81249, score_low: -0.5, score_high: 0.9 },
  { method: 'say "x",\ny', n: 12, score: null, score_low: null, score_high: null },
]

describe('plots/exportTable', () => {
  it('writes CSV with every column and digit, quoted by RFC 4180', () => {
    assert.equal(
      formatTable(rows, 'csv'),
      'method,n,score,score_low,score_high\r\na_b & 50% <i>|,3,0.81249,-0.5,0.9\r\n"say ""x"",\ny",12,,,\r\n',
    )
  })

  it('writes LaTeX with booktabs, an interval in its mean’s cell', () => {
    assert.equal(
      formatTable(rows, 'tex', { caption: '100% held out', label: 'tab:x' }),
      [
        '\\begin{table}',
        '  \\centering',
        '  \\caption{100\\% held out}',
        '  \\label{tab:x}',
        '  \\begin{tabular}{lrr@{~}r}',
        '    \\toprule',
        '    method & n & \\multicolumn{2}{c}{score} \\\\',
        '    \\midrule',
        '    a\\_b \\& 50\\% \\textless{}i\\textgreater{}\\textbar{} & 3 & 0.812 & [$-$0.500, 0.900] \\\\',
        '    say "x", y & 12 & -- &  \\\\',
        '    \\bottomrule',
        '  \\end{tabular}',
        '\\end{table}',
        '',
      ].join('\n'),
    )
  })

  it('escapes every character that LaTeX reads', () => {
    assert.equal(
      escapeLatex('\\ ~ ^ # $ { }'),
      '\\textbackslash{} \\textasciitilde{} \\textasciicircum{} \\# \\$ \\{ \\}',
    )
    assert.equal(escapeLatex('β₀ = 0, lr → 1 × 10…'), '$\\beta$₀ = 0, lr $\\rightarrow$ 1 $\\times$ 10\\ldots{}')
    assert.match(formatTable([{ a: '[2pt]' }], 'tex'), /\\midrule\n {4}\{\[\}2pt\] \\\\/)
  })

  it('shows small numbers, whole ones, and what is no number', () => {
    const odd = [
      { lr: 1e-5, n: 1e21, ok: true, at: new Date(0), list: [1], big: Infinity, none: NaN },
      { lr: -2e-4, n: 2 },
    ]
    const [, , first, second] = formatTable(odd, 'md').split('\n')
    assert.equal(first, '| 1.0e−5 | 1e+21 | true | 1970-01-01T00:00:00.000Z | [1] | Infinity | – |')
    assert.equal(second, '| −2.0e−4 | 2 | – | – | – | – | – |')
    assert.match(formatTable(odd, 'csv'), /\n0.00001,1e\+21,true,1970-01-01T00:00:00.000Z,\[1\],Infinity,\r\n/)
  })

  it('makes no link and no image of a name', () => {
    assert.match(formatTable([{ a: '![x](http://y) [x][y]' }], 'md'), /!\[x\\\]\(http:\/\/y\) \[x\\\]\[y\]/)
  })

  it('writes Markdown and HTML that show the text and nothing else', () => {
    assert.equal(
      formatTable(rows, 'md', { digits: 1 }),
      '| method | n | score |\n| --- | ---: | ---: |\n| a\\_b & 50% \\<i\\>\\| | 3 | 0.8 [−0.5, 0.9] |\n| say "x",<br>y | 12 | – |\n',
    )
    const html = formatTable(rows, 'html')
    assert.match(html, /<td>a_b &amp; 50% &lt;i&gt;\|<\/td><td style="text-align: right[^"]*">3<\/td>/)
    assert.ok(!html.includes('<i>'))
  })

  it('writes files of a comparison table, folders included', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'table-'))
    try {
      const compared = comparisonTable([
        { name: 'grpo', accuracy: 0.5 },
        { name: 'grpo', accuracy: 0.75 },
      ])
      const paths = await exportTable(compared, join(folder, 'a/b/results'), ['csv', 'md'])
      assert.deepEqual(
        paths,
        ['csv', 'md'].map(format => join(folder, `a/b/results.${format}`)),
      )
      assert.match(readFileSync(paths[1]!, 'utf8'), /\| grpo \| 2 \| 0\.625 \[−0\.963, 2\.213\] \|/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('refuses an unknown format and a table without columns', () => {
    assert.throws(() => formatTable(rows, 'xlsx' as never), /format is "xlsx", needed csv, tex, md or html/)
    assert.throws(() => formatTable([], 'csv'), /no columns/)
  })
})
