import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { modelDirectory } from '../../src/io/hub.js'
import { loadPolicy } from '../../src/policies/index.js'

const COMMIT = 'c0ffee'.padEnd(40, '0')
const SOURCE = 'test/fixtures/qwen2'
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const sha1 = (bytes: Uint8Array) => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')

/** A hub with one model, org/tiny, and what it was asked. */
class Hub {
  files: Record<string, Uint8Array> = {}
  /** Changes the list of files. */
  listed = (siblings: object[]): object[] => siblings
  /** Bytes after which the next connections break off, one each. */
  breaks: number[] = []
  token: string | undefined
  asked: { path: string; range?: string; token?: string }[] = []
  #server: Server

  constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response))
  }
  async start(): Promise<string> {
    await new Promise<void>(resolve => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }
  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
  #answer({ url, headers }: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(url!.split('?')[0]!)
    this.asked.push({ path, range: headers.range, token: headers.authorization })
    const end = (status: number, body = '') => void response.writeHead(status).end(body)
    if (this.token !== undefined && headers.authorization !== `Bearer ${this.token}`) return end(401)
    if (/^\/api\/models\/org\/tiny\/revision\/(main|refs\/pr\/1|c0ffee0*)$/.test(path)) {
      const siblings = Object.entries(this.files).map(([rfilename, bytes]) => {
        const size = bytes.length
        const large = rfilename.endsWith('.safetensors')
        return { rfilename, size, blobId: sha1(bytes), ...(large && { lfs: { sha256: sha256(bytes) } }) }
      })
      return end(200, JSON.stringify({ sha: COMMIT, siblings: this.listed(siblings) }))
    }
    const bytes = this.files[path.replace(`/org/tiny/resolve/${COMMIT}/`, '')]
    if (bytes === undefined) return end(404)
    const start = Number(/bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0)
    response.writeHead(headers.range ? 206 : 200, { 'Content-Length': bytes.length - start })
    const stop = path.endsWith('.safetensors') ? this.breaks.shift() : undefined
    if (stop === undefined) return void response.end(bytes.subarray(start))
    response.write(bytes.subarray(start, start + stop), () => setTimeout(() => response.destroy(), 20))
  }
}

