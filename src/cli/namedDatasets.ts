import { requireOneOf, requireWhole, resolveConfig } from '../config.js'
import {
  arithmeticPairs,
  arithmeticProblems,
  chartQuestions,
  clutteredSymbols,
  completionRows,
  editScenes,
  freeScenes,
  gsm8k,
  imageEdits,
  imagePreferences,
  mathVista,
  mathVistaPrompts,
  movingShapes,
  preferenceRows,
  promptRows,
  readRows,
  transcriptPreferences,
  visionRows,
  type Language,
  type SkippedRow,
  type VisionRowsOptions,
} from '../datasets/index.js'
import { lookUp, mappingOf, named, textOf, type Named } from './named.js'

/** A row of any data set: TRL's columns, and those that rewards read. */
export type DataRow = Readonly<Record<string, unknown>>

/** A data set as a config names it, every option filled in. */
export interface DatasetConfig {
  name: string
  /** Take the first rows, so many; null: all. */
  limit: number | null
  [option: string]: unknown
}

type Rows = readonly object[] | Promise<readonly object[]>
type Size = readonly [width: number, height: number] | null

const generated = { size: 2000, seed: 1, split: 'train' as 'train' | 'dev' | 'test' }
const problems = { ...generated, language: 'en' as Language }
const seen = {
  path: '',
  root: null as string | null,
  fps: null as number | null,
  num_frames: null as number | null,
  min_frames: null as number | null,
  max_frames: null as number | null,
  dynamic_sample: true,
  bad_rows: 'error' as 'error' | 'skip',
}
const pictures = { path: '', size: null as Size }

/** What `name` may be, with options and defaults. */
export const DATASETS: Readonly<Record<string, Named<Rows>>> = {
  file: named({ path: '' }, readFile),
  transcripts: named({ path: '' }, async ({ path }) => transcriptPreferences(await readRows(path))),
  gsm8k: named({ path: '', instruction: null as string | null }, ({ path, instruction }) =>
    gsm8k(path, instruction === null ? {} : { instruction }),
  ),
  visionRows: named(seen, ({ path, ...options }) =>
    visionRows(
      path,
      Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null)) as VisionRowsOptions,
    ),
  ),
  mathVista: named({ path: '' }, async ({ path }) => mathVistaPrompts(await mathVista(path))),
  imageEdits: named(pictures, ({ path, size }) => imageEdits(path, size ? { size } : {}).read()),
  imagePreferences: named(pictures, ({ path, size }) => imagePreferences(path, size ? { size } : {}).read()),
  arithmetic: named(problems, ({ split, ...options }) => arithmeticProblems(options)[split]),
  arithmeticPairs: named(problems, ({ split, ...options }) => arithmeticPairs(options)[split]),
  editScenes: named(generated, ({ split, ...options }) => editScenes(options)[split]),
  movingShapes: named(generated, ({ split, ...options }) => movingShapes(options)[split]),
  chartQuestions: named(generated, ({ split, ...options }) => chartQuestions(options)[split]),
  clutteredSymbols: named(
    { ...generated, prevalence: 0.2 },
    ({ split, ...options }) => clutteredSymbols(options)[split],
  ),
  freeScenes: named(generated, ({ split, ...options }) => freeScenes(options)[split]),
}

/** Fills a field such as `{ path: pairs.jsonl }` or `{ name: arithmetic, size: 2000 }`, and checks it.
 * @param split of generated data, where the field does not say
 * @throws naming the option */
export function resolveDataset(where: string, given: unknown, split: 'train' | 'test'): DatasetConfig {
  const { name = 'file', limit = null, ...options } = mappingOf(where, given)
  const { defaults } = lookUp(where, 'name', name, DATASETS)
  const config: Record<string, unknown> = resolveConfig(
    where,
    { ...defaults, ...('split' in defaults && { split }) },
    options,
  )
  if ('path' in config) textOf(where, 'path', config['path'], 'data/train.jsonl')
  if ('split' in config) requireOneOf(where, 'split', String(config['split']), ['train', 'dev', 'test'])
  if (limit !== null) requireWhole(where, 'limit', Number(limit), 1)
  return { name: String(name), limit: limit === null ? null : Number(limit), ...config }
}

/** Reads or makes the rows.
 * @throws naming file and line */
export async function readDataset({ name, limit, ...options }: DatasetConfig): Promise<readonly DataRow[]> {
  let rows: readonly DataRow[]
  try {
    rows = (await DATASETS[name]!.make(options)) as readonly DataRow[]
  } catch (error) {
    const { message } = error as Error
    const { path } = options
    if (typeof path !== 'string' || message.includes(path)) throw error
    throw new Error(`${path}: ${message}`, { cause: error })
  }
  const { skipped } = rows as { skipped?: readonly SkippedRow[] }
  return limit === null ? rows : Object.assign(rows.slice(0, limit), skipped && { skipped })
}

/** Rows of a data set that `policy` can take, without those whose pictures cannot be decoded or leave no room in its context for
 * `max_completion_length` more tokens: with `bad_rows: skip` each is tried once. Without, all rows, of which the first that is bad stops the run when it is drawn.
 * @returns also which rows were left out, here or when the file was read */
export async function usableRows(
  { bad_rows }: DatasetConfig,
  rows: readonly DataRow[],
  policy: { room?(prompt: unknown): Promise<number> },
  args: Readonly<Record<string, unknown>>,
): Promise<{ rows: readonly DataRow[]; skipped: string[] }> {
  if (bad_rows !== 'skip') return { rows, skipped: [] }
  const length = Number(args['max_completion_length'] ?? 1)
  const skipped = ((rows as { skipped?: readonly SkippedRow[] }).skipped ?? []).map(({ reason }) => reason)
  const kept: DataRow[] = []
  for (const row of rows) {
    try {
      const room = (await policy.room?.(row['prompt'])) ?? length
      if (room >= length) kept.push(row)
      else skipped.push(`${(row['prompt'] as { where: string }).where}: the context leaves ${Math.max(room, 0)} tokens behind its pictures and text, needed ${length}.`) // prettier-ignore
    } catch (error) {
      skipped.push((error as Error).message)
    }
  }
  if (kept.length === 0) throw new Error(`bad_rows is skip, and no row can be used. The first: ${skipped[0]}`)
  return { rows: kept, skipped }
}

/** Rows in TRL's columns: with pictures or videos, preferences, completions to learn, or prompts, by the columns of the first. */
async function readFile({ path }: { path: string }): Promise<readonly object[]> {
  const rows = await readRows(path)
  const has = (column: string) => rows[0]![column] !== undefined
  if (['conversations', 'images', 'image', 'videos', 'video'].some(has) && !has('chosen')) return visionRows(path)
  if (has('chosen')) return preferenceRows(rows)
  return has('messages') || has('completion') ? completionRows(rows) : promptRows(rows)
}
