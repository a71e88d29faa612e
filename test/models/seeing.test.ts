import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import type { ContentPart } from '../../src/io/tokenizer.js'
import {
  loadCausalModel,
  loadForwardModel,
  type CausalModel,
  type Loaded,
  type Vision,
} from '../../src/models/index.js'
import { featuresOf, tokenTypes, type Look } from '../../src/models/vision.js'
import { valueAndGrad } from '../../src/optimizers/valueAndGrad.js'
import { loadPolicy, type LanguagePolicy, type VisionPrompt } from '../../src/policies/index.js'
import { disposeTree, jit, start, type TensorTree } from '../../src/xla/index.js'
import { drawnGreedily } from '../policies/drawnGreedily.js'
import { agree, gradientsAgree, values } from '../policies/gradientOf.js'
import { fixture } from './fixture.js'
import { picture } from './pictures.js'

const PARITY = 2e-5 // float32 against PyTorch's float32: other summation orders; logits are about 5
const LOGITS = 5e-5 // the same: a video's row of LLaVA-OneVision is 3.7e-5 apart, the others 1e-5
const ROUNDING = 1e-6 // of pixels, which are about 2, and divided in another order
const AGREE = 1e-4 // log-probs of one pass against those drawn token by token, float32
const STRIDE = 8 // of the stored logits along the vocabulary

interface Expected {
  /** Contents of messages; of a model without a chat template, texts of a picture each. */
  conversations: (ContentPart[] | string)[]
  sizes: [h: number, w: number][]
  frames: [count: number, h: number, w: number][]
}

/** Directories, and what stands before the names of the values that belong to them; how many tokens are drawn, where a row ends. */
const CASES: { name: string; dir: string; prefix: string; tokens?: number }[] = [
  { name: 'gemma3_vl', dir: 'gemma3_vl', prefix: '' },
  { name: 'gemma3_vl', dir: 'gemma3_vl_crops', prefix: 'crops.' },
  { name: 'llava', dir: 'llava', prefix: '' },
  { name: 'llava', dir: 'llava_squares', prefix: 'squares.' },
  { name: 'llava_interleave', dir: 'llava_interleave', prefix: '' },
  { name: 'llava_onevision', dir: 'llava_onevision', prefix: '' },
  { name: 'blip2', dir: 'blip2', prefix: '', tokens: 34 }, // one ends with the token that text_config says
]

