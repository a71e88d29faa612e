import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { stringify } from 'yaml'
import { resolveConfig } from '../config.js'
import { parseYaml, readYaml } from '../io/yaml.js'
import { writeWhole } from '../io/writeWhole.js'
import { openRun, type SweepFile, type Trial } from '../runs/index.js'
import { assign, changedField, readExperiment } from './experiment.js'
import { mappingOf, textOf } from './named.js'

/** What `sweep` reads from a YAML file. */
export interface SweepConfig {
  /** A training config, or several: one a method. */
  config: string | readonly string[]
  /** Fields that all trials have, laid out as in a config. */
  set: Record<string, unknown>
  /** Lists of values, laid out as in a config: each combination is a trial. What differs in `args.seed` alone is averaged. */
  over: Record<string, unknown>
  /** Metrics to compare; empty: those of the evaluation, or without one the reward or the loss. */
  metrics: readonly string[]
  /** Folder of the sweep. */
  output_dir: string
}

export const sweepDefaults = { config: '', set: {}, over: {}, metrics: [], output_dir: '' }

/** Reads a sweep, checks every trial's config, and lays them into its folder: trials.yaml and NAME.yaml. A sweep that lies there may have gained trials.
 * @param sets changes such as `over.args.seed=[1, 2]`
 * @returns the folder
 * @throws naming the field that is wrong, or a trial that lies there with other fields */
export async function prepareSweep(path: string, sets: readonly string[] = []): Promise<string> {
  const given = readYaml(path)
  for (const set of sets) assign(given, set)
  const sweep = resolveConfig<Record<string, unknown>>(path, sweepDefaults, given)
  const configs = [sweep['config']].flat().map(config => textOf(path, 'config', config, 'configs/arithmetic_grpo.yaml'))
  const metrics = [sweep['metrics']].flat().map(metric => textOf(path, 'metrics', metric, 'eval_reward'))
  const dir = textOf(path, 'output_dir', sweep['output_dir'], 'runs/weights')
  const shared = leaves(mappingOf(`${path}: set`, sweep['set']))
  const lists = leaves(mappingOf(`${path}: over`, sweep['over']))
  for (const [field, values] of lists)
    if (!Array.isArray(values) || values.length === 0)
      throw new Error(`${path}: over.${field} is ${JSON.stringify(values)}, needs a list of values such as [1, 2, 3].`)
  const short = shortest(lists.map(([field]) => field))

  const trials: Trial[] = []
  const texts = new Map<string, string>()
  for (const config of configs)
    for (const values of combinations(lists.map(([, values]) => values as unknown[]))) {
      const own = lists.map(([field], i) => [field, values[i]] as const)
      const method = basename(config).replace(/\.ya?ml$/, '')
      const settings = Object.fromEntries(own.map(([, value], i) => [short[i]!, value]))
      const name = [method, ...Object.entries(settings).map(([field, value]) => `${field}-${spelled(value)}`)].join('_')
      const fields = [...shared, ...own, ['output_dir', join(dir, name)]] as const
      const assigned = fields.map(([field, value]) => `${field}=${JSON.stringify(value)}`)
      const experiment = await readExperiment(config, assigned)
      if (texts.has(name)) throw new Error(`${path}: two trials are called ${name}. Leave one out, or rename a config.`)
      texts.set(name, stringify(experiment.config))
      trials.push({ name, settings: configs.length > 1 ? { config: method, ...settings } : settings })
    }

  for (const [name, text] of texts) checkSame(dir, name, text)
  for (const [name, text] of texts) await writeWhole(join(dir, `${name}.yaml`), text)
  const seed = short[lists.findIndex(([field]) => field === 'args.seed')] ?? null
  const file: SweepFile = { config: configs, metrics, seed, trials }
  await writeWhole(join(dir, 'trials.yaml'), stringify(file))
  return dir
}

/** @throws naming the field in which a trial that has begun was another */
function checkSame(dir: string, name: string, text: string): void {
  if (!existsSync(join(dir, name, 'config.yaml'))) return
  const run = join(dir, name)
  const changed = changedField(openRun(run).config, mappingOf(name, parseYaml(text, name)), ['versions'])
  if (changed) throw new Error(`sweep: ${changed.field} is ${changed.is}, but ${run} was begun with ${changed.was}. Set it so, or name another output_dir.`) // prettier-ignore
}

/** The values of a tree of mappings by their dotted paths. */
function leaves(tree: Record<string, unknown>, path = ''): [field: string, value: unknown][] {
  return Object.entries(tree).flatMap(([key, value]): [string, unknown][] => {
    const field = path + key
    const mapping = typeof value === 'object' && value !== null && !Array.isArray(value)
    return mapping ? leaves(value as Record<string, unknown>, `${field}.`) : [[field, value]]
  })
}

/** One value of each list, in all ways; the last list changes fastest. */
function combinations(lists: readonly (readonly unknown[])[]): unknown[][] {
  return lists.reduce<unknown[][]>((all, list) => all.flatMap(some => list.map(value => [...some, value])), [[]])
}

/** The ends of dotted fields, as long as it takes to tell them apart: `seed`, `format.weight`. */
function shortest(fields: readonly string[]): string[] {
  const end = (field: string, keys: number) => field.split('.').slice(-keys).join('.')
  return fields.map(field => {
    let keys = 1
    while (fields.some(other => other !== field && end(other, keys) === end(field, keys))) keys++
    return end(field, keys)
  })
}

/** A value as part of a folder's name, where letters, digits, dots and dashes may stand; what has others ends with a digest. */
function spelled(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const plain = text.replace(/[^\p{L}\p{N}.-]+/gu, '-').slice(0, 40)
  return plain === text ? text : `${plain}-${createHash('sha256').update(text).digest('hex').slice(0, 6)}`
}
