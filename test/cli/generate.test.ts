import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateCommand } from '../../src/cli/generate.js'
import { readImage, writePng } from '../../src/io/images.js'
import { openSafetensors } from '../../src/io/safetensors.js'
import { loadTokenizer, type Message } from '../../src/io/tokenizer.js'
import { loadAdapter, loadKontext } from '../../src/models/index.js'
import { overlay } from '../../src/policies/overlay.js'
import { editImage } from '../../src/sampling/index.js'
import { start } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'
import { rewardlab } from './rewardlab.js'

describe('rewardlab generate', () => {
  let dir: string
  let expected: { prompts: string[]; messages: Message[] }
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'generate-'))
    expected = JSON.parse(await readFile(fixture('qwen2_expected.json'), 'utf8')) as typeof expected
  })
  after(() => rm(dir, { recursive: true }))

  const model = fixture('qwen2')
  async function jsonLines(name: string, rows: readonly unknown[]): Promise<string> {
    const path = join(dir, name)
    await writeFile(path, rows.map(row => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n'))
    return path
  }

  it('draws greedily what transformers generates, batch by batch', async () => {
    const reference = await openSafetensors(fixture('qwen2_expected.safetensors'))
    const ids = Array.from(await reference.read('greedy.ids'))
    const [rows, width] = reference.tensors.get('greedy.ids')!.shape as [number, number]
    await reference.close()
    const tokenizer = await loadTokenizer(model)
    const wanted = Array.from({ length: rows }, (_, i) =>
      tokenizer.decode(ids.slice((i + 1) * width - 24, (i + 1) * width)),
    )

    const messages = await jsonLines('greedy.jsonl', [...expected.prompts.map(prompt => ({ prompt })), expected])
    const options = ['--messages', messages, '--max_new_tokens', '24', '--batch_size', '2', '--greedy']
    const { code, stdout, stderr } = await rewardlab(['generate', model, ...options, '--json'])
    assert.equal(code, 0, stderr + stdout)
    const found = stdout.trim().split('\n').map(line => JSON.parse(line) as { prompt: unknown; completion: string }) // prettier-ignore
    assert.deepEqual(found.slice(0, rows).map(row => row.completion), wanted) // prettier-ignore
    assert.deepEqual(found.map(row => row.prompt), [...expected.prompts, expected.messages]) // prettier-ignore
    assert.ok(found[rows]!.completion.length > 0, 'a conversation is completed, too')
  })

  it('draws the same text for the same seed, another for another', async () => {
    const messages = await jsonLines('drawn.jsonl', [{ prompt: expected.prompts[0] }])
    const options = ['--messages', messages, '--max_new_tokens', '8', '--temperature', '0.9', '--top_p', '0.95']
    const plain = { REWARDLAB_BACKEND: 'cpu' } // nothing to compile
    const drawn = async (seed: string) =>
      (await rewardlab(['generate', model, ...options, '--seed', seed], plain)).stdout
    const [a, b, c] = await Promise.all([drawn('1'), drawn('1'), drawn('2')])
    assert.notEqual(a, '')
    assert.equal(a, b)
    assert.notEqual(a, c)
  })

  it("edits an image with a pipeline: diffusers' options, a PNG", async () => {
    const image = { width: 40, height: 24, data: new Uint8ClampedArray(40 * 24 * 3).map((_, i) => (i * 7) % 256) }
    const [input, output] = [join(dir, 'in.png'), join(dir, 'new', 'out.png')]
    await writePng(input, image)
    const sizes = ['--max_area', '1000', '--no_auto_resize', '--max_sequence_length', '16']
    const how = ['--num_inference_steps', '2', '--seed', '3', '--negative_prompt', 'blurry', '--true_cfg_scale', '2']
    const adapter = ['--adapter', fixture('kontext_adapter')]
    const args = ['--image', input, '--prompt', 'make it red', '--output', output, ...sizes, ...how, ...adapter]
    const { code, stdout, stderr } = await rewardlab(['generate', fixture('kontext'), ...args, '--json'])
    assert.equal(code, 0, stderr + stdout)
    assert.deepEqual(JSON.parse(stdout), { output, width: 40, height: 24 })
    const options = { seed: 3, negative_prompt: 'blurry', true_cfg_scale: 2, num_inference_steps: 2, max_area: 1000, auto_resize: false, max_sequence_length: 16 } // prettier-ignore
    await start()
    const kontext = await loadKontext(fixture('kontext'))
    const { model, weights } = kontext.transformer
    const lora = await loadAdapter(model, fixture('kontext_adapter'))
    const transformer = { model, weights: overlay(overlay(weights, lora.scaling), lora.weights) }
    assert.deepEqual(
      await readImage(output),
      await editImage({ ...kontext, transformer }, image, 'make it red', options),
    )
    kontext.dispose()
  })

  it('refuses what does not fit', async () => {
    const good = await jsonLines('good.jsonl', [{ prompt: 'a' }])
    const long = { prompt: 'many words '.repeat(60) }
    const pipeline = fixture('kontext')
    const picture = join(dir, 'picture.png')
    await writePng(picture, { width: 8, height: 8, data: new Uint8ClampedArray(8 * 8 * 3) })
    const edit = [pipeline, '--prompt', 'a', '--output', join(dir, 'none.png')]
    const cases: [args: string[], message: RegExp][] = [
      [[model], /--messages FILE\.jsonl is missing/],
      [[model, '--messages', join(dir, 'none.jsonl')], /none\.jsonl: cannot be read/],
      [[model, '--messages', await jsonLines('empty.jsonl', [])], /empty\.jsonl: no rows, needed at least one/],
      [
        [model, '--messages', await jsonLines('columns.jsonl', [{ prompt: 'a' }, { text: 'b' }])],
        /columns\.jsonl: row 2 has no "messages" .* and no "prompt"/,
      ],
      [
        [model, '--messages', await jsonLines('broken.jsonl', ['{"prompt": "a"}', '', '{"prompt": "b"'])],
        /broken\.jsonl, line 3: not JSON .*Needed one JSON object a line/,
      ],
      [
        [model, '--messages', await jsonLines('long.jsonl', [long]), '--max_new_tokens', '8'],
        /prompt 0 has \d+ tokens; with max_completion_length 8 the context of 96 leaves 88\. Shorten/,
      ],
      [[fixture('qwen2_untied'), '--messages', good], /qwen2_untied.tokenizer\.json: there is no such file/],
      [[model, '--messages', good, '--top_k', 'x'], /--top_k is "x", needed a number/],
      [[model, '--messages', good, '--batch_size', '0'], /batch_size is 0, needed an integer ≥ 1/],
      [[model, '--messages', good, '--max_new_tokens', '0'], /max_completion_length is 0, needed an integer ≥ 1/],
      [[model, '--messages', good, '--beams', '3'], /--beams/],
      [[model, '--output', good], /--output is not for .*qwen2, no pipeline/],
      [[pipeline, '--messages', good], /--messages is not for .*kontext, a pipeline/],
      [[pipeline, '--image', good, '--prompt', 'a'], /--output is missing/],
      [
        [pipeline, '--image', good, '--prompt', 'a', '--output', dir],
        /--output is .*, a folder\. Needed the name of a/,
      ],
      [[...edit, '--image', good], /good\.jsonl: another kind of file\. Needed PNG/],
      [[...edit, '--image', good, '--height', 'x'], /--height is "x", needed a number/],
      [[...edit, '--image', picture, '--adapter', dir], /Needed: pytorch_lora_weights\.safetensors/],
      [[...edit, '--image', picture, '--vae_tile', '24'], /tiles of 24 pixels, needed a multiple of 16/],
      [[...edit, '--image', good, '--dtype', 'half'], /dtype is "half", needs one of float32, bfloat16/],
    ]
    for (const [args, message] of cases)
      await assert.rejects(
        generateCommand.run(args, () => {}),
        { message },
      )
  })
}).timeout(120_000)
