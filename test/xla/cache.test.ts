import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../../src/xla/backend.js'
import { ExecutableCache, programKey } from '../../src/xla/cache.js'
import { Engine } from '../../src/xla/engine.js'
import { jit, start } from '../../src/xla/index.js'
import { node } from '../cli/rewardlab.js'

const library = pathToFileURL(fileURLToPath(new URL('../../src/xla/index.js', import.meta.url))).href
/** A lazy program and a jitted one that donates. */
const PROGRAM = `
  import { copy, jit, start, stats } from '${library}'
  import * as tf from '@tensorflow/tfjs-core'
  await start({ backend: 'xla' })
  const step = jit((x, y) => tf.tanh(tf.add(x, y)), { donate: [0] })
  const x = copy(tf.tensor1d([1, 2, 3]))
  const { aliased } = step.memory(x, tf.scalar(0.5))
  const values = [...(await step.async(x, tf.scalar(0.5)).then(t => t.data()))]
  const { compiled, loaded } = stats()
  console.log(JSON.stringify({ compiled, loaded, aliased, values, consumed: x.isDisposed }))`

interface Found {
  compiled: number
  loaded: number
  aliased: number
  values: number[]
  consumed: boolean
}

async function elsewhere(folder: string, environment: NodeJS.ProcessEnv = {}): Promise<Found & { warnings: string }> {
  const { code, stdout, stderr } = await node(['--input-type=module', '-e', PROGRAM], {
    REWARDLAB_CACHE: folder,
    ...environment,
  })
  assert.equal(code, 0, stderr)
  return { ...(JSON.parse(stdout) as Found), warnings: stderr }
}

describe('cache of compiled programs', function () {
  this.timeout(60_000)
  let folder: string
  before(() => start({ backend: 'xla' }))
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'rewardlab-cache-'))))
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  /** An engine that has compiled nothing yet, as a new process has it. */
  const engine = (programsKept?: number) => {
    const { client } = backend().engine
    return new Engine(client, new ExecutableCache(folder, client), programsKept)
  }
  const files = () => readdirSync(folder).map(name => join(folder, name))
  const text = (n: number) => jit((x: tf.Tensor) => tf.tanh(tf.mul(x, n))).lower(tf.zeros([8]))
  const run = (e: Engine, n: number): number => {
    const input = backend().storage(backend().upload(new Uint8Array(new Float32Array(8).fill(1).buffer), [8], 'f32'))
    const [output] = e.execute(e.program(text(n)), [input], [{ shape: [8], type: 'f32' }])
    return new Float32Array(output!.read().buffer)[0]!
  }
  const near = (value: number, expected: number) => assert.ok(Math.abs(value - expected) < 1e-6, `${value}`)

  it('a second process compiles nothing, and gets the same values, aliases and donations', async () => {
    const first = await elsewhere(folder)
    assert.ok(first.compiled >= 2 && first.loaded === 0)
    const second = await elsewhere(folder)
    assert.deepEqual(second, { ...first, compiled: 0, loaded: first.compiled })
    assert.deepEqual([first.aliased, first.consumed, first.warnings], [12, true, ''])
    const flags = await elsewhere(folder, { XLA_FLAGS: '--xla_cpu_enable_fast_math=false' })
    assert.equal(flags.loaded, 0, 'programs compiled with other flags are others')
  })

  it('two processes at once fill it together', async () => {
    const both = await Promise.all([elsewhere(folder), elsewhere(folder)])
    const third = await elsewhere(folder)
    assert.equal(third.compiled, 0)
    for (const { values, warnings } of both) assert.deepEqual([values, warnings], [third.values, ''])
    assert.ok(files().every(file => file.endsWith('.executable')))
  })

  for (const [damage, apply] of Object.entries({
    truncated: (file: string) => truncateSync(file, 100),
    empty: (file: string) => truncateSync(file, 0),
    'with one bit flipped': (file: string) => {
      const bytes = readFileSync(file)
      bytes[bytes.length >> 1]! ^= 16
      writeFileSync(file, bytes)
    },
  }))
    it(`a file ${damage} is named once, deleted, and its program compiled again`, async () => {
      near(run(engine(), 0.5), Math.tanh(0.5))
      apply(files()[0]!)
      const warned = await warnings(() => {
        const damaged = engine()
        near(run(damaged, 0.5), Math.tanh(0.5))
        assert.deepEqual([damaged.stats.compiled, damaged.stats.loaded], [1, 0])
        const mended = engine()
        near(run(mended, 0.5), Math.tanh(0.5))
        assert.deepEqual([mended.stats.compiled, mended.stats.loaded], [0, 1])
      })
      assert.equal(warned.length, 1)
      assert.match(warned[0]!, /checksum is wrong.*deleted/)
    })

  it('so is one that the plugin refuses, also when compiling asynchronously', async () => {
    const cache = new ExecutableCache(folder, backend().engine.client)
    const warned = await warnings(async () => {
      cache.write(programKey(text(2), backend().engine.client.compileOptions(null)), new Uint8Array(500))
      const refused = engine()
      await refused.prepare(text(2))
      near(run(refused, 2), Math.tanh(2))
      assert.deepEqual([refused.stats.compiled, refused.stats.loaded], [1, 0])
      const mended = engine()
      await mended.prepare(text(2))
      assert.deepEqual([mended.stats.compiled, mended.stats.loaded], [0, 1])
    })
    assert.equal(warned.length, 1)
  })

  it('a folder that cannot be written: one warning, and everything runs', async () => {
    rmSync(folder, { recursive: true })
    writeFileSync(folder, 'a file where the folder should be')
    const warned = await warnings(() => {
      const e = engine()
      near(run(e, 3), Math.tanh(3))
      near(run(e, 4), Math.tanh(4))
    })
    assert.equal(warned.length, 1)
    assert.match(warned[0]!, /cannot be kept in .*REWARDLAB_CACHE/)
  })

  it('holds no more than its limit: what was not used for longest goes', () => {
    const { client } = backend().engine
    const cache = new ExecutableCache(folder, client, 1000)
    for (const [i, key] of ['a', 'b', 'c', 'd'].entries()) {
      cache.write(key, new Uint8Array(200).fill(i))
      for (const file of files()) if (readFileSync(file).at(-1) === i) utimesSync(file, 1000 + i, 1000 + i)
    }
    assert.deepEqual([...cache.read('a')!], Array<number>(200).fill(0)) // used now
    cache.write('e', new Uint8Array(200).fill(4)) // 5 × (200 + checksum) bytes are too many
    assert.deepEqual(
      ['a', 'b', 'c', 'd', 'e'].map(key => cache.read(key) !== null),
      [true, false, false, true, true],
    )
    cache.write('f', new Uint8Array(2000))
    assert.equal(cache.read('f'), null, 'larger than all of it')
  })

  it('programs in memory are bounded', () => {
    const e = engine(2)
    for (const n of [5, 6, 5, 7, 5, 6]) near(run(e, n), Math.tanh(n))
    const { compiled, cacheHits, loaded } = e.stats
    assert.deepEqual([compiled, cacheHits, loaded], [3, 2, 1], '7 took the place of 6, not of 5')
  })
})

/** What is warned of while `action` runs. */
async function warnings(action: () => void | Promise<void>): Promise<string[]> {
  const told: string[] = []
  const { warn } = console
  console.warn = (message: string) => told.push(message)
  try {
    await action()
  } finally {
    console.warn = warn
  }
  return told
}
