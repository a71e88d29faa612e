import * as tf from '@tensorflow/tfjs-core'
import { causalForward } from './causalForward.js'
import type { CausalModel, Features } from './causalModel.js'
import type { ForwardModel } from './forwardModel.js'
import { featuresOf, ropeIndex, seenBy, type Grid, type Seen, type Sight, type Vision } from './vision.js'

/** A vision-language model's logits of whole rows. Without `mm_token_type_ids` tokens have plain positions, as in transformers 5. */
export function visionForward(model: CausalModel, vision: Vision): ForwardModel {
  const plain = causalForward(model)
  const patches = (rows: string) => ({ type: 'float32', shape: [rows, vision.patch], optional: true }) as const
  const grids = (rows: string) => ({ type: 'int32', shape: [rows, 3], optional: true }) as const
  return {
    ...plain,
    inputs: {
      ...plain.inputs,
      mm_token_type_ids: { type: 'int32', shape: ['rows', 'tokens'], optional: true },
      position_ids: { type: 'int32', shape: [3, 'rows', 'tokens'], optional: true },
      pixel_values: patches('patches'),
      image_grid_thw: grids('images'),
      pixel_values_videos: patches('patches of videos'),
      video_grid_thw: grids('videos'),
      second_per_grid_ts: { type: 'float32', shape: ['videos'], optional: true },
    },

    async prepare({ input_ids, attention_mask, mm_token_type_ids: types, position_ids, ...pictures }) {
      const [B, T] = input_ids!.shape as [number, number]
      const ids = await input_ids!.data()
      const mask = attention_mask ?? tf.ones([B, T], 'int32') // without a mask, every token counts
      const sight = await sightOf(pictures)
      const seen = sight.images.grids.length + sight.videos.grids.length > 0
      const counted = async () => {
        const { positions } = ropeIndex(vision, await types!.data(), await mask.data(), T, sight)
        return tf.tensor3d(positions, [B, 3, T], 'int32')
      }
      const positions = position_ids
        ? tf.transpose(position_ids, [1, 0, 2])
        : types && seen
          ? await counted()
          : undefined
      return {
        input_ids: input_ids!,
        attention_mask: mask,
        ...(positions ? { position_ids: positions } : {}),
        ...(seen ? flat(seenBy(vision, ids, T, [sight])) : {}),
      }
    },

    forward(weights, { input_ids, attention_mask, position_ids, units, ...patches }) {
      const seen = units && ({ units, patches } as unknown as Seen)
      const features: Features | undefined = seen && featuresOf(vision, weights, seen)
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

const flat = ({ patches, units }: Seen): Record<string, tf.Tensor> => ({ ...patches, units })

/** @throws Error if patches and grids do not go together */
async function sightOf(inputs: Record<string, tf.Tensor>): Promise<Sight> {
  const part = async (values: string, grid: string) => {
    const [pixels, sizes] = [inputs[values], inputs[grid]]
    if (!pixels !== !sizes)
      throw new Error(`${pixels ? values : grid} is there without ${pixels ? grid : values}. Give both.`)
    const numbers = sizes ? await sizes.data() : []
    const grids = Array.from({ length: numbers.length / 3 }, (_, i): Grid => [
      numbers[3 * i]!,
      numbers[3 * i + 1]!,
      numbers[3 * i + 2]!,
    ])
    const needed = grids.reduce((sum, [t, h, w]) => sum + t * h * w, 0)
    if (needed !== (pixels?.shape[0] ?? 0))
      throw new Error(
        `${values} has ${pixels?.shape[0]} patches, ${grid} says ${needed}. Give those that belong together.`,
      )
    return { patches: pixels ? ((await pixels.data()) as Float32Array) : new Float32Array(0), grids }
  }
  const seconds = inputs['second_per_grid_ts']
  return {
    images: await part('pixel_values', 'image_grid_thw'),
    videos: {
      ...(await part('pixel_values_videos', 'video_grid_thw')),
      seconds: seconds ? [...(await seconds.data())] : [],
    },
  }
}
