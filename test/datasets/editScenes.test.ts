import assert from 'node:assert/strict'
import { editScenes, readScene } from '../../src/datasets/index.js'
import { EDIT_KINDS, nameOf, PLACES } from '../../src/datasets/editScenes.js'
import { editVerified, sceneMatch } from '../../src/rewards/index.js'

describe('editScenes', () => {
  const { train, dev, test } = editScenes({ seed: 1, size: 500 })
  const all = [...train, ...dev, ...test]
  const names = (scene: (typeof all)[number]['source']) => scene.map(nameOf)

  it('has splits of the sizes asked for, no source picture in two of them, all kinds, and the same for a seed', () => {
    assert.deepEqual([train.length, dev.length, test.length], [400, 50, 50])
    const sources = [train, dev, test].map(rows => new Set(rows.map(row => names(row.source).join())))
    for (const scene of sources[0]!) assert.ok(!sources[1]!.has(scene) && !sources[2]!.has(scene))
    assert.deepEqual(new Set(all.map(row => row.kind)), new Set(EDIT_KINDS))
    assert.deepEqual(editScenes({ seed: 1, size: 500 }).dev[3], dev[3])
    assert.notDeepEqual(editScenes({ seed: 2, size: 500 }).dev[3], dev[3])
  })

  it('draws pictures that read as what they show, before and after', () => {
    for (const row of all) {
      assert.deepEqual(names(readScene(row.image).scene), names(row.source))
      assert.deepEqual(names(readScene(row.target).scene), names(row.expected))
      assert.ok(readScene(row.target).distances.every(d => d === 0))
    }
  })

  it('does what the instruction says, and marks the pixels that differ', () => {
    for (const { prompt, kind, source, expected, image, target, mask } of all) {
      const changed = PLACES.filter((_, at) => nameOf(source[at]!) !== nameOf(expected[at]!))
      assert.equal(changed.length, kind === 'move' ? 2 : 1, prompt.prompt)
      const count = (scene: typeof source) => scene.filter(Boolean).length
      assert.equal(count(expected) - count(source), kind === 'add' ? 1 : kind === 'remove' ? -1 : 0)
      for (let i = 0; i < mask.length; i++)
        if (mask[i] === 0) for (const c of [0, 1, 2]) assert.equal(image.data[3 * i + c], target.data[3 * i + c])
      assert.equal(
        mask.reduce((sum, x) => sum + x, 0),
        changed.length * 256,
      )
    }
    const { prompt, source, expected } = all.find(row => row.kind === 'recolour')!
    const [, thing, colour] = /^make the (.*) (\w+)$/.exec(prompt.prompt)!
    const at = source.findIndex(x => nameOf(x) === thing)
    assert.deepEqual(expected[at], { ...source[at], colour })
  })

  it('refuses what it cannot do', () => {
    assert.throws(() => editScenes({ seed: 1, size: 5 }), /size is 5, needed a whole number of at least 10/)
    assert.throws(() => readScene({ width: 8, height: 8, data: new Uint8ClampedArray(192) }), /8 × 8, needed 32 × 32/)
  })
})

describe('rewards of edits', () => {
  const rows = editScenes({ seed: 1, size: 200 }).train
  const move = rows.find(row => row.kind === 'move')!
  const batch = (pictures: unknown[], row = move) => ({
    prompts: pictures.map(() => row.prompt),
    completions: pictures as (typeof row.image)[],
    source: pictures.map(() => row.source),
    expected: pictures.map(() => row.expected),
  })
  const half = { ...move.target, data: move.target.data.map((x, i) => (move.image.data[i]! + x) >> 1) }

  it('editVerified is 1 for the target alone, and gives parts where asked', async () => {
    const pictures = [move.target, move.image, half]
    assert.deepEqual(await editVerified()(batch(pictures)), [1, 0, 0])
    assert.deepEqual(await editVerified({ partial: 0.5 })(batch(pictures.slice(0, 2))), [1, 0])
    const gone = rows.find(row => row.kind === 'remove' && nameOf(row.source[0]!) !== 'nothing')!
    assert.deepEqual(await editVerified({ partial: 0.5 })(batch([gone.image], gone)), [0])
    assert.throws(() => editVerified({ partial: 2 }), /partial is 2/)
    assert.throws(() => editVerified()(batch(['text'])), /row 0: the completion is text/)
  })

  it('editVerified gives half of its part for one of two places', async () => {
    const from = move.source.findIndex((thing, at) => thing && !move.expected[at])
    const [top, left] = [Math.floor(from / 2) * 16, (from % 2) * 16]
    const data = move.target.data.slice() // moved, and still there
    for (let y = top; y < top + 16; y++)
      for (let i = (y * 32 + left) * 3; i < (y * 32 + left + 16) * 3; i++) data[i] = move.image.data[i]!
    assert.deepEqual(await editVerified({ partial: 0.5 })(batch([{ ...move.target, data }])), [0.25])
  })

  it('sceneMatch counts things by place', async () => {
    const things = move.source.filter(Boolean).length
    assert.deepEqual(await sceneMatch()(batch([move.target, move.image])), [1, (things - 1) / things])
    const gone = rows.find(row => row.kind === 'remove')!
    const left = gone.expected.filter(Boolean).length
    const score = async (measure: 'precision' | 'recall' | 'f1') =>
      (await sceneMatch({ measure })(batch([gone.image], gone)))[0]!
    assert.deepEqual(await score('recall'), 1)
    assert.deepEqual(await score('precision'), left / (left + 1))
    assert.ok(Math.abs((await score('f1')) - (2 * left) / (2 * left + 1)) < 1e-12)
    const recoloured = rows.find(row => row.kind === 'recolour')!
    assert.deepEqual(await sceneMatch({ attribute: 'shape' })(batch([recoloured.image], recoloured)), [1])
    assert.ok((await sceneMatch({ attribute: 'colour' })(batch([recoloured.image], recoloured)))[0]! < 1)
  })
})
