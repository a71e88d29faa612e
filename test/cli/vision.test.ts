import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
})
