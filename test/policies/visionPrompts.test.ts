import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import type { ContentPart } from '../../src/io/tokenizer.js'
import { loadPolicy, type LanguagePolicy, type VisionPrompt } from '../../src/policies/index.js'
import { disposeTree } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'
import { picture } from '../models/pictures.js'
import { drawnGreedily } from './drawnGreedily.js'

const AGREE = 1e-4 // log-probs of one pass against those drawn token by token, float32

interface Expected {
  conversations: ContentPart[][]
  images: [number, number][]
  videos: [number, number, number][]
  fps: number
  longFps: number
  texts: string[]
}

describe('a language policy that sees', function () {
  this.timeout(300_000)
  let source: TensorSource
  let expected: Expected
  let policy: LanguagePolicy
  before(async () => {
    source = await openSafetensors(fixture('qwen25vl_expected.safetensors'))
    expected = JSON.parse(await readFile(fixture('qwen25vl_expected.json'), 'utf8')) as Expected
    policy = await loadPolicy(fixture('qwen25vl'))
  })
  after(async () => {
    policy.dispose()
    await source.close()
  })

  /** The prompts of the reference: two images, a video, text alone. */
  function prompts(fps = expected.fps): VisionPrompt[] {
    const images = expected.images.map(([h, w], n) => picture(n, h, w))
    const videos = expected.videos.map(([frames, h, w]) => ({
      frames: Array.from({ length: frames }, (_, f) => picture(10 + f, h, w)),
      fps,
    }))
    return expected.conversations.map((content, i) => ({
      prompt: [{ role: 'user', content }],
      ...(i === 0 ? { images } : i === 1 ? { videos } : {}),
    }))
  }

  async function agree(found: tf.Tensor, wanted: tf.Tensor): Promise<void> {
    const [a, b] = (await Promise.all([found.data(), wanted.data()])) as [Float32Array, Float32Array]
    const apart = a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i]!)), 0)
    assert.ok(a.length === b.length && apart < AGREE, `${apart} apart`)
  }

  it('draws greedily what transformers generates, and evaluates it as it was drawn', async () => {
    for (const [name, fps] of [
      ['greedy', expected.fps],
      ['long.greedy', expected.longFps],
    ] as const) {
      const wanted = (await source.read(name)) as Int32Array
      const [, T] = source.tensors.get(name)!.shape as [number, number]
      const { trajectories, drawn } = await drawnGreedily(policy, prompts(fps), wanted, name)
      assert.ok(drawn > 2 * T, `${drawn} tokens`) // most rows do not end
      const { logProbs } = policy.evaluate(policy.weights, trajectories)
      await agree(logProbs, trajectories.logProbs)
      disposeTree([trajectories, logProbs])
    }
  })

  it('shares what it sees among the completions of a prompt', async () => {
    const [first] = prompts() as [VisionPrompt]
    const { outputs, trajectories } = await policy.sample([first], {
      num_generations: 2,
      max_completion_length: 8,
      seed: 3,
    })
    assert.equal(outputs.length, 2)
    const { logProbs } = policy.evaluate(policy.weights, trajectories)
    await agree(logProbs, trajectories.logProbs)
    disposeTree([trajectories, logProbs])
  })

  it('scores given completions by what it sees', async () => {
    const [first] = prompts() as [VisionPrompt]
    const other = { ...first, images: first.images!.map(({ width, height }, n) => picture(n + 5, height, width)) }
    const rows = policy.encode([first, other, first], ['It is.', 'It is.', 'It is.'])
    const { score, length } = policy.score(policy.weights, rows)
    const [a, b, c] = (await score.data()) as Float32Array
    assert.ok(Math.abs(a! - b!) > 0.01 && Math.abs(a! - c!) < AGREE, `${a}, ${b}, ${c}`)
    disposeTree([rows, score, length])
  })

  it('puts pictures before the text of messages that do not say where they stand', async () => {
    const [first] = prompts() as [VisionPrompt]
    const text = 'Is this like this one?'
    const plain = { images: first.images!, prompt: [{ role: 'user', content: text }] }
    const content = [{ type: 'image' }, { type: 'image' }, { type: 'text', text }]
    const [ours, parts] = [plain, { ...plain, prompt: [{ role: 'user', content }] }].map(p =>
      policy.encode([p], ['Yes.']),
    )
    assert.deepEqual(await ours!.prompt_ids.data(), await parts!.prompt_ids.data())
    disposeTree([ours, parts])
  })

  it('says which prompt has other marks than pictures', async () => {
    const [first, second] = prompts() as [VisionPrompt, VisionPrompt]
    const fewer = { ...first, images: first.images!.slice(1) }
    await assert.rejects(policy.sample([second, fewer], { seed: 0 }), /prompt 1 has 2 marks for images and 1 images/)
    const blind = await loadPolicy(fixture('qwen2'))
    await assert.rejects(blind.sample([{ ...first, prompt: 'Look.' }], { seed: 0 }), /prompt 0 has pictures, and Qwen2ForCausalLM sees none/) // prettier-ignore
    blind.dispose()
  })

  it('is saved with its tower and its processor', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'seeing-'))
    await policy.save(dir)
    const again = await loadPolicy(dir)
    const draw = async (p: LanguagePolicy) => {
      const { outputs, trajectories } = await p.sample(prompts().slice(0, 1), {
        greedy: true,
        max_completion_length: 4,
        seed: 0,
      })
      disposeTree(trajectories)
      return outputs
    }
    assert.deepEqual(await draw(again), await draw(policy))
    again.dispose()
    await rm(dir, { recursive: true })
  })
})
