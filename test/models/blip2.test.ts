import assert from 'node:assert/strict'
import { Fields } from '../../src/io/json.js'
import { blip2, blip2Config } from '../../src/models/index.js'

describe('BLIP-2', () => {
  const sound = { image_token_index: 50265, num_query_tokens: 32 }
  const refused = (json: object, message: RegExp) =>
    assert.throws(() => blip2Config(new Fields({ ...sound, ...json }, 'config.json')), message)

  it('takes the sizes of transformers where config.json leaves them out', () => {
    const { parameters, context } = blip2(blip2Config(new Fields(sound, 'config.json')))
    const shapeOf = (name: string) => parameters.find(p => p.name === name)!
    assert.deepEqual(shapeOf('vision_model.embeddings.position_embedding').shape, [1, 257, 1408])
    const { shape, layers, step } = shapeOf('qformer.encoder.layer.*.crossattention.attention.key.weight')
    assert.deepEqual({ shape, layers, step }, { shape: [768, 1408], layers: 6, step: 2 })
    assert.equal(context, 2048)
  })

  it('says what of a config.json it cannot be', () => {
    refused({ text_config: { model_type: 't5' } }, /text_config: model_type is "t5", needed "opt": .* such as the encoder and decoder of Flan-T5, are not supported/) // prettier-ignore
    refused({ text_config: { word_embed_proj_dim: 512 } }, /word_embed_proj_dim is 512, needed 768/)
    refused({ text_config: { activation_function: 'gelu' } }, /activation_function is "gelu", needed "relu"/)
    refused({ qformer_config: { num_hidden_layers: 5 } }, /num_hidden_layers is 5, needed a multiple of 2/)
    refused({ qformer_config: { use_qformer_text_input: true } }, /use_qformer_text_input is true, needed false/)
    refused({ image_token_index: null }, /image_token_index is missing/)
  })
})
