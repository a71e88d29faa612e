import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { Fields, readJson } from '../../src/io/json.js'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { loadTokenizer, type Message } from '../../src/io/tokenizer.js'
import {
  llama,
  llamaConfig,
  loadAdapter,
  loadCausalModel,
  loadForwardModel,
  mergeAdapter,
  saveAdapter,
  type CausalModel,
} from '../../src/models/index.js'
import { repeatRows } from '../../src/nn/index.js'
import { loadPolicy } from '../../src/policies/index.js'
import { overlay } from '../../src/policies/overlay.js'
import { generate, positionsOf } from '../../src/sampling/generate.js'
import { disposeTree, random, start, tensorsOf, withTensors, type TensorTree } from '../../src/xla/index.js'
import { fixture } from './fixture.js'

const PARITY = 1e-4 // float32 against PyTorch's float32: other summation orders; logits are about 3
const NOISE = 1.25 // how much larger our rounding errors in bfloat16 may be than those of transformers, root mean squares
const NEXT_SCALE = 0.005 // of what four bits change: a block's scale between two of the 256 may be rounded to either
const SLOPE = 0.01 // relative; finite differences in float32
const FAMILIES = ['llama', 'mistral', 'qwen3', 'gemma3', 'opt']
const STRIDE = 16 // of the stored logits along the vocabulary

interface Expected {
  variants: Record<string, Record<string, object>>
  messages: Message[]
  tokens: Record<
    string,
    { texts: { text: string; ids: number[]; decoded: string }[]; chat?: string; chat_ids?: number[] }
  >
}

