import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors } from '../io/safetensors.js'
import { linear } from '../nn/index.js'
import { clipReward } from './clipScorer.js'
import type { Reward } from './reward.js'

/** LAION's aesthetic score, about 1 … 10: linear layers, without activations between them, on the picture's vector of length 1.
 * @param clipDir the CLIPModel that the head was trained on (openai/clip-vit-large-patch14), with tokenizer and preprocessor_config.json
 * @param headFile safetensors with `weight` and `bias` of LAION's linear head, or `layers.N.weight` and `layers.N.bias` of the improved
 *   predictor. They are published as .pth: `safetensors.torch.save_file(torch.load(PTH), HEAD)` converts them
 * @throws Error naming the file that is missing, or the tensor that does not fit
 * @source github.com/LAION-AI/aesthetic-predictor; github.com/christophschuhmann/improved-aesthetic-predictor, simple_inference.py */
export function aesthetic(clipDir: string, headFile: string): Reward {
  const measure = async () => {
    const layers = await readHead(headFile)
    return ({ image_embeds }: { image_embeds: tf.Tensor }) => {
      const [size, needed] = [image_embeds.shape[1]!, layers[0]!.weight.shape[1]!]
      if (size !== needed)
        throw new Error(
          `aesthetic: ${headFile} takes vectors of ${needed}, ${clipDir} gives ${size}. Use its own CLIP.`,
        )
      return tf.squeeze(
        layers.reduce((x, layer) => linear(x, layer), image_embeds),
        [1],
      ) // [B]
    }
  }
  return clipReward('aesthetic', clipDir, measure, { text: false })
}

async function readHead(file: string): Promise<{ weight: tf.Tensor; bias: tf.Tensor }[]> {
  const source = await openSafetensors(file)
  try {
    const prefixes = [...source.tensors.keys()].filter(name => name.endsWith('weight')).map(name => name.slice(0, -6))
    const number = (prefix: string) => Number(/\d+/.exec(prefix)?.[0] ?? 0)
    const layers: { weight: tf.Tensor; bias: tf.Tensor }[] = []
    let inputs: number | undefined
    for (const prefix of prefixes.sort((a, b) => number(a) - number(b))) {
      const [weight, bias] = [source.tensors.get(`${prefix}weight`)!.shape, source.tensors.get(`${prefix}bias`)?.shape]
      const last = layers.length === prefixes.length - 1
      if (
        weight.length !== 2 ||
        bias?.join() !== `${weight[0]}` ||
        (inputs ?? weight[1]) !== weight[1] ||
        (last && weight[0] !== 1)
      )
        // prettier-ignore
        throw new Error(
          `aesthetic: ${file}: ${prefix}weight is [${weight.join(', ')}] with a bias of [${bias?.join(', ') ?? 'none'}], ` +
            `needed [${last ? 1 : 'n'}, ${inputs ?? 'm'}] and [${last ? 1 : 'n'}].`,
        )
      const read = async (name: string, shape: number[]) => tf.tensor(await source.read(name), shape, 'float32')
      layers.push({ weight: await read(`${prefix}weight`, weight), bias: await read(`${prefix}bias`, bias) })
      inputs = weight[0]
    }
    if (layers.length === 0) throw new Error(`aesthetic: ${file} holds no "weight", needed linear layers.`)
    return layers
  } finally {
    await source.close()
  }
}
