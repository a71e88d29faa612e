import { access, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { resolveConfig } from '../config.js'
import { TOKENIZER_FILES, type Tokenizer } from '../io/tokenizer.js'
import { PROCESSOR_FILES, type VisionProcessor } from '../io/visionProcessor.js'
import {
  featuresOf,
  saveAdapter,
  saveMerged,
  visionPartOf,
  type CausalModel,
  type LoraConfig,
  type Seen,
  type TokenInput,
} from '../models/index.js'
import { entropy, repeatRows, tokenLogProbs } from '../nn/index.js'
import { generate, positionsOf, type Drawn } from '../sampling/index.js'
import { copy, disposeTree, eachTensor, jit, mapTensors, random, type TensorTree } from '../xla/index.js'
import { overlay } from './overlay.js'
import type {
  EncodeOptions,
  Evaluation,
  Grouped,
  Policy,
  SampleOptions,
  Samples,
  Trajectories,
  Weights,
  SaveOptions,
} from './policy.js'
import { bucket, flags, joined, opening, padded, places, promptTokens, rowTokens, split, type PaddedRows, type Prompt, type TextPrompt, type TokenRows } from './tokenRows.js' // prettier-ignore
import {
  isStored,
  isVisionPrompt,
  lookedAt,
  opened,
  picturesOf,
  placeOf,
  type Pictures,
  type SightRows,
  type StoredPrompt,
} from './visionPrompts.js'

/** How completions are drawn; names and defaults are TRL's. */
export interface LanguageSampleOptions extends SampleOptions {
  /** Completions per prompt. Default 1. */
  num_generations?: number
  /** Bound on a completion, in tokens. Default 256. */
  max_completion_length?: number
  /** Default 1. */
  temperature?: number
  /** Keep the likeliest tokens that together have this probability. Default 1: all. */
  top_p?: number
  /** Keep this many of the likeliest tokens. Default 0: all. */
  top_k?: number
  /** Keep tokens at least this many times as likely as the likeliest. Default 0: all. */
  min_p?: number
  /** Above 1, tokens that stand in the prompt or the completion become less likely, greedy or not. Default 1. What log-probabilities are
   * told, and trained on, leaves it out, as in TRL. */
  repetition_penalty?: number
  /** Texts that end a completion: it is cut behind the token that completes one. */
  stop_strings?: readonly string[]
}

const SAMPLE_DEFAULTS = {
  num_generations: 1,
  max_completion_length: 256,
  temperature: 1,
  top_p: 1,
  top_k: 0,
  min_p: 0,
  repetition_penalty: 1,
  stop_strings: [] as readonly string[],
  greedy: false,
  seed: 0,
}

/** What a directory of a model gives besides weights. */
export interface LanguageModel {
  /** What it was loaded by, a directory or a hub id: what an adapter names as its base. */
  name: string
  /** The directory, from which `save` copies config and tokenizer. */
  dir: string
  model: CausalModel
  tokenizer: Tokenizer
  /** Of a model that sees. */
  processor?: VisionProcessor
  /** Tokens that end a completion. */
  stop: readonly number[]
  pad: number
}

/** A causal language model as a policy: tokens are its steps. Made by {@link loadPolicy}. */
export class LanguagePolicy implements Policy<Prompt, string> {
  weights: Weights
  readonly #source: LanguageModel
  readonly #lora: LoraConfig | undefined
  readonly #programs: Programs
  readonly #shared: { users: number }
  #reference: Weights | undefined

  /** @param lora what the trainable weights are, if they are an adapter
   * @param family of the policy that this one is a fork of */
  constructor(source: LanguageModel, weights: Weights, lora?: LoraConfig, family?: Family) {
    this.weights = weights
    this.#source = source
    this.#lora = lora
    this.#programs = family?.programs ?? programsOf(source.model)
    this.#shared = family?.shared ?? { users: 0 }
    this.#shared.users++
  }

  get model(): CausalModel {
    return this.#source.model
  }

  get tokenizer(): Tokenizer {
    return this.#source.tokenizer
  }

  /** Under an adapter: the frozen weights. With all weights trained: a copy of the weights, made when first asked for,
   * so ask before training (optimizers do); a fork makes its own. */
  get reference(): Weights {
    if (this.#lora) return { trainable: {}, frozen: this.weights.frozen }
    return (this.#reference ??= { trainable: copied(this.weights.trainable), frozen: this.weights.frozen })
  }

  /** @throws Error for unknown or unsound options, or a prompt that leaves no room for the completion */
  async sample(given: readonly Prompt[], options: LanguageSampleOptions): Promise<Samples<string>> {
    const settings = resolveConfig('sample', SAMPLE_DEFAULTS, options)
    checkSettings(settings)
    const {
      num_generations: G,
      max_completion_length: length,
      temperature,
      top_p,
      top_k,
      min_p,
      greedy,
      seed,
    } = settings
    if (given.length === 0) throw new Error('sample: found no prompts, needed at least one.')
    const prompts = await opened(given)
    const where = prompts.map((prompt, i) => placeOf(prompt, `sample: prompt ${i}`))
    const pictures = prompts.map((prompt, i) => this.#pictures(prompt, where[i]!))
    const ids = prompts.map((prompt, i) => promptTokens(this.tokenizer, prompt, pictures[i], where[i]))
    const { model, pad, stop } = this.#source
    ids.forEach((row, i) => {
      if (row.length === 0) throw new Error(`${where[i]} has no tokens. Needed: at least one. Give it a text.`)
      if (row.length + length > model.context)
        throw new Error(
          `${where[i]} has ${row.length} tokens; with max_completion_length ${length} the context of ` +
            `${model.context} leaves ${Math.max(model.context - length, 0)}. Shorten the prompt, ${opening(prompts[i]!)}, or the completion.`,
        )
    })

    const size = bucket(Math.max(...ids.map(row => row.length)))
    const left = padded(ids, size, pad, 'left')
    const sight = this.#sight(pictures, left)
    const { seen, ...looked } = sight ?? {}
    const features = seen && this.#programs.see(this.#whole(this.weights), seen)
    const inputs = {
      prompts: { input_ids: left.ids, attention_mask: left.mask, ...looked, ...(features && { features }) },
      draw: {
        temperature: tf.scalar(temperature),
        top_p: tf.scalar(top_p),
        top_k: tf.scalar(top_k, 'int32'),
        min_p: tf.scalar(min_p),
        repetition_penalty: tf.scalar(settings.repetition_penalty),
        key: random.key(seed),
      },
    }
    const filtered = top_p < 1 || top_k > 0 || min_p > 0
    const penalized = settings.repetition_penalty !== 1
    const plan = { generations: G, length, greedy, filtered, penalized, stop: [...stop], pad }
    const drawn = await this.#programs.generate(this.#whole(this.weights), inputs.prompts, inputs.draw, plan)
    const repeatedSight = sight && mapTensors(sight, t => repeatRows(t, G))
    disposeTree([inputs, seen])

    const [tokens, mask] = (await Promise.all([drawn.tokens.data(), drawn.mask.data()])) as [Int32Array, Float32Array]
    const B = ids.length * G
    const whole = Array.from({ length: B }, (_, b) => {
      const end = mask.subarray(b * length, (b + 1) * length).indexOf(0)
      return Array.from(tokens.subarray(b * length, b * length + (end < 0 ? length : end)))
    })
    const rows = whole.map(row => row.slice(0, this.#stopOf(row, settings.stop_strings)))
    if (rows.some((row, b) => row.length < whole[b]!.length)) Object.assign(drawn, shortened(drawn, rows))
    // Columns that no row reached are cut off, by quarters of the bound so that few programs exist.
    const quarter = Math.ceil(length / 4)
    const T = Math.min(length, Math.ceil(Math.max(...rows.map(row => row.length)) / quarter) * quarter)
    const [completion_ids, logProbs, reached] = [drawn.tokens, drawn.logProbs, drawn.mask].map(t =>
      T === length ? t : cut(t, T),
    ) as [tf.Tensor, tf.Tensor, tf.Tensor]
    const repeated = padded(
      ids.flatMap(row => Array.from({ length: G }, () => row)),
      size,
      pad,
      'left',
    )
    const outputs: TokenRows = {
      prompt_ids: repeated.ids,
      prompt_mask: repeated.mask,
      completion_ids,
      completion_mask: tf.cast(reached, 'int32'),
      temperature: tf.fill([B], temperature),
      ...(repeatedSight ? { sight: repeatedSight } : {}),
    }
    return {
      outputs: rows.map(row => this.tokenizer.decode(row)),
      trajectories: { outputs, logProbs, mask: reached, finished: drawn.finished },
    }
  }

  evaluate(weights: Weights, trajectories: Trajectories, options: { entropy?: boolean } & Grouped = {}): Evaluation {
    return tf.tidy(() => {
      const rows = trajectories.outputs as TokenRows
      const { mask } = trajectories
      const logits = tf.div(this.#completionLogits(weights, rows, options), tf.reshape(rows.temperature, [-1, 1, 1])) // [B, T, V]
      const logProbs = tf.mul(tokenLogProbs(logits, rows.completion_ids), mask) // [B, T]
      return { logProbs, mask, ...(options.entropy ? { entropy: tf.mul(entropy(logits), mask) } : {}) }
    })
  }

  /** Rows of a data set, tokenised as TRL does: text gets the end-of-sequence token appended, conversations go through the
   * chat template; the completion is what follows the prompt's tokens.
   * @param outputs texts, or messages that follow the prompt's
   * @returns a promise of them, where a prompt's pictures are still to be decoded
   * @throws Error for a row that is longer than the context after it was cut, or that would have to be cut and has pictures */
  encode(prompts: readonly StoredPrompt[], outputs: readonly TextPrompt[], options?: EncodeOptions): Promise<TokenRows>
  encode(prompts: readonly Prompt[], outputs: readonly TextPrompt[], options?: EncodeOptions): TokenRows
  encode(
    prompts: readonly Prompt[],
    outputs: readonly TextPrompt[],
    options: EncodeOptions = {},
  ): TokenRows | Promise<TokenRows> {
    if (prompts.some(isStored)) return opened(prompts).then(read => this.encode(read, outputs, options))
    if (prompts.length !== outputs.length)
      throw new Error(`encode: ${outputs.length} outputs for ${prompts.length} prompts, needed one each.`)
    const { context } = this.model
    const pictures = prompts.map((prompt, i) => this.#pictures(prompt, placeOf(prompt, `encode: row ${i}`)))
    const { packs } = options
    const separate = prompts.map((prompt, i) => {
      const where = placeOf(prompt, `encode: row ${i}`)
      const seen = pictures[i] && pictures[i].images.length + pictures[i].videos.length > 0
      if (seen && options.completion_only_loss === false)
        throw new Error(`${where} has pictures, which are not learnt: completion_only_loss is false. Leave it out.`)
      if (seen && packs)
        throw new Error(`${where} has pictures, and rows with pictures are not packed. Leave packing out.`)
      const row = split(
        rowTokens(this.tokenizer, prompt, outputs[i]!, options, pictures[i], where),
        seen ? {} : options,
      )
      const length = row.prompt.length + row.completion.length
      if (seen && length > (options.max_length ?? Infinity))
        throw new Error(`${where} has ${length} tokens, max_length is ${options.max_length}, and pictures are not cut. Raise it, or set it to null.`) // prettier-ignore
      if (length > context)
        throw new Error(`${where} has ${length} tokens, the context takes ${context}. Shorten or drop the row, ${opening(prompt)}.`) // prettier-ignore
      return row
    })
    const rows = packs ? joined(separate, packs) : separate
    const parts = (part: 'prompt' | 'completion', side: 'left' | 'right') => {
      const ids = rows.map(row => row[part])
      return padded(ids, bucket(Math.max(1, ...ids.map(row => row.length))), this.#source.pad, side)
    }
    const [left, right] = [parts('prompt', 'left'), parts('completion', 'right')]
    const sight = this.#sight(pictures, left)
    return {
      ...(sight ? { sight } : {}),
      ...(packs && { packed: places(rows, left.ids.shape[1], right.ids.shape[1]) }),
      ...((options.assistant_only_loss || packs) && {
        loss_mask: flags(
          rows.map(row => row.counts),
          right.ids.shape[1],
        ),
      }),
      prompt_ids: left.ids,
      prompt_mask: left.mask,
      completion_ids: right.ids,
      completion_mask: right.mask,
      temperature: tf.ones([rows.length]),
    }
  }

  lengths(prompts: readonly Prompt[], outputs: readonly TextPrompt[], options: EncodeOptions = {}): number[] {
    const { max_length } = options
    return prompts.map((prompt, i) =>
      Math.min(rowTokens(this.tokenizer, prompt, outputs[i]!, options).ids.length, max_length ?? Infinity),
    )
  }

  /** Tokens that the context has left behind a prompt and its pictures, which are decoded if they are stored; below 0, if it is too long. */
  async room(given: Prompt): Promise<number> {
    const [prompt] = (await opened([given])) as [Prompt]
    const where = placeOf(prompt, 'room: the prompt')
    const ids = promptTokens(this.tokenizer, prompt, this.#pictures(prompt, where), where)
    return this.model.context - ids.length
  }

  async replay(prompts: readonly Prompt[], completions: readonly TextPrompt[]): Promise<Trajectories> {
    const outputs = this.encode(await opened(prompts), completions)
    const mask = tf.cast(outputs.completion_mask, 'float32') // [B, T]
    const finished = tf.ones([prompts.length])
    const { logProbs } = this.evaluate(this.weights, { outputs, mask, finished, logProbs: mask })
    return { outputs, mask, finished, logProbs }
  }

  score(
    weights: Weights,
    outputs: TensorTree,
    _key?: tf.Tensor,
    grouped: Grouped = {},
  ): { score: tf.Tensor; length: tf.Tensor } {
    return tf.tidy(() => {
      const rows = outputs as TokenRows
      const mask = tf.cast(rows.loss_mask ?? rows.completion_mask, 'float32') // [B, T]
      const logProbs = tokenLogProbs(this.#completionLogits(weights, rows, grouped), rows.completion_ids) // [B, T]
      return { score: tf.sum(tf.mul(logProbs, mask), 1), length: tf.sum(mask, 1) }
    })
  }

  /** One forward pass, as transformers' model(input_ids, attention_mask).
   * @returns logits [B, T, V] */
  forward(input: TokenInput): { logits: tf.Tensor } {
    return this.#programs.forward(this.#whole(this.weights), { ...input })
  }

  partOf = visionPartOf

  fork(trainable = this.weights.trainable): LanguagePolicy {
    const weights = { trainable: copied(trainable), frozen: this.weights.frozen }
    return new LanguagePolicy(this.#source, weights, this.#lora, { programs: this.#programs, shared: this.#shared })
  }

  /** Writes a directory that transformers opens, or with an adapter, one that PEFT opens. */
  async save(dir: string, { merge = false, trainable = this.weights.trainable }: SaveOptions = {}): Promise<void> {
    const { model, name, dir: from } = this.#source
    await mkdir(dir, { recursive: true })
    for (const file of [...TOKENIZER_FILES, ...PROCESSOR_FILES]) await copyIfThere(from, dir, file)
    if (this.#lora && !merge) return saveAdapter(model, this.#lora, trainable, dir, name)
    await copyIfThere(from, dir, 'generation_config.json')
    await writeFile(join(dir, 'config.json'), inFloat32(await readFile(join(from, 'config.json'), 'utf8')))
    await saveMerged(join(dir, 'model.safetensors'), this.#whole({ ...this.weights, trainable }), model, from)
  }

  dispose(): void {
    disposeTree([this.weights.trainable, this.#reference?.trainable ?? {}])
    if (--this.#shared.users === 0) disposeTree(this.weights.frozen)
  }

  #whole = ({ trainable, frozen }: Weights): TensorTree => overlay(frozen, trainable)

  /** Logits of the completion's tokens [B, T, V]: position i sees the prompt and the completion before i. The prompt of a group is
   * read once. */
  #completionLogits(weights: Weights, rows: TokenRows, { group = 1, samePrompt = true }: Grouped): tf.Tensor {
    const readers = samePrompt ? group : 1 // rows that one reading of a prompt serves
    const whole = this.#whole(weights)
    const [B, T] = rows.completion_ids.shape as [number, number]
    if (rows.packed) return this.model.head(whole, this.#packedHidden(whole, rows))
    const read = Math.max(T - 1, 1) // the last token is only predicted
    const before = (x: tf.Tensor) => tf.slice(x, [0, 0], [B, read])
    const prompt_mask = firstRows(rows.prompt_mask, readers) // [N, P]
    const sight = rows.sight && mapTensors(rows.sight, t => firstRows(t, readers))
    const starts = rows.sight?.next ? tf.expandDims(rows.sight.next, 1) : tf.sum(rows.prompt_mask, 1, true) // [B, 1]
    const attention_mask = before(rows.completion_mask)
    const hidden = this.model.continued(
      whole,
      {
        input_ids: firstRows(rows.prompt_ids, readers),
        attention_mask: prompt_mask,
        position_ids: sight?.position_ids ?? positionsOf(prompt_mask),
        features: sight?.features ?? (sight?.seen && featuresOf(this.model.vision!, whole, sight.seen)),
      },
      {
        input_ids: before(rows.completion_ids),
        attention_mask,
        position_ids: tf.add(starts, positionsOf(attention_mask)),
      },
    )
    return this.model.head(whole, tf.slice(hidden, [0, 0, 0], [B, T, hidden.shape[2]!]))
  }

  /** Hidden states before each of the completion's tokens [B, T, C], of rows that hold several of a data set. */
  #packedHidden(whole: TensorTree, rows: TokenRows): tf.Tensor {
    const [P, T] = [rows.prompt_ids.shape[1]!, rows.completion_ids.shape[1]!]
    const hidden = this.model.hidden(whole, {
      input_ids: tf.concat([rows.prompt_ids, rows.completion_ids], 1),
      attention_mask: tf.concat([rows.prompt_mask, rows.completion_mask], 1),
      ...rows.packed,
    }) // [B, P + T, C]
    return tf.slice(hidden, [0, P - 1, 0], [-1, T, -1])
  }

  /** The number of tokens that hold the first stop string; all, if there is none. */
  #stopOf(row: readonly number[], strings: readonly string[]): number {
    const stops = (count: number) => {
      const text = this.tokenizer.decode(row.slice(0, count))
      return strings.some(string => text.includes(string))
    }
    if (strings.length === 0 || !stops(row.length)) return row.length
    let [before, there] = [0, row.length] // of which the first has none, the second has one
    while (there - before > 1) {
      const middle = (before + there) >> 1
      if (stops(middle)) there = middle
      else before = middle
    }
    return there
  }

  /** A prompt's pictures as the model takes them; undefined for a model of text.
   * @throws Error for pictures that it cannot see */
  #pictures(prompt: Prompt, where: string): Pictures | undefined {
    const { model, processor } = this.#source
    const seen = isVisionPrompt(prompt) ? prompt : { prompt }
    if (processor) return picturesOf(processor, seen, where)
    if (seen.images?.length || seen.videos?.length)
      throw new Error(`${where} has pictures, and ${model.architecture} sees none. Take a model that does.`)
    return undefined
  }

  /** What padded prompts see: patches where a part that sees learns, else features; undefined if that is nothing. */
  #sight(prompts: readonly (Pictures | undefined)[], { ids, values }: PaddedRows): SightRows | undefined {
    const { vision } = this.model
    const pictures = prompts.filter(p => p !== undefined)
    if (!vision || pictures.every(({ images, videos }) => images.length + videos.length === 0)) return undefined
    let learns = false
    eachTensor(this.weights.trainable, (_, path) => (learns ||= this.partOf(path) !== undefined))
    const { seen, ...positions } = lookedAt(vision, pictures, values.ids, values.mask, ids.shape[1], learns)
    if (learns) return { seen, ...positions }
    const features = this.#programs.see(this.#whole(this.weights), seen)
    disposeTree(seen)
    return { features, ...positions }
  }
}

/** What a policy and its forks share. */
interface Family {
  programs: Programs
  shared: { users: number }
}

type Programs = ReturnType<typeof programsOf>

function programsOf(model: CausalModel) {
  return {
    generate: generate(model),
    see: jit((weights: TensorTree, seen: Seen) => tf.tidy(() => featuresOf(model.vision!, weights, seen)), {
      name: 'see',
    }),
    forward: jit(
      (weights: TensorTree, input: TensorTree) =>
        tf.tidy(() => ({ logits: model.head(weights, model.hidden(weights, input as unknown as TokenInput)) })),
      { name: 'forward' },
    ),
  }
}

/** The first of each `group` rows side by side. */
function firstRows(x: tf.Tensor, group: number): tf.Tensor {
  const [B, ...rest] = x.shape as [number, ...number[]]
  const groups = tf.reshape(x, [B / group, group, -1])
  return tf.reshape(tf.slice(groups, [0, 0, 0], [-1, 1, -1]), [B / group, ...rest])
}

/** Completions that end sooner, in place of those given. Their tokens stay, behind the mask. */
function shortened({ logProbs, mask, finished }: Drawn, rows: readonly (readonly number[])[]): Partial<Drawn> {
  const shorter = tf.tidy(() => {
    const lengths = tf.tensor2d(rows.map(row => [row.length])) // [B, 1]
    const inside = tf.cast(tf.less(tf.range(0, mask.shape[1]!), lengths), 'float32') // [B, T]
    const cut = tf.cast(tf.less(tf.squeeze(lengths, [1]), tf.sum(mask, 1)), 'float32') // [B]
    const kept = tf.mul(mask, inside)
    return { logProbs: tf.mul(logProbs, kept), mask: kept, finished: tf.maximum(finished, cut) }
  })
  disposeTree([logProbs, mask, finished])
  return shorter
}

/** The first columns of [B, T], in place of the whole. */
function cut(x: tf.Tensor, columns: number): tf.Tensor {
  const part = tf.slice(x, [0, 0], [x.shape[0], columns])
  x.dispose()
  return part
}

const copied = (tree: TensorTree): TensorTree => mapTensors(tree, t => copy(t))

function checkSettings(s: typeof SAMPLE_DEFAULTS): void {
  const check = (ok: boolean, name: keyof typeof s, needed: string) => {
    if (!ok) throw new Error(`sample: ${name} is ${JSON.stringify(s[name])}, needed ${needed}.`)
  }
  check(Number.isInteger(s.num_generations) && s.num_generations > 0, 'num_generations', 'an integer ≥ 1')
  check(
    Number.isInteger(s.max_completion_length) && s.max_completion_length > 0,
    'max_completion_length',
    'an integer ≥ 1',
  )
  check(s.temperature > 0, 'temperature', 'a number > 0; for the likeliest token use greedy: true')
  check(s.top_p > 0 && s.top_p <= 1, 'top_p', 'a number in (0, 1]')
  check(Number.isInteger(s.top_k) && s.top_k >= 0, 'top_k', 'an integer ≥ 0, where 0 keeps all')
  check(s.min_p >= 0 && s.min_p <= 1, 'min_p', 'a number in [0, 1], where 0 keeps all')
  check(s.repetition_penalty > 0, 'repetition_penalty', 'a number > 0; 1 is none')
  check(Array.isArray(s.stop_strings) && s.stop_strings.every(text => typeof text === 'string' && text !== ''), 'stop_strings', 'texts') // prettier-ignore
  check(Number.isInteger(s.seed), 'seed', 'an integer')
}

/** A config.json of weights in float32. Edited as text: transformers refuses some numbers that are written 1, not 1.0. */
function inFloat32(json: string): string {
  const typed = json.replace(/"(torch_)?dtype"\s*:\s*("[^"]*"|null)/g, '"dtype": "float32"')
  return typed === json && !json.includes('"dtype"') ? json.replace('{', '{\n  "dtype": "float32",') : typed
}

async function copyIfThere(from: string, to: string, file: string): Promise<void> {
  const there = await access(join(from, file)).then(
    () => true,
    () => false,
  )
  if (there) await copyFile(join(from, file), join(to, file))
}
