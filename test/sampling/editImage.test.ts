import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import type { RgbImage } from '../../src/io/images.js'
import { loadKontext } from '../../src/models/index.js'
import { editImage, type EditOptions } from '../../src/sampling/index.js'
import { disposeTree } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'
import { kontextFixture } from '../models/kontextFixture.js'

const GREY_LEVEL = 1 // of 255: rounded float32 values of other summation orders
const HALF = 10 // grey levels on average; unlike images are about 80 apart

describe('editImage', () => {
  const reference = kontextFixture()

  async function picture(name: string): Promise<RgbImage> {
    const [height, width] = reference.expected.tensors.get(name)!.shape as [number, number]
    return { width, height, data: new Uint8ClampedArray(await reference.expected.read(name)) }
  }
  const common = { height: 30, width: 50, max_area: 1024, num_inference_steps: 4, max_sequence_length: 32, auto_resize: false } // prettier-ignore

  async function agrees(name: string, prompt: string, options: Partial<EditOptions>): Promise<void> {
    const latents = tf.tensor(
      await reference.expected.read('edit.latents'),
      reference.expected.tensors.get('edit.latents')!.shape,
    )
    const [found, wanted] = [await editImage(reference.kontext, await picture('edit.image'), prompt, { ...common, ...options, latents }), await picture(name)] // prettier-ignore
    assert.deepEqual([found.width, found.height], [wanted.width, wanted.height])
    const apart = wanted.data.reduce((worst, x, i) => Math.max(worst, Math.abs(x - found.data[i]!)), 0)
    assert.ok(apart <= GREY_LEVEL, `${name}: ${apart} grey levels apart`)
    latents.dispose()
  }

  it("gives diffusers' image after four steps", () =>
    agrees('edit.guided', reference.prompts[0]!, { guidance_scale: 2.5 }))

  it('the same with true classifier-free guidance', () =>
    agrees('edit.negative', reference.prompts[1]!, { negative_prompt: 'blurry, ugly', true_cfg_scale: 3 }))

  it('is near that in bfloat16', async () => {
    const small = await loadKontext(fixture('kontext'), { dtype: 'bfloat16' })
    const latents = tf.tensor(
      await reference.expected.read('edit.latents'),
      reference.expected.tensors.get('edit.latents')!.shape,
    )
    const image = await picture('edit.image')
    const found = await editImage(small, image, reference.prompts[0]!, { ...common, guidance_scale: 2.5, latents })
    const { data } = await picture('edit.guided')
    const apart = data.reduce((sum, x, i) => sum + Math.abs(x - found.data[i]!), 0) / data.length
    assert.ok(apart > 0 && apart < HALF, `${apart} grey levels apart on average`)
    small.dispose()
    latents.dispose()
  })

  it('gives one image a seed, of a prompt or its features, and leaves no tensor behind', async () => {
    const image = await picture('edit.image')
    const features = await reference.kontext.textFeatures([reference.prompts[0]!], common.max_sequence_length)
    const draw = (seed: number, prompt: string | typeof features) =>
      editImage(reference.kontext, image, prompt, { ...common, seed })
    const first = await draw(1, reference.prompts[0]!)
    const before = tf.memory().numTensors
    const [again, other] = [await draw(1, features), await draw(2, reference.prompts[0]!)]
    assert.equal(tf.memory().numTensors, before)
    assert.deepEqual(again.data, first.data)
    assert.notDeepEqual(other.data, first.data)
    disposeTree(features)
  })

  it('refuses what cannot be drawn', async () => {
    const image = await picture('edit.image')
    const small = { width: 5, height: 9, data: new Uint8ClampedArray(5 * 9 * 3) }
    await assert.rejects(editImage(reference.kontext, small, ''), /the image is 5 × 9 pixels, needed at least 8 a side/)
    await assert.rejects(
      editImage(reference.kontext, image, '', { max_area: 30 }),
      /max_area 30 leave 0 × 0, needed at least 8/,
    )
    await assert.rejects(
      editImage(reference.kontext, image, '', { num_inference_steps: 0 }),
      /num_inference_steps is 0/,
    )
    const latents = tf.zeros([1, 4, 16])
    await assert.rejects(
      editImage(reference.kontext, image, '', { ...common, latents }),
      /latents are \[1, 4, 16\], needed \[1, 15, 16\] for 40 × 24 pixels/,
    )
    await assert.rejects(editImage(reference.kontext, image, '', { steps: 4 } as object), /unknown key "steps"/)
  })
}).timeout(60_000)
