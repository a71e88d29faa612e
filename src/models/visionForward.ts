import * as tf from '@tensorflow/tfjs-core'
import { causalForward } from './causalForward.js'
import type { CausalModel, Features } from './causalModel.js'
import type { ForwardModel } from './forwardModel.js'
import { featuresOf, type Look, type Seen, type Vision } from './vision.js'

/** A vision-language model's logits of whole rows. Without the types of tokens, pictures change neither positions nor masks, as in
 * transformers 5. */
export function visionForward(model: CausalModel, vision: Vision): ForwardModel {
  const plain = causalForward(model)
  return {
    ...plain,
    inputs: { ...plain.inputs, ...vision.inputs },

    async prepare({ input_ids, attention_mask, position_ids, ...others }) {
      const [B, T] = input_ids!.shape as [number, number]
      const mask = attention_mask ?? tf.ones([B, T], 'int32') // without a mask, every token counts
      const sight = await vision.sightOf(others)
      const types = vision.types === undefined ? undefined : await others[vision.types]?.data()
      const rows = { ids: await input_ids!.data(), mask: await mask.data(), T }
      const seen = sight.images.grids.length + sight.videos.grids.length > 0
      const { next, ...look } = seen ? vision.look(rows, [sight], types) : ({} as Partial<Look>)
      next?.dispose()
      const positions = position_ids
        ? position_ids.rank === 3
          ? tf.transpose(position_ids, [1, 0, 2])
          : position_ids
        : look.position_ids
      return {
        input_ids: input_ids!,
        attention_mask: mask,
        ...(positions && { position_ids: positions }),
        ...(look.seen && flat(look.seen)),
      }
    },

    forward(weights, { input_ids, attention_mask, position_ids, units, blocks, ...patches }) {
      const features: Features | undefined = units && featuresOf(vision, weights, { patches, units, blocks })
      const hidden = model.hidden(weights, {
        input_ids: input_ids!,
        attention_mask: attention_mask!,
        position_ids,
        features,
      })
      return { logits: model.head(weights, hidden) }
    },
  }
}

const flat = ({ patches, units, blocks }: Seen): Record<string, tf.Tensor> => ({
  ...patches,
  units,
  ...(blocks && { blocks }),
})
