import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import * as tf from '@tensorflow/tfjs-core'
import { Fields, readJson } from '../../src/io/json.js'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import type { Grid } from '../../src/io/visionProcessor.js'
import { loadCausalModel, loadForwardModel, type CausalModel, type Vision } from '../../src/models/index.js'
import { qwen25VlConfig } from '../../src/models/qwen25vl.js'
import { ropeIndex, seenBy, type PatchLayout } from '../../src/models/patchLayout.js'
import { featuresOf, sizeClass, tokenTypes, type Sight } from '../../src/models/vision.js'
import { disposeTree, jit, start, stats, type TensorTree } from '../../src/xla/index.js'
import { fixture } from './fixture.js'

const PARITY = 2e-5 // float32 against PyTorch's float32: other summation orders; logits are about 5
const STRIDE = 8 // of the stored logits along the vocabulary

describe('Qwen2.5-VL', function () {
  this.timeout(300_000)
  let source: TensorSource
  let model: CausalModel
  let vision: Vision & PatchLayout
  let weights: TensorTree
  let ids: Int32Array
  let mask: Int32Array
  let T: number
  let sight: Sight
  before(async () => {
    await start()
    source = await openSafetensors(fixture('qwen25vl_expected.safetensors'))
    ;({ model, weights } = await loadCausalModel(fixture('qwen25vl')))
    vision = model.vision as Vision & PatchLayout
    const grids = async (name: string): Promise<Grid[]> => {
      const n = await source.read(name)
      return Array.from({ length: n.length / 3 }, (_, i): Grid => [n[3 * i]!, n[3 * i + 1]!, n[3 * i + 2]!])
    }
    ids = (await source.read('in.input_ids')) as Int32Array
    mask = (await source.read('in.attention_mask')) as Int32Array
    T = source.tensors.get('in.input_ids')!.shape[1]!
    sight = {
      images: { patches: await floats('in.pixel_values'), grids: await grids('in.image_grid_thw') },
      videos: {
        patches: await floats('in.pixel_values_videos'),
        grids: await grids('in.video_grid_thw'),
        seconds: [...(await floats('in.second_per_grid_ts'))],
      },
    }
  })
  after(async () => {
    disposeTree(weights)
    await source.close()
  })

  const floats = async (name: string) => (await source.read(name)) as Float32Array
  function agrees(found: ArrayLike<number>, wanted: ArrayLike<number>, what: string): void {
    assert.equal(found.length, wanted.length, what)
    const apart = Array.from(wanted).reduce((worst, x, i) => Math.max(worst, Math.abs(x - found[i]!)), 0)
    assert.ok(apart < PARITY, `${what}: ${apart} apart`)
  }

  it('agrees with transformers by stage: features of images and videos, hidden states', async () => {
    const seen = seenBy(vision, ids, T, [sight])
    const B = ids.length / T
    const { positions } = ropeIndex(vision, tokenTypes(vision, ids), mask, T, sight)
    const { hidden, values, there } = tf.tidy(() => {
      const features = featuresOf(vision, weights, seen)
      const [input_ids, attention_mask] = [tf.tensor2d(ids, [B, T], 'int32'), tf.tensor2d(mask, [B, T], 'int32')]
      const position_ids = tf.tensor3d(positions, [B, 3, T], 'int32')
      return { ...features, hidden: model.hidden(weights, { input_ids, attention_mask, position_ids, features }) }
    })
    const [all, at] = [await values.data(), await there.data()]
    const C = values.shape[2]!
    const of = (token: number) =>
      Array.from(at).flatMap((here, i) => (here && ids[i] === token ? [...all.slice(i * C, (i + 1) * C)] : []))
    agrees(of(vision.image_token_id), await floats('vision.images'), 'images')
    agrees(of(vision.video_token_id), await floats('vision.videos'), 'videos')
    const real = (x: ArrayLike<number>) => Array.from(x).filter((_, i) => mask[Math.floor(i / C)]) // not of padding
    agrees(real(await hidden.data()), real(await floats('last_hidden_state')), 'hidden states')
    disposeTree([seen, hidden, values, there])
  })

  it('gives tokens the times, rows and columns of transformers, exactly', async () => {
    for (const [prefix, seconds] of [
      ['', sight.videos.seconds],
      ['long.', [40]],
    ] as const) {
      const timed = { ...sight, videos: { ...sight.videos, seconds } }
      const { positions, next } = ropeIndex(vision, tokenTypes(vision, ids), mask, T, timed)
      const B = mask.length / T
      const wanted = await source.read(`${prefix}position_ids`) // [3, B, T]
      const turned = Int32Array.from(wanted, (_, i) => positions[((Math.floor(i / T) % B) * 3 + Math.floor(i / (B * T))) * T + (i % T)]!) // prettier-ignore
      assert.deepEqual(turned, Int32Array.from(wanted))
      assert.deepEqual(
        next,
        Array.from({ length: B }, (_, b) => wanted[(b + 1) * T - 1]! + 1),
      ) // prompts end with text
    }
  })

  /** Logits of a file's inputs, thinned as they were stored. */
  async function logits(...leaveOut: string[]): Promise<Float32Array> {
    const { model, weights } = await loadForwardModel(fixture('qwen25vl'))
    const inputs: Record<string, tf.Tensor> = {}
    for (const [name, { type }] of Object.entries(model.inputs)) {
      const info = source.tensors.get(`in.${name}`)
      if (info && !leaveOut.includes(name)) inputs[name] = tf.tensor(await source.read(`in.${name}`), info.shape, type)
    }
    const prepared = await model.prepare!(inputs)
    const found = tf.tidy(() => model.forward(weights, prepared)['logits']!)
    const values = (await found.data()) as Float32Array
    disposeTree([weights, inputs, prepared, found])
    return values.filter((_, i) => i % STRIDE === 0)
  }

  it('agrees with transformers on left-padded rows: two images, a video, text alone', async () => {
    const V = model.vocabulary / STRIDE
    const real = (x: ArrayLike<number>) => Array.from(x).filter((_, i) => mask[Math.floor(i / V)]) // not of padding
    agrees(real(await logits()), real(await floats('logits')), 'logits')
    agrees(real(await logits('mm_token_type_ids')), real(await floats('untyped.logits')), 'without types')
  })

  it('runs one program for all pictures of a size class', async () => {
    const program = jit((weights: TensorTree, seen: TensorTree) =>
      tf.tidy(() => featuresOf(vision, weights, seen as unknown as ReturnType<typeof seenBy>).values),
    )
    const before = stats()!.traced
    for (const [h, w] of [
      [4, 6],
      [6, 6],
      [8, 4],
    ] as const) {
      const grids: Grid[] = [[1, h, w]]
      const row = new Int32Array(32)
      row.fill(vision.image_token_id, 2, 2 + (h * w) / 4)
      const none = { patches: new Float32Array(0), grids: [], seconds: [] }
      const images = { patches: new Float32Array(h * w * vision.patch), grids }
      const seen = seenBy(vision, row, 32, [{ images, videos: none }])
      disposeTree([seen, await program.async(weights, seen)])
    }
    assert.equal(stats()!.traced - before, 1)
    assert.deepEqual(
      [1, 16, 17, 25, 33, 100].map(n => sizeClass(n)),
      [12, 16, 24, 32, 48, 128],
    )
  })

  it('reads a config.json of the hub as that of transformers 5', async () => {
    const [ours, hub] = await Promise.all(
      ['qwen25vl', 'qwen25vl_hub'].map(async name => {
        const path = fixture(`${name}/config.json`)
        return qwen25VlConfig(new Fields(await readJson(path), path))
      }),
    )
    assert.deepEqual(hub, ours)
  })

  it('says which tokens and pictures do not go together', async () => {
    const types = tokenTypes(vision, ids)
    const one = { ...sight, images: { ...sight.images, grids: [[1, 4, 4], sight.images.grids[1]!] as Grid[] } }
    assert.throws(() => ropeIndex(vision, types, mask, T, one), /row 0: \d+ tokens of an image .* its grid makes 4/)
    const fewer = ids.map(id => (id === vision.video_token_id ? 9 : id))
    assert.throws(() => seenBy(vision, fewer, T, [sight]), /0 tokens stand for videos, whose patches make 36/)
    const path = fixture('qwen25vl/config.json')
    const json = JSON.parse(await readFile(path, 'utf8')) as { vision_config: object; text_config: object }
    const refuses = (change: object, message: RegExp) =>
      assert.throws(() => qwen25VlConfig(new Fields({ ...json, ...change }, path)), message)
    refuses({ vision_config: { ...json.vision_config, out_hidden_size: 8 } }, /out_hidden_size is 8, needed 32/)
    refuses({ vision_config: { ...json.vision_config, hidden_act: 'gelu' } }, /hidden_act is "gelu", needed "silu"/)
    const rope_parameters = { rope_type: 'default', rope_theta: 1e4, mrope_section: [4, 5] }
    refuses({ text_config: { ...json.text_config, rope_parameters } }, /mrope_section is \[4,5\], needed numbers whose sum is 8/) // prettier-ignore
  })
})
