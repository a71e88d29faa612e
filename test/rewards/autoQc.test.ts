import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { editScenes, type RgbImage } from '../../src/datasets/index.js'
import { autoQC } from '../../src/rewards/index.js'
import { memory, packageRoot } from '../../src/xla/index.js'
import { faultRanking, gradedPictures, type GradedPicture } from '../../data/make/trainQualityNet.js'
import { fixture } from '../models/fixture.js'
import { batchOf, close } from './samples.js'

const UNSEEN_STRENGTHS = 0.9 // Spearman of each kind, pooled over pictures and strengths

describe('autoQC', function () {
  this.timeout(120_000) // grading pictures and compiling take what other work on the machine leaves
  const qc = autoQC()
  let graded: GradedPicture[]
  before(async () => {
    graded = await gradedPictures('test', { sizes: [32, 64], count: 50, seed: 5 })
  })
  const clean = (): RgbImage[] => graded.filter(g => g.fault === null).map(g => g.image)

  it('is shipped as its manifest says', async () => {
    const dir = join(packageRoot(), 'data/models/autoqc')
    const file = await readFile(join(dir, 'model.safetensors'))
    const manifest = JSON.parse(await readFile(join(dir, 'manifest.json'), 'utf8')) as { sha256: string; bytes: number }
    const sha256 = createHash('sha256').update(file).digest('hex')
    assert.deepEqual({ sha256, bytes: file.length }, { sha256: manifest.sha256, bytes: manifest.bytes })
  })

  it('its learned model alone ranks every kind of fault, on pictures and strengths it has not seen', async () => {
    const learned = async (images: readonly RgbImage[]) => (await qc.parts(images)).map(row => row.learned)
    for (const [fault, rho] of Object.entries(await faultRanking(learned, graded)))
      assert.ok(rho >= UNSEEN_STRENGTHS, `${fault}: ${rho}`)
  })

  it('finds the pictures of editScenes good', async () => {
    const scenes = editScenes({ seed: 3, size: 40 }).train.map(row => row.target)
    const rows = await qc.parts(scenes)
    const mean = rows.reduce((sum, row) => sum + row.learned, 0) / rows.length
    assert.ok(mean > 0.7, `${mean}`)
  })

  it('is the weighted mean of its parts, each in 0 … 1; a reward of pictures of any sizes', async () => {
    const images = clean().slice(15, 35)
    const rows = await qc.parts(images)
    const total = Object.values(qc.weights).reduce((a, b) => a + b, 0)
    rows.forEach(({ autoQC, ...parts }) => {
      const values = Object.entries(parts) as [keyof typeof parts, number][]
      assert.ok(values.every(([, x]) => x >= 0 && x <= 1))
      close([autoQC], [values.reduce((sum, [name, x]) => sum + (qc.weights[name] * x) / total, 0)])
    })
    close(await qc(batchOf(images)), rows.map(row => row.autoQC), 1e-6) // prettier-ignore
    const learned = autoQC(undefined, { weights: { sharpness: 0, noise: 0, exposure: 0, blocking: 0, colourfulness: 0 } }) // prettier-ignore
    close(await learned(batchOf(images)), rows.map(row => row.learned), 1e-6) // prettier-ignore
  })

  it('leaves no tensor behind', async () => {
    const batch = batchOf(clean().slice(0, 8))
    await qc(batch)
    const before = [tf.memory().numTensors, memory()!.buffers]
    await qc(batch)
    assert.deepEqual([tf.memory().numTensors, memory()!.buffers], before)
  })

  it('refuses what it cannot judge', async () => {
    const small: RgbImage = { width: 32, height: 31, data: new Uint8ClampedArray(32 * 31 * 3) }
    await assert.rejects(async () => await qc(batchOf([small])), /autoQC: 32 × 31 pixels, needed at least 32 × 32/)
    await assert.rejects(async () => await qc(batchOf(['text'])), /autoQC, row 0: the completion is text/)
    const other = autoQC(fixture('clip_vision'))
    await assert.rejects(
      async () => await other(batchOf(clean().slice(0, 1))),
      /holds a CLIPVision.*needed a QualityNet/,
    )
    assert.throws(
      () => autoQC(undefined, { weights: { beauty: 1 } as object }),
      /no part is named "beauty". Use learned, /,
    )
    assert.throws(() => autoQC(undefined, { weights: { noise: -1 } }), /the weight of noise is -1, needed a number ≥ 0/)
    assert.deepEqual(await qc(batchOf([])), [])
  })
})
