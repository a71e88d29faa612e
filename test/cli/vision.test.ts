import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readDataset, resolveDataset, usableRows } from '../../src/cli/namedDatasets.js'
import { readVideo, writeJsonl } from '../../src/datasets/index.js'
import { loadPolicy, type StoredPrompt, type VisionPrompt } from '../../src/policies/index.js'
import { disposeTree } from '../../src/xla/index.js'
import { forwardCommand } from '../../src/cli/forward.js'
import { generateCommand } from '../../src/cli/generate.js'
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
    const length = 300 // of 512; forty pictures take 960
    const usable = await usableRows(config, rows, { room: prompt => room.call(policy, prompt as never) }, length)
    assert.equal(usable.rows.length, 1)
    const [unmarked, broken, full] = usable.skipped
    assert.match(unmarked!, /row 2: 0 marks <video> for 1/)
    assert.match(broken!, /row 1: video 0: readVideo: .*broken\.mp4/)
    assert.match(full!, /row 3: the context leaves \d+ tokens behind its pictures and text/)
    await assert.rejects(policy.sample([rows[1]!['prompt'] as StoredPrompt], { seed: 0 }), /conversations\.jsonl, row 1: video 0/) // prettier-ignore
    await assert.rejects(policy.sample([rows[2]!['prompt'] as StoredPrompt], { seed: 0, max_completion_length: length }), /conversations\.jsonl, row 3 has \d+ tokens; with max_completion_length/) // prettier-ignore

    const stored = rows[0]!['prompt'] as StoredPrompt
    const encoded = await policy.encode([stored, stored], ['Yes.', 'Yes.'])
    const whole = policy.encode([{ ...stored, open: undefined, ...(await stored.open()) } as VisionPrompt], ['Yes.'])
    const ids = await whole.prompt_ids.data()
    assert.deepEqual(await encoded.prompt_ids.data(), Int32Array.from([...ids, ...ids]))
    disposeTree([encoded, whole])
    policy.dispose()
  })
})
