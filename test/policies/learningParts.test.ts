import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors } from '../../src/io/safetensors.js'
import type { ContentPart } from '../../src/io/tokenizer.js'
import { dpo, grpo, sft, type Run } from '../../src/optimizers/index.js'
import { loadPolicy, type LanguagePolicy, type PolicyOptions, type VisionPrompt } from '../../src/policies/index.js'
import { weighted } from '../../src/rewards/index.js'
import { disposeTree } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'
import { picture } from '../models/pictures.js'
import { agree, gradientsAgree, values } from './gradientOf.js'

const AGREE = 1e-4 // log-probs and margins in float32, one order of sums against another
const MODEL = fixture('qwen25vl')

/** What test/fixtures/generate/qwen25vl.py says of its prompts: two images, a video, text alone. */
interface Expected {
  conversations: ContentPart[][]
  images: [number, number][]
  videos: [number, number, number][]
  fps: number
}

describe('parts of a vision-language model that learn', function () {
  this.timeout(300_000)

  const prompt: VisionPrompt = { prompt: [{ role: 'user', content: 'What is this?' }], images: [picture(1, 16, 24)] }
  const other: VisionPrompt = { ...prompt, images: [picture(2, 24, 24)] }

  const partOf = (path: string): string =>
    path.startsWith('visual.merger') ? 'merger' : path.startsWith('visual') ? 'tower' : 'language model'
  const partsIn = (paths: Iterable<string>) => [...new Set([...paths].map(partOf))].sort()

  it('have the gradients of transformers: tower, merger and language model', async () => {
    const source = await openSafetensors(fixture('qwen25vl_expected.safetensors'))
    const expected = JSON.parse(await readFile(fixture('qwen25vl_expected.json'), 'utf8')) as Expected
    const policy = await loadPolicy(MODEL, { tune_mm_vision: true })
    const images = expected.images.map(([h, w], n) => picture(n, h, w))
    const videos = expected.videos.map(([count, h, w]) => ({
      frames: Array.from({ length: count }, (_, f) => picture(10 + f, h, w)),
      fps: expected.fps,
    }))
    const prompts: VisionPrompt[] = expected.conversations.map((content, i) => ({
      prompt: [{ role: 'user', content }],
      ...(i === 0 ? { images } : i === 1 ? { videos } : {}),
    }))
    const drawn = (await source.read('greedy')) as Int32Array
    await gradientsAgree(policy, prompts, drawn, fixture('qwen25vl_gradients.safetensors'))
    policy.dispose()
    await source.close()
  })

  it('look at a prompt once for its group', async () => {
    const policy = await loadPolicy(MODEL, { tune_mm_vision: true })
    const vision = policy.model.vision as { see: NonNullable<LanguagePolicy['model']['vision']>['see'] }
    const { see } = vision
    const looks: number[] = []
    vision.see = (weights, patches) => {
      looks.push(patches['values']!.shape[0])
      return see(weights, patches)
    }
    const rows = policy.encode([prompt, prompt, other, other], ['Yes.', 'No.', 'Is it?', 'Maybe.'])
    const key = tf.zeros([2], 'int32')
    const scores = async (group: number) => {
      const { score, length } = policy.score(policy.weights, rows, key, { group })
      const found = await values({ score })
      disposeTree([score, length])
      return found
    }
    agree(await scores(2), await scores(1))
    assert.deepEqual(looks, [2, 4])
    disposeTree([rows, key])
    policy.dispose()
  })

  /** What an update changes, by parts, and the row it yields. */
  async function changed(policy: LanguagePolicy, run: Run): Promise<{ parts: string[]; rows: Run['rows'] }> {
    const before = new Map([...(await values(policy.weights.trainable))].map(([path, x]) => [path, x.slice()]))
    const frozen = await values(policy.weights.frozen)
    await run.done()
    const after = await values(policy.weights.trainable)
    const moved = [...after.keys()].filter(path => after.get(path)!.some((x, i) => x !== before.get(path)![i]))
    assert.deepEqual(await values(policy.weights.frozen), frozen)
    run.dispose()
    return { parts: partsIn(moved), rows: run.rows }
  }

  const args = { learning_rate: 1e-3, per_device_train_batch_size: 2, max_steps: 1 } as const

  it('are the language model and the merger, if nothing else is said, at rates of their own on one schedule', async () => {
    const policy = await loadPolicy(MODEL)
    const rows = [prompt, other].map(prompt => ({ prompt, completion: 'It is.' }))
    const config = { ...args, max_steps: 2, mm_projector_lr: 2e-4 }
    const result = await changed(policy, sft(policy, rows, config))
    assert.deepEqual(result.parts, ['language model', 'merger'])
    assert.deepEqual(result.rows.map(row => [row['learning_rate'], row['mm_projector_lr']]), [[1e-3, 2e-4], [5e-4, 1e-4]]) // prettier-ignore
    const refused = (rates: object, message: RegExp) =>
      assert.throws(() => sft(policy, rows, { ...args, ...rates }), message)
    refused({ mm_projector_lr: -1 }, /mm_projector_lr is -1, needs 0 or more, or null/)
    refused(
      { vision_tower_lr: 1e-6 },
      /vision_tower_lr is 0.000001, but no weight of that part learns.*tune_mm_vision: true/,
    )
    policy.dispose()
  })

  it('are not what sees, where that is said: features lie with the rows', async () => {
    const policy = await loadPolicy(MODEL, { tune_mm_mlp: false })
    const rows = policy.encode([prompt], ['It is.'])
    assert.deepEqual(Object.keys(rows.sight!).sort(), ['features', 'next', 'position_ids'])
    assert.deepEqual(partsIn((await values(policy.weights.trainable)).keys()), ['language model'])
    assert.deepEqual(partsIn((await values(policy.weights.frozen)).keys()), ['merger', 'tower'])
    const completions = [prompt, other].map(prompt => ({ prompt, completion: 'It is.' }))
    assert.deepEqual((await changed(policy, sft(policy, completions, args))).parts, ['language model'])
    disposeTree(rows)
    policy.dispose()
  })

  it('learn by GRPO, from what they see now, against what they saw at first', async () => {
    const policy = await loadPolicy(MODEL, { tune_mm_llm: false, tune_mm_vision: true, tune_mm_mlp: false })
    const length = weighted({ odd: [({ completions }) => completions.map((_, i) => i % 2), 1] })
    const config = { ...args, max_steps: 2, num_generations: 2, max_completion_length: 8, beta: 0.1, learning_rate: 0.02 } // prettier-ignore
    const { parts, rows } = await changed(policy, grpo(policy, [{ prompt }, { prompt: other }], length, config))
    assert.deepEqual(parts, ['tower'])
    const [first, second] = rows.map(row => ({ kl: Number(row['kl']), apart: Number(row['sampling/sampling_logp_difference/max']) })) // prettier-ignore
    assert.ok(first!.kl < AGREE && second!.kl > 10 * AGREE, `kl ${first!.kl}, then ${second!.kl}`)
    assert.ok(first!.apart < AGREE && second!.apart < AGREE, `${first!.apart}, ${second!.apart} from what was drawn`)
    policy.dispose()
  })

  it('lie beside an adapter, which may name layers of the tower, are stored with it, and open again', async () => {
    const policy = await loadPolicy(MODEL, { adapter: { r: 2, target_modules: ['q_proj', 'qkv'] }, tune_mm_mlp: true })
    const pairs = [prompt, other].map(prompt => ({ prompt, chosen: 'It is.', rejected: 'No.' }))
    const { parts, rows } = await changed(policy, dpo(policy, pairs, { ...args, max_steps: 2 }))
    assert.deepEqual(parts, ['language model', 'merger', 'tower'])
    const [first, second] = rows.map(row => Math.abs(Number(row['rewards/margins'])))
    assert.ok(
      first! < AGREE && second! > 1e-3,
      `margins ${first}, then ${second}: the reference is what was there before`,
    )
    const dirs = await Promise.all([0, 1].map(() => mkdtemp(join(tmpdir(), 'parts-'))))
    await policy.save(dirs[0]!)
    await policy.save(dirs[1]!, { merge: true })
    const scored = async (policy: LanguagePolicy) => {
      const rows = policy.encode([prompt, other], ['It is.', 'No.'])
      const { score, length } = policy.score(policy.weights, rows)
      const found = await values({ score })
      disposeTree([rows, score, length])
      policy.dispose()
      return found
    }
    const wanted = await scored(policy)
    agree(await scored(await loadPolicy(MODEL, { adapter: dirs[0]! })), wanted)
    agree(await scored(await loadPolicy(dirs[1]!)), wanted)
    await assert.rejects(loadPolicy(MODEL, { adapter: dirs[0]!, tune_mm_mlp: false }), /tune_mm_mlp is false, but the adapter has weights of the projector/) // prettier-ignore
    for (const dir of dirs) await rm(dir, { recursive: true })
  })

  it('are refused where the rest says otherwise', async () => {
    const refused = (options: PolicyOptions, message: RegExp, model = MODEL) =>
      assert.rejects(loadPolicy(model, options), message)
    const text = fixture('qwen2')
    await refused({ tune_mm_vision: true }, /tune_mm_vision is true, but Qwen2ForCausalLM sees no pictures/, text)
    await refused({ tune_mm_llm: false }, /tune_mm_llm is false, but Qwen2ForCausalLM is a language model alone/, text)
    await refused({ tune_mm_llm: false, tune_mm_mlp: false }, /leave nothing that learns/)
    const qkv = { r: 2, target_modules: ['qkv'] }
    await refused({ adapter: { r: 2 }, tune_mm_llm: false }, /tune_mm_llm is false, but the adapter has weights of the language model/) // prettier-ignore
    await refused({ adapter: qkv, tune_mm_llm: true }, /target_modules of the adapter names no layer of it/)
    await refused({ adapter: qkv, tune_mm_vision: true }, /the adapter lies on layers of the vision tower/)
    await refused({ quantization: 'nf4', tune_mm_vision: true }, /tune_mm_vision is true, but its weights are kept in 4 bits/) // prettier-ignore
    const merged = await loadPolicy(MODEL, { quantization: 'nf4', tune_mm_mlp: true })
    assert.deepEqual(partsIn((await values(merged.weights.trainable)).keys()), ['merger'])
    merged.dispose()
  })
})
