import assert from 'node:assert/strict'
import { compile } from 'vega-lite'
import { themed, type Theme } from '../../src/plots/index.js'
import { themeConfig } from '../../src/plots/themes.js'
import { figures } from './figures.js'
import { matchesSnapshot } from './snapshot.js'

describe('plots: every chart', () => {
  for (const [name, draw] of Object.entries(figures)) {
    it(`${name} is as stored`, () => {
      const chart = { ...draw({ seeds: 3, steps: 10 }), config: undefined } // stored once, below
      matchesSnapshot(chart, `plots/${name}`)
    })

    for (const theme of ['screen', 'paper'] as Theme[])
      it(`${name} compiles in the ${theme} theme without a warning`, () => {
        const warnings: string[] = []
        const warn = (...parts: unknown[]) => (warnings.push(parts.join(' ')), logger)
        const logger = { level: () => logger, error: warn, warn, info: () => logger, debug: () => logger }
        const spec = JSON.parse(JSON.stringify(themed(draw(), theme))) as Parameters<typeof compile>[0]
        compile(spec, { logger: logger as never })
        assert.deepEqual(warnings, [])
      })
  }

  it('themes are as stored', () =>
    matchesSnapshot({ screen: themeConfig('screen'), paper: themeConfig('paper', ['grpo', 'dpo']) }, 'plots/themes'))
})
