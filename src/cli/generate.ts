import { dirname, resolve } from 'node:path'
import { readImage, readJsonl, readVideo } from '../datasets/index.js'
import { modelDirectory } from '../io/hub.js'
import { hasChatTemplate, isConversation, isMixed } from '../io/tokenizer.js'
import { loadPolicy, type LanguageSampleOptions, type Prompt, type VisionPrompt } from '../policies/index.js'
import { isVisionPrompt } from '../policies/visionPrompts.js'
import { disposeTree } from '../xla/index.js'
import { numberOf, parse, type Command } from './command.js'
import { EDIT_HELP, EDIT_OPTIONS, generateImage } from './generateImage.js'
import { isPipeline } from './openPolicy.js'

type Sampling =
  'greedy' | 'temperature' | 'top_p' | 'top_k' | 'min_p' | 'repetition_penalty' | 'max_completion_length' | 'seed'

export interface GenerateOptions extends Pick<LanguageSampleOptions, Sampling> {
  /** Directory of a PEFT adapter laid on top. */
  adapter?: string
  /** Prompts per batch. Default 16. */
  batch_size?: number
}

/** Completes prompts with a model of a Hugging Face directory, in their order.
 * @throws Error for unsound options, files that do not fit, or a prompt that leaves no room for its completion */
export async function* generate(
  modelDir: string,
  prompts: readonly Prompt[],
  { adapter, batch_size = 16, ...options }: GenerateOptions,
): AsyncGenerator<{ prompt: VisionPrompt['prompt']; completion: string }> {
  if (!Number.isInteger(batch_size) || batch_size < 1)
    throw new Error(`generate: batch_size is ${batch_size}, needed an integer ≥ 1.`)
  const policy = await loadPolicy(modelDir, { adapter })
  try {
    for (let from = 0; from < prompts.length; from += batch_size) {
      const batch = prompts.slice(from, from + batch_size)
      const { outputs, trajectories } = await policy.sample(batch, { ...options, seed: options.seed + from })
      disposeTree(trajectories)
      for (const [i, prompt] of batch.entries())
        yield { prompt: isVisionPrompt(prompt) ? prompt.prompt : prompt, completion: outputs[i]! }
    }
  } finally {
    policy.dispose()
  }
}

const text = { type: 'string' } as const
const COMPLETION_OPTIONS = {
  messages: text,
  video: text,
  fps: text,
  greedy: { type: 'boolean' },
  temperature: text,
  top_p: text,
  top_k: text,
  min_p: text,
  repetition_penalty: text,
  max_new_tokens: text,
  batch_size: text,
} as const
const SHARED_OPTIONS = { seed: text, adapter: text } as const

