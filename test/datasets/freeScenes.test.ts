import assert from 'node:assert/strict'
import { freeScenes, readFreeScene, type FreeScene } from '../../src/datasets/index.js'
import { FREE_EDIT_KINDS, LIGHTS, SIZES } from '../../src/datasets/freeScenes.js'

describe('freeScenes', () => {
  const { train, dev, test } = freeScenes({ seed: 1, size: 300 })
  const all = [...train, ...dev, ...test]

  it('has splits of the sizes asked for, no source picture in two of them, all kinds, and the same for a seed', () => {
    assert.deepEqual([train.length, dev.length, test.length], [240, 30, 30])
    const sources = [train, dev, test].map(rows => new Set(rows.map(row => JSON.stringify(row.source))))
    for (const scene of sources[0]!) assert.ok(!sources[1]!.has(scene) && !sources[2]!.has(scene))
    assert.deepEqual(new Set(all.map(row => row.kind)), new Set(FREE_EDIT_KINDS))
    assert.deepEqual(freeScenes({ seed: 1, size: 300 }).dev[3], dev[3])
    assert.notDeepEqual(freeScenes({ seed: 2, size: 300 }).dev[3], dev[3])
  })

  it('draws pictures that the reader reads as what they show', () => {
    const listed = (scene: FreeScene) =>
      scene.things.map(({ shape, colour, size, x, y }) => ({ shape, colour, x, y, width: SIZES[size], height: SIZES[size] })) // prettier-ignore
    for (const { target, image, source, expected } of all) {
      const found = readFreeScene(target)
      const near = (a: number, b: number) => Math.abs(a - b) <= 2 // tips of triangles are thin
      for (const thing of listed(expected))
        assert.ok(
          found.things.some(seen => seen.shape === thing.shape && seen.colour === thing.colour && (['x', 'y', 'width', 'height'] as const).every(side => near(seen[side], thing[side]))), // prettier-ignore
          JSON.stringify({ thing, found: found.things }),
        )
      assert.equal(found.things.length, expected.things.length)
      assert.equal(found.light, LIGHTS[expected.light])
      assert.equal(found.noise, 0)
      assert.ok(found.steepness > 0.6)
      if (source.fault === 'blur') assert.ok(readFreeScene(image).steepness < 0.25)
      if (source.fault === 'noise') assert.ok(readFreeScene(image).noise > 8)
    }
  })

  it('does what the instruction says', () => {
    const of = (kind: string, words: RegExp) => {
      const row = all.find(row => row.kind === kind && words.test(row.prompt.prompt))!
      const [thing] = row.source.things.filter(thing => !row.expected.things.includes(thing))
      const [changed] = row.expected.things.filter(thing => !row.source.things.includes(thing))
      return { row, thing, changed, words: row.prompt.prompt.split(' ') }
    }
    const recolour = of('recolour', /^make the/)
    assert.deepEqual(recolour.changed, { ...recolour.thing, colour: recolour.words[4] })
    assert.deepEqual(recolour.words.slice(2, 4), [recolour.thing!.colour, recolour.thing!.shape])
    const remove = of('remove', /^remove the/)
    assert.equal(remove.changed, undefined)
    assert.equal(remove.row.expected.things.length, remove.row.source.things.length - 1)
    const add = of('add', /at the top left$/)
    assert.equal(add.thing, undefined)
    assert.deepEqual([add.changed!.size, add.changed!.x, add.changed!.y], [add.words[2], 16, 16])
    const move = of('move', /to the bottom right$/)
    assert.deepEqual(move.changed, { ...move.thing, x: 48, y: 48 })
    const shift = of('shift', /left by 16$/)
    assert.deepEqual(shift.changed, { ...shift.thing, x: shift.thing!.x - 16 })
    const down = of('shift', /down by 8$/)
    assert.deepEqual(down.changed, { ...down.thing, y: down.thing!.y + 8 })
    const enlarge = of('enlarge', /^enlarge the/)
    assert.deepEqual(enlarge.changed, { ...enlarge.thing, size: 'large' })
    const shrink = of('shrink', /^shrink the/)
    assert.deepEqual(shrink.changed, { ...shrink.thing, size: 'small' })
    const levels = (kind: string) => {
      const { row } = of(kind, /the picture$/)
      return LIGHTS[row.expected.light] - LIGHTS[row.source.light]
    }
    assert.deepEqual([levels('brighten'), levels('darken')], [45, -45])
    assert.deepEqual([of('sharpen', /./).row.source.fault, of('denoise', /./).row.source.fault], ['blur', 'noise'])
    for (const { expected } of all) assert.equal(expected.fault, null)
  })

  it('marks the pixels that differ, and not the whole picture where a thing is edited', () => {
    for (const { kind, source, expected, image, target, mask } of all) {
      for (let i = 0; i < mask.length; i++)
        if (mask[i] === 0) for (const c of [0, 1, 2]) assert.equal(image.data[3 * i + c], target.data[3 * i + c], kind)
      const whole = source.light !== expected.light || source.fault !== null
      assert.equal(mask.every(Boolean), whole, kind)
    }
  })

  it('refuses what it cannot do', () => {
    assert.throws(() => freeScenes({ seed: 1, size: 5 }), /size is 5, needed a whole number of at least 10/)
    assert.throws(
      () => readFreeScene({ width: 8, height: 8, data: new Uint8ClampedArray(192) }),
      /8 × 8, needed 64 × 64/,
    )
  })

  it('reads an empty picture', () => {
    const found = readFreeScene({ width: 64, height: 64, data: new Uint8ClampedArray(64 * 64 * 3).fill(120) })
    assert.deepEqual(found, { things: [], light: -45, steepness: NaN, noise: 0 })
  })
})
