import { stat } from 'node:fs/promises'
import { requireOneOf } from '../config.js'
import type { WeightType } from '../io/checkpoint.js'
import { readImage, writePng } from '../io/images.js'
import { loadAdapter, loadKontext, type Kontext } from '../models/index.js'
import { overlay } from '../policies/overlay.js'
import { editImage, type EditOptions } from '../sampling/index.js'
import { start } from '../xla/index.js'
import { numberOf, type Print } from './command.js'

const text = { type: 'string' } as const

/** What `rewardlab generate` takes for a pipeline. */
export const EDIT_OPTIONS = {
  image: text,
  prompt: text,
  output: text,
  negative_prompt: text,
  true_cfg_scale: text,
  guidance_scale: text,
  num_inference_steps: text,
  height: text,
  width: text,
  max_area: text,
  no_auto_resize: { type: 'boolean' },
  max_sequence_length: text,
  dtype: text,
  quantization: text,
  vae_tile: text,
} as const

export const EDIT_HELP = `Edits an image with a FluxKontextPipeline as diffusers saves it, and writes a PNG.
  --guidance_scale X    default 3.5
  --negative_prompt T   what to lead away from, with
  --true_cfg_scale X    above 1; default 1, none
  --num_inference_steps N  default 28
  --height N --width N  of the result, before it is fitted to
  --max_area N          pixels; default 1048576. The size defaults to the image's
  --no_auto_resize      keep the image's size, not one that the model was trained on
  --max_sequence_length N  tokens of the prompt; default: what the tokenizer names, at most 512
  --seed N              default 0
  --dtype T             float32 or bfloat16, of weights and computation; default float32
  --quantization nf4    the transformer's matrices in 4 bits
  --vae_tile N          side in pixels of the tiles the autoencoder works on, for less memory; default none
  --adapter DIR         a LoRA adapter of the transformer, as diffusers saves it
  --json                print the result as JSON: output, width, height`

type Values = { no_auto_resize?: boolean } & Partial<
  Record<Exclude<keyof typeof EDIT_OPTIONS, 'no_auto_resize'> | 'seed' | 'adapter', string>
>

const NUMBERS = [
  'true_cfg_scale',
  'guidance_scale',
  'num_inference_steps',
  'height',
  'width',
  'max_area',
  'max_sequence_length',
  'seed',
] as const

/** Edits one image with a pipeline.
 * @throws Error naming the option or file that is missing or does not fit; then nothing is written */
export async function generateImage(dir: string, values: Values, print: Print): Promise<void> {
  const needed = (name: 'image' | 'prompt' | 'output'): string => {
    const value = values[name]
    if (value === undefined) throw new Error(`--${name} is missing. See --help.`)
    return value
  }
  const [path, prompt, output] = [needed('image'), needed('prompt'), needed('output')]
  const there = await stat(output).catch(() => undefined) // before minutes of work
  if (there?.isDirectory()) throw new Error(`--output is ${output}, a folder. Needed the name of a PNG file.`)
  const { negative_prompt, dtype = 'float32', quantization = null } = values
  requireOneOf('generate', 'dtype', dtype, ['float32', 'bfloat16'])
  if (quantization !== null) requireOneOf('generate', 'quantization', quantization, ['nf4'])
  const options: Partial<EditOptions> = { negative_prompt, auto_resize: !values.no_auto_resize }
  for (const name of NUMBERS) if (values[name] !== undefined) options[name] = numberOf(name, values[name])
  const image = await readImage(path)
  await start()
  const kontext = await loadKontext(dir, {
    dtype: dtype as WeightType,
    quantization: quantization as 'nf4' | null,
    vae_tile: values.vae_tile === undefined ? null : numberOf('vae_tile', values.vae_tile),
  })
  try {
    const adapted = values.adapter === undefined ? kontext : await withAdapter(kontext, values.adapter)
    const edited = await editImage(adapted, image, prompt, options)
    await writePng(output, edited)
    const { width, height } = edited
    print(`${width} × ${height} → ${output}`, { output, width, height })
  } finally {
    kontext.dispose()
  }
}

async function withAdapter(kontext: Kontext, dir: string): Promise<Kontext> {
  const { model, weights } = kontext.transformer
  const adapter = await loadAdapter(model, dir)
  return { ...kontext, transformer: { model, weights: overlay(overlay(weights, adapter.scaling), adapter.weights) } }
}