describe('decoders', function () {
  this.timeout(120_000)
  let source: TensorSource
  let expected: Expected
  let rows: { input_ids: tf.Tensor; attention_mask: tf.Tensor }
  before(async () => {
    await start()
    source = await openSafetensors(fixture('decoders_expected.safetensors'))
    expected = JSON.parse(await readFile(fixture('decoders_expected.json'), 'utf8')) as Expected
    const stored = async (name: string) => tf.tensor(await source.read(name), source.tensors.get(name)!.shape, 'int32')
    rows = { input_ids: await stored('input_ids'), attention_mask: await stored('attention_mask') }
  })
  after(() => source.close())

  /** Logits of the stored rows, thinned as they were stored. */
  async function logits(model: CausalModel, weights: TensorTree): Promise<Float32Array> {
    const all = tf.tidy(() => model.head(weights, model.hidden(weights, rows)))
    const values = (await all.data()) as Float32Array
    all.dispose()
    return values.filter((_, i) => i % STRIDE === 0)
  }
  const stored = async (name: string) => (await source.read(name)) as Float32Array
  const apart = (a: ArrayLike<number>, b: ArrayLike<number>) => {
    assert.equal(a.length, b.length)
    return Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i]!)), 0)
  }
  const meanSquare = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0) / a.length

  /** Calls `use` with a copy of a fixture whose config.json is changed. */
  async function changed(name: string, change: object, use: (dir: string) => Promise<void>): Promise<void> {
    const dir = await mkdtemp(join(tmpdir(), `${name}-`))
    try {
      await cp(fixture(name), dir, { recursive: true })
      const path = join(dir, 'config.json')
      await writeFile(path, JSON.stringify({ ...(await readJson(path)), ...change }))
      await use(dir)
    } finally {
      await rm(dir, { recursive: true })
    }
  }

  /** Draws greedily and compares: the tokens with those of transformers, their log-probs, which come from a cache, with those of the
   * whole rows. */
  async function checkGeneration(model: CausalModel, weights: TensorTree, name: string): Promise<void> {
    const [, T] = source.tensors.get(name)!.shape as [number, number]
    const one = tf.scalar(1)
    const draw = { temperature: one, top_p: one, top_k: tf.scalar(0, 'int32'), min_p: tf.scalar(0), repetition_penalty: one, key: random.key(0) } // prettier-ignore
    const plan = { generations: 1, length: T, greedy: true, filtered: false, penalized: false, stop: [-1], pad: 0 }
    const drawn = await generate(model)(weights, rows, draw, plan)
    assert.deepEqual(await drawn.tokens.data(), await source.read(name))
    const whole = tf.tidy(() => {
      const P = rows.input_ids.shape[1]!
      const attention_mask = tf.concat([rows.attention_mask, tf.onesLike(drawn.tokens)], 1)
      const hidden = model.hidden(weights, {
        input_ids: tf.concat([rows.input_ids, drawn.tokens], 1),
        attention_mask,
        position_ids: positionsOf(attention_mask),
      })
      const logits = model.head(weights, tf.slice(hidden, [0, P - 1, 0], [-1, T, -1])) // [B, T, V]
      return tf.max(tf.logSoftmax(logits), -1) // drawn greedily
    })
    assert.ok(apart(await drawn.logProbs.data(), await whole.data()) < PARITY)
    disposeTree([drawn, whole, draw])
  }

  for (const name of [...FAMILIES, 'opt_narrow'])
    it(`agree with transformers on left-padded rows: ${name}`, async () => {
      const { model, weights } = await loadForwardModel(fixture(name))
      const found = tf.tidy(() => model.forward(weights, rows)['logits']!)
      const values = (await found.data()).filter((_, i) => i % STRIDE === 0)
      assert.ok(apart(values, await stored(`${name}.logits`)) < PARITY)
      disposeTree([weights, found])
    })

  for (const name of FAMILIES)
    describe(name, () => {
      let model: CausalModel
      let weights: TensorTree
      before(async () => ({ model, weights } = await loadCausalModel(fixture(name))))
      after(() => disposeTree(weights))

      it('reads a prompt once for the rows that follow it, with the values and the gradient of whole rows', async () => {
        const { values, gradients } = tf.tidy(() => {
          const [n, P] = rows.input_ids.shape as [number, number]
          const [G, T] = [3, 5]
          const more = tf.randomUniform([n * G, T], 5, model.vocabulary, 'int32', 7)
          const after = tf.tensor2d(Array.from({ length: n * G }, (_, b) => Array.from({ length: T }, (_, t) => +(t <= b % T))), undefined, 'int32') // prettier-ignore
          const attention_mask = tf.concat([repeatRows(rows.attention_mask, G), after], 1)
          const position_ids = positionsOf(attention_mask)
          const part = (x: tf.Tensor, from: number, size: number) => tf.slice(x, [0, from], [-1, size])
          const first = part(position_ids, 0, P)
          const prompts = { ...rows, position_ids: tf.gather(first, tf.range(0, n * G, G, 'int32')) }
          const tails = { input_ids: more, attention_mask: after, position_ids: part(position_ids, P, T) }
          const whole = { input_ids: tf.concat([repeatRows(rows.input_ids, G), more], 1), attention_mask, position_ids }
          const counted = tf.expandDims(tf.concat([tf.ones([n * G, 1]), tf.cast(after, 'float32')], 1), 2)
          const leaves = tensorsOf(weights)
          const both = [
            (w: TensorTree) => model.continued(w, prompts, tails),
            (w: TensorTree) => tf.slice(model.hidden(w, whole), [0, P - 1, 0], [-1, T + 1, -1]),
          ].map(hidden => (w: TensorTree) => tf.mul(hidden(w), counted)) // [B, 1 + T, C]
          const slopes = both.map(f =>
            tf.grads((...x) => {
              const w = withTensors(weights, x)
              return tf.mean<tf.Scalar>(tf.square(model.head(w, f(w)))) // of all weights, an untied head among them
            })(leaves),
          )
          return {
            values: both.map(f => f(weights)),
            gradients: slopes.map(grads => tf.concat(grads.map(g => tf.reshape(g, [-1])))),
          }
        }) as unknown as Record<'values' | 'gradients', [tf.Tensor, tf.Tensor]>
        for (const [found, wanted] of [values, gradients]) {
          const expected = await wanted.data()
          assert.ok(apart(await found.data(), expected) < 1e-5 * Math.max(...expected.map(Math.abs)))
        }
        disposeTree([values, gradients])
      })

      it('takes an adapter of PEFT, merges it, and saves it as PEFT did', async () => {
        const from = fixture(`${name}_adapter`)
        const adapter = await loadAdapter(model, from)
        const whole = overlay(overlay(weights, adapter.scaling), adapter.weights)
        const wanted = await stored(`${name}.adapter`)
        assert.ok(apart(await logits(model, whole), wanted) < PARITY)
        assert.ok(apart(await logits(model, mergeAdapter(whole)), wanted) < PARITY)
        const dir = await mkdtemp(join(tmpdir(), 'adapter-'))
        await saveAdapter(model, adapter.config, adapter.weights, dir, name)
        const file = 'adapter_model.safetensors'
        const [ours, theirs] = [await openSafetensors(join(dir, file)), await openSafetensors(join(from, file))]
        assert.deepEqual([...ours.tensors.keys()].sort(), [...theirs.tensors.keys()].sort())
        for (const key of theirs.tensors.keys()) assert.deepEqual(await ours.read(key), await theirs.read(key), key)
        const [saved, original] = await Promise.all([dir, from].map(d => readJson(join(d, 'adapter_config.json'))))
        for (const key of ['peft_type', 'task_type', 'r', 'lora_alpha', 'base_model_name_or_path'])
          assert.deepEqual(saved![key], original![key], key)
        assert.deepEqual(
          new Set(saved!['target_modules'] as string[]),
          new Set(original!['target_modules'] as string[]),
        )
        await Promise.all([ours.close(), theirs.close(), rm(dir, { recursive: true })])
      })
    })

  for (const name of FAMILIES.slice(0, -1))
    // OPT's would have other weights
    it(`agree under other configurations: ${name}`, async () => {
      for (const [variant, change] of Object.entries(expected.variants[name]!))
        await changed(name, change, async dir => {
          const other = await loadCausalModel(dir)
          const wanted = await stored(`${name}.${variant}.logits`)
          const distance = apart(await logits(other.model, other.weights), wanted)
          assert.ok(distance < PARITY, `${variant}: ${distance}`)
          assert.ok(apart(wanted, await stored(`${name}.logits`)) > 0.01, `${variant} is another configuration`)
          disposeTree(other.weights)
        })
    })

  for (const [name, variant] of [
    ['llama'],
    ['mistral'],
    ['qwen3', 'sliding'],
    ['gemma3'],
    ['opt'],
    ['opt_narrow'],
  ] as const)
    it(`draw what transformers generates, token by token as in one pass: ${name}`, () =>
      changed(name, variant ? expected.variants[name]![variant]! : {}, async dir => {
        const { model, weights } = await loadCausalModel(dir)
        await checkGeneration(model, weights, [name, variant, 'greedy'].filter(Boolean).join('.'))
        disposeTree(weights)
      }))

  // What Mistral and Qwen3 have beside Llama, Gemma 3 has too.
  for (const name of ['llama', 'gemma3']) {
    it(`loaded in bfloat16 are as near to float32 as transformers in bfloat16: ${name}`, async () => {
      const half = await loadCausalModel(fixture(name), { dtype: 'bfloat16' })
      const exact = await stored(`${name}.rounded`) // rounded weights, computed in float32
      const ours = meanSquare(await logits(half.model, half.weights), exact)
      const theirs = meanSquare(await stored(`${name}.bf16`), exact)
      assert.ok(ours < NOISE ** 2 * theirs && ours > theirs / 100, `${ours}, transformers ${theirs}`)
      disposeTree(half.weights)
    })

    it(`loaded in 4 bits compute what transformers does with matrices that bitsandbytes restores: ${name}`, async () => {
      const quantized = await loadCausalModel(fixture(name), { quantization: 'nf4' })
      const [found, wanted] = [await logits(quantized.model, quantized.weights), await stored(`${name}.nf4`)]
      const changedBy = apart(wanted, await stored(`${name}.logits`))
      assert.ok(apart(found, wanted) < NEXT_SCALE * changedBy, `${apart(found, wanted)}, four bits change ${changedBy}`)
      disposeTree(quantized.weights)
    })
  }

  it('are read from a checkpoint with a vision tower, which is saved with them', async () => {
    const wanted = await stored('gemma3_vision.adapter')
    const policy = await loadPolicy(fixture('gemma3_vision'), { adapter: fixture('gemma3_vision_adapter') })
    const whole = overlay(policy.weights.frozen, policy.weights.trainable)
    assert.ok(apart(await logits(policy.model, whole), wanted) < PARITY)
    const dir = await mkdtemp(join(tmpdir(), 'vision-'))
    await policy.save(dir, { merge: true })
    const merged = await loadPolicy(dir)
    assert.ok(apart(await logits(merged.model, merged.weights.trainable), wanted) < PARITY)
    const files = [dir, fixture('gemma3_vision')].map(d => join(d, 'model.safetensors'))
    const [saved, before] = [await openSafetensors(files[0]!), await openSafetensors(files[1]!)]
    const others = [...before.tensors.keys()].filter(name => !name.startsWith('language_model.'))
    assert.ok(others.length > 10 && saved.tensors.size === before.tensors.size)
    const saving = (name: string) => (saved.tensors.has(name) ? name : policy.model.nameOf!(name)) // its head has no other
    for (const name of others) assert.deepEqual(await saved.read(saving(name)), await before.read(name), name)
    policy.dispose()
    merged.dispose()
    await Promise.all([saved.close(), before.close(), rm(dir, { recursive: true })])
  })

  it('have a gradient that finite differences confirm, through layers of both kinds', async () => {
    const { model, weights } = await loadCausalModel(fixture('gemma3'))
    const leaves = tensorsOf(weights)
    const loss = (...leaves: tf.Tensor[]) => {
      const moved = withTensors(weights, leaves)
      return tf.mean<tf.Scalar>(tf.square(model.head(moved, model.hidden(moved, rows))))
    }
    const gradient = tf.grads(loss)(leaves)
    const slope = tf.sqrt(tf.addN(gradient.map(g => tf.sum(tf.square(g))))) // along the gradient itself
    const along = async (h: number) =>
      (await loss(...leaves.map((t, i) => tf.add(t, tf.mul(tf.div(gradient[i]!, slope), tf.scalar(h))))).data())[0]!
    const found = (await slope.data())[0]!
    const h = 0.01
    const difference = ((await along(h)) - (await along(-h))) / (2 * h)
    assert.ok(Math.abs(found - difference) < SLOPE * found, `${found}, differences ${difference}`)
    disposeTree([weights, gradient, slope])
  })

  it('have tokenizers and chat templates that give what transformers gives', async () => {
    for (const [name, { texts, chat, chat_ids }] of Object.entries(expected.tokens)) {
      const tokenizer = await loadTokenizer(fixture(name))
      for (const { text, ids, decoded } of texts) {
        assert.deepEqual(tokenizer.encode(text), ids, `${name}: ${text}`)
        assert.equal(tokenizer.decode(ids), decoded, name)
      }
      if (chat === undefined) continue
      const rendered = tokenizer.chat(expected.messages)
      assert.equal(rendered, chat)
      assert.deepEqual(tokenizer.encode(rendered, { specials: false }), chat_ids)
    }
    const gemma = await loadTokenizer(fixture('gemma3'))
    const twice: Message[] = [{ role: 'user', content: 'a' }, { role: 'user', content: 'b' }] // prettier-ignore
    assert.throws(() => gemma.chat(twice), /chat template refused the messages: .*alternate/)
  })

  it('have the biases that config.json says', async () => {
    const path = fixture('llama/config.json')
    const json = await readJson(path)
    const biased = (change: object) =>
      llama(llamaConfig(new Fields({ ...json, ...change }, path))).parameters.flatMap(({ name, shape }) =>
        name.endsWith('.bias') ? [`${name.split('.').at(-2)!} ${shape[0]}`] : [],
      )
    assert.deepEqual(biased({}), [])
    assert.deepEqual(biased({ attention_bias: true }), ['q_proj 32', 'k_proj 16', 'v_proj 16', 'o_proj 32'])
    assert.deepEqual(biased({ mlp_bias: true }), ['gate_proj 40', 'up_proj 40', 'down_proj 32'])
  })

  it('say what of a config.json they cannot be', async () => {
    const refuses = (name: string, change: object, message: RegExp) =>
      changed(name, change, dir => assert.rejects(loadCausalModel(dir), message))
    await refuses('llama', { hidden_act: 'gelu' }, /config\.json: hidden_act is "gelu", needed "silu"/)
    await refuses('llama', { rope_scaling: { type: 'dynamic' } }, /rope_scaling: type is "dynamic", needed .*"llama3" or "yarn"/) // prettier-ignore
    await refuses('llama', { rope_scaling: { rope_type: 'llama3', factor: 8 } }, /rope_scaling: low_freq_factor is missing/) // prettier-ignore
    await refuses('qwen3', { layer_types: ['chunked_attention', 'full_attention'] }, /layer_types is .*needed 2 of/)
    await refuses('qwen3', { head_dim: 15 }, /head_dim is 15, needed an even number/)
    await refuses('gemma3', { attn_logit_softcapping: 50 }, /attn_logit_softcapping is 50/)
    await refuses('gemma3', { use_bidirectional_attention: true }, /use_bidirectional_attention is true, needed false/)
  })
})
