import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RgbImage } from '../../src/io/images.js'
import { openSafetensors, writeSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { aesthetic, clipSimilarity, pickScore, type Reward, type RewardBatch } from '../../src/rewards/index.js'
import { fixture } from '../models/fixture.js'
import { close } from './samples.js'

const PARITY = 1e-4 // float32 against PyTorch's float32; scores of up to 12
const LOGIT_SCALE = Math.exp(2.5)

const model = fixture('clip_model')

describe('scores of CLIP', () => {
  let expected: TensorSource
  let pictures: RgbImage[]
  let texts: string[]
  before(async () => {
    expected = await openSafetensors(fixture('clip_model_expected.safetensors'))
    texts = JSON.parse(expected.metadata['texts']!) as string[]
    pictures = await Promise.all(
      [0, 1, 2, 3].map(async i => {
        const [height, width] = expected.tensors.get(`picture.${i}`)!.shape as [number, number, number]
        return { width, height, data: new Uint8ClampedArray(await expected.read(`picture.${i}`)) }
      }),
    )
  })
  after(() => expected.close())

  /** Each picture with each text. */
  const pairs = (): RewardBatch => ({
    prompts: pictures.flatMap(() => texts),
    completions: pictures.flatMap(picture => texts.map(() => picture)),
  })

  it('pickScore is transformers\u2019 logits_per_image, of long prompts too', async () => {
    close(await pickScore(model)(pairs()), Array.from(await expected.read('logits_per_image')), PARITY)
  })

  it('reads the instruction of an edit', async () => {
    const [image] = pictures as [RgbImage]
    const edit = { prompts: [{ image, prompt: texts[1] }], completions: [image] }
    const wanted = await pickScore(model)({ prompts: [texts[1]], completions: [image] })
    close(await pickScore(model)(edit), wanted)
  })

  it('clipSimilarity is their cosine', async () => {
    const logits = await expected.read('logits_per_image')
    close(await clipSimilarity(model)(pairs()), Array.from(logits, x => x / LOGIT_SCALE), PARITY) // prettier-ignore
  })

  for (const head of ['linear', 'mlp'])
    it(`aesthetic applies LAION\u2019s ${head} head, whatever the prompts are`, async () => {
      const reward = aesthetic(model, fixture(`clip_heads/${head}.safetensors`))
      const batch = { prompts: [null, 1, [], {}], completions: pictures }
      close(await reward(batch), Array.from(await expected.read(`aesthetic.${head}`)), PARITY)
    })

  it('says what does not fit', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'heads-'))
    const head = async (name: string, shapes: Record<string, number[]>): Promise<string> => {
      const path = join(dir, name)
      const stored = Object.entries(shapes).map(([key, shape]) => {
        const data = new Float32Array(shape.reduce((n, d) => n * d, 1))
        return [key, { dtype: 'F32', shape, data }] as const
      })
      await writeSafetensors(path, Object.fromEntries(stored))
      return path
    }
    const one = (prompt: unknown): RewardBatch => ({ prompts: [prompt], completions: [pictures[0]!] })
    const other = await head('other', { weight: [1, 7], bias: [1] })
    const broken = await head('broken', { 'layers.0.weight': [4, 20], 'layers.2.weight': [1, 5], 'layers.0.bias': [4] })
    const cases: [reward: Reward, batch: RewardBatch, message: RegExp][] = [
      [clipSimilarity(model), one(['a list']), /^clipSimilarity: a prompt is a list, needed a text/],
      [pickScore(model), { prompts: ['x'], completions: ['y'] }, /^pickScore, row 0: the completion is text/],
      [pickScore(fixture('clip_text')), one('x'), /preprocessor_config\.json: there is no such file/],
      [aesthetic(model, join(dir, 'none')), one('x'), /none: there is no such file\. Needed: a \.safetensors file/],
      [aesthetic(model, other), one('x'), /other takes vectors of 7, .*clip_model gives 20\. Use its own CLIP/],
      [
        aesthetic(model, broken),
        one('x'),
        /layers\.2\.weight is \[1, 5\] with a bias of \[none\], needed \[1, 4\] and \[1\]/,
      ],
    ]
    for (const [reward, batch, message] of cases) await assert.rejects(async () => await reward(batch), { message })
    await rm(dir, { recursive: true })
  })
})
