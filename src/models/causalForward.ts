import * as tf from '@tensorflow/tfjs-core'
import type { CausalModel } from './causalModel.js'
import type { ForwardModel } from './forwardModel.js'

/** A causal language model's logits of whole rows. */
export function causalForward(model: CausalModel): ForwardModel {
  const tokens = { type: 'int32', shape: ['rows', 'tokens'] } as const
  return {
    architecture: model.architecture,
    parameters: model.parameters,
    layers: model.layers,
    ignored: model.ignored,
    inputs: {
      input_ids: { ...tokens, below: model.vocabulary },
      attention_mask: { ...tokens, optional: true },
      position_ids: { ...tokens, optional: true },
    },
    forward(weights, { input_ids, attention_mask, position_ids }) {
      const ids = input_ids!
      const mask = attention_mask ?? tf.ones(ids.shape, 'int32') // without a mask, every token counts
      const hidden = model.hidden(weights, { input_ids: ids, attention_mask: mask, position_ids })
      return { logits: model.head(weights, hidden) }
    },
  }
}
