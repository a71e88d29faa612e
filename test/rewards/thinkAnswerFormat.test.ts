import assert from 'node:assert/strict'
import { thinkAnswerFormat } from '../../src/rewards/index.js'
import { scoreOf } from './samples.js'

describe('thinkAnswerFormat', () => {
  const cases: [string, number][] = [
    ['<think>a\nb</think> <answer>(1) sit</answer>', 1],
    ['<answer>x</answer><think>y</think>', 0.6],
    ['<think>so <answer>x</answer></think>', 0.6],
    ['<think>a</think>', 0.3],
    ['<answer>a</answer>', 0.3],
    ['<think>a <answer>b</answer>', 0.3],
    ['</think><think></answer><answer>', 0],
    ['', 0],
  ]
  for (const [text, expected] of cases)
    it(`${JSON.stringify(text)} scores ${expected}`, async () =>
      assert.equal(await scoreOf(thinkAnswerFormat(), text), expected))
})
