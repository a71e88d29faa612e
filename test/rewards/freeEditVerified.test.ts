import assert from 'node:assert/strict'
import { freeScenes, type FreeEdit, type FreeScene, type RgbImage } from '../../src/datasets/index.js'
import { renderFreeScene } from '../../src/datasets/freeScenes.js'
import { freeEditVerified } from '../../src/rewards/index.js'

describe('freeEditVerified', () => {
  const rows = freeScenes({ seed: 3, size: 250 }).train
  const score = async (pictures: unknown[], row: FreeEdit, partial = 0) =>
    freeEditVerified({ partial })({
      prompts: pictures.map(() => row.prompt),
      completions: pictures as RgbImage[],
      source: pictures.map(() => row.source),
      expected: pictures.map(() => row.expected),
    })
  const drawn = (scene: FreeScene, changes: Partial<FreeScene> = {}) => renderFreeScene({ ...scene, ...changes })
  const of = (kind: FreeEdit['kind']) => rows.find(row => row.kind === kind)!

  it('verifies every target and no source', async () => {
    for (const row of rows) assert.deepEqual(await score([row.target, row.image], row), [1, 0], row.prompt.prompt)
  })

  it('fails a target in which anything is not as expected', async () => {
    for (const row of rows.slice(0, 60)) {
      const { expected } = row
      const [first, ...others] = expected.things
      const wrong: Record<string, RgbImage> = {
        gone: drawn(expected, { things: others }),
        colour: drawn(expected, { things: [{ ...first!, colour: first!.colour === 'red' ? 'blue' : 'red' }, ...others] }), // prettier-ignore
        shape: drawn(expected, { things: [{ ...first!, shape: first!.shape === 'square' ? 'circle' : 'square' }, ...others] }), // prettier-ignore
        place: drawn(expected, { things: [{ ...first!, x: first!.x + (first!.x < 32 ? 5 : -5) }, ...others] }),
        light: drawn(expected, { light: expected.light === 'normal' ? 'dark' : 'normal' }),
        blur: drawn(expected, { fault: 'blur' }),
        noise: drawn(expected, { fault: 'noise' }),
      }
      const large = expected.things.find(thing => thing.size === 'large')
      if (large) wrong['size'] = drawn(expected, { things: expected.things.map(t => (t === large ? { ...t, size: 'small' } : t)) }) // prettier-ignore
      const scores = await score(Object.values(wrong), row)
      Object.keys(wrong).forEach((name, i) => assert.equal(scores[i], 0, `${name}: ${row.prompt.prompt}`))
    }
  })

  it('allows what lies within the tolerances', async () => {
    for (const row of rows.slice(0, 60)) {
      const [first, ...others] = row.expected.things
      const nudged = drawn(row.expected, { things: [{ ...first!, x: first!.x + (first!.x < 32 ? 2 : -2) }, ...others] })
      const brighter = { ...row.target, data: row.target.data.map(x => x + 10) }
      assert.deepEqual(await score([nudged, brighter], row), [1, 1], row.prompt.prompt)
    }
  })

  it('gives its part for the share of changes that are right', async () => {
    const come = (row: FreeEdit) => row.expected.things.find(thing => !row.source.things.includes(thing))!
    const shift = rows.find(row => /by 16$/.test(row.prompt.prompt) && come(row).size === 'small')!
    const twice = drawn(shift.source, { things: [...shift.source.things, come(shift)] }) // at the new place, and at the old
    assert.deepEqual(await score([shift.target, twice, shift.image], shift, 0.5), [1, 0.25, 0])
    const remove = of('remove')
    assert.deepEqual(await score([remove.image, drawn(remove.expected, { light: 'dark' })], remove, 0.5), [0, 0.5])
    for (const kind of ['brighten', 'sharpen', 'denoise'] as const) {
      const row = of(kind)
      const alone = drawn(row.expected, { things: row.expected.things.slice(1) })
      assert.deepEqual(await score([row.target, row.image, alone], row, 0.5), [1, 0, 0.5], kind)
    }
  })

  it('refuses what it cannot score', () => {
    const row = of('add')
    assert.throws(() => freeEditVerified({ partial: 2 }), /partial is 2/)
    assert.throws(() => freeEditVerified()({ prompts: [''], completions: ['text'], source: [row.source], expected: [row.expected] }), /row 0: the completion is text/) // prettier-ignore
    assert.throws(() => freeEditVerified()({ prompts: [''], completions: [row.image] }), /column "source" is missing/)
  })
})
