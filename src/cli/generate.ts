import { readJsonl } from '../datasets/index.js'
import { isConversation } from '../io/tokenizer.js'
import { loadPolicy, type LanguageSampleOptions, type Prompt } from '../policies/index.js'
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
): AsyncGenerator<{ prompt: Prompt; completion: string }> {
  if (!Number.isInteger(batch_size) || batch_size < 1)
    throw new Error(`generate: batch_size is ${batch_size}, needed an integer ≥ 1.`)
  const policy = await loadPolicy(modelDir, { adapter })
  try {
    for (let from = 0; from < prompts.length; from += batch_size) {
      const batch = prompts.slice(from, from + batch_size)
      const { outputs, trajectories } = await policy.sample(batch, { ...options, seed: options.seed + from })
      disposeTree(trajectories)
      for (const [i, prompt] of batch.entries()) yield { prompt, completion: outputs[i]! }
    }
  } finally {
    policy.dispose()
  }
}

const text = { type: 'string' } as const
const COMPLETION_OPTIONS = {
  messages: text,
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
       rewardlab generate PIPELINE_DIR --image FILE --prompt TEXT --output FILE.png [options]

MODEL_DIR and DIR may be ids of the Hugging Face hub, org/name or org/name@revision.
Completes each line of FILE.jsonl: {"messages": [{"role", "content"}, …]} through the chat template, or {"prompt": "text"}.
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
    const stray = others.find(name => values[name as keyof typeof values] !== undefined)
    if (stray !== undefined)
      throw new Error(`--${stray} is not for ${dir}, ${pipeline ? 'a pipeline' : 'no pipeline'}. See --help.`)
    if (pipeline) return generateImage(dir, values, print)
    if (values.messages === undefined) throw new Error('--messages FILE.jsonl is missing. See --help.')
    const number = (name: Exclude<keyof typeof COMPLETION_OPTIONS, 'messages' | 'greedy'> | 'seed') =>
      values[name] === undefined ? undefined : numberOf(name, values[name])
    const completions = generate(dir, readPrompts(values.messages), {
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
    })
    for await (const row of completions) print(row.completion, row)
  },
}

/** @throws Error naming the file and the row that is neither messages nor a prompt */
function readPrompts(path: string): Prompt[] {
  const rows = readJsonl(path)
  if (rows.length === 0) throw new Error(`${path}: no rows, needed at least one with messages or prompt.`)
  return rows.map((row, i) => {
    const prompt = row['messages'] ?? row['prompt']
    if (typeof prompt === 'string' || isConversation(prompt)) return prompt
    throw new Error(`${path}: row ${i + 1} has no "messages" (a list of role and content) and no "prompt" (a text).`)
  })
}