for (const { name, dir, prefix, tokens } of CASES)
  describe(`models that see: ${dir}`, function () {
    this.timeout(300_000)
    let source: TensorSource
    let expected: Expected
    let prompts: VisionPrompt[]
    before(async () => {
      await start()
      source = await openSafetensors(fixture(`${name}_expected.safetensors`))
      expected = JSON.parse(await readFile(fixture(`${name}_expected.json`), 'utf8')) as Expected
      let n = 0
      const next = () => picture(n, ...expected.sizes[n++]!)
      const film = ([count, h, w]: Expected['frames'][number]) => ({
        frames: Array.from({ length: count }, (_, f) => picture(10 + f, h, w)),
      })
      prompts = expected.conversations.map(content =>
        typeof content === 'string'
          ? { prompt: content, images: [next()], videos: [] }
          : {
              prompt: [{ role: 'user', content }],
              images: content.filter(({ type }) => type === 'image').map(next),
              videos: content.some(({ type }) => type === 'video') ? expected.frames.map(film) : [],
            },
      )
    })
    after(() => source.close())

    const plain = () => typeof prompts[0]!.prompt === 'string'
    const stored = async (what: string) => source.read(prefix + what)
    const shape = (what: string) => source.tensors.get(prefix + what)!.shape
    function agrees(found: ArrayLike<number>, wanted: ArrayLike<number>, what: string, bound = PARITY): void {
      assert.equal(found.length, wanted.length, what)
      const apart = Array.from(wanted).reduce((worst, x, i) => Math.max(worst, Math.abs(x - found[i]!)), 0)
      assert.ok(apart < bound, `${what}: ${apart} apart`)
    }
    /** Values of tokens alone, not of padding. */
    async function real(values: ArrayLike<number>): Promise<number[]> {
      const mask = await stored('in.attention_mask')
      const width = values.length / mask.length
      return Array.from(values).filter((_, i) => mask[Math.floor(i / width)])
    }

    /** What was stored of a model's inputs. */
    async function inputsOf(
      names: Vision['inputs'],
      leaveOut: readonly string[] = [],
    ): Promise<Record<string, tf.Tensor>> {
      const inputs: Record<string, tf.Tensor> = {}
      for (const [input, { type }] of Object.entries(names))
        if (source.tensors.has(`${prefix}in.${input}`) && !leaveOut.includes(input))
          inputs[input] = tf.tensor(await stored(`in.${input}`), shape(`in.${input}`), type)
      return inputs
    }

    describe('the policy', () => {
      let policy: LanguagePolicy
      before(async () => (policy = await loadPolicy(fixture(dir))))
      after(() => policy.dispose())

      it("gives the tokens of transformers' processor", async () => {
        const rows = policy.encode(prompts, Array<string>(prompts.length).fill(''))
        const [ids, mask] = [await rows.prompt_ids.data(), await rows.prompt_mask.data()]
        const [wanted, there] = [await stored('in.input_ids'), await stored('in.attention_mask')]
        const tokens = (ids: ArrayLike<number>, mask: ArrayLike<number>) => Array.from(ids).filter((_, i) => mask[i])
        assert.deepEqual(tokens(ids, mask), tokens(wanted, there))
        disposeTree(rows)
      })

      it('draws greedily what transformers generates, and evaluates it as it was drawn', async () => {
        const [, T] = shape('greedy') as [number, number]
        const { trajectories, drawn } = await drawnGreedily(policy, prompts, await stored('greedy'))
        assert.ok(tokens === undefined ? drawn > 1.5 * T : drawn === tokens, `${drawn} tokens`) // most rows do not end
        const { logProbs } = policy.evaluate(policy.weights, trajectories)
        agrees(await logProbs.data(), await trajectories.logProbs.data(), 'log-probabilities', AGREE)
        disposeTree([trajectories, logProbs])
      })

      /** A prompt of one picture; three of them are one program for all that follows. */
      const single = (): VisionPrompt =>
        plain()
          ? prompts[0]!
          : {
              prompt: [{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'What is here?' }] }],
              images: [prompts[1]!.images![0]!],
            }
      async function scores(of: LanguagePolicy, three: VisionPrompt[]): Promise<number[]> {
        const rows = of.encode(three, ['It is.', 'It is.', 'It is.'])
        const { score, length } = of.score(of.weights, rows)
        const found = Array.from(await score.data())
        disposeTree([rows, score, length])
        return found
      }

      it('scores by what it sees', async () => {
        const [first, two] = [single(), prompts[0]!]
        const other = { ...first, images: first.images!.map(({ width, height }, n) => picture(n + 5, height, width)) }
        const [a, b, c] = await scores(policy, [first, other, first])
        assert.ok(Math.abs(a! - b!) > 0.01 && Math.abs(a! - c!) < AGREE, `${a}, ${b}, ${c}`)
        const others = plain() ? [...two.images!, ...two.images!] : two.images!.slice(1)
        const wrong = plain() ? /prompt 0 has 2 images, and the model takes one/ : /prompt 0 has 2 marks for images and 1 images/ // prettier-ignore
        await assert.rejects(policy.sample([{ ...two, images: others }], { seed: 0 }), wrong)
      })

      it('takes a text for messages of one part, and is saved with all that it has', async () => {
        const saved = await mkdtemp(join(tmpdir(), 'seeing-'))
        await policy.save(saved)
        const configs = await Promise.all([saved, fixture(dir)].map(at => readFile(join(at, 'config.json'), 'utf8')))
        assert.equal(configs[0], configs[1]) // 1.0 as it was
        const again = await loadPolicy(saved)
        const parts = single()
        const text = plain() ? parts : { ...parts, prompt: [{ role: 'user', content: 'What is here?' }] }
        const found = await scores(policy, [parts, text, parts])
        assert.ok(
          found.every(score => score < 0 && Math.abs(score - found[0]!) < AGREE),
          found.join(),
        )
        assert.deepEqual(await scores(again, [parts, text, parts]), found)
        again.dispose()
        await rm(saved, { recursive: true })
      })
    })

    if (prefix === '')
      it('has the gradients of transformers: tower, projector and language model', async () => {
        const policy = await loadPolicy(fixture(dir), { tune_mm_vision: true })
        await gradientsAgree(policy, prompts, await stored('greedy'), fixture(`${name}_gradients.safetensors`))
        policy.dispose()
      })

    describe('its stages', () => {
      let model: CausalModel
      let vision: Vision
      let weights: TensorTree
      before(async () => {
        ;({ model, weights } = await loadCausalModel(fixture(name)))
        vision = model.vision!
      })
      after(() => disposeTree(weights))

      it("prepares pictures as transformers' default processor, pixel for pixel", async () => {
        const tokenizer = await import('../../src/io/tokenizer.js').then(m => m.loadTokenizer(fixture(dir)))
        const processor = await vision.processor(fixture(dir), tokenizer)
        const images = prompts.flatMap(({ images }) => images!.map(image => processor.image(image, images!.length)))
        const wanted = await stored('in.pixel_values')
        const room = shape('in.pixel_values').length === 5 ? wanted.length / images.length : 0 // where tiles of each are padded to as many
        const values = images.flatMap(({ patches }) => [
          ...patches,
          ...Array<number>(Math.max(room - patches.length, 0)).fill(0),
        ])
        agrees(values, wanted, 'pixels', ROUNDING)
        const videos = prompts.flatMap(({ videos }) => videos!.map(video => processor.video!(video)))
        if (videos.length > 0)
          agrees(videos.flatMap(({ patches }) => [...patches]), await stored('in.pixel_values_videos'), 'frames', ROUNDING) // prettier-ignore
      })

      it('agrees with transformers: features and hidden states', async () => {
        const [ids, mask] = [await stored('in.input_ids'), await stored('in.attention_mask')]
        const [B, T] = shape('in.input_ids') as [number, number]
        const inputs = await inputsOf(vision.inputs)
        const sight = await vision.sightOf(inputs)
        const look: Look = vision.look({ ids, mask, T }, [sight], tokenTypes(vision, ids))
        const { values, hidden } = tf.tidy(() => {
          const features = featuresOf(vision, weights, look.seen)
          const [input_ids, attention_mask] = [tf.tensor2d(ids, [B, T], 'int32'), tf.tensor2d(mask, [B, T], 'int32')]
          return {
            values: features.values,
            hidden: model.hidden(weights, { input_ids, attention_mask, features }),
          }
        })
        const C = values.shape[2]!
        const all = await values.data()
        const of = (token: number) => Array.from(ids).flatMap((id, i) => (id === token ? [...all.slice(i * C, (i + 1) * C)] : [])) // prettier-ignore
        agrees(of(vision.image_token_id), await stored('features'), 'features')
        if (vision.video_token_id !== undefined)
          agrees(of(vision.video_token_id), await stored('video_features'), 'features of videos')
        agrees(await real(await hidden.data()), await real(await stored('last_hidden_state')), 'hidden states')
        disposeTree([inputs, look, values, hidden])
      })
    })

    // CLIP's tower and SigLIP's.
    if (dir === 'llava' || dir === 'gemma3_vl')
      it('keeps less of its tower for the gradient with gradient_checkpointing, which is the same', async () => {
        const [ids, mask] = [await stored('in.input_ids'), await stored('in.attention_mask')]
        const rows = { ids, mask, T: shape('in.input_ids')[1]! }
        async function gradientOf(gradient_checkpointing: boolean) {
          const { model, weights } = await loadCausalModel(fixture(name), { gradient_checkpointing })
          const vision = model.vision!
          const inputs = await inputsOf(vision.inputs)
          const look = vision.look(rows, [await vision.sightOf(inputs)], tokenTypes(vision, ids))
          const program = jit((weights: TensorTree, patches: Record<string, tf.Tensor>) => {
            const size = (weights: TensorTree) => tf.mean(tf.square(vision.see(weights, patches)))
            return valueAndGrad(weights => ({ value: size(weights), aux: {} }), weights).grads
          })
          const grads = program(weights, look.seen.patches)
          const kept = program.lower(weights, look.seen.patches).split('dynamic_update_slice').length
          const found = await values(grads)
          disposeTree([weights, inputs, look, grads])
          return { kept, found }
        }
        const [anew, whole] = [await gradientOf(true), await gradientOf(false)]
        assert.ok(anew.kept < whole.kept, `${anew.kept} stacks, without ${whole.kept}`)
        agree(anew.found, whole.found)
      })

    describe('as `rewardlab forward` runs it', () => {
      let loaded: Loaded
      before(async () => (loaded = await loadForwardModel(fixture(name))))
      after(() => disposeTree(loaded.weights))

      /** Logits of a file's inputs, thinned as they were stored. */
      async function logits(...leaveOut: string[]): Promise<number[]> {
        const { model, weights } = loaded
        const inputs = await inputsOf(model.inputs, leaveOut)
        const prepared = await model.prepare!(inputs)
        const found = tf.tidy(() => model.forward(weights, prepared)['logits']!)
        const values = await found.data()
        disposeTree([inputs, prepared, found])
        return real(values.filter((_, i) => i % STRIDE === 0))
      }

      it('agrees with transformers on left-padded rows', async () => {
        agrees(await logits(), await real(await stored('logits')), 'logits', LOGITS)
        if (source.tensors.has(`${prefix}untyped.logits`))
          agrees(await logits('token_type_ids'), await real(await stored('untyped.logits')), 'without types', LOGITS)
      })
    })
  })
