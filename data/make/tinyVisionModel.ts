/* Makes small vision-language models from random weights: data/models/NAME.
 *
 *   node dist/data/make/tinyVisionModel.js NAME [--steps N] [--seed 1] [--out data/models/NAME]
 *
 * NAME is tiny-qwen2.5-vl, which says what a moving shape does; tiny-gemma3-vl, which answers questions on charts; or tiny-llava, which says
 * which figures a picture has. The last fifth of the training replies of the first two carry faults on purpose: that leaves room for reinforcement learning.
 * Deviations from common practice: tower and language model are trained together from the start; Muon on the matrices of tower and blocks, AdamW
 * elsewhere. */
import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import * as tf from '@tensorflow/tfjs-core'
import { rng } from '../../src/datasets/index.js'
import { saveWeights } from '../../src/io/checkpoint.js'
import { readFields } from '../../src/io/json.js'
import { initWeights } from '../../src/models/initWeights.js'
import { causalModel } from '../../src/models/loadCausalModel.js'
import { visionPartOf } from '../../src/models/vision.js'
import { loadPolicy } from '../../src/policies/index.js'
import { overlay } from '../../src/policies/overlay.js'
import { disposeTree, random, start, type TensorTree } from '../../src/xla/index.js'
import { pretrainer } from './pretrainer.js'
import { trainBpe } from './trainBpe.js'
import { CONTEXT, RECIPES, type Example, type Recipe } from './visionRecipes.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { steps: { type: 'string' }, seed: { type: 'string', default: '1' }, out: { type: 'string' } },
})
const name = positionals[0] ?? ''
const recipe = RECIPES[name]
if (!recipe) throw new Error(`there is no small model "${name}". Use ${Object.keys(RECIPES).join(', ')}.`)
const CLEAN = 0.8 // part of the steps whose replies are right
await make(recipe, values.out ?? `data/models/${name}`, Number(values.steps ?? recipe.steps), Number(values.seed))

async function make(recipe: Recipe, out: string, steps: number, seed: number): Promise<void> {
  await start()
  const began = performance.now()
  await describe(out, recipe)
  const model = causalModel(await readFields(join(out, 'config.json')))
  const file = join(out, 'model.safetensors')
  const fresh = initWeights(model.parameters, random.key(seed), ({ name, path, shape }) => {
    if (shape.length > 1) return { std: 0.02 }
    return visionPartOf(path) === undefined && name.endsWith('norm.weight') ? { constant: recipe.norm } : undefined
  })
  await saveWeights(file, fresh, model.parameters, { layers: model.layers })
  disposeTree(fresh)

  const policy = await loadPolicy(out, { tune_mm_vision: true, gradient_checkpointing: false })
  const trainer = pretrainer(
    policy.weights.trainable,
    steps,
    (trainable, batch) => {
      const { score, length } = policy.score({ trainable, frozen: policy.weights.frozen }, batch)
      return tf.neg(tf.div(tf.sum(score), tf.sum(length)))
    },
    // AdamW's rate would throw features about faster than the language model learns to read them
    (path, t) =>
      t.rank === 3 || (t.rank > 1 && visionPartOf(path) !== undefined && !path.includes('position_embedding')),
  )
  let rows: Example[] = []
  let [epoch, spoilt] = [0, false]
  let sum = 0
  for (let i = 1; i <= steps; i++) {
    const faulty = i > CLEAN * steps
    if (rows.length < recipe.batch || faulty !== spoilt)
      rows = rng(seed, ++epoch).shuffle(recipe.examples(seed * 1000 + epoch, faulty))
    spoilt = faulty
    const taken = rows.splice(0, recipe.batch)
    const batch = policy.encode(taken.map(row => row.prompt), taken.map(row => row.completion)) // prettier-ignore
    sum += await trainer.update(batch)
    disposeTree(batch)
    if (i % 25 === 0 || i === steps) {
      console.log(`step ${i}/${steps}  loss ${(sum / ((i - 1) % 25 + 1)).toFixed(4)}  ${((performance.now() - began) / 1000).toFixed(0)} s`) // prettier-ignore
      sum = 0
    }
    if (i % 250 === 0 || i === steps) {
      const whole: TensorTree = overlay(policy.weights.frozen, trainer.weights())
      await saveWeights(file, whole, model.parameters, { layers: model.layers })
    }
  }
  const bytes = await readFile(file)
  await write(out, 'manifest.json', {
    name,
    made_by: `node dist/data/make/tinyVisionModel.js ${name} --steps ${steps} --seed ${seed}`,
    training_data: recipe.data,
    license: 'Apache-2.0',
    seed,
    steps,
    training_seconds: Math.round((performance.now() - began) / 1000),
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  })
}

/** Writes all files but the weights. */
async function describe(out: string, recipe: Recipe): Promise<void> {
  const { vocabulary, specials, config, processor, chat_template, tokenizer, words = [], examples } = recipe
  await mkdir(out, { recursive: true })
  const said = examples(0, true).flatMap(({ prompt, completion }) => [
    completion,
    ...(prompt.prompt as readonly { content: string }[]).map(({ content }) => content),
    ...['user\n', 'assistant\n'],
  ])
  const texts = [...said, ...words]
  const id = (special: string) => vocabulary - specials.length + specials.indexOf(special)
  await write(out, 'tokenizer.json', trainBpe(texts, vocabulary, specials))
  await write(out, 'tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    eos_token: specials.at(-1),
    pad_token: specials[0],
    bos_token: null,
    model_max_length: CONTEXT,
    clean_up_tokenization_spaces: false,
    ...tokenizer,
  })
  await writeFile(join(out, 'chat_template.jinja'), chat_template) // where processors look for it
  await write(out, 'processor_config.json', processor)
  const described = config(id)
  const ends = { bos_token_id: null, eos_token_id: vocabulary - 1, pad_token_id: vocabulary - specials.length }
  const text_config = { ...described.text_config, ...ends }
  await write(out, 'config.json', { ...described, text_config, torch_dtype: 'float32', ...ends })
}

async function write(out: string, name: string, content: object): Promise<void> {
  await writeFile(join(out, name), JSON.stringify(content, null, 2) + '\n')
}
