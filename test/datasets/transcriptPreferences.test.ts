import assert from 'node:assert/strict'
import { transcriptPreferences } from '../../src/datasets/index.js'

const user = (content: string) => ({ role: 'user', content })
const assistant = (content: string) => ({ role: 'assistant', content })

describe('transcriptPreferences', () => {
  const begin = '\n\nHuman: What is a "vowel"?\n\nAssistant: A sound.\n\nWhich one?\n\nHuman: Name one: '
  const row = { chosen: `${begin}\n\nAssistant: A`, rejected: `${begin}\n\nAssistant:  B.` }

  it('makes messages of transcripts', () => {
    const prompt = [user('What is a "vowel"?'), assistant('A sound.\n\nWhich one?'), user('Name one:')]
    assert.deepEqual(transcriptPreferences([row]), [{ prompt, chosen: [assistant('A')], rejected: [assistant('B.')] }])
  })

  it('names the row that is none', () => {
    for (const chosen of ['Hello', `${begin}`, 7, '\n\nAssistant: A'])
      assert.throws(
        () => transcriptPreferences([row, { ...row, chosen }]),
        /row 1, chosen is .*, needed a text of turns/,
      )
    assert.throws(
      () => transcriptPreferences([{ ...row, chosen: '\n\nHuman: x\n\nAssistant: y' }]),
      /row 0: no prompt, and chosen and rejected begin differently/,
    )
  })
})