describe('modelDirectory', function () {
  this.timeout(30_000)
  const silent = () => undefined
  const directory = (name = 'org/tiny') => modelDirectory(name, silent)
  const environment = { ...process.env }
  let hub: Hub
  let home: string
  let store: string
  beforeEach(async () => {
    hub = new Hub()
    for (const name of readdirSync(SOURCE)) hub.files[name] = readFileSync(join(SOURCE, name))
    home = mkdtempSync(join(tmpdir(), 'hub-'))
    store = join(home, 'hub/models--org--tiny')
    for (const name of ['HF_HUB_CACHE', 'HF_HUB_OFFLINE', 'HF_TOKEN_PATH']) delete process.env[name]
    Object.assign(process.env, { HF_HOME: home, HF_TOKEN: '', HF_ENDPOINT: await hub.start() })
  })
  afterEach(() => {
    hub.stop()
    rmSync(home, { recursive: true })
    for (const name of Object.keys(process.env)) if (name.startsWith('HF_')) delete process.env[name]
    Object.assign(process.env, environment)
  })

  it('downloads into the layout of huggingface_hub what a model is made of, once', async () => {
    hub.files['pytorch_model.bin'] = hub.files['modeling.py'] = hub.files['README.md'] = Buffer.from('code')
    hub.files['model.fp16.safetensors'] = hub.files['onnx/config.json'] = Buffer.from('other')
    const dir = await directory()
    assert.equal(dir, join(store, 'snapshots', COMMIT))
    assert.deepEqual(readdirSync(dir).sort(), readdirSync(SOURCE).sort())
    assert.equal(readFileSync(join(store, 'refs/main'), 'utf8'), COMMIT)
    for (const name of readdirSync(dir)) {
      const bytes = hub.files[name]!
      const blob = name.endsWith('.safetensors') ? sha256(bytes) : sha1(bytes)
      assert.equal(readlinkSync(join(dir, name)), `../../blobs/${blob}`)
      assert.deepEqual(readFileSync(join(dir, name)), bytes)
    }
    hub.asked = []
    assert.equal(await directory(), dir)
    assert.deepEqual(hub.asked.map(({ path }) => path), ['/api/models/org/tiny/revision/main']) // prettier-ignore
  })

  it('is what loaders take: an adapter names the id as its base', async () => {
    const policy = await loadPolicy('org/tiny', { adapter: { r: 2 } })
    await policy.save(join(home, 'adapter'))
    policy.dispose()
    const config = readFileSync(join(home, 'adapter/adapter_config.json'), 'utf8')
    assert.match(config, /"base_model_name_or_path": "org\/tiny"/)
    const again = await loadPolicy('org/tiny@refs/pr/1', { adapter: join(home, 'adapter') })
    again.dispose()
    assert.equal(readFileSync(join(store, 'refs/refs/pr/1'), 'utf8'), COMMIT)
  })

  it('takes a directory that exists as it stands, and names that are no id', async () => {
    assert.equal(await directory(SOURCE), SOURCE)
    assert.equal(await directory('data/models'), 'data/models')
    for (const name of ['tiny', './org/tiny', '../org/tiny', 'a/b/c', '/org/tiny'])
      assert.equal(await directory(name), name)
    assert.deepEqual(hub.asked, [])
  })

  it('takes the parts of a pipeline', async () => {
    const config = Buffer.from('{}')
    hub.files = { 'model_index.json': config, 'vae/config.json': config, 'vae/diffusion_pytorch_model-00001-of-00002.safetensors': Buffer.from('1'), 'flux1-dev.safetensors': Buffer.from('2') } // prettier-ignore
    const dir = await directory()
    assert.deepEqual(readdirSync(dir).sort(), ['model_index.json', 'vae'])
    assert.equal(readdirSync(join(dir, 'vae')).length, 2)
    assert.equal(realpathSync(join(dir, 'vae/config.json')), realpathSync(join(dir, 'model_index.json')))
  })

  it('goes on where a connection broke, and where an earlier run stopped', async () => {
    const bytes = hub.files['model.safetensors']!
    mkdirSync(join(store, 'blobs'), { recursive: true })
    writeFileSync(join(store, 'blobs', `${sha256(bytes)}.incomplete`), bytes.subarray(0, 1000))
    hub.breaks = [5000]
    const seen: number[] = []
    const dir = await modelDirectory(
      'org/tiny',
      (file, received) => file === 'model.safetensors' && seen.push(received),
    )
    assert.deepEqual(readFileSync(join(dir, 'model.safetensors')), bytes)
    const ranges = hub.asked.flatMap(({ range }) => range ?? [])
    assert.equal(ranges[0], 'bytes=1000-')
    assert.match(ranges[1]!, /^bytes=[1-9]\d{3}-$/)
    assert.equal(seen.at(-1), bytes.length)
    assert.ok(!readdirSync(join(store, 'blobs')).some(name => name.endsWith('.incomplete')))
  })

  it('ends when the cell that downloads is interrupted, and goes on another time', async () => {
    const interrupt = new AbortController()
    const kernel = globalThis as { [key: symbol]: unknown }
    const signal = Symbol.for('rewardlab.signal')
    kernel[signal] = () => interrupt.signal
    hub.breaks = [1000]
    const download = modelDirectory('org/tiny', file => file === 'model.safetensors' && interrupt.abort())
    await assert.rejects(download, /abort/).finally(() => delete kernel[signal])
    assert.deepEqual(readFileSync(join(await directory(), 'model.safetensors')), hub.files['model.safetensors'])
  })

  it('deletes what has another checksum', async () => {
    const name = 'model.safetensors'
    const right = hub.files[name]!
    hub.listed = files => files.map(file => ('lfs' in file ? { ...file, lfs: { sha256: sha256(right) } } : file))
    hub.files[name] = Buffer.from(right).fill(0, 100, 200)
    await assert.rejects(
      directory(),
      /model\.safetensors: the checksum of what came is [0-9a-f]{64}, needed .* It was deleted; run again/,
    )
    hub.files[name] = right
    assert.deepEqual(readFileSync(join(await directory(), name)), right)
  })

  it('sends a token, and says where one is needed', async () => {
    hub.token = 'secret'
    await assert.rejects(
      directory(),
      /^Error: org\/tiny: http:\S+ answered 401 \(Unauthorized\)\. There is no such directory here and no such model there, or .* set HF_TOKEN/,
    )
    writeFileSync(join(home, 'token'), 'secret\n')
    delete process.env['HF_TOKEN']
    await directory()
    Object.assign(process.env, { HF_TOKEN: 'wrong' })
    await assert.rejects(directory('org/other'), /answered 401/)
    assert.equal(hub.asked.at(-1)!.token, 'Bearer wrong')
  })

  it('says what is missing', async () => {
    await assert.rejects(directory('org/typo'), /org\/typo: \S+ answered 404 .*no such model or revision there/)
    await assert.rejects(directory('org/tiny@v9'), /answered 404/)
    delete hub.files['model.safetensors']
    hub.files['pytorch_model.bin'] = Buffer.from('pickle')
    await assert.rejects(directory(), /org\/tiny: no weights among .*pytorch_model\.bin.*may run code/)
  })

  it('takes the cache where the hub cannot be asked', async () => {
    const offline = (value: string) => Object.assign(process.env, { HF_HUB_OFFLINE: value })
    offline('1')
    await assert.rejects(directory(), /org\/tiny: neither a directory here nor in .*, and HF_HUB_OFFLINE is set/)
    offline('0')
    const dir = await directory()
    hub.asked = []
    offline('1')
    for (const name of ['org/tiny', 'org/tiny@main', `org/tiny@${COMMIT}`]) assert.equal(await directory(name), dir)
    assert.deepEqual(hub.asked, [])
    offline('0')
    hub.stop()
    const [warn, said] = [console.warn, [] as string[]]
    console.warn = (text: string) => said.push(text)
    assert.equal(await directory().finally(() => (console.warn = warn)), dir)
    assert.match(said.join(), /does not answer .* Taken from the cache/)
    await assert.rejects(directory('org/other'), /org\/other: no such directory here, and http:\S+ does not answer/)
  })

  it('refuses names that lead elsewhere, commits that are none, and more than the disk holds', async () => {
    const add = (file: object) => (hub.listed = files => [...files, { size: 1, blobId: '0'.repeat(40), ...file }])
    for (const rfilename of ['../../evil.json', '/etc/evil.json', 'a/../../evil.json', '..\\evil.json']) {
      add({ rfilename })
      await assert.rejects(directory(), /org\/tiny: a file is called .*evil\.json", which leads out of its folder/)
    }
    for (const blobId of ['../../evil', '../refs', undefined]) {
      // the second is there, and would be linked to
      add({ rfilename: 'more.json', blobId })
      await assert.rejects(directory(), /more\.json": its checksum is \S+, needed a SHA-1 or SHA-256/)
    }
    add({ rfilename: 'more.json', size: 1e18 })
    await assert.rejects(
      directory(),
      /org\/tiny: .* has .* GB free, needed 10{9}\.0 GB\. Make room, or set HF_HUB_CACHE/,
    )
  })
})
