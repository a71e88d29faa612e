import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { loadQwen2VlProcessor, sampleFrames, smartResize, type FrameSampling } from '../../src/io/qwen2VlProcessor.js'
import { resize } from '../../src/io/resize.js'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { fixture } from '../models/fixture.js'
import { picture } from '../models/pictures.js'

const ROUNDING = 1e-6 // float32: values are about 2, and divided in another order

interface Expected {
  images: [number, number][]
  videos: [number, number, number][]
  fps: number
  sizes: [h: number, w: number, high: number, wide: number][]
  frames: { total: number; fps: number; options: FrameSampling; indices: number[] }[]
}

describe('the processor of Qwen2-VL', () => {
  let source: TensorSource
  let expected: Expected
  before(async () => {
    source = await openSafetensors(fixture('qwen25vl_expected.safetensors'))
    expected = JSON.parse(await readFile(fixture('qwen25vl_expected.json'), 'utf8')) as Expected
  })
  after(() => source.close())

  async function equals(found: Float32Array[], name: string): Promise<void> {
    const wanted = (await source.read(name)) as Float32Array
    const values = found.flatMap(part => [...part])
    assert.equal(values.length, wanted.length)
    const apart = wanted.reduce((worst, x, i) => Math.max(worst, Math.abs(x - values[i]!)), 0)
    assert.ok(apart < ROUNDING, `${name}: ${apart} apart`)
  }

  for (const dir of ['qwen25vl', 'qwen25vl_hub'])
    it(`gives the patches of transformers' default processor, pixel for pixel, as ${dir} says it`, async () => {
      const processor = await loadQwen2VlProcessor(fixture(dir))
      const images = expected.images.map(([h, w], n) => processor.image(picture(n, h, w)))
      await equals(images.map(({ patches }) => patches), 'in.pixel_values') // prettier-ignore
      assert.deepEqual(images.flatMap(({ grid }) => [...grid]), [...(await source.read('in.image_grid_thw'))]) // prettier-ignore
      const videos = expected.videos.map(([frames, h, w]) =>
        processor.video({ frames: Array.from({ length: frames }, (_, f) => picture(10 + f, h, w)), fps: expected.fps }),
      )
      await equals(videos.map(({ patches }) => patches), 'in.pixel_values_videos') // prettier-ignore
      assert.deepEqual(videos.flatMap(({ grid }) => [...grid]), [...(await source.read('in.video_grid_thw'))]) // prettier-ignore
      assert.deepEqual(videos.map(({ seconds }) => seconds), [...(await source.read('in.second_per_grid_ts'))]) // prettier-ignore
    })

  it('resizes as torchvision does, bit for bit', async () => {
    const cases = [...source.tensors.keys()].filter(name => name.startsWith('resize.'))
    assert.ok(cases.length >= 5)
    for (const name of cases) {
      const [h, w, high, wide] = name.match(/\d+/g)!.map(Number) as [number, number, number, number]
      const found = resize(picture(3, h, w), wide, high, 'bicubic', 'torchvision')
      assert.deepEqual([...found.data], [...(await source.read(name))], name)
    }
  })

  it('finds the sizes and the frames of transformers', () => {
    for (const [h, w, high, wide] of expected.sizes)
      assert.deepEqual(smartResize(h, w, 28, 56 * 56, 28 * 28 * 1280), [high, wide], `${h} × ${w}`)
    for (const { total, fps, options, indices } of expected.frames)
      assert.deepEqual(sampleFrames(total, fps, { min_frames: 4, max_frames: 10, ...options }), indices)
  })

  it('takes what the directory says of frames', async () => {
    const processor = await loadQwen2VlProcessor(fixture('qwen25vl'))
    const { total, fps, indices } = expected.frames[2]! // fps 2, at most 10 frames
    assert.deepEqual(processor.sample(total, fps), indices)
  })

  it('says what it cannot take', async () => {
    const processor = await loadQwen2VlProcessor(fixture('qwen25vl'))
    assert.throws(
      () => processor.image(picture(0, 1, 201)),
      /201 × 1 pixels: one side is more than 200 times the other/,
    )
    assert.throws(() => processor.video({ frames: [] }), /found no frames/)
    const frames = [picture(0, 8, 8), picture(1, 8, 9)]
    assert.throws(() => processor.video({ frames }), /frame 1 is 9 × 8, the first 8 × 8/)
    assert.throws(() => sampleFrames(3, 25, { num_frames: 8 }), /8 frames of a video that has 3/)
    assert.throws(() => sampleFrames(30, 25, { num_frames: 8, fps: 2 }), /found fps and num_frames, needed one/)
    await assert.rejects(loadQwen2VlProcessor(fixture('qwen2')), /preprocessor_config\.json: there is no such file/)
  })
})
