import assert from 'node:assert/strict'
import { answerFormat } from '../../src/rewards/index.js'
import { scoreOf } from './samples.js'

describe('answerFormat', () => {
  const cases: [string, number][] = [
    ['<answer>12</answer>', 1],
    ['add: 7+5=12\n<answer>12</answer>', 1],
    ['working\n<answer>-1,250.5</answer>\n\n', 1],
    ['<answer> 12 </answer>', 1],
    ['working\r\n<answer>12</answer>\r\n', 1],
    ['', 0],
    ['12', 0],
    ['so <answer>12</answer>', 0],
    ['<answer>12</answer>.', 0],
    ['<answer>12</answer>\nDone.', 0],
    ['<answer>12', 0],
    ['<answer></answer>', 0],
    ['<answer>12 apples</answer>', 0],
    ['<answer>1<answer>2</answer>', 0],
    ['<answer>1,2</answer>', 0],
    ['<ANSWER>12</ANSWER>', 0],
  ]
  for (const [text, expected] of cases)
    it(`${JSON.stringify(text)} scores ${expected}`, async () =>
      assert.equal(await scoreOf(answerFormat(), text), expected))
})
