import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { imageEdits, imagePreferences, resize, writePng, type RgbImage } from '../../src/datasets/index.js'
import { psnr, preservation } from '../../src/rewards/index.js'
import { close } from '../rewards/samples.js'

const picture = (value: number, width = 12, height = 10): RgbImage => ({
  ...{ width, height },
  data: Uint8ClampedArray.from({ length: width * height * 3 }, (_, i) => (i * value) % 256),
})

describe('imageEdits and imagePreferences', () => {
  let dir: string
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'edits-'))
    for (const [name, value] of Object.entries({ a: 7, b: 11, c: 13 })) await writePng(join(dir, `${name}.png`), picture(value)) // prettier-ignore
    const mask = picture(0)
    mask.data.fill(255, 0, 12 * 3) // its first row
    await writePng(join(dir, 'pictures', 'mask.png'), mask)
    await writeFile(join(dir, 'broken.png'), 'no picture')
  })
  after(() => rm(dir, { recursive: true }))

  const file = async (...rows: object[]): Promise<string> => {
    const path = join(dir, 'rows.jsonl')
    await writeFile(path, rows.map(row => JSON.stringify(row)).join('\n\n'))
    return path
  }
  const edit = { source: 'a.png', instruction: 'make it red', target: 'b.png', mask: 'pictures/mask.png' }

  it('reads columns as rewards and policies take them', async () => {
    const edits = imageEdits(await file(edit, { image: 'b.png', prompt: 'remove it' }))
    assert.equal(edits.length, 2)
    const mask = Uint8Array.from({ length: 120 }, (_, i) => (i < 12 ? 1 : 0))
    const [a, b] = [picture(7), picture(11)]
    const first = { prompt: { image: a, prompt: 'make it red' }, image: a, target: b, mask }
    const second = { prompt: { image: b, prompt: 'remove it' }, image: b }
    assert.deepEqual(await edits.read(), [first, second])
    assert.deepEqual(await edits.read([1]), [second])
    const [row] = await edits.read([0])
    const batch = { prompts: [row!.prompt], completions: [row!.image], image: [row!.image], target: [row!.image], mask: [row!.mask] } // prettier-ignore
    close(await psnr()(batch), [100])
    close(await preservation()(batch), [1], 1e-6) // float32
  })

  it('resizes on demand', async () => {
    const [row] = await imageEdits(await file(edit), { size: [8, 9] }).read()
    assert.deepEqual(row!.image, resize(picture(7), 8, 9))
    assert.deepEqual([row!.target!.width, row!.mask!.length], [8, 72])
  })

  it('reads preference pairs, with and without a source', async () => {
    const pair = { prompt: 'x', chosen: 'b.png', rejected: 'c.png' }
    const read = await imagePreferences(await file({ ...pair, image: 'a.png' }, pair)).read()
    const wanted = { prompt: 'x', chosen: picture(11), rejected: picture(13) }
    assert.deepEqual(read, [{ ...wanted, prompt: { image: picture(7), prompt: 'x' } }, wanted])
  })

  it('decodes nothing before it is asked', async () => {
    const edits = imageEdits(await file(edit, { ...edit, target: 'none.png' }, { ...edit, source: 'broken.png' }))
    assert.equal((await edits.read([0])).length, 1)
    await assert.rejects(edits.read([1]), /rows\.jsonl, line 3, target: readImage: .*none\.png: there is no such file/)
    await assert.rejects(edits.read(), /line 3, target/)
    await assert.rejects(edits.read([2]), /rows\.jsonl, line 5, image: readImage: .*broken\.png: another kind of file/)
    await assert.rejects(edits.read([3]), /has no row 3, needed one of 0 … 2/)
    const small = imageEdits(await file(edit), { maxPixels: 50 })
    await assert.rejects(small.read(), /line 1, image: .*12 × 10 pixels, needed at most 50/)
  })

  it('names file, line and field', async () => {
    const cases: [rows: object[], message: RegExp][] = [
      [
        [edit, { ...edit, instruction: 4 }],
        /imageEdits: .*rows\.jsonl, line 3: field "prompt" or "instruction" is 4, needed a text/,
      ],
      [
        [{ instruction: 'x', target: 'b.png' }],
        /line 1: field "image" or "source" is missing \(got instruction, target\)/,
      ],
      [[{ ...edit, target: [] }], /line 1: field "target" is \[\], needed a text/],
      [[], /rows\.jsonl is empty, needed lines with prompt, image, target, mask/],
    ]
    for (const [rows, message] of cases) {
      const path = await file(...rows)
      assert.throws(() => imageEdits(path), { message })
    }
  })
})
