import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, stat, statfs, symlink, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { interruptSignal } from '../interrupt.js'
import { excerpt } from './excerpt.js'
import { parseJson } from './json.js'

/** Told while a file is downloaded, in bytes. */
export type Progress = (file: string, received: number, size: number) => void

/** The directory of a model. A directory that exists is taken as it stands; else an id of the Hugging Face hub, `org/name` or
 * `org/name@revision`, stands for its snapshot in the Hugging Face cache, to which files that it lacks are downloaded, in the layout of
 * huggingface_hub and under its environment variables: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE.
 * Only configurations, tokenizers and safetensors are fetched: nothing that runs when it is read. A hub that does not answer or refuses is no error if
 * the cache has a snapshot.
 * @returns the directory; what neither exists nor is an id as it is, so that who reads it tells what is missing
 * @throws Error naming the model and what the hub answered; for a full disk, a wrong checksum, a file name that leads elsewhere */
export async function modelDirectory(name: string, progress: Progress = toStderr): Promise<string> {
  const [, id, revision = 'main'] = ID.exec(name) ?? []
  if (id === undefined || existsSync(name)) return name
  const store = join(cacheFolder(), `models--${id.replace('/', '--')}`)
  let repository: Repository
  try {
    repository = await list(name, id, revision)
  } catch (error) {
    const known = await cached(store, revision)
    if (known === undefined) throw error
    if (!isOffline()) console.warn(`${(error as Error).message} Taken from the cache: ${known}`)
    return known
  }
  const snapshot = join(store, 'snapshots', repository.commit)
  const missing = repository.files.filter(({ path }) => !existsSync(join(snapshot, path)))
  await requireSpace(name, missing)
  for (const file of missing) {
    const blob = join(store, 'blobs', file.hash)
    const [url, link] = [
      `${endpoint()}/${id}/resolve/${repository.commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`,
      join(snapshot, file.path),
    ]
    await mkdir(dirname(blob), { recursive: true })
    if (!existsSync(blob)) await download(url, blob, file, progress)
    await mkdir(dirname(link), { recursive: true })
    await rm(link, { force: true }) // one that led nowhere
    await symlink(relative(dirname(link), blob), link)
  }
  if (revision !== repository.commit) await writeRef(join(store, 'refs', revision), repository.commit)
  return snapshot
}

/** No part begins with a dot, so that none leads out of the cache. */
const ID = /^(\w[\w.-]*\/\w[\w.-]*)(?:@(\w[\w.-]*(?:\/\w[\w.-]*)*))?$/
const COMMIT = /^[0-9a-f]{40}$/
const HASH = /^([0-9a-f]{40}|[0-9a-f]{64})$/

interface Repository {
  commit: string
  files: HubFile[]
}

interface HubFile {
  path: string
  size: number
  /** SHA-256 of a file in large file storage, else git's SHA-1 of a blob; also the name of its blob. */
  hash: string
}

/** Weights under the names that are read here, and not, say, other precisions of the same; JSON, templates and tables of tokenizers. */
const WANTED =
  /^(?:(?:model|adapter_model|diffusion_pytorch_model|pytorch_lora_weights)(?:-\d+-of-\d+)?\.safetensors|[^/]*\.json|[^/]*\.jinja|merges\.txt|vocab\.txt)$/

