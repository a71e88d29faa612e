import assert from 'node:assert/strict'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { loadForwardModel } from '../../src/models/forwardModel.js'
import { Fields } from '../../src/io/json.js'
import { clipModelConfig } from '../../src/models/index.js'
import { disposeTree, start } from '../../src/xla/index.js'
import { fixture } from './fixture.js'
import { forwardParity } from './forwardParity.js'

const PARITY = 1e-5 // relative to the largest value; float32 against PyTorch's float32: other summation orders

describe('CLIPModel', () => {
  let expected: TensorSource
  before(async () => {
    await start()
    expected = await openSafetensors(fixture('clip_model_expected.safetensors'))
  })
  after(() => expected.close())

  it('agrees with transformers', async () => {
    const inputs = ['input_ids', 'attention_mask', 'pixel_values']
    const outputs = ['logits_per_image', 'logits_per_text', 'text_embeds', 'image_embeds']
    const same = (names: string[]) => Object.fromEntries(names.map(name => [name, name]))
    await forwardParity(fixture('clip_model'), expected, same(inputs), same(outputs), PARITY)
  })

  it('names its tensors as the checkpoint, with several rows of texts and of pictures', async () => {
    const { model, weights } = await loadForwardModel(fixture('clip_model'))
    assert.equal(model.architecture, 'CLIPModel')
    assert.deepEqual(model.inputs['input_ids']!.shape, ['texts', 'tokens'])
    assert.deepEqual(model.inputs['pixel_values']!.shape, ['images', 3, 24, 24])
    disposeTree(weights)
  })

  it('says which part of the config does not fit', () => {
    const read = (json: Record<string, unknown>) => () => clipModelConfig(new Fields(json, 'config.json'))
    assert.throws(read({ text_config: 4 }), /config\.json: text_config is 4, needed an object/)
    assert.throws(read({ vision_config: { image_size: -1 } }), /config\.json: vision_config: image_size is -1/)
  })
})
