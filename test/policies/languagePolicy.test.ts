import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { bucket, loadPolicy, type LanguagePolicy, type TokenRows } from '../../src/policies/index.js'
import { disposeTree, jit, mapTensors, start, tensorsOf, withTensors, type TensorTree } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'

const PARITY = 1e-4 // float32 against PyTorch's float32, and prefill with a cache against one pass

type Scored = ReturnType<LanguagePolicy['score']>

interface Expected {
  prompts: string[]
  messages: { role: string; content: string }[]
}

describe('LanguagePolicy', () => {
  let policy: LanguagePolicy
  let expected: Expected
  let source: TensorSource
  before(async () => {
    await start()
    policy = await loadPolicy(fixture('qwen2'))
    expected = JSON.parse(await readFile(fixture('qwen2_expected.json'), 'utf8')) as Expected
    source = await openSafetensors(fixture('qwen2_expected.safetensors'))
  })
  after(async () => {
    policy.dispose()
    await source.close()
  })

  const values = async (t: tf.Tensor): Promise<number[]> => Array.from(await t.data())
  const stored = async (name: string) => tf.tensor(await source.read(name), source.tensors.get(name)!.shape, 'int32')
  const apart = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
    assert.equal(a.length, b.length)
    return Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i]!)), 0)
  }

  /** Logits of a policy on the stored left-padded rows, thinned like the stored ones. */
  async function logits(of: LanguagePolicy, stride: number): Promise<number[]> {
    const input = {
      input_ids: await stored('left.input_ids'),
      attention_mask: await stored('left.attention_mask'),
    }
    const output = of.forward(input)
    const all = await values(output.logits)
    disposeTree([input, output])
    return all.filter((_, i) => i % stride === 0)
  }

  describe('sample', () => {
    it('draws greedily what transformers generates, whatever a row is batched with', async () => {
      const ids = (await source.read('greedy.ids')) as Int32Array
      const [rows, width] = source.tensors.get('greedy.ids')!.shape as [number, number]
      const { trajectories, outputs } = await policy.sample(expected.prompts, {
        num_generations: 2,
        max_completion_length: 24,
        greedy: true,
        seed: 0,
      })
      const tokens = await values((trajectories.outputs as TokenRows).completion_ids)
      for (let b = 0; b < 2 * rows; b++) {
        const row = Math.floor(b / 2)
        assert.deepEqual(tokens.slice(b * 24, (b + 1) * 24), [...ids.slice((row + 1) * width - 24, (row + 1) * width)])
      }
      assert.equal(outputs.length, 6)
      assert.deepEqual(await values(trajectories.finished), [1, 1, 1, 1, 0, 0])
      assert.equal(
        (await values(trajectories.mask)).slice(0, 24).reduce((a, b) => a + b),
        1,
      ) // ends at once, that token counts
      assert.deepEqual(outputs[0], ',')
      disposeTree(trajectories)
    })

    it('penalizes what was used, as transformers does', async () => {
      const ids = (await source.read('penalized.ids')) as Int32Array
      const [rows, width] = source.tensors.get('penalized.ids')!.shape as [number, number]
      const options = { max_completion_length: 24, greedy: true, repetition_penalty: 1.3, seed: 0 }
      const { trajectories } = await policy.sample(expected.prompts, options)
      const tokens = await values((trajectories.outputs as TokenRows).completion_ids)
      assert.equal(tokens.length, rows * 24)
      for (let b = 0; b < rows; b++)
        assert.deepEqual(tokens.slice(b * 24, (b + 1) * 24), [...ids.slice((b + 1) * width - 24, (b + 1) * width)])
      disposeTree(trajectories)
    })

    it('ends a completion at a stop string', async () => {
      const options = { max_completion_length: 24, greedy: true, seed: 0 }
      const [prompt] = expected.prompts.slice(-1)
      const free = await policy.sample([prompt!], options)
      const stop = free.outputs[0]!.slice(5, 8)
      const { outputs, trajectories } = await policy.sample([prompt!, prompt!], {
        ...options,
        stop_strings: ['nowhere', stop],
      })
      for (const text of outputs) {
        assert.ok(text.includes(stop) && text.length < free.outputs[0]!.length && free.outputs[0]!.startsWith(text))
        assert.ok(text.indexOf(stop) + stop.length > text.length - 12, 'the end of the token that completes it')
      }
      const length = (await values(trajectories.mask)).reduce((a, b) => a + b) / 2
      assert.deepEqual(
        policy.tokenizer.decode((await values((trajectories.outputs as TokenRows).completion_ids)).slice(0, length)),
        outputs[0],
      )
      assert.deepEqual(await values(trajectories.finished), [1, 1])
      const fresh = policy.evaluate(policy.weights, trajectories)
      assert.ok(apart(await values(fresh.logProbs), await values(trajectories.logProbs)) < PARITY)
      disposeTree([free.trajectories, trajectories, fresh.logProbs])
    })

    for (const options of [
      {},
      { temperature: 0.7 },
      { temperature: 2, min_p: 0.01, repetition_penalty: 1.2 },
      { temperature: 1.3, top_p: 0.8, top_k: 20 },
    ])
      it(`reports the log-probs of a fresh forward pass at ${JSON.stringify(options)}`, async () => {
        const settings = { num_generations: 3, max_completion_length: 8, seed: 5, ...options }
        const { trajectories } = await policy.sample(expected.prompts, settings)
        const fresh = policy.evaluate(policy.weights, trajectories, { entropy: true })
        assert.ok(apart(await values(fresh.logProbs), await values(trajectories.logProbs)) < PARITY)
        assert.ok(Math.min(...(await values(fresh.entropy!))) >= 0)
        disposeTree([trajectories, fresh.logProbs, fresh.entropy])
      })

    it('draws the same tokens for the same seed, others for another', async () => {
      const draw = async (seed: number) => {
        const { outputs, trajectories } = await policy.sample(expected.prompts, { max_completion_length: 8, seed })
        disposeTree(trajectories)
        return outputs
      }
      const [a, b, c] = [await draw(1), await draw(1), await draw(2)]
      assert.deepEqual(a, b)
      assert.notDeepEqual(a, c)
    })

    it('keeps to the likely tokens', async () => {
      const greedy = await policy.sample(expected.prompts, { max_completion_length: 8, greedy: true, seed: 0 })
      const narrow = await policy.sample(expected.prompts, { max_completion_length: 8, top_k: 1, seed: 3 })
      const nucleus = await policy.sample(expected.prompts, { max_completion_length: 8, top_p: 1e-6, seed: 3 })
      assert.deepEqual(narrow.outputs, greedy.outputs)
      assert.deepEqual(nucleus.outputs, greedy.outputs)
      disposeTree([greedy.trajectories, narrow.trajectories, nucleus.trajectories])
    })

    it('takes conversations', async () => {
      const text = policy.tokenizer.chat(expected.messages)
      const options = { max_completion_length: 4, greedy: true, seed: 0 }
      const [a, b] = [await policy.sample([expected.messages], options), await policy.sample([text], options)]
      assert.deepEqual(a.outputs, b.outputs)
      disposeTree([a.trajectories, b.trajectories])
    })

    it('refuses what does not fit', async () => {
      const long = 'many words '.repeat(60)
      await assert.rejects(
        policy.sample(['short', long], { max_completion_length: 8, seed: 0 }),
        /prompt 1 has \d+ tokens; with max_completion_length 8 the context of 96 leaves 88/,
      )
      await assert.rejects(policy.sample([], { seed: 0 }), /no prompts/)
      await assert.rejects(policy.sample([''], { seed: 0, max_completion_length: 8 }), /prompt 0 has no tokens/)
      await assert.rejects(
        policy.sample(['a'], { seed: 0, temperature: 0 }),
        /temperature is 0, needed a number > 0; .*greedy/,
      )
      await assert.rejects(policy.sample(['a'], { seed: 0, top_p: 0 }), /top_p is 0/)
      await assert.rejects(
        policy.sample(['a'], { seed: 0, beam: 3 }),
        /unknown key "beam"\. Did you mean "\w+"\? Known: num_generations/,
      )
    })

    it('leaks no tensor', async () => {
      const options = { num_generations: 2, max_completion_length: 4, seed: 0 }
      disposeTree((await policy.sample(expected.prompts, options)).trajectories)
      const before = tf.memory().numTensors
      disposeTree((await policy.sample(expected.prompts, options)).trajectories)
      assert.equal(tf.memory().numTensors, before)
    })
  })

  describe('evaluate', () => {
    it('gives the log-probs of transformers at a temperature', async () => {
      const ids = await stored('left.input_ids')
      const mask = await stored('left.attention_mask')
      const [rows, width] = ids.shape as [number, number]
      const T = 4
      const part = (t: tf.Tensor, from: number, size: number) => tf.slice(t, [0, from], [rows, size])
      const outputs: TokenRows = {
        prompt_ids: part(ids, 0, width - T),
        prompt_mask: part(mask, 0, width - T),
        completion_ids: part(ids, width - T, T),
        completion_mask: part(mask, width - T, T),
        temperature: tf.fill([rows], 0.7),
      }
      const ones = tf.ones([rows, T])
      const found = policy.evaluate(policy.weights, { outputs, logProbs: ones, mask: ones, finished: tf.ones([rows]) })
      const reference = tf.tensor(await source.read('temperature_07.log_probs'), [rows, width - 1])
      assert.ok(apart(await values(found.logProbs), await values(part(reference, width - 1 - T, T))) < PARITY)
    })
  })

  describe('encode and score', () => {
    it('tokenises as TRL does: text ends with the end-of-sequence token, a conversation with its template', async () => {
      const { messages } = expected
      const text = policy.encode(['Ann has'], [' 12 apples.'])
      const ids = policy.tokenizer.encode('Ann has 12 apples.<|im_end|>')
      const start = policy.tokenizer.encode('Ann has').length
      assert.deepEqual((await values(text.completion_ids)).slice(0, ids.length - start), ids.slice(start))
      assert.equal((await values(text.completion_mask)).filter(m => m === 1).length, ids.length - start)
      assert.deepEqual((await values(text.prompt_ids)).slice(-start), ids.slice(0, start))

      const [bare, reply] = ['Oui', [{ role: 'assistant', content: 'Oui' }]]
      const [a, b] = [policy.encode([messages], [bare]), policy.encode([messages], [reply])]
      assert.deepEqual(await values(a.completion_ids), await values(b.completion_ids))
      const tokens = (await values(a.completion_ids)).filter(id => id !== 0)
      assert.equal(policy.tokenizer.decode(tokens, { specials: true }), 'Oui<|im_end|>\n')
      disposeTree([text, a, b])
    })

    it('sums the log-probs that evaluate gives', async () => {
      const { outputs, trajectories } = await policy.sample(expected.prompts, { max_completion_length: 8, seed: 5 })
      const { score, length } = policy.score(policy.weights, trajectories.outputs)
      const sums = tf.sum(trajectories.logProbs, 1)
      assert.ok(apart(await values(score), await values(sums)) < 8 * PARITY)
      assert.deepEqual(await values(length), await values(tf.sum(trajectories.mask, 1)))
      assert.equal(outputs.length, 3)
    })

    it('replays given completions as if it had drawn them', async () => {
      const trajectories = await policy.replay(['Bonjour', 'Un deux'], ['Oui', 'trois quatre'])
      const { score, length } = policy.score(policy.weights, trajectories.outputs)
      const sums = tf.sum(trajectories.logProbs, 1)
      assert.ok(apart(await values(score), await values(sums)) < 8 * PARITY)
      assert.deepEqual(await values(length), await values(tf.sum(trajectories.mask, 1)))
      const { logProbs } = policy.evaluate(policy.weights, trajectories)
      assert.deepEqual(await values(logProbs), await values(trajectories.logProbs))
      disposeTree([trajectories, score, length, sums, logProbs])
    })

    it('does not depend on what a row is padded to', async () => {
      const [prompts, outputs] = [
        ['Ann has', 'Ben shares 24 pears among 6 friends. How many?'],
        [' 12 apples.', ' 4'],
      ]
      const together = policy.score(policy.weights, policy.encode(prompts, outputs))
      const alone = policy.score(policy.weights, policy.encode(prompts.slice(0, 1), outputs.slice(0, 1)))
      assert.ok(Math.abs((await values(together.score))[0]! - (await values(alone.score))[0]!) < PARITY)
    })

    it('reads the prompt of a group once, with the log-probs that rows have alone', async () => {
      const rows = policy.encode(['ab', 'ab', 'c d e', 'c d e'], ['f', 'g h i', 'j', 'k l'])
      const [alone, grouped] = [1, 2].map(group => policy.score(policy.weights, rows, undefined, { group })) as [
        Scored,
        Scored,
      ]
      assert.ok(apart(await values(grouped.score), await values(alone.score)) < PARITY)
      assert.deepEqual(await values(grouped.length), await values(alone.length))
      disposeTree([rows, alone, grouped])
    })

    it('refuses rows that do not fit', () => {
      assert.throws(
        () => policy.encode(['a'], ['b'.repeat(400)]),
        /row 0 has \d+ tokens, the context takes 96.*, "a"\.$/,
      )
      assert.throws(() => policy.encode(['a', 'b'], ['c']), /1 outputs for 2 prompts/)
      assert.throws(() => policy.encode(['a'], [[{ role: 'user', content: 'b' }]]), /a text prompt needs a text/)
    })

    it('refuses a chat template that writes a prompt otherwise before its reply', async () => {
      const dir = await mkdtemp(join(tmpdir(), 'template-'))
      await cp(fixture('qwen2'), dir, { recursive: true })
      await writeFile(
        join(dir, 'chat_template.jinja'),
        '{{ messages|length }}{% for m in messages %}{{ m.content }}{% endfor %}',
      )
      const other = await loadPolicy(dir)
      const encode = () => other.encode([[{ role: 'user', content: 'Hi' }]], ['Ho'])
      assert.throws(encode, /the chat template writes the prompt as "1Hi" and with its reply as "2HiHo"/)
      other.dispose()
      await rm(dir, { recursive: true })
    })
  })

  describe('adapters', () => {
    it('agree with PEFT', async () => {
      const adapted = await loadPolicy(fixture('qwen2'), { adapter: fixture('qwen2_adapter') })
      assert.ok(apart(await logits(adapted, 8), await source.read('adapter.logits')) < PARITY)
      adapted.dispose()
    })

    it('change nothing at first, and leave the reference alone', async () => {
      const fresh = await loadPolicy(fixture('qwen2'), { adapter: { r: 2, target_modules: 'all-linear' } })
      const plain = await source.read('left.logits')
      assert.ok(apart(await logits(fresh, 1), plain) < PARITY)
      const noisy = mapTensors(fresh.weights.trainable, t => tf.add(t, noise(t.shape)))
      const { trajectories } = await fresh.sample(expected.prompts, { max_completion_length: 4, seed: 0 })
      fresh.weights = { trainable: noisy, frozen: fresh.weights.frozen }
      assert.ok(apart(await logits(fresh, 1), plain) > 0.1)
      const reference = fresh.evaluate(fresh.reference, trajectories)
      assert.ok(apart(await values(reference.logProbs), await values(trajectories.logProbs)) < PARITY)
    })

    it('are saved for PEFT and merged into the weights', async () => {
      const dir = await mkdtemp(join(tmpdir(), 'policy-'))
      const adapted = await loadPolicy(fixture('qwen2'), { adapter: fixture('qwen2_adapter') })
      await adapted.save(join(dir, 'adapter'))
      await adapted.save(join(dir, 'merged'), { merge: true })
      const again = await loadPolicy(fixture('qwen2'), { adapter: join(dir, 'adapter') })
      const merged = await loadPolicy(join(dir, 'merged'))
      const reference = await source.read('adapter.logits')
      assert.ok(apart(await logits(again, 8), reference) < PARITY)
      assert.ok(apart(await logits(merged, 8), reference) < PARITY)
      await rm(dir, { recursive: true })
      ;[adapted, again, merged].forEach(p => p.dispose())
    })

    it('have a gradient that finite differences confirm', async () => {
      const adapted = await loadPolicy(fixture('qwen2'), { adapter: fixture('qwen2_adapter') })
      const { trainable, frozen } = adapted.weights
      const rows = adapted.encode(['Ann has'], [' 12 apples.'])
      const direction = mapTensors(trainable, t => noise(t.shape))
      const along = (x: tf.Tensor) =>
        tf.sum<tf.Scalar>(adapted.score({ trainable: moved(trainable, direction, x), frozen }, rows).score)
      const slope = (await values(tf.grad(along)(tf.scalar(0))))[0]!
      const h = 3e-4 // the third derivative is large here
      const [up, down] = [(await values(along(tf.scalar(h))))[0]!, (await values(along(tf.scalar(-h))))[0]!]
      assert.ok(Math.abs(slope - (up - down) / (2 * h)) < 0.01 * Math.abs(slope), `${slope} ${(up - down) / (2 * h)}`)
      adapted.dispose()
    })

    it('name what does not fit', async () => {
      const load = (adapter: object | string) => loadPolicy(fixture('qwen2'), { adapter })
      await assert.rejects(
        load({ rank: 4 }),
        /LoraConfig: unknown key "rank"\. Did you mean "\w+"\? Known: r, lora_alpha/,
      )
      await assert.rejects(load({ r: 0 }), /LoraConfig: r is 0, needed an integer ≥ 1/)
      await assert.rejects(load({ target_modules: ['q_proj', 'query'] }), /\["query"\] match no linear layer .*q_proj/)
      const dir = await mkdtemp(join(tmpdir(), 'policy-'))
      await cp(fixture('qwen2_adapter'), dir, { recursive: true })
      const path = join(dir, 'adapter_config.json')
      const config = JSON.parse(await readFile(path, 'utf8')) as object
      await writeFile(path, JSON.stringify({ ...config, use_qalora: true }))
      await assert.rejects(load(dir), /adapter_config\.json: use_qalora is true, needed false/)
      await writeFile(path, JSON.stringify({ ...config, r: 2 }))
      await assert.rejects(
        load(dir),
        /misshapen: base_model\.model\.model\.layers\.0\.self_attn\.q_proj\.lora_A\.weight is \[4,32\]/,
      )
      await rm(dir, { recursive: true })
    })
  })

  it('forks share frozen weights and nothing else', async () => {
    const parent = await loadPolicy(fixture('qwen2'), { adapter: { r: 2 } })
    const child = parent.fork()
    assert.equal(child.weights.frozen, parent.weights.frozen)
    disposeTree(parent.weights.trainable)
    parent.weights = { ...parent.weights, trainable: {} }
    parent.dispose()
    assert.ok(apart(await logits(child, 1), await source.read('left.logits')) < PARITY)
    child.dispose()
  })

  it('keeps more of each layer for the gradient without gradient_checkpointing', async () => {
    const rows = policy.encode(['a'], ['b'])
    const stacked = async (options: { gradient_checkpointing?: boolean }): Promise<number> => {
      const own = await loadPolicy(fixture('qwen2'), options)
      const gradient = jit((trainable: TensorTree) => {
        const score = (...leaves: tf.Tensor[]) =>
          tf.sum(own.score({ trainable: withTensors(trainable, leaves), frozen: {} }, rows).score)
        return tf.grads(score)(tensorsOf(trainable))
      })
      const text = gradient.lower(own.weights.trainable)
      own.dispose()
      return text.split('dynamic_update_slice').length
    }
    const fewest = await stacked({ gradient_checkpointing: true })
    assert.equal(await stacked({}), fewest, 'the default')
    assert.ok((await stacked({ gradient_checkpointing: false })) > fewest)
    disposeTree(rows)
  })

  it('keeps a reference of its start when all weights are trained', async () => {
    const child = policy.fork()
    const { trajectories } = await child.sample(expected.prompts, { max_completion_length: 4, seed: 0 })
    const reference = child.reference
    disposeTree(child.weights.trainable)
    child.weights = { trainable: {}, frozen: {} }
    const found = child.evaluate(reference, trajectories)
    assert.ok(apart(await values(found.logProbs), await values(trajectories.logProbs)) < PARITY)
    child.dispose()
  })

  it('saves and loads a whole model', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'policy-'))
    await policy.save(dir)
    const again = await loadPolicy(dir)
    assert.deepEqual(await logits(again, 1), await logits(policy, 1))
    assert.equal(again.tokenizer.chat(expected.messages), policy.tokenizer.chat(expected.messages))
    again.dispose()
    await rm(dir, { recursive: true })
  })

  it('needs a token that ends a completion', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'policy-'))
    await cp(fixture('qwen2'), dir, { recursive: true })
    await rm(join(dir, 'generation_config.json'))
    for (const [file, field] of [
      ['config.json', 'eos_token_id'],
      ['tokenizer_config.json', 'eos_token'],
    ] as const) {
      const json = JSON.parse(await readFile(join(dir, file), 'utf8')) as object
      await writeFile(join(dir, file), JSON.stringify({ ...json, [field]: undefined }))
    }
    await assert.rejects(
      loadPolicy(dir),
      /found no eos_token_id in generation_config\.json, config\.json or the tokenizer/,
    )
    await rm(dir, { recursive: true })
  })

  it('pads lengths to few sizes', () => {
    assert.deepEqual([1, 8, 9, 33, 64, 65, 113, 129, 300].map(bucket), [8, 8, 16, 40, 64, 80, 128, 160, 320])
  })
})

/** Numbers between −1 and 1, the same each time. */
function noise(shape: number[]): tf.Tensor {
  const size = shape.reduce((n, d) => n * d, 1)
  return tf.tensor(
    Array.from({ length: size }, (_, i) => Math.sin(12.9898 * i + size)),
    shape,
  )
}

/** weights + x · direction. */
function moved(weights: TensorTree, direction: TensorTree, x: tf.Tensor): TensorTree {
  if (weights instanceof tf.Tensor) return tf.add(weights, tf.mul(direction as tf.Tensor, x))
  const other = direction as Record<string, TensorTree>
  return Object.fromEntries(
    Object.entries(weights as Record<string, TensorTree>).map(([key, child]) => [key, moved(child, other[key]!, x)]),
  )
}
