import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import type { RgbImage } from '../../src/io/images.js'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { peakSignalToNoise, structuralSimilarity } from '../../src/metrics/index.js'
import { preservation, psnr, ssim, type Score } from '../../src/rewards/index.js'
import { memory, start, stats } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'
import { batchOf, close } from './samples.js'

const PARITY = 1e-5 // float32 against scikit-image's float64
const UNIT_PARITY = 1e-4 // values of 0 … 1 round where grey levels do not
const DECIBEL_PARITY = 1e-4

describe('ssim, psnr and preservation', () => {
  let expected: TensorSource
  let [x, y]: [RgbImage[], RgbImage[]] = [[], []]
  let mask: Uint8Array
  const numbers = async (name: string): Promise<number[]> => Array.from(await expected.read(name))
  before(async () => {
    await start()
    expected = await openSafetensors(fixture('similarity.safetensors'))
    const [rows, height, width] = expected.tensors.get('x')!.shape as [number, number, number]
    const pictures = async (name: string): Promise<RgbImage[]> => {
      const data = await expected.read(name)
      const size = height * width * 3
      const row = (i: number) => new Uint8ClampedArray(data.subarray(i * size, (i + 1) * size))
      return Array.from({ length: rows }, (_, i) => ({ width, height, data: row(i) }))
    }
    ;[x, y] = [await pictures('x'), await pictures('y')]
    mask = (await expected.read('mask')) as Uint8Array
  })
  after(() => expected.close())

  it('ssim is that of scikit-image', async () => {
    close(await ssim()(batchOf(y, { target: x })), await numbers('ssim'), PARITY)
  })

  it('so it is for values of 0 … 1', async () => {
    const [rows, height, width] = expected.tensors.get('x')!.shape
    const unit = async (name: string) =>
      tf.div(tf.tensor(await expected.read(name), [rows!, height!, width!, 3], 'float32'), 255)
    close(
      [...(await structuralSimilarity(await unit('x'), await unit('y')).data())],
      await numbers('unit_ssim'),
      UNIT_PARITY,
    )
  })

  it('psnr is that of scikit-image, and 100 for equal pictures', async () => {
    close(await psnr()(batchOf(y, { target: x })), await numbers('psnr'), DECIBEL_PARITY)
    assert.deepEqual(await psnr({ column: 'image' })(batchOf([x[0]!], { image: [x[0]] })), [100])
  })

  it('preservation is the mean of scikit-image\u2019s map outside the mask', async () => {
    const masks = x.map(() => mask)
    close(await preservation()(batchOf(y, { image: x, mask: masks })), await numbers('ssim_outside'), PARITY)
    close(await preservation()(batchOf(y, { image: x })), await numbers('ssim'), PARITY)
    const all = new Uint8Array(mask.length).fill(1)
    assert.deepEqual(await preservation()(batchOf([y[0]!], { image: [x[0]], mask: [all] })), [null])
  })

  it('psnr counts the pixels of a mask', async () => {
    const [a, b] = [tf.tensor4d([0, 1, 0.5, 0.5], [1, 2, 2, 1]), tf.tensor4d([0, 0.9, 0.5, 0], [1, 2, 2, 1])]
    const found = peakSignalToNoise(a, b, { mask: tf.tensor4d([1, 1, 1, 0], [1, 2, 2, 1]) })
    close([...(await found.data())], [10 * Math.log10(3 / 0.01)], 1e-4)
  })

  it('rows of several sizes, and without a target, keep their places; numbers of rows near one another share a program', async () => {
    const small = (value: number): RgbImage => ({ width: 8, height: 8, data: new Uint8ClampedArray(192).fill(value) })
    const reward = ssim()
    const score = async (rows: [RgbImage, RgbImage | null][]) =>
      reward(batchOf(rows.map(([image]) => image), { target: rows.map(([, target]) => target) })) // prettier-ignore
    const wanted = await numbers('ssim')
    const rows: [RgbImage, RgbImage | null][] = [
      [small(9), small(9)],
      [y[0]!, x[0]!],
      [small(1), null],
      [y[1]!, x[1]!],
      [y[2]!, x[2]!],
    ]
    close(await score(rows), [1, wanted[0]!, null, wanted[1]!, wanted[2]!], PARITY)
    const before = stats()!.traced
    await score([...rows.slice(0, 4), [y[3]!, x[3]!], [y[5]!, x[5]!]])
    assert.equal(stats()!.traced, before)
    assert.deepEqual(await score([]), [])
  })

  it('leaves no tensor behind', async () => {
    const reward = preservation()
    const batch = batchOf(y, { image: x, mask: x.map(() => mask) })
    await reward(batch)
    const before = [tf.memory().numTensors, memory()!.buffers]
    await reward(batch)
    assert.deepEqual([tf.memory().numTensors, memory()!.buffers], before)
  })

  it('refuses what cannot be compared', async () => {
    const tiny: RgbImage = { width: 6, height: 9, data: new Uint8ClampedArray(162) }
    const cases: [run: () => Score[] | Promise<Score[]>, message: RegExp][] = [
      [() => ssim()(batchOf(['text'], { target: [x[0]] })), /^ssim, row 0: the completion is text, needed a picture/],
      [() => ssim()(batchOf([x[0]!])), /^ssim: column "target" is missing/],
      [() => psnr()(batchOf([x[0]!], { target: ['a.png'] })), /psnr: column "target" holds no picture. Read it with/],
      [() => ssim()(batchOf([x[0]!], { target: [tiny] })), /column "target" is 6 × 9, the completion 40 × 24. Resize/],
      [() => ssim()(batchOf([tiny], { target: [tiny] })), /6 × 9 pixels, needed at least 7 × 7/],
      [() => ssim()(batchOf([{ ...tiny, width: 7 }], { target: [tiny] })), /row 0: 162 values for 7 × 9 pixels/],
      [
        () => preservation()(batchOf([x[0]!], { image: [x[0]], mask: [new Uint8Array(3)] })),
        /column "mask" holds 3 values, needed a Uint8Array of 960 \(40 × 24\)/,
      ],
    ]
    for (const [run, message] of cases) await assert.rejects(async () => await run(), { message })
  })
})
