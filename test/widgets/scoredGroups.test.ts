import assert from 'node:assert/strict'
import { scoredGroups } from '../../src/widgets/scoredGroups.js'

describe('scoredGroups', () => {
  const picture = { width: 1, height: 1, data: new Uint8ClampedArray([1, 2, 3]) }
  const drawn = { width: 1, height: 1, data: new Uint8ClampedArray([4, 5, 6]) }
  const group = (prompt: unknown, completion: unknown) =>
    scoredGroups({ batch: { prompts: [prompt, prompt], completions: [completion, completion] }, scores: [[1, null]] }, ['r']) // prettier-ignore

  it('shows the last message, with marks and pictures of those that see', () => {
    const asked = [{ role: 'user', content: 'Hello' }]
    assert.deepEqual(group(asked, 'Hi'), [[{ prompt: 'Hello', completion: 'Hi', components: { r: 1 } }, { prompt: 'Hello', completion: 'Hi', components: { r: null } }]]) // prettier-ignore
    const seeing = { prompt: [{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: ' What?' }] }], images: [picture] } // prettier-ignore
    assert.deepEqual(group(seeing, 'That.')[0]![0], { prompt: '<image> What?', completion: 'That.', images: [picture], components: { r: 1 } }) // prettier-ignore
    const stored = { prompt: seeing.prompt, where: 'a.jsonl, row 1', open: () => Promise.resolve({}) }
    assert.deepEqual(group(stored, 'That.')[0]![0], { prompt: '<image> What?', completion: 'That.', components: { r: 1 } }) // prettier-ignore
    assert.equal(group('Text', 'More')[0]![0]!.prompt, 'Text')
  })

  it('shows a picture that was drawn beside the one that it was drawn from', () => {
    const edit = group({ image: picture, prompt: 'make it red' }, drawn)[0]![0]!
    assert.deepEqual([edit.prompt, edit.completion, edit.images], ['make it red', '', [picture, drawn]])
    assert.deepEqual(group('a dog', drawn)[0]![0]!.images, [drawn])
  })
})
