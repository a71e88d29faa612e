import assert from 'node:assert/strict'
import { addFault, QUALITY_FAULTS, rng, type QualityFault, type RgbImage } from '../../src/datasets/index.js'
import { qualityScenes } from '../../data/make/qualityScenes.js'

const SIZE = 24
const filled = (color: (x: number, y: number) => number[]): RgbImage => ({
  ...{ width: SIZE, height: SIZE },
  data: Uint8ClampedArray.from(Array.from({ length: SIZE ** 2 }, (_, i) => color(i % SIZE, Math.floor(i / SIZE))).flat()), // prettier-ignore
})
const grey = (value: number) => [value, value, value]
const flat = filled(() => grey(120))
const edge = filled(x => grey(x < 12 ? 60 : 180))
const faulty = (image: RgbImage, fault: QualityFault, strength: number) => [...addFault(image, fault, strength, rng(1)).data] // prettier-ignore

describe('addFault', () => {
  it('at strength 0 is the picture, at growing strengths ever farther from it, and the same for the same seed', async () => {
    const [image] = (await qualityScenes('train', { size: 48, count: 1, seed: 4 })) as [RgbImage]
    for (const fault of QUALITY_FAULTS) {
      assert.equal(addFault(image, fault, 0, rng(1)), image)
      assert.deepEqual(faulty(image, fault, 0.4), faulty(image, fault, 0.4))
      const distance = (s: number) => faulty(image, fault, s).reduce((sum, x, i) => sum + (x - image.data[i]!) ** 2, 0) // prettier-ignore
      const distances = [0.1, 0.3, 0.6, 1].map(distance)
      assert.ok(
        distances.every((d, i) => d > (distances[i - 1] ?? 0)),
        `${fault}: ${distances.join(', ')}`,
      )
    }
  })

  it('blur and ringing leave a flat picture, blocking one that is flat in the middle of its range', () => {
    assert.deepEqual(faulty(flat, 'blur', 1), [...flat.data])
    assert.deepEqual(faulty(flat, 'ringing', 1), [...flat.data])
    const middle = filled(() => grey(128))
    assert.ok(faulty(middle, 'blocking', 1).every(x => x === 128))
  })

  it('blur is a Gaussian, ringing goes beyond an edge\u2019s levels', () => {
    const [blurred, ringing] = [faulty(edge, 'blur', 0.4 ** (1 / 0.7)), faulty(edge, 'ringing', 0.4)] // σ = 1
    const weights = [-3, -2, -1, 0, 1, 2, 3].map(k => Math.exp((-k * k) / 2))
    const total = weights.reduce((a, b) => a + b, 0)
    const right = weights.slice(4).reduce((a, b) => a + b, 0) / total // of the pixel left of the edge
    assert.equal(blurred[11 * 3], Math.round(60 + 120 * right))
    assert.ok(Math.max(...ringing) > 185 && Math.min(...ringing) < 55)
  })

  it('banding rounds to multiples, exposure multiplies, colour keeps the product of the channels', () => {
    assert.ok(faulty(edge, 'banding', 0.4).every(x => [51, 178, 179].includes(x))) // of 0.1
    const exposed = faulty(flat, 'exposure', 1 / 6)[0]!
    assert.ok([Math.round(120 / Math.SQRT2), Math.round(120 * Math.SQRT2)].includes(exposed), `${exposed}`)
    const [r, g, b] = faulty(flat, 'colour', 0.3) as [number, number, number]
    assert.ok(Math.abs((r * g * b) / 120 ** 3 - 1) < 0.02 && r !== g, `${r}, ${g}, ${b}`)
  })

  it('blocking rounds the coefficients of blocks, those of rows apart from those of columns', () => {
    const blocky = faulty(edge, 'blocking', 0.5)
    const [rowFirst, rowLast] = [blocky.slice(0, SIZE * 3), blocky.slice(-SIZE * 3)]
    assert.deepEqual(rowFirst, rowLast) // the picture varies along rows only
    assert.notDeepEqual(rowFirst, [...edge.data.subarray(0, SIZE * 3)])
    assert.deepEqual(rowFirst.slice(0, 24), Array<number>(24).fill(rowFirst[0]!)) // the first block is flat
    const odd = { width: 9, height: 5, data: edge.data.slice(0, 135) }
    assert.equal(addFault(odd, 'blocking', 0.5, rng(1)).data.length, 135)
  })

  it('noise has the deviation it says', () => {
    const noise = faulty(flat, 'noise', 0.2).map(x => x - 120)
    const deviation = Math.sqrt(noise.reduce((sum, x) => sum + x * x, 0) / noise.length)
    assert.ok(Math.abs(deviation / (255 * 0.05) - 1) < 0.1, `${deviation}`)
  })

  it('refuses strengths beyond 0 … 1', () => {
    assert.throws(() => addFault(flat, 'blur', 1.1, rng(1)), /addFault: strength is 1\.1, needed a number from 0 to 1/)
  })
})
