import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import {
  initAdapter,
  kontextVelocity,
  loadAdapter,
  loadForwardModel,
  mergeAdapter,
  saveAdapter,
  type Loaded,
} from '../../src/models/index.js'
import { overlay } from '../../src/policies/overlay.js'
import {
  dequantizeNf4,
  disposeTree,
  isNf4,
  jit,
  mapTensors,
  start,
  tensorsOf,
  withTensors,
  type TensorTree,
} from '../../src/xla/index.js'
import { fixture } from './fixture.js'

const PARITY = 1e-5 // relative to the largest value; float32 against PyTorch's float32: other summation orders
const SLOPE = 0.01 // relative; finite differences in float32

/** Of language models: test/policies/languagePolicy.test.ts. */
describe('LoRA adapters of the FLUX transformer', function () {
  this.timeout(60_000)
  let expected: TensorSource
  let base: Loaded
  let given: Record<'latents' | 'reference' | 'ids' | 'text' | 'pooled', tf.Tensor>
  before(async () => {
    await start()
    expected = await openSafetensors(fixture('kontext_expected.safetensors'))
    base = await loadForwardModel(fixture('kontext/transformer'))
    const stored = async (name: string) => tf.tensor(await expected.read(name), expected.tensors.get(name)!.shape)
    const row = async (name: string) => tf.slice(await stored(name), 1, 1)
    given = {
      latents: await stored('latents'),
      reference: await stored('reference'),
      ids: await stored('ids'),
      text: await row('text'),
      pooled: await row('pooled'),
    }
  })
  after(() => expected.close())

  const velocity = jit((weights: TensorTree, { latents, ...conditions }: typeof given) =>
    tf.tidy(() => {
      const guidance = tf.tensor1d([2.5])
      return kontextVelocity(base.model, weights, latents, tf.tensor1d([0.75]), { ...conditions, guidance })
    }),
  )
  const values = async (weights: TensorTree) => (await (await velocity.async(weights, given)).data()) as Float32Array
  const apart = (a: Float32Array, b: Float32Array) => {
    const largest = b.reduce((m, x) => Math.max(m, Math.abs(x)), 0)
    return b.reduce((worst, x, i) => Math.max(worst, Math.abs(x - a[i]!)), 0) / largest
  }

  for (const name of ['kontext_adapter', 'kontext_adapter_plain'])
    it(`agree with diffusers, which saved them, and are saved as they were: ${name}`, async () => {
      const adapter = await loadAdapter(base.model, fixture(name))
      const whole = overlay(overlay(base.weights, adapter.scaling), adapter.weights)
      const wanted = (await expected.read(`${name}.velocity`)) as Float32Array
      assert.ok(apart(await values(whole), wanted) < PARITY)
      assert.ok(apart(await values(base.weights), wanted) > 0.01, 'the adapter changes something')
      assert.ok(apart(await values(mergeAdapter(whole)), wanted) < PARITY)

      const dir = await mkdtemp(join(tmpdir(), 'lora-'))
      await saveAdapter(base.model, adapter.config, adapter.weights, dir, '')
      const file = 'pytorch_lora_weights.safetensors'
      const [saved, theirs] = [await openSafetensors(join(dir, file)), await openSafetensors(join(fixture(name), file))]
      assert.deepEqual([...saved.tensors.keys()].sort(), [...theirs.tensors.keys()].sort())
      for (const key of theirs.tensors.keys()) assert.deepEqual(await saved.read(key), await theirs.read(key), key)
      const config = (s: TensorSource) =>
        JSON.parse(s.metadata['lora_adapter_metadata'] ?? '{}') as Record<string, unknown>
      const [ours, original] = [config(saved), config(theirs)]
      for (const key of Object.keys(ours).filter(key => key in original && key !== 'transformer.inference_mode'))
        assert.deepEqual(ours[key], original[key], key)
      assert.equal(ours['transformer.r'], adapter.config.r)
      const again = await loadAdapter(base.model, dir)
      assert.deepEqual(again.config, adapter.config)
      await Promise.all([saved.close(), theirs.close(), rm(dir, { recursive: true })])
    })

  it('start without an effect, on the projections of attention and MLP; their gradient is that of finite differences', async () => {
    const fresh = initAdapter(base.model, { r: 3 }, 1)
    const frozen = overlay(base.weights, fresh.scaling)
    assert.deepEqual(await values(overlay(frozen, fresh.weights)), await values(base.weights))
    const trained = await loadAdapter(base.model, fixture('kontext_adapter'))
    const names = (tree: TensorTree) => Object.keys(tree).sort()
    assert.deepEqual(names(fresh.weights), names(trained.weights))

    const direction = mapTensors(trained.weights, (t, path) => tf.randomNormal(t.shape, 0, 0.1, 'float32', path.length))
    const gradient = jit((adapter: TensorTree) => {
      const loss = (...leaves: tf.Tensor[]) =>
        tf.mean<tf.Scalar>(tf.square(velocity(overlay(frozen, withTensors(adapter, leaves)), given)))
      const slopes = tf
        .grads(loss)(tensorsOf(adapter))
        .map((g, i) => tf.sum(tf.mul(g, tensorsOf(direction)[i]!)))
      return tf.addN(slopes)
    })
    const slope = (await (await gradient.async(trained.weights)).data())[0]!
    const lossAt = async (h: number) => {
      const moved = tensorsOf(trained.weights).map((t, i) => tf.add(t, tf.mul(tensorsOf(direction)[i]!, h)))
      const found = await values(overlay(frozen, withTensors(trained.weights, moved)))
      return found.reduce((sum, x) => sum + x ** 2, 0) / found.length
    }
    const h = 3e-3
    const difference = ((await lossAt(h)) - (await lossAt(-h))) / (2 * h)
    assert.ok(Math.abs(slope - difference) < SLOPE * Math.abs(slope), `${slope}, differences ${difference}`)
  })

  it('lie on blocks in 4 bits as on what these stand for', async () => {
    const quantized = await loadForwardModel(fixture('kontext/transformer'), { quantization: 'nf4' })
    const { weights, scaling } = await loadAdapter(base.model, fixture('kontext_adapter'))
    const adapted = (tree: TensorTree) => overlay(overlay(tree, scaling), weights)
    const [found, exact] = [await values(adapted(quantized.weights)), await values(adapted(base.weights))]
    assert.ok(apart(found, exact) > 0.01, 'four bits are not exact')
    assert.ok(apart(found, await values(adapted(restored(quantized.weights)))) < PARITY)
    disposeTree([quantized.weights, weights, scaling])
  })

  it('name what does not fit', async () => {
    assert.throws(
      () => initAdapter(base.model, { target_modules: ['q_proj'] }, 0),
      /\["q_proj"\] match no linear layer of FluxTransformer2DModel. It has .*to_q.*to_out\.0.*proj_mlp/,
    )
    await assert.rejects(loadAdapter(base.model, fixture('qwen2_adapter')), /Needed: pytorch_lora_weights\.safetensors/)
    assert.throws(
      () => initAdapter(base.model, { target_modules: '(\\w+\\w*)*!' }, 0),
      /target_modules: not done after 1 s/,
    )
  })
})

const restore = jit(dequantizeNf4)

/** Stacked matrices in full precision in the place of quantised ones. */
function restored(tree: TensorTree): TensorTree {
  if (tree instanceof tf.Tensor || Array.isArray(tree)) return tree
  if (isNf4(tree)) {
    const layers = tf.unstack(tree.packed).map((_, l) =>
      restore(
        mapTensors(tree, t => tf.unstack(t)[l]!),
        'f32',
      ),
    )
    return tf.stack(layers)
  }
  return Object.fromEntries(Object.entries(tree).map(([key, child]) => [key, restored(child)]))
}
