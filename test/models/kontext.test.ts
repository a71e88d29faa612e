import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'

import {
  kontextVelocity,
  latentImageIds,
  loadKontext,
  packLatents,
  preferredResolution,
  unpackLatents,
} from '../../src/models/index.js'
import { disposeTree, jit, start, type TensorTree } from '../../src/xla/index.js'
import { fixture } from './fixture.js'
import { kontextFixture } from './kontextFixture.js'

const PARITY = 1e-5 // relative to the largest value; float32 against PyTorch's float32: other summation orders

interface Geometry {
  latents: number[]
  packed: number[][][]
  ids: number[][]
  /** width, height → width, height */
  preferred: [number, number, number, number][]
}

describe('FLUX.1 Kontext', () => {
  let geometry: Geometry
  before(async () => {
    await start()
    geometry = JSON.parse(await readFile(fixture('kontext_geometry.json'), 'utf8')) as Geometry
  })

  it('packs latents as diffusers does, and unpacks them', async () => {
    const latents = tf.reshape(tf.range(0, tf.util.sizeFromShape(geometry.latents)), geometry.latents)
    const packed = packLatents(latents)
    assert.deepEqual(await packed.array(), geometry.packed)
    const [, , h, w] = geometry.latents as [number, number, number, number]
    assert.deepEqual(await unpackLatents(packed, h, w).array(), await latents.array())
    assert.throws(() => packLatents(tf.zeros([1, 2, 3, 4])), /latents are \[1, 2, 3, 4\], needed .* h and w even/)
    assert.throws(() => unpackLatents(packed, h, w + 2), /tokens are \[2, 6, 12\], needed \[B, 8, 4·C\]/)
  })

  it('numbers the tokens of target and reference', async () => {
    assert.deepEqual(await latentImageIds(4, 6, 0).array(), geometry.ids)
    assert.deepEqual(await latentImageIds(4, 6, 1).array(), geometry.ids.map(([, row, column]) => [1, row, column])) // prettier-ignore
  })

  it('prefers the sizes that diffusers prefers', () => {
    assert.ok(geometry.preferred.length >= 8)
    for (const [w, h, width, height] of geometry.preferred)
      assert.deepEqual(preferredResolution(w, h), { width, height }, `${w} × ${h}`)
  })
})

describe('a Kontext pipeline, stage by stage as diffusers', () => {
  const reference = kontextFixture()

  const tensor = async (name: string) =>
    tf.tensor(await reference.expected.read(name), reference.expected.tensors.get(name)!.shape)
  async function agrees(found: tf.Tensor, name: string): Promise<void> {
    const [values, wanted] = [await found.data(), (await reference.expected.read(name)) as Float32Array]
    assert.deepEqual(found.shape, reference.expected.tensors.get(name)!.shape, name)
    const largest = wanted.reduce((m, x) => Math.max(m, Math.abs(x)), 0)
    const apart = wanted.reduce((worst, x, i) => Math.max(worst, Math.abs(x - values[i]!)), 0)
    assert.ok(apart < PARITY * largest, `${name}: ${apart} apart, the largest value is ${largest}`)
  }

  it('text features', async () => {
    const features = await reference.kontext.textFeatures(reference.prompts.slice(0, 4), 32)
    await agrees(features.text, 'text')
    await agrees(features.pooled, 'pooled')
    disposeTree(features)
  })

  it('the reference image', async () => {
    const image = await tensor('image') // [24, 32, 3]
    const encoded = await reference.kontext.encode(tf.div(tf.expandDims(image), 255))
    await agrees(packLatents(encoded), 'reference')
  })

  it('one step of the transformer', async () => {
    const given = Object.fromEntries(
      await Promise.all(
        ['latents', 'reference', 'ids', 'text', 'pooled'].map(async n => [n, await tensor(n)] as const),
      ),
    ) as Record<'latents' | 'reference' | 'ids' | 'text' | 'pooled', tf.Tensor>
    const { model, weights } = reference.kontext.transformer
    const velocity = jit((weights: TensorTree, { latents, text, pooled, ...others }: typeof given) =>
      tf.tidy(() => {
        const guidance = tf.tensor1d([2.5])
        const row = (x: tf.Tensor) => tf.slice(x, 1, 1)
        const conditions = { ...others, text: row(text), pooled: row(pooled), guidance }
        return kontextVelocity(model, weights, latents, tf.tensor1d([0.75]), conditions)
      }),
    )
    await agrees(await velocity.async(weights, given), 'velocity')
    const ids = tf.concat([latentImageIds(6, 10, 0), latentImageIds(6, 8, 1)])
    assert.deepEqual(await ids.array(), await given.ids.array())
  })

  it('the decoder', async () => {
    const found = await reference.kontext.decode(unpackLatents(await tensor('latents'), 6, 10)) // [1, 24, 40, 3], 0 … 1
    await agrees(tf.transpose(tf.sub(tf.mul(found, 2), 1), [0, 3, 1, 2]), 'decoded')
  })

  it('says what a directory lacks, all at once and before it reads weights', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kontext-'))
    await cp(fixture('kontext'), dir, { recursive: true })
    const change = async (file: string, fields: object) => {
      const stored = JSON.parse(await readFile(join(dir, file), 'utf8')) as object
      await writeFile(join(dir, file), JSON.stringify({ ...stored, ...fields }))
    }
    const weights = join(dir, 'transformer', 'diffusion_pytorch_model.safetensors')
    const before = tf.memory().numTensors
    await cp(fixture('flux/diffusion_pytorch_model.safetensors'), weights)
    await assert.rejects(loadKontext(dir), /transformer.*safetensors: 46 unexpected: .*; 5 misshapen: /)
    await rm(weights)
    await assert.rejects(loadKontext(dir), /transformer: no weights\. Needed: diffusion_pytorch_model\.safetensors or/)
    assert.equal(tf.memory().numTensors, before, 'what was read is freed')
    await change('vae/config.json', { latent_channels: 8 })
    await assert.rejects(
      loadKontext(dir),
      /transformer.config\.json: in_channels is 16, needed 32, 4 times latent_channels/,
    )
    await rm(join(dir, 'vae'), { recursive: true })
    await change('model_index.json', { text_encoder: ['transformers', 'CLIPVisionModel'], tokenizer_2: [null, null] })
    await assert.rejects(loadKontext(dir), (error: Error) => {
      assert.ok(error.message.startsWith(dir))
      assert.match(error.message, /text_encoder is CLIPVisionModel, needed CLIPTextModel;/)
      assert.match(error.message, /model_index\.json names no tokenizer_2, needed T5TokenizerFast or T5Tokenizer;/)
      assert.match(error.message, /the folder vae \(AutoencoderKL\) is missing\. Fetch the whole pipeline/)
      return true
    })
    await change('model_index.json', { _class_name: 'StableDiffusionPipeline' })
    await assert.rejects(loadKontext(dir), /_class_name is "StableDiffusionPipeline", needed "FluxKontextPipeline"/)
    await assert.rejects(loadKontext(fixture('flux')), /model_index\.json: there is no such file/)
    await rm(dir, { recursive: true })
  })

  it('forgets its text encoders', async () => {
    const other = await loadKontext(fixture('kontext'))
    const before = tf.memory().numTensors
    other.forgetText()
    assert.ok(tf.memory().numTensors < before)
    await assert.rejects(other.textFeatures(['a']), /the text encoders were forgotten/)
    other.dispose()
  })
}).timeout(60_000)