/** What a revision holds of what is wanted: files of the root, of a pipeline those of its parts, too. */
async function list(name: string, id: string, revision: string): Promise<Repository> {
  if (isOffline())
    throw new Error(
      `${name}: neither a directory here nor in ${cacheFolder()}, and HF_HUB_OFFLINE is set. Unset it, or check the path.`,
    )
  const url = `${endpoint()}/api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`
  const response = await request(url, { signal: AbortSignal.timeout(ANSWER_MS) }).catch((error: Error) => {
    throw new Error(
      `${name}: no such directory here, and ${endpoint()} does not answer (${reasonOf(error)}). Check the path or the connection.`,
      { cause: error },
    )
  })
  if (!response.ok) throw refusal(name, response)
  const answer = await limited(response, MOST_ANSWER).catch((error: Error) => error)
  const { sha, siblings } = (answer instanceof Error ? {} : answer) as { sha?: unknown; siblings?: Sibling[] }
  if (typeof sha !== 'string' || !COMMIT.test(sha) || !Array.isArray(siblings) || !siblings.every(isSibling))
    throw new Error(`${url}: found no commit and list of files, needed the hub's answer. Check HF_ENDPOINT.`)
  const names = siblings.map(file => file.rfilename)
  const astray = names.find(path => /^\/|[\\\0-\x1f]|(^|\/)\.\.(\/|$)/.test(path)) // eslint-disable-line no-control-regex
  if (astray !== undefined)
    throw new Error(`${name}: a file is called ${excerpt(astray)}, which leads out of its folder. Refused.`)
  const parts = names.includes('model_index.json')
  const files = siblings.filter(({ rfilename }) => WANTED.test(parts ? rfilename.replace(/^[\w-]+\//, '') : rfilename))
  if (!files.some(({ rfilename }) => rfilename.endsWith('.safetensors')))
    throw new Error(
      `${name}: no weights among ${excerpt(names.join(', '), 500)}. Needed model.safetensors or its like: other formats may run code when they are read. Convert them, or choose a repository that has it.`,
    )
  const listed = files.map(({ rfilename, size, blobId, lfs }) => ({ path: rfilename, size, hash: lfs?.sha256 ?? blobId })) // prettier-ignore
  const unsound = listed.find(({ hash }) => typeof hash !== 'string' || !HASH.test(hash)) // before it names a file of the cache
  if (unsound)
    throw new Error(`${name}: ${excerpt(unsound.path)}: its checksum is ${excerpt(unsound.hash)}, needed a SHA-1 or SHA-256. Check HF_ENDPOINT.`) // prettier-ignore
  return { commit: sha, files: listed }
}

interface Sibling {
  rfilename: string
  size: number
  blobId: string
  lfs?: { sha256: string }
}

const isSibling = (file: Partial<Sibling> | null): boolean =>
  typeof file?.rfilename === 'string' && (file.size === undefined || (Number.isFinite(file.size) && file.size >= 0))

const MOST_ANSWER = 64e6 // bytes

/** The JSON of an answer of so many bytes at most. */
async function limited(response: Response, most: number): Promise<unknown> {
  const [parts, size] = [[] as Uint8Array[], { is: 0 }]
  for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
    if ((size.is += part.length) > most) throw new Error(`more than ${most} bytes`)
    parts.push(part)
  }
  return parseJson(Buffer.concat(parts))
}

/** Downloads a file, going on where an earlier attempt or run stopped. */
async function download(url: string, blob: string, file: HubFile, progress: Progress): Promise<void> {
  const incomplete = `${blob}.incomplete`
  for (let attempt = 1; (await sizeOf(incomplete)) < file.size || !existsSync(incomplete); attempt++) {
    try {
      await receive(url, incomplete, file, progress)
    } catch (error) {
      if (error instanceof Refusal || interruptSignal()?.aborted) throw error
      if (attempt === ATTEMPTS || (error as NodeJS.ErrnoException).code === 'ENOSPC')
        throw new Error(
          `${url}: interrupted after ${await sizeOf(incomplete)} of ${file.size} bytes (${reasonOf(error as Error)}). Run again to go on from there.`,
          { cause: error },
        )
      await sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1))
    }
  }
  const found = await checksum(incomplete, file)
  if (found !== file.hash) {
    await rm(incomplete)
    throw new Error(
      `${url}: the checksum of what came is ${found}, needed ${file.hash}. It was deleted; run again, or check what answers at HF_ENDPOINT.`,
    )
  }
  await rename(incomplete, blob)
}

async function receive(url: string, to: string, { path, size }: HubFile, progress: Progress): Promise<void> {
  const start = await sizeOf(to)
  const response = await request(url, { headers: start > 0 ? { Range: `bytes=${start}-` } : {} })
  if (!response.ok || response.body === null) throw refusal(url, response)
  const resumed = response.status === 206
  let received = resumed ? start : 0
  const counted = async function* (chunks: AsyncIterable<Uint8Array>) {
    for await (const chunk of chunks) {
      progress(path, (received += chunk.length), size)
      if (received > size) throw new Refusal(`${url}: more than the ${size} bytes that it should have. Check HF_ENDPOINT.`) // prettier-ignore
      yield chunk
    }
  }
  await pipeline(
    Readable.fromWeb(response.body as never),
    counted,
    createWriteStream(to, { flags: resumed ? 'a' : 'w' }),
  )
}

