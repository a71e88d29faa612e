import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadImageProcessor } from '../../src/io/imageProcessor.js'
import { openSafetensors } from '../../src/io/safetensors.js'
import { fixture } from '../models/fixture.js'

const ROUNDING = 1e-6 // float32 against numpy's

describe('loadImageProcessor', () => {
  it('gives the pixel_values of transformers', async () => {
    const expected = await openSafetensors(fixture('clip_model_expected.safetensors'))
    const processor = await loadImageProcessor(fixture('clip_model'))
    const wanted = await expected.read('pixel_values')
    const size = 3 * processor.height * processor.width
    assert.equal(wanted.length, 4 * size)
    for (let row = 0; row < 4; row++) {
      const [height, width] = expected.tensors.get(`picture.${row}`)!.shape as [number, number, number]
      const data = new Uint8ClampedArray(await expected.read(`picture.${row}`))
      const found = processor({ width, height, data })
      const apart = found.reduce((worst, x, i) => Math.max(worst, Math.abs(x - wanted[row * size + i]!)), 0)
      assert.ok(apart < ROUNDING, `picture ${row}: ${apart}`)
    }
    await expected.close()
  })

  it('reads the old form of sizes, and refuses what it does not do', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'processor-'))
    const path = join(dir, 'preprocessor_config.json')
    const json = JSON.parse(await readFile(fixture('clip_model/preprocessor_config.json'), 'utf8')) as object
    const load = async (change: object) => {
      await writeFile(path, JSON.stringify({ ...json, ...change }))
      return loadImageProcessor(dir)
    }
    const { width, height } = await load({ size: 30, crop_size: 28 })
    assert.deepEqual([width, height], [28, 28])
    const cases: [change: object, message: RegExp][] = [
      [{ do_resize: false }, /preprocessor_config\.json: do_resize is false, needed true/],
      [{ crop_size: 32 }, /crop_size is 32, needed at most the shortest side, 27/],
      [{ size: { longest_edge: 24 } }, /size is {"longest_edge":24}, needed a size in pixels, or { "shortest_edge"/],
      [{ size: { height: 24, width: 24 } }, /do_center_crop is true, needed false/],
      [{ do_pad: true }, /do_pad is true, needed false/],
      [{ resample: 0 }, /resample is 0, needed one of 1 \(lanczos\), 2 \(bilinear\), 3 \(bicubic\)/],
      [{ image_mean: [0.5] }, /image_mean is \[0\.5\], needed three numbers/],
    ]
    for (const [change, message] of cases) await assert.rejects(load(change), { message })
    await rm(dir, { recursive: true })
  })
})
