import assert from 'node:assert/strict'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { forwardCommand } from '../../src/cli/forward.js'
import { saveWeights, type WeightType } from '../../src/io/checkpoint.js'
import { readJson } from '../../src/io/json.js'
import { openSafetensors, writeSafetensors, type StoredTensor, type TensorSource } from '../../src/io/safetensors.js'
import { loadForwardModel } from '../../src/models/index.js'
import { disposeTree, eachTensor, jit, start, tensorsOf, withTensors } from '../../src/xla/index.js'
import { fixture } from './fixture.js'

/** float32 against PyTorch's float32: other summation orders, and angles of up to 3500 radians. */
const PARITY = 2e-4
/** How much larger our rounding errors in bfloat16 may be than those of diffusers. */
const NOISE = 1.25
/** Of the finite differences: small for the curvature, large for the rounding of the loss. */
const STEP = 1e-3
const MODELS = ['flux', 'flux_schnell'] // with guidance embedding, and without

describe('FluxTransformer2DModel', () => {
  let expected: TensorSource
  before(async () => {
    await start()
    expected = await openSafetensors(fixture('flux_expected.safetensors'))
  })
  after(() => expected.close())

  const stored = async (name: string): Promise<StoredTensor> => ({
    dtype: 'F32',
    shape: expected.tensors.get(`input.${name}`)!.shape,
    data: await expected.read(`input.${name}`),
  })
  const apart = (a: ArrayLike<number>, b: ArrayLike<number>) => {
    assert.equal(a.length, b.length)
    return Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i]!)), 0)
  }
  async function load(name: string, dtype?: WeightType) {
    const { model, weights } = await loadForwardModel(fixture(name), { dtype })
    const inputs: Record<string, tf.Tensor> = {}
    for (const input of Object.keys(model.inputs)) {
      const { data, shape } = await stored(input)
      inputs[input] = tf.tensor(data as Float32Array, shape)
    }
    return { model, weights, inputs }
  }

  for (const name of MODELS)
    it(`agrees with diffusers through rewardlab forward: ${name}`, async () => {
      const dir = await mkdtemp(join(tmpdir(), 'flux-'))
      const { model, weights, inputs } = await load(name)
      disposeTree([weights, inputs])
      const all: Record<string, StoredTensor> = {}
      for (const input of Object.keys(model.inputs)) all[input] = await stored(input)
      await writeSafetensors(join(dir, 'in'), all)
      await forwardCommand.run([fixture(name), join(dir, 'in'), join(dir, 'out')], () => {})
      const out = await openSafetensors(join(dir, 'out'))
      assert.ok(apart(await out.read('sample'), await expected.read(`${name}.sample`)) < PARITY)
      await out.close()
      await rm(dir, { recursive: true })
    })

  it('in bfloat16 is as near to float32 as diffusers in bfloat16', async () => {
    const { model, weights, inputs } = await load('flux_schnell', 'bfloat16')
    const timestep = tf.tensor(await expected.read('even.timestep'))
    const sample = tf.tidy(() => model.forward(weights, { ...inputs, timestep })['sample']!)
    const full = await expected.read('even.sample')
    const rms = (a: ArrayLike<number>) =>
      Math.sqrt(Array.from(a).reduce((sum, x, i) => sum + (x - full[i]!) ** 2, 0) / a.length)
    const [ours, theirs] = [rms(await sample.data()), rms(await expected.read('even.bf16_sample'))]
    assert.ok(ours < NOISE * theirs, `${ours} from float32, diffusers ${theirs}`)
    assert.ok(ours > theirs / 10, `${ours}: computed in float32`)
    disposeTree([weights, inputs, timestep, sample])
  })

  it('has the gradient that finite differences have', async () => {
    const { model, weights, inputs } = await load('flux')
    const leaves = tensorsOf(weights)
    const direction = leaves.map(w =>
      tf.tensor(
        Float32Array.from({ length: w.size }, (_, i) => Math.sin(i + 1)),
        w.shape,
      ),
    )
    const loss = (weightsAt: tf.Tensor[]): tf.Scalar =>
      tf.mean(tf.square(model.forward(withTensors(weights, weightsAt), inputs)['sample']!))
    const at = jit((step: tf.Tensor) =>
      tf.tidy(() => loss(leaves.map((w, i) => tf.add(w, tf.mul(direction[i]!, step))))),
    )
    const along = jit((leaves: tf.Tensor[]) =>
      tf.tidy(() => {
        const gradient = tf.grads((...weightsAt) => loss(weightsAt))(leaves)
        return tf.addN(gradient.map((g, i) => tf.sum(tf.mul(g, direction[i]!))))
      }),
    )
    const steps = [tf.scalar(STEP), tf.scalar(-STEP)]
    const [high, low, exact] = [await at.async(steps[0]!), await at.async(steps[1]!), await along.async(leaves)]
    const difference = ((await high.data())[0]! - (await low.data())[0]!) / (2 * STEP)
    const slope = (await exact.data())[0]!
    assert.ok(Math.abs(slope - difference) < 0.01 * Math.abs(difference), `${slope}, differences ${difference}`)
    disposeTree([weights, inputs, direction, steps, high, low, exact])
  })

  it('saves under the names it was loaded from', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'flux-'))
    const { model, weights, inputs } = await load('flux')
    await saveWeights(join(dir, 'saved'), weights, model.parameters, {})
    const paths = [join(dir, 'saved'), fixture('flux/diffusion_pytorch_model.safetensors')]
    const [after, before] = await Promise.all(paths.map(path => openSafetensors(path)))
    assert.deepEqual(new Set(after!.tensors.keys()), new Set(before!.tensors.keys()))
    for (const name of before!.tensors.keys()) assert.deepEqual(await after!.read(name), await before!.read(name), name)
    await Promise.all([before!.close(), after!.close(), rm(dir, { recursive: true })])
    let stacks = 0
    eachTensor(
      weights,
      (t, path) => (stacks += Number(path === 'single_transformer_blocks.proj_mlp.bias' && t.shape[0] === 3)),
    )
    assert.equal(stacks, 1)
    disposeTree([weights, inputs])
  })

  it('refuses a directory or inputs that do not fit', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'flux-'))
    await cp(fixture('flux'), dir, { recursive: true })
    const path = join(dir, 'config.json')
    const config = await readJson(path)
    const edited = async (change: object) => {
      await writeFile(path, JSON.stringify({ ...config, ...change }))
      return loadForwardModel(dir)
    }
    await assert.rejects(
      edited({ axes_dims_rope: [2, 4, 4] }),
      /axes_dims_rope is \[2,4,4\], needed even numbers whose sum/,
    )
    await assert.rejects(
      edited({ _class_name: 'UNet2DModel' }),
      /_class_name is "UNet2DModel", needed one of .*FluxTrans/,
    )
    await assert.rejects(edited({ _class_name: undefined }), /needed/)
    await assert.rejects(edited({ num_layers: 1, guidance_embeds: false }), (error: Error) => {
      assert.match(error.message, /unexpected: .*time_text_embed\.guidance_embedder.*transformer_blocks\.1\./)
      return true
    })
    await rm(join(dir, 'diffusion_pytorch_model.safetensors'))
    await assert.rejects(edited({}), /no weights\. Needed: diffusion_pytorch_model\.safetensors or/)

    const good: Record<string, StoredTensor> = {}
    for (const name of [...expected.tensors.keys()].filter(name => name.startsWith('input.')))
      good[name.slice('input.'.length)] = await stored(name.slice('input.'.length))
    const { guidance, ...unguided } = good
    const ids: StoredTensor = { dtype: 'F32', shape: [1, 3], data: new Float32Array(3) }
    const cases: [inputs: Record<string, StoredTensor>, message: RegExp][] = [
      [unguided, /guidance is missing, needed \[rows\] F32 or F16 or BF16/],
      [{ ...good, txt_ids: ids }, /txt_ids is \[1, 3\], needed \[5, 3\]/],
      [{ ...good, timestep: { ...guidance!, shape: [1, 2] } }, /timestep is \[1, 2\], needed \[2\]/],
    ]
    for (const [inputs, message] of cases) {
      await writeSafetensors(join(dir, 'in'), inputs)
      await assert.rejects(
        forwardCommand.run([fixture('flux'), join(dir, 'in'), join(dir, 'out')], () => {}),
        { message },
      )
    }
    await rm(dir, { recursive: true })
  })
}).timeout(120_000)
