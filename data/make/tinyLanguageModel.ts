/* Makes small language models of 0.66 million parameters that answer arithmetic word problems half of the time: data/models/tiny-qwen2 and others.
 *
 *   node dist/data/make/tinyLanguageModel.js NAME [--steps 500] [--seed 1] [--out data/models/NAME]
 *
 * NAME is tiny-qwen2, tiny-qwen2-french or tiny-gemma3, which replies in sentences. Pre-training rows carry faults on purpose (corruptedReplies):
 * wrong format, wrong operation, wrong result. That leaves room for reinforcement learning, which here mends the choice of operation and the
 * format; the arithmetic facts are seen in pre-training.
 * Deviations from common practice: Muon on the block matrices, AdamW elsewhere; prompt tokens weigh 0.1; rows of plain equations
 * make up 40 % of the first batches and none of the last. */
import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import * as tf from '@tensorflow/tfjs-core'
import {
  arithmeticProblems,
  corruptedReplies,
  explainedReplies,
  packedEquations,
  rng,
  type Language,
  type Reply,
} from '../../src/datasets/index.js'
import { saveWeights } from '../../src/io/checkpoint.js'
import { loadTokenizer, type Tokenizer } from '../../src/io/tokenizer.js'
import { readFields } from '../../src/io/json.js'
import { initWeights } from '../../src/models/initWeights.js'
import { causalModel } from '../../src/models/loadCausalModel.js'
import { tokenLogProbs } from '../../src/nn/index.js'
import { random, start, stats } from '../../src/xla/index.js'
import { pretrainer } from './pretrainer.js'
import { trainBpe } from './trainBpe.js'

const SIZE = {
  vocab_size: 512,
  hidden_size: 128,
  intermediate_size: 384,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  tie_word_embeddings: true,
  initializer_range: 0.02,
}

interface Architecture {
  /** Of config.json. */
  config: object
  tokenizer_class: string
  /** The last ids of the vocabulary; the first pads, the last ends a turn. */
  specials: string[]
  chat_template: string
  /** What scales of norms start from. */
  norm: number
}

const QWEN2: Architecture = {
  config: { architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2', hidden_act: 'silu', ...SIZE },
  tokenizer_class: 'Qwen2Tokenizer',
  specials: ['<|endoftext|>', '<|im_start|>', '<|im_end|>'],
  chat_template:
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  norm: 1,
}

const GEMMA3: Architecture = {
  config: {
    architectures: ['Gemma3ForCausalLM'],
    model_type: 'gemma3_text',
    hidden_activation: 'gelu_pytorch_tanh',
    ...SIZE,
    head_dim: 32,
    query_pre_attn_scalar: 32,
    layer_types: ['sliding_attention', 'sliding_attention', 'full_attention'],
    sliding_window: 64,
    rope_local_base_freq: 10000,
  },
  tokenizer_class: 'PreTrainedTokenizerFast',
  specials: ['<pad>', '<bos>', '<start_of_turn>', '<end_of_turn>'],
  chat_template:
    "{{ '<bos>' }}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}" +
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] + '<end_of_turn>' + '\\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
  norm: 0, // Gemma scales by 1 + w
}

interface Recipe {
  architecture: Architecture
  language: Language
  replies: typeof corruptedReplies
}

const RECIPES: Record<string, Recipe> = {
  'tiny-qwen2': { architecture: QWEN2, language: 'en', replies: corruptedReplies },
  'tiny-qwen2-french': { architecture: QWEN2, language: 'fr', replies: corruptedReplies },
  'tiny-gemma3': { architecture: GEMMA3, language: 'en', replies: explainedReplies },
}

const BATCH = 48
const PROMPT_WEIGHT = 0.1
const EQUATION_SHARE = 0.4
interface Example {
  ids: number[]
  /** Weight of each token's loss. */
  weights: number[]
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    steps: { type: 'string', default: '500' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string' },
  },
})
const name = positionals[0] ?? ''
const recipe = RECIPES[name]
if (!recipe) throw new Error(`there is no small model "${name}". Use ${Object.keys(RECIPES).join(', ')}.`)
await make(recipe, values.out ?? `data/models/${name}`, Number(values.steps), Number(values.seed))