const ATTEMPTS = 5
const FIRST_PAUSE_MS = 250
const ANSWER_MS = 10_000 // as huggingface_hub waits for metadata

/** Node forgets the token when another host takes over, as that of large files does; a notebook's interrupt ends a download. */
async function request(
  url: string,
  options: { headers?: Record<string, string>; signal?: AbortSignal },
): Promise<Response> {
  const found = await token()
  const headers = {
    'Accept-Encoding': 'identity',
    ...(found && { Authorization: `Bearer ${found}` }),
    ...options.headers,
  }
  return fetch(url, { signal: interruptSignal(), ...options, headers })
}

/** An answer of the hub that another attempt would not change. */
class Refusal extends Error {}

function refusal(what: string, { status, statusText, headers }: Response): Error {
  const said = headers.get('x-error-message') ?? statusText
  const answer = `${what}: ${endpoint()} answered ${status}${said && ` (${said.slice(0, 200)})`}.`
  if (status === 401 || status === 403)
    return new Refusal(
      `${answer} There is no such directory here and no such model there, or it is not for everyone: accept its terms at the hub and set HF_TOKEN to a token that may read it.`,
    )
  if (status === 404)
    return new Refusal(`${answer} No such directory here, and no such model or revision there. Check the name.`)
  if (status < 500 && status !== 429) return new Refusal(`${answer} Check HF_ENDPOINT.`)
  return new Error(`${answer} Try again later.`)
}

/** @source git's name of a blob: SHA-1 of its length and content */
async function checksum(path: string, { size, hash }: HubFile): Promise<string> {
  const sum = hash.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
  await pipeline(createReadStream(path), sum)
  return sum.digest('hex')
}

async function requireSpace(name: string, files: readonly HubFile[]): Promise<void> {
  if (files.length === 0) return
  await mkdir(cacheFolder(), { recursive: true })
  const { bavail, bsize } = await statfs(cacheFolder())
  const [needed, free] = [files.reduce((sum, { size }) => sum + size, 0), bavail * bsize]
  if (needed > free)
    throw new Error(
      `${name}: ${cacheFolder()} has ${shown(free)} free, needed ${shown(needed)}. Make room, or set HF_HUB_CACHE to another disk.`,
    )
}

async function cached(store: string, revision: string): Promise<string | undefined> {
  const commit = COMMIT.test(revision)
    ? revision
    : (await readFile(join(store, 'refs', revision), 'utf8').catch(() => '')).trim()
  const snapshot = join(store, 'snapshots', commit)
  return COMMIT.test(commit) && existsSync(snapshot) ? snapshot : undefined
}

async function writeRef(path: string, commit: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, commit)
}

const endpoint = (): string => (process.env['HF_ENDPOINT'] ?? 'https://huggingface.co').replace(/\/+$/, '')
const home = (): string =>
  process.env['HF_HOME'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'huggingface')
const cacheFolder = (): string => process.env['HF_HUB_CACHE'] ?? join(home(), 'hub')
const isOffline = (): boolean => /^(1|on|yes|true)$/i.test(process.env['HF_HUB_OFFLINE'] ?? '')

async function token(): Promise<string | undefined> {
  const path = process.env['HF_TOKEN_PATH'] ?? join(home(), 'token')
  const found = process.env['HF_TOKEN'] ?? (await readFile(path, 'utf8').catch(() => ''))
  return found.trim() || undefined
}

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  )

const reasonOf = (error: Error): string =>
  error.cause instanceof Error ? error.cause.message || error.message : error.message
const shown = (bytes: number): string =>
  bytes < 1e8 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`

let last = 0
function toStderr(file: string, received: number, size: number): void {
  const done = received === size
  if (!done && performance.now() - last < 500) return
  last = performance.now()
  process.stderr.write(`\r${file}: ${shown(received)} of ${shown(size)}${done ? '\n' : ''}`)
}