export const generateCommand: Command = {
  summary: 'complete prompts or conversations with a model; edit an image with a pipeline',
  help: `Usage: rewardlab generate MODEL_DIR --messages FILE.jsonl [options]
       rewardlab generate MODEL_DIR --prompt TEXT [--image FILE | --video FILE] [options]
       rewardlab generate PIPELINE_DIR --image FILE --prompt TEXT --output FILE.png [options]

MODEL_DIR and DIR may be ids of the Hugging Face hub, org/name or org/name@revision.
Completes each line of FILE.jsonl: {"messages": [{"role", "content"}, …]} through the chat template, or {"prompt": "text"}. For a model that
sees, a line may have "images": [FILE, …] or "videos" beside it, paths from the folder of FILE.jsonl. --prompt is one message of the user; without a chat
template, it is the text as it stands (BLIP-2: "Question: … Answer:"). A video is an mp4, mov, webm, mkv (npm install @napi-rs/webcodecs@1.3.1 first), a GIF
or a folder of frames.
  --fps X               frames taken of a second of video, 4 to 768 in all; default 2
  --greedy              take the likeliest token
  --temperature X       default 1
  --top_p X             keep the likeliest tokens that together have this probability; default 1, all
  --top_k N             keep the N likeliest tokens; default 0, all
  --min_p X             keep tokens at least X times as likely as the likeliest; default 0, all
  --repetition_penalty X  above 1 makes tokens less likely that were used before; default 1
  --max_new_tokens N    default 256
  --seed N              default 0: the same seed gives the same text
  --batch_size N        prompts at a time; default 16
  --adapter DIR         a PEFT LoRA adapter on top
  --json                one line of JSON a prompt: prompt, completion

${EDIT_HELP}`,
  async run(args, print) {
    const all = { ...COMPLETION_OPTIONS, ...EDIT_OPTIONS, ...SHARED_OPTIONS }
    const { values, positionals } = parse(args, ['MODEL_DIR'], all)
    const [dir] = positionals as [string]
    const pipeline = await isPipeline(dir)
    const others = Object.keys(pipeline ? COMPLETION_OPTIONS : EDIT_OPTIONS)
    const shared = pipeline ? [] : ['image', 'prompt']
    const stray = others.find(name => values[name as keyof typeof values] !== undefined && !shared.includes(name))
    if (stray !== undefined)
      throw new Error(`--${stray} is not for ${dir}, ${pipeline ? 'a pipeline' : 'no pipeline'}. See --help.`)
    if (pipeline) return generateImage(dir, values, print)
    const { messages, prompt, image, video } = values
    if (messages === undefined && prompt === undefined)
      throw new Error('--messages FILE.jsonl is missing, or --prompt TEXT in its place. See --help.')
    if (messages !== undefined && (prompt ?? image ?? video) !== undefined)
      throw new Error('--messages is there, and --prompt, --image or --video. Give one or the other. See --help.')
    const number = (name: Exclude<keyof typeof COMPLETION_OPTIONS, 'messages' | 'greedy'> | 'seed') =>
      values[name] === undefined ? undefined : numberOf(name, values[name])
    const fps = number('fps') ?? 2 // qwen-vl-utils
    const completions = generate(
      dir,
      messages === undefined ? [await asked(dir, prompt!, fps, image, video)] : await readPrompts(messages, fps),
      {
        greedy: values.greedy ?? false,
        temperature: number('temperature'),
        top_p: number('top_p'),
        top_k: number('top_k'),
        min_p: number('min_p'),
        repetition_penalty: number('repetition_penalty'),
        max_completion_length: number('max_new_tokens'),
        seed: number('seed') ?? 0,
        batch_size: number('batch_size'),
        adapter: values.adapter,
      },
    )
    for await (const row of completions) print(row.completion, row)
  },
}

/** A message of the user, of a model without a chat template a text, with a picture or a video if there is one. */
async function asked(dir: string, content: string, fps: number, image?: string, video?: string): Promise<Prompt> {
  const prompt = (await hasChatTemplate(await modelDirectory(dir))) ? [{ role: 'user', content }] : content
  if (image === undefined && video === undefined) return prompt
  return {
    prompt,
    images: image === undefined ? [] : [await readImage(image)],
    videos: video === undefined ? [] : [await readVideo(video, { fps })],
  }
}

/** @throws Error naming the file and the row that is neither messages nor a prompt, or whose pictures cannot be read */
async function readPrompts(path: string, fps: number): Promise<Prompt[]> {
  const rows = readJsonl(path)
  if (rows.length === 0) throw new Error(`${path}: no rows, needed at least one with messages or prompt.`)
  const read = async (row: Record<string, unknown>, where: string): Promise<Prompt> => {
    const prompt = row['messages'] ?? row['prompt']
    const files = (column: string): string[] => {
      const found = row[column] ?? []
      if (Array.isArray(found) && found.every(file => typeof file === 'string')) return found.map(file => resolve(dirname(path), file)) // prettier-ignore
      throw new Error(`${where} has "${column}" that are no list of files. Needed paths.`)
    }
    const [images, videos] = [files('images'), files('videos')]
    if (images.length + videos.length === 0 && (typeof prompt === 'string' || isConversation(prompt))) return prompt
    if (typeof prompt !== 'string' && !isMixed(prompt))
      throw new Error(`${where} has no "messages" (a list of role and content) and no "prompt" (a text).`)
    return {
      prompt,
      images: await Promise.all(images.map(file => readImage(file))),
      videos: await Promise.all(videos.map(file => readVideo(file, { fps }))),
      where,
    }
  }
  return Promise.all(rows.map((row, i) => read(row, `${path}: row ${i + 1}`)))
}
