import assert from 'node:assert/strict'
import { cp, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { saveWeights, type WeightType } from '../../src/io/checkpoint.js'
import { initQwen2, loadCausalModel, qwen2, qwen2Config } from '../../src/models/index.js'
import { Fields, readJson } from '../../src/io/json.js'
import { autocast, disposeTree, eachTensor, random, start, typeOf } from '../../src/xla/index.js'
import { fixture } from './fixture.js'

/** How much larger our rounding errors in bfloat16 may be than those of transformers: other orders, root mean squares. */
const NOISE = 1.25
const PARITY = 1e-4 // float32 against PyTorch's float32: other summation orders

describe('Qwen2ForCausalLM', () => {
  let expected: TensorSource
  before(async () => {
    await start()
    expected = await openSafetensors(fixture('qwen2_expected.safetensors'))
  })
  after(() => expected.close())

  const tensor = async (name: string) =>
    tf.tensor(await expected.read(name), expected.tensors.get(name)!.shape, 'int32')

  /** Logits of a model directory on stored inputs, and their largest distance from the stored logits. */
  async function distance(dir: string, inputs: string, logits: string, dtype?: WeightType): Promise<number> {
    const { model, weights } = await loadCausalModel(fixture(dir), { dtype })
    const input = {
      input_ids: await tensor(`${inputs}.input_ids`),
      attention_mask: await tensor(`${inputs}.attention_mask`),
    }
    const found = tf.tidy(() => model.head(weights, model.hidden(weights, input)))
    const stride = model.vocabulary / expected.tensors.get(logits)!.shape[2]!
    const reference = (await expected.read(logits)) as Float32Array
    const values = (await found.data()).filter((_, i) => i % stride === 0)
    assert.equal(values.length, reference.length)
    disposeTree([weights, input, found])
    return reference.reduce((worst, r, i) => Math.max(worst, Math.abs(r - values[i]!)), 0)
  }

  it('agrees with transformers on left-padded rows', async () => {
    assert.ok((await distance('qwen2', 'left', 'left.logits')) < PARITY)
  })
  it('agrees on right-padded rows, padding included', async () => {
    assert.ok((await distance('qwen2', 'right', 'right.logits')) < PARITY)
  })
  it('agrees with an untied head, bfloat16 in shards', async () => {
    assert.ok((await distance('qwen2_untied', 'left', 'untied.logits')) < PARITY)
  })

  it('loaded in bfloat16, or under autocast, is as near to float32 as transformers in bfloat16', async () => {
    const source = await openSafetensors(fixture('qwen2_bf16_expected.safetensors'))
    const [half, full] = [await source.read('bf16.logits'), await source.read('f32.logits')]
    await source.close()
    const apart = (a: ArrayLike<number>, b: ArrayLike<number>) =>
      Math.sqrt(Array.from(a).reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0) / a.length)
    for (const dtype of ['bfloat16', 'float32'] as const) {
      const { model, weights } = await loadCausalModel(fixture('qwen2_untied'), { dtype })
      const input = { input_ids: await tensor('left.input_ids'), attention_mask: await tensor('left.attention_mask') }
      const logits = () => tf.tidy(() => model.head(weights, model.hidden(weights, input)))
      const found = dtype === 'bfloat16' ? logits() : autocast('bf16', logits)
      assert.equal(typeOf(found), 'f32')
      const values = (await found.data()).filter((_, i) => i % 8 === 0)
      const [ours, theirs] = [apart(values, full), apart(half, full)]
      assert.ok(ours < NOISE * theirs, `${dtype}: ${ours} from float32, transformers ${theirs}`)
      assert.ok(ours > theirs / 10, `${dtype}: ${ours}`)
      disposeTree([weights, input, found])
    }
  })

  it('saves under the names it was loaded from', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'qwen2-'))
    const { model, weights } = await loadCausalModel(fixture('qwen2'))
    await saveWeights(join(dir, 'model.safetensors'), weights, model.parameters, model)
    const [before, after] = await Promise.all(
      [fixture('qwen2'), dir].map(d => openSafetensors(join(d, 'model.safetensors'))),
    )
    assert.deepEqual(new Set(after!.tensors.keys()), new Set(before!.tensors.keys()))
    for (const name of before!.tensors.keys()) assert.deepEqual(await after!.read(name), await before!.read(name), name)
    await Promise.all([before!.close(), after!.close(), rm(dir, { recursive: true })])
    disposeTree(weights)
  })

  it('starts fresh weights as transformers does', async () => {
    const path = fixture('qwen2/config.json')
    const config = qwen2Config(new Fields(await readJson(path), path))
    const key = random.key(3)
    const weights = initQwen2(config, key)
    const shapes: Record<string, number[]> = {}
    eachTensor(weights, (t, path) => (shapes[path] = t.shape))
    assert.deepEqual(shapes['layers.mlp.down_proj.weight'], [3, 32, 48])
    assert.equal(Object.keys(shapes).length, qwen2(config).parameters.length)
    const embedding = (weights as { embed_tokens: { weight: tf.Tensor } }).embed_tokens.weight
    const { mean, variance } = tf.tidy(() => tf.moments(embedding))
    assert.ok(Math.abs((await variance.data())[0]! ** 0.5 - 0.02) < 0.001)
    disposeTree([weights, key, mean, variance])
  })

  describe('bad checkpoints', () => {
    let dir: string
    beforeEach(async () => {
      dir = await mkdtemp(join(tmpdir(), 'qwen2-'))
      await cp(fixture('qwen2'), dir, { recursive: true })
    })
    afterEach(() => rm(dir, { recursive: true }))

    const edit = async (change: object) => {
      const path = join(dir, 'config.json')
      await writeFile(path, JSON.stringify({ ...(await readJson(path)), ...change }))
    }

    it('names what is missing', async () => {
      await assert.rejects(loadCausalModel(join(dir, 'nowhere')), /nowhere.config\.json: there is no such file/)
      await rm(join(dir, 'model.safetensors'))
      await assert.rejects(loadCausalModel(dir), /no weights\. Needed: model\.safetensors or model\.safetensors\.index/)
    })
    it('says that a file is truncated', async () => {
      await truncate(join(dir, 'model.safetensors'), 100_000)
      await assert.rejects(loadCausalModel(dir), /model\.safetensors: truncated: 100000 bytes, needed \d+/)
    })
    it('lists missing, unexpected and misshapen tensors at once', async () => {
      await edit({ num_hidden_layers: 2, layer_types: null, tie_word_embeddings: false, intermediate_size: 40 })
      await assert.rejects(loadCausalModel(dir), (error: Error) => {
        assert.match(error.message, /1 missing: lm_head\.weight; 12 unexpected: model\.layers\.2\./)
        assert.match(error.message, /6 misshapen: .*layers\.0\.mlp\.down_proj\.weight is \[32,48\], needed \[32,40\]/)
        return true
      })
    })
    it('names a bad field of config.json', async () => {
      await edit({ num_key_value_heads: 3 })
      await assert.rejects(loadCausalModel(dir), /config\.json: num_key_value_heads is 3, needed a divisor of 4 heads/)
      await edit({ num_key_value_heads: 2, hidden_size: '32' })
      await assert.rejects(loadCausalModel(dir), /config\.json: hidden_size is "32", needed an integer/)
      await edit({ hidden_size: 32, model_type: 'mamba' })
      await assert.rejects(loadCausalModel(dir), /config\.json: model_type is "mamba", needed .*"qwen2"/)
      await edit({ model_type: 'qwen2', rope_parameters: { rope_type: 'longrope' } })
      await assert.rejects(loadCausalModel(dir), /rope_parameters: rope_type is "longrope", needed "default", "linear"/)
      await edit({ rope_parameters: { rope_type: 'yarn' } })
      await assert.rejects(loadCausalModel(dir), /rope_parameters: factor is missing, needed a number > 0/)
      await edit({ rope_parameters: null, layer_types: ['full_attention'] })
      await assert.rejects(
        loadCausalModel(dir),
        /layer_types is .*, needed 3 of "full_attention" or "sliding_attention"/,
      )
    })
  })
})
