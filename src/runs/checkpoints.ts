import { createHash } from 'node:crypto'
import { closeSync, createReadStream, existsSync, fsyncSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs' // prettier-ignore
import { isAbsolute, join, relative, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { parseJson } from '../io/json.js'

const MANIFEST = 'checkpoint.json'

/** What a finished checkpoint says of itself. */
interface Manifest {
  step: number
  /** Bytes of metrics.jsonl and samples.jsonl when it was made: what a resumed run keeps of them. */
  logs: LogSizes
  /** By path in the folder. */
  files: Record<string, { bytes: number; sha256: string }>
  /** What was measured of the weights, if anything. */
  measured?: Measured
}

/** A metric by which checkpoints are ranked. */
export interface Measured {
  metric: string
  value: number
  greater_is_better: boolean
}

export interface LogSizes {
  metrics: number
  samples: number
}

/** A checkpoint on disk whose files are those that were written. */
export interface StoredCheckpoint {
  step: number
  dir: string
  logs: LogSizes
  measured?: Measured
}

/** Checkpoints of a run's folder by step, finished or damaged. */
export function checkpointsIn(dir: string): { step: number; dir: string }[] {
  return readdirSync(dir)
    .flatMap(entry => {
      const step = /^checkpoint-(\d+)$/.exec(entry)?.[1]
      return step === undefined ? [] : [{ step: Number(step), dir: join(dir, entry) }]
    })
    .sort((a, b) => a.step - b.step)
}

/** The latest checkpoint of a run whose files have the checksums that were written with them; null if there is none.
 * @param note told of each later one that is damaged
 * @param until the latest step that it may have */
export async function latestCheckpoint(
  dir: string,
  note: (text: string) => void = () => {},
  until = Infinity,
): Promise<StoredCheckpoint | null> {
  const found = existsSync(dir) ? checkpointsIn(dir).reverse() : []
  return firstSound(
    found.filter(({ step }) => step <= until),
    note,
  )
}

/** The checkpoint of a run that was measured best, as {@link latestCheckpoint}; null if none was measured. */
export async function bestCheckpoint(
  dir: string,
  note: (text: string) => void = () => {},
): Promise<StoredCheckpoint | null> {
  return firstSound(existsSync(dir) ? ranked(dir) : [], note)
}

/** Checkpoints that were measured by the metric of the latest, the best first, of equal ones the earlier. */
export function ranked(dir: string): { step: number; dir: string; measured: Measured }[] {
  const all = checkpointsIn(dir).flatMap(checkpoint => {
    const manifest = manifestOf(checkpoint.dir)
    return typeof manifest !== 'string' && manifest.measured ? [{ ...checkpoint, measured: manifest.measured }] : []
  })
  return all
    .filter(({ measured }) => measured.metric === all.at(-1)!.measured.metric)
    .sort(({ measured: a }, { measured: b }) => (a.greater_is_better ? b.value - a.value : a.value - b.value))
}

async function firstSound(
  checkpoints: readonly { step: number; dir: string }[],
  note: (text: string) => void,
): Promise<StoredCheckpoint | null> {
  for (const { step, dir } of checkpoints) {
    const read = await verified(dir)
    if (typeof read !== 'string') return { step, dir, logs: read.logs, measured: read.measured }
    note(`${dir} is passed over: ${read}.`)
  }
  return null
}

/** The manifest, or what is wrong with it. */
function manifestOf(dir: string): Manifest | string {
  try {
    const manifest = parseJson(readFileSync(join(dir, MANIFEST))) as Manifest
    return isManifest(manifest) ? manifest : `${MANIFEST} is damaged`
  } catch (error) {
    return `${MANIFEST} cannot be read (${(error as Error).message})`
  }
}

/** The manifest, or what is wrong with the files. */
async function verified(dir: string): Promise<Manifest | string> {
  const manifest = manifestOf(dir)
  if (typeof manifest === 'string') return manifest
  for (const [file, { bytes, sha256 }] of Object.entries(manifest.files)) {
    const path = join(dir, file)
    if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return `${file} is missing`
    const { size } = statSync(path)
    if (size !== bytes) return `${file} has ${size} bytes, needed ${bytes}`
    if ((await digest(path)) !== sha256) return `${file} is damaged: its SHA-256 is another`
  }
  return manifest
}

/** Whether a value has all that a manifest says, of files within its folder. */
function isManifest(value: Partial<Manifest> | null): value is Manifest {
  const counts = [value?.logs?.metrics, value?.logs?.samples].every(n => Number.isSafeInteger(n) && n! >= 0)
  const files = Object.entries(value?.files ?? { '..': null })
  return counts && files.every(([path, file]) => !isAbsolute(path) && !path.split(sep).includes('..') && typeof file?.sha256 === 'string') // prettier-ignore
}

/** Writes the manifest of a folder that was filled, and has everything on the disk. */
export async function seal(dir: string, step: number, logs: LogSizes, measured?: Measured): Promise<void> {
  const entries = readdirSync(dir, { recursive: true, withFileTypes: true })
  const files: Manifest['files'] = {}
  for (const entry of entries.filter(entry => entry.isFile())) {
    const path = join(entry.parentPath, entry.name)
    files[relative(dir, path)] = { bytes: statSync(path).size, sha256: await digest(path) }
    flush(path)
  }
  const manifest: Manifest = { step, logs, files, measured }
  writeFileSync(join(dir, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`)
  flush(join(dir, MANIFEST))
  for (const entry of entries.filter(entry => entry.isDirectory())) flush(join(entry.parentPath, entry.name))
  flush(dir)
}

/** Waits until a file, or the entries of a folder, are on the disk. */
export function flush(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

async function digest(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
