import { readFile, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { resolveConfig } from '../config.js'
import * as rewards from '../rewards/index.js'
import { REWARD_TIMEOUT, type Reward, type WeightedReward } from '../rewards/index.js'
import { lookUp, mappingOf, named, textOf, type Named } from './named.js'

/** A reward as a config names it, every option filled in. */
export interface RewardConfig {
  /** One of {@link REWARDS}, or the path of a module. */
  use: string
  weight: number
  /** Seconds that it may take for a batch; null: any time. */
  timeout: number | null
  [option: string]: unknown
}

const clipDir = 'openai/clip-vit-large-patch14 on this machine'

/** What `use` may be, with options and defaults: the factories of rewardlab/rewards. */
export const REWARDS: Readonly<Record<string, Named<Reward>>> = {
  exactAnswer: named({ score: 2 }, rewards.exactAnswer),
  answerFormat: named({}, rewards.answerFormat),
  thinkAnswerFormat: named({}, rewards.thinkAnswerFormat),
  operationClass: named({}, rewards.operationClass),
  completionLength: named({ full: 40, none: 100 }, rewards.completionLength),
  textHeuristic: named({ fullLength: 100 }, rewards.textHeuristic),
  actionIou: named({}, rewards.actionIou),
  mathVistaAnswer: named({ nearest: true }, rewards.mathVistaAnswer),
  moderation: named(
    { labels: [] as string[], truePositive: 1, falseNegative: -1, falsePositive: -0.2, trueNegative: 0.1 },
    rewards.moderation,
  ),
  editVerified: named({ partial: 0 }, rewards.editVerified),
  freeEditVerified: named({ partial: 0 }, rewards.freeEditVerified),
  sceneMatch: named({ measure: 'f1' as const, attribute: 'all' as const }, rewards.sceneMatch),
  preservation: named({}, rewards.preservation),
  psnr: named({ column: 'target' }, rewards.psnr),
  ssim: named({ column: 'target' }, rewards.ssim),
  autoQC: named({ model: null as string | null, weights: {} }, ({ model, weights }) =>
    rewards.autoQC(model ?? undefined, { weights }),
  ),
  aesthetic: named({ model: '', head: '' }, ({ model, head }) =>
    rewards.aesthetic(
      textOf('aesthetic', 'model', model, clipDir),
      textOf('aesthetic', 'head', head, 'head.safetensors'),
    ),
  ),
  clipSimilarity: named({ model: '' }, ({ model }) =>
    rewards.clipSimilarity(textOf('clipSimilarity', 'model', model, clipDir)),
  ),
  pickScore: named({ model: '' }, ({ model }) => rewards.pickScore(textOf('pickScore', 'model', model, clipDir))),
}

/** Fills the field `rewards`, `{ correct: { use: exactAnswer, weight: 0.7, timeout: 60 } }`, and checks it; `correct: exactAnswer` is short for weight 1.
 * @throws naming the reward and the option */
export function resolveRewards(where: string, given: unknown): Record<string, RewardConfig> {
  const entries = Object.entries(mappingOf(where, given)).map(([name, value]): [string, RewardConfig] => {
    const at = `${where}.${name}`
    const {
      use,
      weight = 1,
      timeout = REWARD_TIMEOUT,
      ...options
    } = typeof value === 'string' ? { use: value } : mappingOf(at, value)
    if (typeof weight !== 'number' || !Number.isFinite(weight))
      throw new Error(`${at}: weight is ${JSON.stringify(weight)}, needs a finite number such as 1.`)
    if (timeout !== null && !(typeof timeout === 'number' && timeout > 0))
      throw new Error(`${at}: timeout is ${JSON.stringify(timeout)}, needs seconds such as 60, or null for none.`)
    const path = textOf(at, 'use', use, 'exactAnswer')
    const defaults = isModule(path) ? {} : lookUp(at, 'use', use, REWARDS).defaults
    return [name, { use: path, weight, timeout, ...resolveConfig(at, defaults, options) }]
  })
  return Object.fromEntries(entries)
}

/** Makes the rewards; models are loaded when they score.
 * @throws naming the reward whose options or module do not fit */
export async function makeRewards(
  where: string,
  configs: Readonly<Record<string, RewardConfig>>,
): Promise<Record<string, WeightedReward>> {
  const made: Record<string, WeightedReward> = {}
  for (const [name, { use, weight, timeout, ...options }] of Object.entries(configs))
    try {
      made[name] = [isModule(use) ? await importReward(use) : REWARDS[use]!.make(options), weight, { timeout }]
    } catch (error) {
      throw new Error(`${where}.${name}: ${(error as Error).message}`, { cause: error })
    }
  return made
}

/** A module is told from a name by its slash or ending. */
const isModule = (use: string): boolean => use.includes('/') || /\.[cm]?[jt]s$/.test(use)

/** The default export of a module, relative to the working directory. */
async function importReward(use: string): Promise<Reward> {
  const path = resolve(use)
  const imported = path.endsWith('ts') ? importTypeScript(path) : import(pathToFileURL(path).href)
  const module = (await imported.catch((error: Error) => {
    const message = error.message.includes(path) ? error.message : `${use}: ${error.message}`
    throw new Error(message, { cause: error })
  })) as { default?: unknown }
  if (typeof module.default === 'function') return module.default as Reward
  throw new Error(
    `${use} exports ${typeof module.default} by default, needs a reward: export default ({ completions }) => completions.map(…).`,
  )
}

/** Node cannot import TypeScript: its types are taken away, into a file beside it, so that what it imports is found. */
async function importTypeScript(path: string): Promise<unknown> {
  const { default: ts } = await import('typescript')
  const { outputText } = ts.transpileModule(await readFile(path, 'utf8'), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
    fileName: path,
  })
  const script = join(dirname(path), `.${basename(path)}.${process.pid}.mjs`)
  await writeFile(script, outputText)
  try {
    return await import(pathToFileURL(script).href)
  } finally {
    await rm(script)
  }
}
