import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writePng, type RgbImage } from '../../src/io/images.js'
import { sampleVideo, type VideoSampling } from '../../src/io/sampleVideo.js'
import { readVideo } from '../../src/io/video.js'
import { yuvToRgb } from '../../src/io/yuv.js'
import { fixture } from '../models/fixture.js'

const TIMES = 1e-6 // PyAV tells them as fractions, containers keep microseconds at best

interface Expected {
  fps: number
  size: [width: number, height: number]
  timestamps: number[]
  sha256: string[]
}

const expected = (
  JSON.parse(readFileSync(fixture('videos_expected.json'), 'utf8')) as { videos: Record<string, Expected> }
).videos
const file = (name: string) => fixture(join('videos', name))
const hash = ({ data }: RgbImage) => createHash('sha256').update(data).digest('hex')

describe('readVideo', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'rewardlab-video-'))))
  after(() => rmSync(dir, { recursive: true }))

  for (const [name, { fps, size, timestamps, sha256 }] of Object.entries(expected))
    it(`gives every frame of ${name} as ${name.endsWith('gif') ? 'Pillow' : 'PyAV'} does, byte for byte, at its time`, async () => {
      const video = await readVideo(file(name))
      assert.deepEqual(video.frames.map(hash), sha256)
      assert.ok(video.frames.every(({ width, height }) => width === size[0] && height === size[1]))
      assert.ok(Math.abs(video.fps - fps) < TIMES, `${video.fps} frames a second`)
      video.timestamps.forEach((time, i) =>
        assert.ok(Math.abs(time - (timestamps[i]! - timestamps[0]!)) < TIMES, `frame ${i} at ${time}`),
      )
    })

  it('keeps the frames that are sampled, from a file and from its bytes', async () => {
    const { sha256 } = expected['h264.mp4']!
    for (const input of [file('h264.mp4'), readFileSync(file('h264.mp4'))]) {
      const video = await readVideo(input, { fps: 4 }) // 12 frames, 8 a second
      assert.deepEqual(video.frames.map(hash), [0, 2, 4, 6, 8, 10].map(i => sha256[i])) // prettier-ignore
      assert.deepEqual([video.fps, video.total, video.timestamps[1]], [4, 12, 0.25])
    }
    const gif = await readVideo(readFileSync(file('delays.gif')), { num_frames: 2 })
    assert.deepEqual(gif.frames.map(hash), [0, 2].map(i => expected['delays.gif']!.sha256[i])) // prettier-ignore
  })

  it('takes a folder of frames by the numbers in their names, or a list', async () => {
    const frames = Array.from({ length: 11 }, (_, i) => ({ width: 2, height: 1, data: new Uint8ClampedArray(6).fill(i) })) // prettier-ignore
    for (const [i, frame] of frames.entries()) await writePng(join(dir, 'frames', `frame${i}.png`), frame)
    const video = await readVideo(join(dir, 'frames'), { raw_fps: 10 })
    assert.deepEqual(video.frames, frames)
    assert.deepEqual([video.fps, video.timestamps[3]], [10, 0.3])
    const list = [10, 2].map(i => join(dir, 'frames', `frame${i}.png`))
    assert.deepEqual((await readVideo(list)).frames, [frames[10], frames[2]])
  })

  it('refuses files that are missing, cut off, damaged, no video or too large', async () => {
    const whole = readFileSync(file('h264.mp4'))
    const cut = (name: string, bytes: number) => {
      writeFileSync(join(dir, name), readFileSync(file(name)).subarray(0, bytes))
      return join(dir, name)
    }
    const fails = (input: string | Uint8Array, message: RegExp, options = {}) =>
      assert.rejects(readVideo(input, options), message)
    await fails(join(dir, 'none.mp4'), /none\.mp4: there is no such file/)
    await fails(cut('h264.mp4', 2200), /h264\.mp4: it is cut off: 2200 of 2805 bytes .* 5 of about 12 frames/)
    await fails(cut('vp9.webm', 1000), /vp9\.webm: it is cut off: 1000 of 1565 bytes .* \d of about 12 frames/)
    await fails(cut('h264-bt709.mp4', 2000), /it is cut off: 2000 of .*Needed a whole mp4/) // its index is at the end
    await fails(cut('delays.gif', 1500), /Needed a whole GIF/)
    const damaged = Uint8Array.from(whole)
    damaged.fill(255, whole.indexOf('mdat') + 8)
    await fails(damaged, /frame 0 of 12 cannot be decoded/)
    await fails(Buffer.from('no video'), /8 bytes: .*Needed a whole mp4/)
    await fails(file('sound.mp4'), /sound\.mp4: no video stream/)
    await fails(file('h264.mp4'), /12 frames of 62 × 46 pixels, needed at most 10000/, { maxPixels: 10_000 })
    await fails(file('h264.mp4'), /h264\.mp4: sampleFrames: 14 frames of a video that has 12/, { num_frames: 14 })
    await fails(fixture('rows'), /found no frames/)
  })
})

