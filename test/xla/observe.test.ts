import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { copy, disposeTree, jit, memory, OutOfMemoryError, profile, start, stats } from '../../src/xla/index.js'

describe('watching the engine', function () {
  this.timeout(60_000)
  before(() => start({ backend: 'xla' }))

  describe('stats', () => {
    it('tell why a function was traced again: the nearest signature, and what differs', () => {
      const step = jit((s: { w: tf.Tensor; b?: tf.Tensor }, power: number) => tf.pow(s.w, power), { name: 'observed' })
      const retraces = (f: () => tf.Tensor): string[] => {
        const told = () => stats()!.retraces.filter(reason => reason.startsWith('observed: ')) // only the last are kept of all
        const before = told().length
        f().dispose()
        return told().slice(before)
      }
      const [small, large] = [tf.ones([2, 3]), tf.ones([4, 3])]
      assert.deepEqual(
        retraces(() => step({ w: small }, 2)),
        [],
      )
      assert.deepEqual(
        retraces(() => step({ w: small }, 2)),
        [],
      )
      assert.deepEqual(
        retraces(() => step({ w: large }, 2)),
        ['observed: argument 0.w: f32[2,3] → f32[4,3]'],
      )
      assert.deepEqual(
        retraces(() => step({ w: large }, 3)),
        ['observed: argument 1: 2 → 3'],
      )
      assert.deepEqual(
        retraces(() => step({ w: large, b: small }, 3)),
        ['observed: argument 0.b: absent → f32[2,3]'],
      )
      disposeTree([small, large])
    })

    it('count what moves between host and device', () => {
      const before = stats()!
      const x = tf.tensor1d([1, 2, 3])
      const y = tf.add(x, x)
      y.dataSync()
      const { uploads, reads } = stats()!
      assert.deepEqual([uploads.count - before.uploads.count, uploads.bytes - before.uploads.bytes], [1, 12])
      assert.deepEqual([reads.count - before.reads.count, reads.bytes - before.reads.bytes], [1, 12])
      disposeTree([x, y])
    })
  })

  it('memory lists what is held by shape and type, largest first', () => {
    const of = (kind: string) => memory()!.holdings.find(h => h.kind === kind) ?? { count: 0, bytes: 0 }
    const before = of('f32[77,3]')
    const held = [copy(tf.ones([77, 3])), copy(tf.zeros([77, 3])), copy(tf.ones([77, 3]))]
    held.forEach(t => t.dataSync())
    const { count, bytes } = of('f32[77,3]')
    assert.deepEqual([count - before.count, bytes - before.bytes], [3, 3 * 77 * 3 * 4])
    const { holdings } = memory()!
    assert.ok(holdings.every((h, i) => i === 0 || h.bytes <= holdings[i - 1]!.bytes))
    assert.equal(
      holdings.reduce((sum, h) => sum + h.bytes, 0),
      memory()!.bytes,
    )
    disposeTree(held)
    assert.equal(of('f32[77,3]').count, before.count)
  })

  describe('an allocation that is too large', () => {
    const huge = (x: tf.Tensor): tf.Tensor => tf.broadcastTo(tf.reshape(x, [4, 1, 1]), [4, 2 ** 19, 2 ** 19]) // 4 TB
    const told = /needs 4\.40 TB.*GB are free.*The largest: .*1 × f32\[1000,999\] \(4\.00 MB\)/
    let x: tf.Tensor
    let large: tf.Tensor
    before(() => {
      x = tf.tensor1d([1, 2, 3, 4])
      large = copy(tf.ones([1000, 999]))
      large.dataSync()
    })
    after(() => disposeTree([x, large]))

    it('is refused with what was asked, what is free and what is held; the process goes on', async () => {
      const lazy = huge(x)
      assert.throws(() => lazy.dataSync(), OutOfMemoryError)
      assert.throws(() => lazy.dataSync(), told)
      await assert.rejects(lazy.data(), told)
      lazy.dispose()
      assert.deepEqual([...tf.add(x, 1).dataSync()], [2, 3, 4, 5])
    })

    it('also on the way to a small result, and with arguments that stay as they were', async () => {
      const f = jit((v: tf.Tensor) => tf.sum(tf.cumsum(huge(v), 1)), { donate: [0], name: 'cumulate' })
      const given = copy(x)
      assert.throws(() => f(given), /"cumulate" needs .* TB/)
      await assert.rejects(f.async(given), /"cumulate" needs .* TB/)
      assert.deepEqual([...given.dataSync()], [1, 2, 3, 4])
      given.dispose()
    })
  })

  it('REWARDLAB_DUMP writes each program under its name', () => {
    const folder = mkdtempSync(join(tmpdir(), 'rewardlab-dump-'))
    process.env.REWARDLAB_DUMP = folder
    try {
      const f = jit((x: tf.Tensor) => tf.atanh(tf.mul(x, 0.123)), { name: 'dumped' })
      const x = tf.tensor1d([1, 2])
      disposeTree([f(x), x])
      const [optimized, text] = readdirSync(folder)
        .filter(name => name.startsWith('dumped-'))
        .sort()
      assert.match(text!, /^dumped-[0-9a-f]{8}\.mlir$/)
      assert.match(readFileSync(join(folder, text!), 'utf8'), /module @dumped[\s\S]*chlo\.atanh/)
      assert.match(readFileSync(join(folder, optimized!), 'latin1'), /dumped/)
    } finally {
      delete process.env.REWARDLAB_DUMP
      rmSync(folder, { recursive: true })
    }
  })

  it('profile gives a Chrome trace of a step: each part with its name, spans of a thread nested', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rewardlab-profile-'))
    try {
      const f = jit((x: tf.Tensor) => tf.sin(tf.matMul(x, x)), { name: 'profiled' })
      const step = async () => {
        const x = tf.randomNormal([64, 64])
        const y = f(x)
        y.dataSync()
        const z = await f.async(y)
        await z.data()
        disposeTree([x, y, z])
      }
      const { traceEvents } = await profile(step, join(folder, 'trace.json'))
      const names = (cat: string) => traceEvents.filter(e => e.cat === cat && e.ph !== 'e').map(e => e.name)
      assert.deepEqual(names('trace'), ['profiled'])
      assert.deepEqual(names('compile'), ['profiled'])
      assert.deepEqual(names('execute'), ['profiled', 'profiled'])
      assert.deepEqual(names('device'), ['profiled', 'profiled'])
      assert.deepEqual(names('upload'), ['f32[64,64]'])
      assert.deepEqual(names('read'), ['f32[64,64]', 'f32[64,64]'])
      assert.deepEqual(names('profile'), ['step'])
      for (const a of traceEvents)
        for (const b of traceEvents)
          if (a.ph === 'X' && b.ph === 'X' && a.tid === b.tid && a.ts < b.ts)
            assert.ok(b.ts >= a.ts + a.dur! || b.ts + b.dur! <= a.ts + a.dur!, `${a.cat} and ${b.cat} overlap`)
      const written = JSON.parse(readFileSync(join(folder, 'trace.json'), 'utf8')) as { traceEvents: unknown[] }
      assert.equal(written.traceEvents.length, traceEvents.length)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
