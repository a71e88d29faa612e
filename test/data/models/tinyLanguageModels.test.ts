import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, type TensorSource } from '../../../src/io/safetensors.js'
import { loadPolicy, type LanguagePolicy } from '../../../src/policies/index.js'
import { disposeTree, packageRoot } from '../../../src/xla/index.js'

const PARITY = 1e-4 // float32 against PyTorch's float32
const FIXTURES_BOUND = 20e6 // bytes
const MODEL_BOUND = 3e6 // bytes

const root = packageRoot()
const MODELS = ['tiny-qwen2', 'tiny-qwen2-french', 'tiny-gemma3']

interface Expected {
  made_by: { weights_sha256: string }
  texts: { text: string; ids: number[] }[]
  questions: string[]
  replies: string[]
}
const json = async (path: string): Promise<unknown> => JSON.parse(await readFile(path, 'utf8'))

for (const name of ['tiny-qwen2.5-vl', 'tiny-gemma3-vl', 'tiny-llava'])
  describe(`data/models/${name}`, () => {
    it('is what its manifest says', async () => {
      const file = await readFile(join(root, 'data/models', name, 'model.safetensors'))
      const manifest = await json(join(root, 'data/models', name, 'manifest.json'))
      const { sha256, bytes } = manifest as { sha256: string; bytes: number }
      assert.equal(createHash('sha256').update(file).digest('hex'), sha256)
      assert.equal(file.length, bytes)
    })
  })

for (const name of MODELS)
  describe(`data/models/${name}`, () => {
    const dir = join(root, 'data/models', name)
    const fixture = join(root, 'test/fixtures', `${name.replaceAll('-', '_')}_expected`)
    let policy: LanguagePolicy
    let expected: Expected
    let source: TensorSource
    before(async () => {
      policy = await loadPolicy(dir)
      expected = (await json(`${fixture}.json`)) as Expected
      source = await openSafetensors(`${fixture}.safetensors`)
    })
    after(async () => {
      policy.dispose()
      await source.close()
    })

    it('is what its manifest and the reference values say', async () => {
      const file = await readFile(join(dir, 'model.safetensors'))
      const manifest = (await json(join(dir, 'manifest.json'))) as { sha256: string; bytes: number }
      const sha256 = createHash('sha256').update(file).digest('hex')
      assert.deepEqual({ sha256, bytes: file.length }, { sha256: manifest.sha256, bytes: manifest.bytes })
      assert.equal(expected.made_by.weights_sha256, sha256, 'run test/fixtures/generate/tiny_language_models.py again')
      assert.ok(file.length < MODEL_BOUND)
    })

    it('has a tokenizer that reads as in tokenizers and transformers', () => {
      assert.equal(expected.texts.length, 50)
      for (const { text, ids } of expected.texts) {
        assert.deepEqual(policy.tokenizer.encode(text), ids, JSON.stringify(text))
        assert.equal(policy.tokenizer.decode(ids, { specials: true }), text.normalize('NFC'))
      }
    })

    it('gives the logits of transformers', async () => {
      const stored = async (name: string) =>
        tf.tensor(await source.read(name), source.tensors.get(name)!.shape, 'int32')
      const input = { input_ids: await stored('input_ids'), attention_mask: await stored('attention_mask') }
      const output = policy.forward(input)
      const all = await output.logits.data()
      disposeTree([input, output])
      const wanted = Array.from(await source.read('logits')) // every eighth
      assert.equal(all.length, 8 * wanted.length)
      const apart = wanted.reduce((worst, x, i) => Math.max(worst, Math.abs(x - all[8 * i]!)), 0)
      assert.ok(apart < PARITY, `${apart}`)
    })

    it('replies as in transformers', async () => {
      const prompts = expected.questions.map(content => [{ role: 'user', content }])
      const { outputs, trajectories } = await policy.sample(prompts, {
        greedy: true,
        max_completion_length: 64,
        seed: 0,
      })
      disposeTree(trajectories)
      assert.deepEqual(outputs, expected.replies)
    })
  }).timeout(60_000)

describe('test/fixtures', () => {
  it('stay small', async () => {
    const fixtures = join(root, 'test/fixtures')
    const files = (await readdir(fixtures, { recursive: true, withFileTypes: true })).filter(entry => entry.isFile())
    const sizes = await Promise.all(files.map(async file => (await stat(join(file.parentPath, file.name))).size))
    assert.ok(files.length > 10)
    assert.ok(sizes.reduce((a, b) => a + b) < FIXTURES_BOUND)
  })
})