describe('sampleVideo', () => {
  const sample = (total: number, options: VideoSampling, rate = 1) => sampleVideo(total, rate, options)

  it('lets the number of frames follow the length between min_frames and max_frames, or takes max_frames', () => {
    const bounds = { fps: 2, min_frames: 4, max_frames: 8 }
    assert.deepEqual([10, 30, 60, 300].map(total => sample(total, bounds, 10).length), [4, 6, 8, 8]) // prettier-ignore
    assert.deepEqual([6, 10, 300].map(total => sample(total, { ...bounds, dynamic_sample: false }, 10).length), [6, 8, 8]) // prettier-ignore
  })

  it('deals frames to segments by their lengths, evenly inside each', () => {
    const meta = { frame_cnts: [15, 11], min_frames: 4, max_frames: 8 }
    // 8 · 15/26 = 4.6 and 3.4: 5 of frames 0 … 14, 3 of frames 15 … 25
    assert.deepEqual(sample(26, { ...meta, fps: 1 }), [0, 3, 6, 9, 12, 15, 18, 22])
    // the same of a file at twice the rate
    assert.deepEqual(sample(52, { ...meta, fps: 1 }), [0, 6, 12, 18, 24, 30, 37, 44])
    // 4 · 30/32 = 3.75: a short segment still has its frame
    assert.deepEqual(sample(32, { frame_cnts: [1, 30, 1], num_frames: 4 }), [0, 1, 16, 31])
    assert.deepEqual(sample(4, { frame_cnts: [1, 2, 1] }), [0, 1, 2, 3])
  })

  it('refuses bounds and segments that are none', () => {
    assert.throws(() => sample(9, { min_frames: 8, max_frames: 4 }), /min_frames is 8, max_frames 4/)
    assert.throws(() => sample(9, { dynamic_sample: false }), /without max_frames/)
    assert.throws(() => sample(9, { frame_cnts: [3, 0] }), /frame_cnts is \[3,0\]/)
  })
})

describe('yuvToRgb', () => {
  const planes = (offset: number, bytes: number) => [0, 1, 2].map(i => ({ offset: offset + i * bytes, stride: bytes }))
  const pixel = { width: 1, height: 1, chroma: [1, 1] as const, fullRange: false }
  const red = { bt601: [81, 90, 240], bt709: [63, 102, 240] } // of limited range, by the standards' formulas

  for (const [matrix, yuv] of Object.entries(red))
    for (const bits of [8, 10])
      it(`gives red of ${matrix} with ${bits} bits within rounding`, () => {
        const values = yuv.map(x => x * 2 ** (bits - 8))
        const data = bits === 8 ? Uint8Array.from(values) : new Uint8Array(Uint16Array.from(values).buffer)
        const { data: rgb } = yuvToRgb({ ...pixel, data, planes: planes(0, bits > 8 ? 2 : 1), bits, matrix })
        const off = [255, 0, 0].map((x, i) => Math.abs(x - rgb[i]!))
        assert.ok(Math.max(...off) <= 2, `found ${[...rgb].join()}`) // 8 bits of limited range are 1.16 steps of RGB
      })
})
