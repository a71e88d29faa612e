import assert from 'node:assert/strict'
import type * as tf from '@tensorflow/tfjs-core'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readDataset, resolveDataset, usableRows } from '../../src/cli/namedDatasets.js'
import { readVideo, writeJsonl } from '../../src/datasets/index.js'
import { visionPartOf, type VisionPart } from '../../src/models/index.js'
import { loadPolicy, type StoredPrompt, type VisionPrompt, type Weights } from '../../src/policies/index.js'
import { disposeTree, eachTensor } from '../../src/xla/index.js'
import { readExperiment } from '../../src/cli/experiment.js'
import { forwardCommand } from '../../src/cli/forward.js'
import { generateCommand } from '../../src/cli/generate.js'
import { evaluate } from '../../src/cli/evaluate.js'
import { train } from '../../src/cli/train.js'
import { writePng } from '../../src/io/images.js'
import { openSafetensors, writeSafetensors, type StoredTensor } from '../../src/io/safetensors.js'
import { fixture } from '../models/fixture.js'
import { picture } from '../models/pictures.js'

const PARITY = 2e-5 // float32 against PyTorch's float32; logits are about 5
const STRIDE = 8 // of the stored logits along the vocabulary

describe('the command line, of a model that sees', function () {
  this.timeout(300_000)
  let dir: string
  const model = fixture('qwen25vl')
  before(async () => (dir = await mkdtemp(join(tmpdir(), 'vision-'))))
  after(() => rm(dir, { recursive: true }))

  it('forward gives the logits of transformers for images and a video', async () => {
    const expected = await openSafetensors(fixture('qwen25vl_expected.safetensors'))
    const stored: Record<string, StoredTensor> = {}
    for (const [name, { dtype, shape }] of expected.tensors)
      if (name.startsWith('in.')) stored[name.slice(3)] = { dtype, shape, data: await expected.read(name) }
    const [input, output] = [join(dir, 'in.safetensors'), join(dir, 'out.safetensors')]
    await writeSafetensors(input, stored)
    await forwardCommand.run([model, input, output], () => {})
    const [mask, wanted] = [await expected.read('in.attention_mask'), await expected.read('logits')]
    const file = await openSafetensors(output)
    const found = ((await file.read('logits')) as Float32Array).filter((_, i) => i % STRIDE === 0)
    assert.equal(found.length, wanted.length)
    const V = wanted.length / mask.length
    const apart = found.reduce((worst, x, i) => (mask[Math.floor(i / V)] ? Math.max(worst, Math.abs(x - wanted[i]!)) : worst), 0) // prettier-ignore
    assert.ok(apart < PARITY, `${apart} apart`)
    await Promise.all([file.close(), expected.close()])
  })

  it('generate completes messages with images as transformers does, and one image with a prompt', async () => {
    const { conversations, images, completions } = JSON.parse(
      await readFile(fixture('qwen25vl_expected.json'), 'utf8'),
    ) as { conversations: unknown[]; images: [number, number][]; completions: string[] }
    for (const [n, [h, w]] of images.entries()) await writePng(join(dir, `${n}.png`), picture(n, h, w))
    const path = join(dir, 'rows.jsonl')
    const row = { messages: [{ role: 'user', content: conversations[0] }], images: ['0.png', '1.png'] }
    await writeFile(path, JSON.stringify(row))
    const drawn = async (...args: string[]) => {
      const texts: string[] = []
      await generateCommand.run([model, ...args, '--greedy', '--max_new_tokens', '12'], text => void texts.push(text))
      return texts
    }
    assert.deepEqual(await drawn('--messages', path), [completions[0]])
    const alone = { messages: [{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'What?' }] }], images: ['0.png'] } // prettier-ignore
    await writeFile(path, JSON.stringify(alone))
    assert.deepEqual(await drawn('--image', join(dir, '0.png'), '--prompt', 'What?'), await drawn('--messages', path))
    await assert.rejects(drawn('--image', join(dir, '0.png')), /--messages FILE\.jsonl is missing, or --prompt TEXT/)
    await assert.rejects(drawn('--messages', path, '--prompt', 'a'), /--messages is there, and --prompt/)
    await writeFile(path, JSON.stringify({ ...alone, images: ['none.png'] }))
    await assert.rejects(drawn('--messages', path), /none\.png: there is no such file/)
  })

  it('generate sees the frames of a video, beside a prompt and beside messages', async () => {
    const drawn = async (...args: string[]) => {
      const texts: string[] = []
      await generateCommand.run([model, ...args, '--greedy', '--max_new_tokens', '8'], text => void texts.push(text))
      return texts
    }
    const [video, path] = [fixture('videos/h264.mp4'), join(dir, 'videos.jsonl')]
    const { frames, fps } = await readVideo(video, { fps: 4 })
    await Promise.all(frames.map((frame, i) => writePng(join(dir, 'frames', `${i}.png`), frame)))
    const messages = [{ role: 'user', content: 'What?' }]
    await writeFile(path, JSON.stringify({ messages, videos: [video] }))
    const policy = await loadPolicy(model)
    const prompts = [{ prompt: messages, videos: [{ frames, fps }] }]
    const { outputs, trajectories } = await policy.sample(prompts, { greedy: true, max_completion_length: 8, seed: 0 })
    disposeTree(trajectories)
    policy.dispose()
    assert.deepEqual(await drawn('--video', video, '--prompt', 'What?', '--fps', '4'), outputs)
    assert.deepEqual(await drawn('--messages', path, '--fps', '4'), outputs)
  })

  it('rows of a file are decoded when they are drawn; those that cannot be used stop the run or are left out', async () => {
    const path = join(dir, 'conversations.jsonl')
    const row = (value: string, files: object) => ({ conversations: [{ from: 'human', value }, { from: 'gpt', value: 'Yes.' }], ...files }) // prettier-ignore
    await writeFile(join(dir, 'broken.mp4'), 'broken')
    const long = row('<image>'.repeat(40), { images: Array<string>(40).fill(fixture('videos/delays.gif')) })
    const good = row('<video>Up?', { video: fixture('videos/h264.mp4') })
    writeJsonl(path, [good, row('<video>?', { video: 'broken.mp4' }), row('?', { video: 'broken.mp4' }), long])
    const config = resolveDataset('test', { name: 'visionRows', path, bad_rows: 'skip' }, 'train')
    const rows = await readDataset(config)
    const policy = await loadPolicy(model)
    const { room } = policy
    const args = { max_completion_length: 300 } // of 512; forty pictures take 960
    const usable = await usableRows(config, rows, { room: prompt => room.call(policy, prompt as never) }, args)
    assert.equal(usable.rows.length, 1)
    const [unmarked, broken, full] = usable.skipped
    assert.match(unmarked!, /row 2: 0 marks <video> for 1/)
    assert.match(broken!, /row 1: video 0: readVideo: .*broken\.mp4/)
    assert.match(full!, /row 3: the context leaves \d+ tokens behind its pictures and text/)
    await assert.rejects(policy.sample([rows[1]!['prompt'] as StoredPrompt], { seed: 0 }), /conversations\.jsonl, row 1: video 0/) // prettier-ignore
    await assert.rejects(policy.sample([rows[2]!['prompt'] as StoredPrompt], { seed: 0, ...args }), /conversations\.jsonl, row 3 has \d+ tokens; with max_completion_length/) // prettier-ignore

    const stored = rows[0]!['prompt'] as StoredPrompt
    const encoded = await policy.encode([stored, stored], ['Yes.', 'Yes.'])
    const whole = policy.encode([{ ...stored, open: undefined, ...(await stored.open()) } as VisionPrompt], ['Yes.'])
    const ids = await whole.prompt_ids.data()
    assert.deepEqual(await encoded.prompt_ids.data(), Int32Array.from([...ids, ...ids]))
    disposeTree([encoded, whole])
    policy.dispose()
  })

  it('evaluate leaves out what cannot be decoded, and says so', async () => {
    const path = join(dir, 'held.jsonl')
    await writeFile(join(dir, 'bad.mp4'), 'broken')
    const conversations = [{ from: 'human', value: '<video>\nWhich?' }, { from: 'gpt', value: '<answer>lift</answer>' }] // prettier-ignore
    writeJsonl(
      path,
      [fixture('videos/h264.mp4'), 'bad.mp4'].map(video => ({ conversations, video })),
    )
    const file = join(dir, 'held.yaml')
    const eval_dataset = { name: 'visionRows', path, bad_rows: 'skip' }
    await writeFile(file, JSON.stringify({ optimizer: 'sft', model, eval_dataset }))
    const { metrics, skipped } = await evaluate(await readExperiment(file))
    assert.deepEqual([metrics[0]!.rows, skipped.length], [1, 1])
    assert.match(skipped[0]!, /held\.jsonl, row 1: video 0: readVideo: .*bad\.mp4/)
  })

  it("train: SFT, then GRPO with the rewards for videos, on the documents' rows; the tower learns, and what is saved opens", async () => {
    const path = join(dir, 'actions.jsonl')
    const said = '<think>It turns.</think> <answer>(1) lift (2) turn</answer>'
    const conversations = [{ from: 'human', value: '<video>\nWhich actions?' }, { from: 'gpt', value: said }] // prettier-ignore
    const meta = { frame_cnts: [8, 4], min_frames: 2, max_frames: 4, dynamic_sample: true }
    writeJsonl(path, [0, 1].map(id => ({ id, conversations, video: fixture('videos/h264.mp4'), meta }))) // prettier-ignore
    const trained = async (name: string, config: object) => {
      const file = join(dir, `${name}.yaml`)
      await writeFile(file, JSON.stringify({ dataset: { path }, output_dir: join(dir, name), ...config }))
      return train(await readExperiment(file))
    }
    const args = { max_steps: 2, per_device_train_batch_size: 2, learning_rate: 0.01, lr_scheduler_type: 'constant' }
    const sft = await trained('sft', { optimizer: 'sft', model, tune_mm_vision: true, args })
    assert.ok(Number.isFinite(sft.metrics['loss']))

    const rewards = {
      format: { use: 'thinkAnswerFormat', weight: 0.3 },
      accuracy: { use: 'actionIou', weight: 0.7 },
      length: { use: 'textHeuristic', weight: 1 },
    } // random weights never get the form right
    const drawn = { num_generations: 2, max_completion_length: 6, temperature: 0.7, top_p: 0.9, beta: 0.1 }
    const { metrics, model: saved } = await trained('grpo', { optimizer: 'grpo', model: sft.model, rewards, args: { ...args, ...drawn } }) // prettier-ignore
    for (const name of ['reward', 'rewards/format/mean', 'rewards/accuracy/mean', 'kl'])
      assert.ok(Number.isFinite(metrics[name]), name)
    const policies = await Promise.all([model, sft.model, saved].map(from => loadPolicy(from)))
    const towers = await Promise.all(policies.map(policy => norm(policy.weights, 'vision_tower')))
    const mergers = await Promise.all(policies.map(policy => norm(policy.weights, 'mm_projector')))
    assert.notEqual(towers[0], towers[1])
    assert.equal(towers[1], towers[2]) // GRPO left it as it was
    assert.notEqual(mergers[1], mergers[2])
    policies.forEach(policy => policy.dispose())
  })
})

/** The sum of squares of a part's weights. */
async function norm({ trainable, frozen }: Weights, part: VisionPart): Promise<number> {
  let sum = 0
  const leaves: tf.Tensor[] = []
  for (const tree of [trainable, frozen])
    eachTensor(tree, (t, path) => {
      if (visionPartOf(path) === part) leaves.push(t)
    })
  for (const leaf of leaves) sum += Float32Array.from(await leaf.data()).reduce((total, x) => total + x * x, 0)
  assert.ok(leaves.length > 0)
  return sum
}
