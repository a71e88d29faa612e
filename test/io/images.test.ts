import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { encodePng, imagesToTensor, readImage, tensorToImages, writePng, type RgbImage } from '../../src/io/images.js'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { start } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'

const JPEG = 3 // grey levels between two decoders
const SIXTEEN_BIT = 1 // rounding of the upper 8 bits
const BLENDED = 1 // rounding of transparency

const noise = (width: number, height: number): RgbImage => ({
  width,
  height,
  data: Uint8ClampedArray.from({ length: width * height * 3 }, (_, i) => (i * i * 7919) % 251),
})

describe('images', () => {
  let dir: string
  let expected: TensorSource
  before(async () => {
    await start()
    dir = await mkdtemp(join(tmpdir(), 'images-'))
    expected = await openSafetensors(fixture('images_expected.safetensors'))
  })
  after(async () => {
    await expected.close()
    await rm(dir, { recursive: true })
  })

  const tolerances: Record<string, number> = {
    ...{ 'rgb.png': 0, 'grey.png': 0, 'one-bit.png': 0, 'palette.gif': 0, 'palette.png': 0 },
    ...{ 'lossless.webp': 0, 'picture.tiff': 0, 'rgba.png': BLENDED, 'grey-alpha.png': BLENDED },
    ...{ 'sixteen-bit.png': SIXTEEN_BIT, 'picture.jpg': JPEG, 'turned.jpg': JPEG },
  }
  for (const [name, tolerance] of Object.entries(tolerances))
    it(`${name} reads as in Pillow`, async () => {
      const image = await readImage(fixture(`images/${name}`))
      const { shape } = expected.tensors.get(name)!
      assert.deepEqual([image.height, image.width, 3], shape)
      const wanted = await expected.read(name)
      const apart = image.data.reduce((worst, x, i) => Math.max(worst, Math.abs(x - wanted[i]!)), 0)
      assert.ok(apart <= tolerance, `${apart}`)
    })

  it('CMYK reads as colours of a print', async () => {
    const { data, width, height } = await readImage(fixture('images/cmyk.jpg'))
    assert.deepEqual([width, height, data.length], [24, 16, 24 * 16 * 3])
    const [left, right] = [data.subarray(0, 3), data.subarray(23 * 3, 24 * 3)]
    assert.ok(left[2]! > left[0]! + 50 && right[0]! > right[2]! + 50, `${left.join()} ${right.join()}`) // blue to red
  })

  it('every fixture is read by a case', async () => {
    const files = (await readdir(fixture('images'))).filter(name => name !== 'cmyk.jpg').sort()
    assert.deepEqual(files, Object.keys(tolerances).sort())
  })

  it('PNG gives back what was written, from a path and from bytes', async () => {
    const image = noise(7, 5)
    const path = join(dir, 'new', 'noise.png')
    await writePng(path, image)
    assert.deepEqual(await readImage(path), image)
    assert.deepEqual(await readImage(await encodePng(image)), image)
    assert.deepEqual(await readdir(join(dir, 'new')), ['noise.png'])
  })

  it('refuses what is no whole picture', async () => {
    const png = await encodePng(noise(64, 64))
    const large = join(dir, 'large.png')
    await writeFile(large, png)
    const jpeg = await readFile(fixture('images/picture.jpg'))
    await writeFile(join(dir, 'empty.png'), '')
    await writeFile(join(dir, 'text.png'), 'not a picture')
    await mkdir(join(dir, 'folder.png'))
    const cases: [input: string | Uint8Array, message: RegExp, maxPixels?: number][] = [
      [join(dir, 'none.png'), /none\.png: there is no such file\. Needed a picture\. Check the path\./],
      [join(dir, 'folder.png'), /folder\.png: a folder/],
      [join(dir, 'empty.png'), /empty\.png: empty/],
      [join(dir, 'text.png'), /text\.png: another kind of file\. Needed PNG/],
      [large, /large\.png: 64 × 64 pixels, needed at most 1000\. Make it smaller, or raise maxPixels/, 1000],
      [png.subarray(0, png.length / 2), /^readImage: \d+ bytes: .*read error\. Needed a whole PNG/],
      [jpeg.subarray(0, jpeg.length - 100), /premature end of JPEG image/],
      [new Uint8Array(), /^readImage: 0 bytes: empty/],
    ]
    for (const [input, message, maxPixels] of cases) await assert.rejects(readImage(input, { maxPixels }), { message })
    await assert.rejects(writePng(join(dir, 'never.png'), { ...noise(4, 4), width: 5 }), /48 values for 5 × 4 pixels/)
    assert.ok(!(await readdir(dir)).includes('never.png'))
  })

  it('tensors hold 0 … 1, and round back as in diffusers', async () => {
    const images = [noise(4, 3), noise(4, 3)]
    const tensor = imagesToTensor(images)
    assert.deepEqual(tensor.shape, [2, 3, 4, 3])
    assert.equal(tf.max(tensor).dataSync()[0], Math.fround(Math.max(...images[0]!.data) / 255))
    assert.deepEqual(await tensorToImages(tensor), images)
    const odd = tf.tensor4d([-0.5, 0.5 / 255, 1.5 / 255, 2.5 / 255, 1.2, NaN], [1, 1, 2, 3])
    assert.deepEqual([...(await tensorToImages(odd))[0]!.data], [0, 0, 2, 2, 255, 0])
    tf.dispose([tensor, odd])
  })

  it('refuses pictures that do not go together, and tensors that are none', async () => {
    assert.throws(() => imagesToTensor([]), /got no picture/)
    assert.throws(() => imagesToTensor([noise(4, 3), noise(3, 4)]), /picture 1 is 3 × 4, the first 4 × 3/)
    const grey = tf.zeros([1, 4, 4, 1])
    await assert.rejects(tensorToImages(grey), /got \[1, 4, 4, 1\], needed \[images, height, width, 3\]/)
    grey.dispose()
  })
})
