import assert from 'node:assert/strict'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { saveWeights } from '../../src/io/checkpoint.js'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { loadForwardModel } from '../../src/models/forwardModel.js'
import { disposeTree, start } from '../../src/xla/index.js'
import { fixture } from './fixture.js'
import { forwardParity } from './forwardParity.js'

const PARITY = 1e-5 // relative to the largest value; float32 against PyTorch's float32: other summation orders

describe('CLIP', () => {
  let expected: TensorSource
  before(async () => {
    await start()
    expected = await openSafetensors(fixture('clip_expected.safetensors'))
  })
  after(() => expected.close())

  const agrees = (dir: string, inputs: Record<string, string>, prefix: string, ...outputs: string[]) =>
    forwardParity(fixture(dir), expected, inputs, Object.fromEntries(outputs.map(o => [o, prefix + o])), PARITY)

  it('CLIPTextModel agrees with transformers: quick_gelu, pooled at the largest id', async () => {
    const input_ids = 'text.input_ids'
    await agrees('clip_text', { input_ids }, 'text.', 'last_hidden_state', 'pooler_output')
    const masked = { input_ids, attention_mask: 'attention_mask' }
    await agrees('clip_text', masked, 'text.masked.', 'last_hidden_state', 'pooler_output')
  })

  it('CLIPTextModelWithProjection agrees: gelu, pooled at the first end of text', async () => {
    const input_ids = 'projection.input_ids'
    await agrees('clip_text_projection', { input_ids }, 'projection.', 'last_hidden_state', 'text_embeds')
    const masked = { input_ids, attention_mask: 'attention_mask' }
    await agrees('clip_text_projection', masked, 'projection.masked.', 'last_hidden_state', 'text_embeds')
  })

  it('CLIPVisionModelWithProjection agrees', async () => {
    const inputs = { pixel_values: 'vision.pixel_values' }
    await agrees('clip_vision', inputs, 'vision.', 'last_hidden_state', 'image_embeds')
  })

  it('reads names with and without the prefix of the tower', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'clip-'))
    await cp(fixture('clip_text'), dir, { recursive: true })
    const { model, weights } = await loadForwardModel(dir)
    const prefixed = model.parameters.map(p => ({ ...p, name: `text_model.${p.name}` }))
    await saveWeights(join(dir, 'model.safetensors'), weights, prefixed, {})
    disposeTree(weights)
    const outputs = { last_hidden_state: 'text.last_hidden_state', pooler_output: 'text.pooler_output' }
    await forwardParity(dir, expected, { input_ids: 'text.input_ids' }, outputs, PARITY)
    await rm(dir, { recursive: true })
  })

  it('says how many tokens a row may have', async () => {
    const { model, weights } = await loadForwardModel(fixture('clip_text'))
    const long = { input_ids: tf.ones([1, 13], 'int32') }
    assert.throws(() => model.forward(weights, long), /CLIP: 13 tokens a row, needed at most 12/)
    disposeTree([weights, long])
  })
})
