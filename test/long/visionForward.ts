/* `rewardlab forward` and `rewardlab generate` on pictures and videos of each family of models that see, beside what transformers gave. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { forwardCommand } from '../../src/cli/forward.js'
import { generateCommand } from '../../src/cli/generate.js'
import { writePng } from '../../src/io/images.js'
import { readJson } from '../../src/io/json.js'
import { openSafetensors, writeSafetensors, type StoredTensor, type TensorSource } from '../../src/io/safetensors.js'
import { loadTokenizer, type ContentPart } from '../../src/io/tokenizer.js'
import { fixture } from '../models/fixture.js'
import { picture } from '../models/pictures.js'

const PARITY = 2e-4 // float32 against PyTorch's float32: other summation orders; logits are about 5
const STRIDE = 8 // of the stored logits along the vocabulary

const FAMILIES = ['qwen25vl', 'gemma3_vl', 'llava', 'llava_onevision', 'blip2']

/** Contents of messages, of a model without a chat template texts of a picture each; heights and widths of the pictures, of Qwen's `images`. */
type Expected = { conversations: (ContentPart[] | string)[] } & Record<
  'sizes' | 'images',
  [number, number][] | undefined
>
type Films = { frames: [count: number, h: number, w: number]; text: string; greedy: Record<string, number[]> }

const began = performance.now()
const dir = await mkdtemp(join(tmpdir(), 'vision-forward-'))
const films = JSON.parse(await readFile(fixture('seen_videos.json'), 'utf8')) as Films
const lines: string[] = []
for (const name of FAMILIES) {
  const source = await openSafetensors(fixture(`${name}_expected.safetensors`))
  const expected = JSON.parse(await readFile(fixture(`${name}_expected.json`), 'utf8')) as Expected
  const far = await apart(name, source)
  const rows = await completed(name, source, expected)
  const film = films.greedy[name]
  if (film) await seesFilm(name, film)
  await source.close()
  lines.push(`${name} logits within ${far.toExponential(1)}, ${rows} rows${film ? ' and a video' : ''} drawn alike`)
}
await rm(dir, { recursive: true })
console.log(`visionForward: ${lines.join('; ')}; ${((performance.now() - began) / 1000).toFixed(0)} s`)

/** How far the logits that `forward` writes are from the stored ones, but for padding. */
async function apart(name: string, source: TensorSource): Promise<number> {
  const inputs: Record<string, StoredTensor> = {}
  for (const [key, { dtype, shape }] of source.tensors)
    if (key.startsWith('in.')) inputs[key.slice(3)] = { dtype, shape, data: await source.read(key) }
  const [from, to] = [join(dir, 'in.safetensors'), join(dir, 'out.safetensors')]
  await writeSafetensors(from, inputs)
  await forwardCommand.run([fixture(name), from, to], () => {})
  const file = await openSafetensors(to)
  const found = ((await file.read('logits')) as Float32Array).filter((_, i) => i % STRIDE === 0)
  await file.close()
  const [mask, wanted] = [await source.read('in.attention_mask'), await source.read('logits')]
  assert.equal(found.length, wanted.length, name)
  const V = wanted.length / mask.length
  const far = found.reduce((most, x, i) => (mask[Math.floor(i / V)] ? Math.max(most, Math.abs(x - wanted[i]!)) : most), 0) // prettier-ignore
  assert.ok(far < PARITY, `${name}: ${far} apart`)
  return far
}

/** What `generate` prints. */
async function drawn(name: string, ...args: string[]): Promise<string[]> {
  const texts: string[] = []
  const all = [fixture(name), ...args, '--greedy', '--max_new_tokens', '12']
  await generateCommand.run(all, text => void texts.push(text))
  return texts
}

/** A completion's text, up to the token that ends it, which is a part of BLIP-2's. */
async function textOf(name: string, tokens: readonly number[]): Promise<string> {
  const tokenizer = await loadTokenizer(fixture(name))
  const { text_config } = await readJson(join(fixture(name), 'config.json'))
  const end = tokens.indexOf((text_config as { eos_token_id?: number } | undefined)?.eos_token_id ?? tokenizer.eos_token_id!) // prettier-ignore
  return tokenizer.decode(end < 0 ? tokens : tokens.slice(0, end + 1))
}

/** Checks completions of the prompts with pictures, or none, and of one given by `--prompt`.
 * @returns how many */
async function completed(name: string, source: TensorSource, { conversations, ...sizes }: Expected): Promise<number> {
  const greedy = Array.from(await source.read('greedy'))
  const T = greedy.length / conversations.length
  const rows: { row: { images: string[] }; wanted: string }[] = []
  let n = 0
  for (const [i, content] of conversations.entries()) {
    if (typeof content !== 'string' && content.some(({ type }) => type === 'video')) continue
    const marks = typeof content === 'string' ? 1 : content.filter(({ type }) => type === 'image').length
    const images = Array.from({ length: marks }, (_, k) => join(dir, `${n + k}.png`))
    for (const image of images) await writePng(image, picture(n, ...(sizes.images ?? sizes.sizes)![n++]!))
    const prompt = typeof content === 'string' ? { prompt: content } : { messages: [{ role: 'user', content }] }
    rows.push({ row: { ...prompt, images }, wanted: await textOf(name, greedy.slice(i * T, (i + 1) * T)) })
  }
  const path = join(dir, 'rows.jsonl')
  await writeFile(path, rows.map(({ row }) => JSON.stringify(row)).join('\n'))
  assert.deepEqual(await drawn(name, '--messages', path), rows.map(({ wanted }) => wanted), name) // prettier-ignore
  const [first] = rows
  const [prompt] = conversations
  if (typeof prompt === 'string')
    assert.deepEqual(await drawn(name, '--image', first!.row.images[0]!, '--prompt', prompt), [first!.wanted], name)
  return rows.length
}

async function seesFilm(name: string, greedy: readonly number[]): Promise<void> {
  const [count, h, w] = films.frames
  const folder = join(dir, 'film')
  for (let f = 0; f < count; f++) await writePng(join(folder, `${f}.png`), picture(10 + f, h, w))
  assert.deepEqual(await drawn(name, '--video', folder, '--prompt', films.text), [await textOf(name, greedy)], name)
}
