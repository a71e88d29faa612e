import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { movingShapes, readVideo, writeAnimation } from '../../src/datasets/index.js'

describe('writeAnimation', () => {
  let dir: string
  before(async () => (dir = await mkdtemp(join(tmpdir(), 'animation-'))))
  after(() => rm(dir, { recursive: true }))

  it('writes frames that readVideo gives back within one level, at their rate', async () => {
    const { frames } = movingShapes({ seed: 3, size: 10 }).train[0]!
    const path = join(dir, 'clips', 'a.gif')
    await writeAnimation(path, frames, 4)
    const found = await readVideo(path)
    assert.equal(found.fps, 4)
    assert.equal(found.frames.length, frames.length)
    found.frames.forEach(({ data }, i) => data.forEach((value, at) => assert.ok(Math.abs(value - frames[i]!.data[at]!) <= 1))) // prettier-ignore
  })

  it('refuses a single frame, and frames of other sizes', async () => {
    const frame = (width: number) => ({ width, height: 1, data: new Uint8ClampedArray(3 * width) })
    await assert.rejects(writeAnimation(join(dir, 'b.gif'), [frame(2)], 4), /got 1 frames, needed at least two/)
    await assert.rejects(writeAnimation(join(dir, 'b.gif'), [frame(2), frame(3)], 4), /frame 1 is 3 × 1, the first 2 × 1/) // prettier-ignore
  })
})
