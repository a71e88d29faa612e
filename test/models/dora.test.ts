import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { causalForward, initAdapter, loadForwardModel } from '../../src/models/index.js'
import { loadPolicy, type LanguagePolicy } from '../../src/policies/index.js'
import { overlay } from '../../src/policies/overlay.js'
import { start, tensorsOf, withTensors, type TensorTree } from '../../src/xla/index.js'
import { fixture } from './fixture.js'

const PARITY = 1e-4 // logits of float32 against PyTorch's
const SLOPES = 1e-4 // gradients, relative to the largest

describe('DoRA', function () {
  this.timeout(60_000)
  let expected: TensorSource
  let ids: tf.Tensor
  const stored = async (name: string) => (await expected.read(name)) as Float32Array
  before(async () => {
    await start()
    expected = await openSafetensors(fixture('qwen2_dora_expected.safetensors'))
    ids = tf.tensor2d(Int32Array.from(await expected.read('input_ids'), Number), expected.tensors.get('input_ids')!.shape as [number, number], 'int32') // prettier-ignore
  })
  after(() => expected.close())

  const forward = (policy: LanguagePolicy, trainable: TensorTree): tf.Tensor =>
    causalForward(policy.model).forward(merged(policy, trainable), { input_ids: ids })['logits']!
  const merged = (policy: LanguagePolicy, trainable: TensorTree) => overlay(policy.weights.frozen, trainable)
  const logits = async (policy: LanguagePolicy) =>
    (await tf.stridedSlice(forward(policy, policy.weights.trainable), [0, 0, 0], [1, ids.shape[1]!, policy.model.vocabulary], [1, 1, 8]).data()) as Float32Array // prettier-ignore

  it('agrees with PEFT on all linear layers under rsLoRA, in logits and gradients', async () => {
    const policy = await loadPolicy(fixture('qwen2'), { adapter: fixture('qwen2_dora') })
    assert.ok(apart(await logits(policy), await stored('logits')) < PARITY)
    const { trainable } = policy.weights
    const loss = (...leaves: tf.Tensor[]) =>
      tf.mean<tf.Scalar>(tf.square(forward(policy, withTensors(trainable, leaves))))
    const grads = withTensors(trainable, tf.grads(loss)(tensorsOf(trainable))) as { layers: TensorTree }
    for (const module of ['self_attn.q_proj', 'mlp.down_proj'])
      for (const [leaf, name] of Object.entries({
        lora_A: 'lora_A.weight',
        lora_B: 'lora_B.weight',
        lora_magnitude_vector: 'lora_magnitude_vector.weight',
      })) {
        // prettier-ignore
        const found = [...module.split('.'), leaf].reduce((t, k) => (t as Record<string, TensorTree>)[k]!, grads.layers)
        const wanted = await stored(`${module}.${name}`)
        const layer = (await tf.slice(found as tf.Tensor, 1, 1).data()) as Float32Array
        assert.ok(apart(layer, wanted) < SLOPES * largest(wanted), `${module}.${leaf}`)
      }
    policy.dispose()
  })

  it('is saved as PEFT stores it, and merges into the weights', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'dora-'))
    const policy = await loadPolicy(fixture('qwen2'), { adapter: fixture('qwen2_dora') })
    await policy.save(join(dir, 'adapter'))
    await policy.save(join(dir, 'merged'), { merge: true })
    const file = 'adapter_model.safetensors'
    const [saved, theirs] = [
      await openSafetensors(join(dir, 'adapter', file)),
      await openSafetensors(join(fixture('qwen2_dora'), file)),
    ]
    assert.deepEqual([...saved.tensors.keys()].sort(), [...theirs.tensors.keys()].sort())
    for (const name of theirs.tensors.keys()) assert.deepEqual(await saved.read(name), await theirs.read(name), name)
    const again = await loadPolicy(fixture('qwen2'), { adapter: join(dir, 'adapter') })
    const whole = await loadPolicy(join(dir, 'merged'))
    for (const other of [again, whole]) assert.ok(apart(await logits(other), await stored('logits')) < PARITY)
    ;[policy, again, whole].forEach(p => p.dispose())
    await Promise.all([saved.close(), theirs.close(), rm(dir, { recursive: true })])
  })

  it('changes nothing at first, on 4-bit weights too', async () => {
    for (const quantization of [null, 'nf4'] as const) {
      const adapter = { r: 2, use_dora: true, target_modules: 'all-linear' }
      const fresh = await loadPolicy(fixture('qwen2'), { adapter, quantization })
      const plain = await loadPolicy(fixture('qwen2'), { quantization })
      assert.ok(apart(await logits(fresh), await logits(plain)) < PARITY, `${quantization}`)
      ;[fresh, plain].forEach(p => p.dispose())
    }
  })

  it('is refused for pipelines', async () => {
    const { model, weights } = await loadForwardModel(fixture('kontext/transformer'))
    assert.throws(
      () => initAdapter(model, { use_dora: true }, 0, weights),
      /LoraConfig: use_dora is true, which .* not of FluxTransformer2DModel/,
    )
  })
})

const apart = (a: Float32Array, b: Float32Array) => b.reduce((worst, x, i) => Math.max(worst, Math.abs(x - a[i]!)), 0)
const largest = (a: Float32Array) => a.reduce((m, x) => Math.max(m, Math.abs(x)), 0)
