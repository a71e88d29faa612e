import assert from 'node:assert/strict'
import { completionRows, preferenceRows } from '../../src/datasets/index.js'

const user = (content: string) => ({ role: 'user', content })
const assistant = (content: string) => ({ role: 'assistant', content })

describe('rows in TRL’s columns', () => {
  it('preferences, with a prompt', () => {
    const rows = [
      { prompt: 'The sky is', chosen: ' blue.', rejected: ' green.', source: 'x' },
      { prompt: [user('Hi')], chosen: [assistant('Hello')], rejected: [assistant('Go')] },
      { prompt: [user('Hi')], chosen: 'Hello', rejected: 'Go' },
    ]
    assert.deepEqual(preferenceRows(rows), rows)
  })

  it('preferences whose prompt is what both begin with, as TRL’s extract_prompt', () => {
    assert.deepEqual(
      preferenceRows([
        { chosen: 'The sky is blue.', rejected: 'The sky is green.' },
        { chosen: [user('Hi'), assistant('Hello')], rejected: [user('Hi'), assistant('Go')] },
      ]),
      [
        { prompt: 'The sky is', chosen: ' blue.', rejected: ' green.' },
        { prompt: [user('Hi')], chosen: [assistant('Hello')], rejected: [assistant('Go')] },
      ],
    )
  })

  it('completions, and a row for each answer of a conversation', () => {
    const talk = [user('a'), assistant('b'), user('c'), { role: 'assistant', content: [{ type: 'text', text: 'd' }] }]
    assert.deepEqual(
      completionRows([
        { prompt: 'p', completion: 'c', n: 1 },
        { messages: talk, n: 2 },
      ]),
      [
        { prompt: 'p', completion: 'c', n: 1 },
        { n: 2, prompt: [user('a')], completion: [assistant('b')] },
        { n: 2, prompt: [user('a'), assistant('b'), user('c')], completion: [assistant('d')] },
      ],
    )
  })

  it('names row and column', () => {
    const pair = { prompt: 'p', chosen: 'a', rejected: 'b' }
    const bad: [row: object, message: RegExp][] = [
      [
        { prompt: 'p', chosen: 'a' },
        /row 1: column rejected is missing \(got prompt, chosen\), needed a text or messages/,
      ],
      [{ ...pair, chosen: 3 }, /row 1: column chosen is 3, needed a text or messages/],
      [{ ...pair, chosen: [{ role: 'user' }] }, /row 1: column chosen is \[\{"role":"user"\}\], needed/],
      [{ ...pair, chosen: [assistant('a')] }, /row 1: chosen is messages, rejected is a text/],
      [{ ...pair, rejected: 'a' }, /row 1: chosen and rejected are the same/],
      [
        { prompt: 'p', chosen: [assistant('a')], rejected: [assistant('b')] },
        /row 1: prompt is a text, chosen is messages/,
      ],
      [{ chosen: 'a', rejected: 'b' }, /row 1: no prompt, and chosen and rejected begin differently/],
    ]
    for (const [row, message] of bad) assert.throws(() => preferenceRows([pair, row as never]), { message })
    assert.throws(
      () => completionRows([{ messages: [user('a')] }]),
      /row 0: no message of the assistant answers another/,
    )
    assert.throws(() => completionRows([{ messages: 'a' }]), /row 0: messages is a text/)
    assert.throws(() => completionRows([{ prompt: 'a' }]), /row 0: column completion is missing/)
  })
})