async function make(recipe: Recipe, out: string, steps: number, seed: number): Promise<void> {
  await start()
  const began = performance.now()
  const { architecture, language } = recipe
  const { train } = arithmeticProblems({ seed, size: 12_000, language })
  const replies = (epoch: number) => recipe.replies(train, { seed: seed * 1000 + epoch })
  const equations = packedEquations({ seed, size: 4_000, language })
  await writeTokenizer(out, architecture, [
    ...replies(0).flatMap(r => [...r.prompt.map(m => m.content), r.completion]),
    ...equations.map(e => e.text),
  ])
  const tokenizer = await loadTokenizer(out)
  const texts = equations.map(e => plain(tokenizer, e.text))
  const model = causalModel(await readFields(join(out, 'config.json')))
  const weights = initWeights(model.parameters, random.key(seed), ({ name, shape }) => {
    if (shape.length > 1) return { std: SIZE.initializer_range }
    return name.endsWith('norm.weight') ? { constant: architecture.norm } : undefined
  })
  const trainer = pretrainer(
    weights,
    steps,
    (weights, batch) => {
      const { ids, each } = batch as { ids: tf.Tensor; each: tf.Tensor }
      const inputs = { input_ids: ids, attention_mask: tf.onesLike(ids) } // right padding is never attended to by what counts
      const [b, t] = ids.shape as [number, number]
      const logits = model.head(weights, tf.slice(model.hidden(weights, inputs), [0, 0, 0], [b, t - 1, -1])) // [B, T−1, V]
      const logProbs = tokenLogProbs(logits, tf.slice(ids, [0, 1], [b, t - 1]))
      const counts = tf.slice(each, [0, 1], [b, t - 1])
      return tf.neg(tf.div(tf.sum(tf.mul(logProbs, counts)), tf.sum(counts)))
    },
    path => path.endsWith('proj.weight'),
  )

  const order = rng(seed, 77)
  let rows: Example[] = []
  let epoch = 0
  for (let i = 0; i < steps; i++) {
    const packed = Math.round(BATCH * EQUATION_SHARE * (1 - i / steps))
    const batch = Array.from({ length: packed }, () => order.pick(texts))
    while (batch.length < BATCH) {
      if (rows.length === 0) rows = order.shuffle(replies(++epoch).map(r => conversation(tokenizer, r)))
      batch.push(rows.pop()!)
    }
    const length = Math.ceil(Math.max(...batch.map(e => e.ids.length)) / 16) * 16
    const pad = (list: number[], value: number) => [...list, ...Array<number>(length - list.length).fill(value)]
    const ids = tf.tensor2d(
      batch.map(e => pad(e.ids, tokenizer.pad_token_id!)),
      undefined,
      'int32',
    )
    const each = tf.tensor2d(batch.map(e => pad(e.weights, 0)))
    const loss = await trainer.update({ ids, each })
    if (i % 25 === 0 || i === steps - 1) {
      const seconds = (performance.now() - began) / 1000
      console.log(`step ${i + 1}/${steps}  loss ${loss.toFixed(4)}  ${seconds.toFixed(0)} s`)
    }
    tf.dispose([ids, each])
  }
  await saveWeights(join(out, 'model.safetensors'), trainer.weights(), model.parameters, { layers: model.layers })
  await writeManifest(out, steps, seed, (performance.now() - began) / 1000)
  console.log(stats())
}

function conversation(tokenizer: Tokenizer, row: Reply): Example {
  const prompt = tokenizer.encode(tokenizer.chat(row.prompt), { specials: false })
  const completion = [...tokenizer.encode(row.completion, { specials: false }), tokenizer.eos_token_id!]
  return {
    ids: [...prompt, ...completion],
    weights: [...prompt.map(() => PROMPT_WEIGHT), ...completion.map(() => 1)],
  }
}

function plain(tokenizer: Tokenizer, text: string): Example {
  const ids = [...tokenizer.encode(text, { specials: false }), tokenizer.eos_token_id!]
  return { ids, weights: ids.map(() => 1) }
}

async function writeTokenizer(out: string, architecture: Architecture, texts: string[]): Promise<void> {
  const { config, tokenizer_class, specials, chat_template } = architecture
  await mkdir(out, { recursive: true })
  await write(out, 'tokenizer.json', trainBpe(texts, SIZE.vocab_size, specials))
  await write(out, 'tokenizer_config.json', {
    tokenizer_class,
    eos_token: specials.at(-1),
    pad_token: specials[0],
    bos_token: null,
    model_max_length: SIZE.max_position_embeddings,
    clean_up_tokenization_spaces: false,
    chat_template,
  })
  await write(out, 'config.json', {
    ...config,
    torch_dtype: 'float32',
    eos_token_id: SIZE.vocab_size - 1,
    pad_token_id: SIZE.vocab_size - specials.length,
  })
}

async function writeManifest(out: string, steps: number, seed: number, seconds: number): Promise<void> {
  const file = await readFile(join(out, 'model.safetensors'))
  await write(out, 'manifest.json', {
    name,
    made_by: `node dist/data/make/tinyLanguageModel.js ${name} --steps ${steps} --seed ${seed}`,
    training_data: `generated: arithmeticProblems, ${recipe!.replies.name}, packedEquations (src/datasets)`,
    license: 'Apache-2.0',
    seed,
    steps,
    training_seconds: Math.round(seconds),
    bytes: file.length,
    sha256: createHash('sha256').update(file).digest('hex'),
  })
}

async function write(out: string, name: string, content: object): Promise<void> {
  await writeFile(join(out, name), JSON.stringify(content, null, 2) + '\n')
}
