import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../../src/xla/backend.js'
import { ExecutableCache } from '../../src/xla/cache.js'
import { Engine } from '../../src/xla/engine.js'
import {
  astype,
  constrain,
  copy,
  disposeTree,
  jit,
  memory,
  mesh,
  placement,
  random,
  scan,
  shard,
  start,
  stats,
  type Mesh,
  type Spec,
} from '../../src/xla/index.js'
import { node } from '../cli/rewardlab.js'

const values = (t: tf.Tensor): number[] => Array.from(t.dataSync())
const counting = (...shape: number[]): tf.Tensor => {
  const size = shape.reduce((n, d) => n * d, 1)
  return tf.tensor(Float32Array.from({ length: size }, (_, i) => i), shape) // prettier-ignore
}
const place = (t: tf.Tensor) => {
  const found = placement(t)
  return found && { spec: found.spec.map(axes => axes.join('+')), shard: found.shard }
}
/** Sums over several devices add in another order. */
const REORDERED = 1e-5
const near = (got: tf.Tensor, expected: tf.Tensor) => {
  const [g, e] = [values(got), values(expected)]
  assert.equal(g.length, e.length)
  g.forEach((x, i) => assert.ok(Math.abs(x - e[i]!) <= REORDERED * Math.max(1, Math.abs(e[i]!)), `${i}: ${x}, ${e[i]}`))
}

describe('mesh', function () {
  this.timeout(60_000)
  let four: Mesh
  let two: Mesh
  before(async () => {
    await start({ backend: 'xla' })
    four = mesh({ data: 2, model: 2 })
    two = mesh({ data: 2 })
  })

  it('is the same for the same axes, and refuses what the client lacks', () => {
    assert.equal(mesh({ data: 2, model: 2 }), four)
    assert.equal(String(four), '{ data: 2, model: 2 }')
    assert.throws(() => mesh({ data: 64 }), /needs 64 devices, found 4 \(cpu\).*REWARDLAB_CPU_DEVICES/)
    assert.throws(() => mesh({ data: 1.5 }), /"data" has size 1.5/)
    assert.throws(() => mesh({ 'da-ta': 2 }), /called "da-ta"/)
  })

  it('needs this backend', async () => {
    await tf.setBackend('cpu')
    assert.throws(() => mesh({ data: 2 }), /xla\.mesh: tfjs runs on "cpu", which knows one device/)
    await tf.setBackend('xla')
  })

  it('the CPU has as many virtual devices as start is asked for', async () => {
    const library = new URL('../../src/xla/index.js', import.meta.url).href
    const program = `
      import { mesh, placement, shard, start } from '${library}'
      import * as tf from '@tensorflow/tfjs-core'
      await start({ backend: 'xla' })
      const x = shard(tf.range(0, 16), mesh({ data: 8 }), ['data'])
      console.log(placement(x).shard, tf.sum(tf.square(x)).dataSync()[0])`
    const { stdout } = await node(['--input-type=module', '-e', program], { REWARDLAB_CPU_DEVICES: '8' })
    assert.match(stdout, /\[ 2 \] 1240/)
  })

  const specs: [shape: number[], spec: Spec, spec: string[], shard: number[]][] = [
    [[4, 6], [], ['', ''], [4, 6]],
    [[4, 6], ['data'], ['data', ''], [2, 6]],
    [
      [4, 6],
      [null, 'data'],
      ['', 'data'],
      [4, 3],
    ],
    [
      [4, 6],
      ['model', 'data'],
      ['model', 'data'],
      [2, 3],
    ],
    [
      [3, 4, 5],
      [null, ['model', 'data']],
      ['', 'model+data', ''],
      [3, 1, 5],
    ],
    [
      [3, 8, 2],
      [null, ['data', 'model']],
      ['', 'data+model', ''],
      [3, 2, 2],
    ],
    [
      [2, 3, 4],
      ['data', null, 'model'],
      ['data', '', 'model'],
      [1, 3, 2],
    ],
  ]
  for (const [shape, spec, found, shardShape] of specs)
    it(`divides [${shape.join()}] by ${JSON.stringify(spec)} and puts it together again, also after a program`, () => {
      const whole = counting(...shape)
      const x = shard(whole, four, spec)
      assert.deepEqual(place(x), { spec: found, shard: shardShape })
      assert.deepEqual(values(x), values(whole))
      const twice = tf.mul(x, 2)
      assert.deepEqual(place(twice), place(x))
      assert.deepEqual(values(twice), values(tf.mul(whole, 2)))
    })

  it('divides every type, what is computed on one device, and what is not computed yet', () => {
    const half = shard(astype(counting(4, 4), 'bf16'), four, [null, 'model'])
    assert.deepEqual(values(half), values(counting(4, 4)))
    const flags = shard(tf.tensor1d([true, false, false, true], 'bool'), two, ['data'])
    assert.deepEqual(values(flags), [1, 0, 0, 1])
    const computed = tf.add(counting(4), 1)
    computed.dataSync()
    assert.deepEqual(values(shard(computed, two, ['data'])), [1, 2, 3, 4])
    const drawn = shard(random.normal(random.key(3), [8, 8]), four, ['data', 'model'])
    assert.deepEqual(place(drawn)!.shard, [4, 4])
    near(drawn, random.normal(random.key(3), [8, 8]))
  })

  it('moves tensors that are divided otherwise', () => {
    const rows = shard(counting(4, 4), four, ['data'])
    const columns = shard(rows, four, [null, ['data', 'model']])
    assert.deepEqual(place(columns), { spec: ['', 'data+model'], shard: [4, 1] })
    assert.deepEqual(values(columns), values(counting(4, 4)))
    const elsewhere = shard(rows, two, [null, 'data'])
    assert.deepEqual(values(elsewhere), values(counting(4, 4)))
  })

  it('counts memory on each device, and returns it', () => {
    const whole = counting(64, 64)
    const before = memory()!.devices
    const since = () => memory()!.devices.map((bytes, i) => bytes - before[i]!)
    const x = shard(whole, two, ['data'])
    assert.deepEqual(since(), [8192, 8192, 0, 0])
    const y = shard(whole, four, [])
    assert.deepEqual(since(), [24576, 24576, 16384, 16384])
    x.dispose()
    y.dispose()
    assert.deepEqual(since(), [0, 0, 0, 0])
  })

  it('says what does not fit', () => {
    const x = counting(3, 4)
    const refused = (spec: Spec, expected: RegExp) => assert.throws(() => shard({ w: x }, four, spec), expected)
    refused(['data'], /xla\.shard: w: axis 0 .*\[3, 4\] does not divide over data \(2\).*multiple of 2, or null/)
    refused(['rows'], /no axis "rows" in the mesh { data: 2, model: 2 }/)
    refused([null, ['model', 'model']], /names "model" twice/)
    refused([null, null, 'data'], /3 entries in the spec/)
    assert.throws(() => constrain(x, four, ['data']), /xla\.constrain: axis 0/)
    const f = jit((a: tf.Tensor, b: tf.Tensor) => tf.add(a, b), { name: 'both' })
    const [a, b] = [shard(counting(4), four, ['model']), shard(counting(4), two, ['data'])]
    assert.throws(() => f(a, b), /"both" reads tensors.*different meshes.*model: 2.*xla\.shard/)
    const both = tf.add(a, b)
    assert.throws(() => both.dataSync(), /different meshes/)
    both.dispose()
  })

  it('operations across the divided axis give what they give on one device', () => {
    const whole = tf.sin(counting(8, 6) as tf.Tensor2D)
    const x = shard(whole, four, ['data', 'model'])
    const w = counting(6, 4)
    const operations: ((t: tf.Tensor2D) => tf.Tensor)[] = [
      t => tf.matMul(t, w),
      t => tf.matMul(t, t, true),
      t => tf.softmax(t, 1),
      t => tf.cumsum(t, 0),
      t => tf.reverse(t, 0),
      t => tf.topk(t, 3).values,
      t => tf.gather(t, [5, 0, 7, 7]),
      t => tf.concat([t, t], 0),
      t => tf.reshape(t, [4, 12]),
      t => tf.slice(t, [1, 1], [3, 4]),
      t => tf.argMax(t, 1),
    ]
    const run = (t: tf.Tensor2D) => operations.map(f => f(t))
    const [got, expected] = [jit(run)(x), run(whole)]
    got.forEach((t, i) => near(t, expected[i]!))
    near(tf.mean(tf.square(x)), tf.mean(tf.square(whole)))
  })

  it('a tensor on one device joins in whole, and can still be read and used alone', () => {
    const x = shard(counting(4, 2), two, ['data'])
    const y = tf.tensor2d([1, 2, 3, 4], [2, 2])
    assert.deepEqual(values(tf.matMul(x, y)), values(tf.matMul(counting(4, 2), y)))
    assert.deepEqual(values(y), [1, 2, 3, 4])
    assert.deepEqual(values(tf.add(y, 1)), [2, 3, 4, 5])
    near(tf.add(y, shard(counting(2, 2), four, ['model'])), tf.add(tf.tensor2d([1, 2, 3, 4], [2, 2]), counting(2, 2)))
  })

  it('draws the same bits in whatever sharding', () => {
    const draw = jit((key: tf.Tensor, spread: tf.Tensor) => tf.mul(random.uniform(key, [4, 8]), spread))
    const [alone, divided] = [draw(random.key(5), tf.ones([4, 8])), draw(random.key(5), shard(tf.ones([4, 8]), four, ['data', 'model']))] // prettier-ignore
    assert.deepEqual(place(divided)!.shard, [2, 4])
    assert.deepEqual(values(divided), values(alone))
  })

  it('zeros like a tensor lie where it lies', () => {
    const x = shard(counting(4, 4), four, ['data', 'model'])
    const zeros = tf.zerosLike(x)
    assert.deepEqual(place(zeros), place(x))
    assert.deepEqual(values(zeros), Array<number>(16).fill(0))
  })

  describe('jit', () => {
    type State = { w: tf.Tensor; m: tf.Tensor; n: tf.Tensor }
    const descend = (s: State, x: tf.Tensor): [State, tf.Tensor] => {
      const { value, grad } = tf.valueAndGrad(w => tf.mean(tf.square(tf.matMul(x, w))))(s.w)
      const m = tf.add(tf.mul(s.m, 0.9), grad)
      return [{ w: tf.sub(s.w, tf.mul(m, 0.1)), m, n: tf.add(s.n, 1) }, value]
    }
    const begin = (spec?: Spec): State => {
      const w = tf.cos(counting(8, 16))
      const first = { w, m: tf.zerosLike(w), n: tf.scalar(0) }
      return spec ? { ...shard({ w: first.w, m: first.m }, four, spec), n: first.n } : first
    }

    it('a donated state keeps its place; one trace serves all steps', async () => {
      const x = tf.sin(counting(4, 8))
      const alone = jit(descend)
      let expected = begin()
      let losses: tf.Tensor
      for (let i = 0; i < 3; i++) [expected, losses] = alone(expected, x)
      for (const spec of [['data'], [null, 'model'], ['model', 'data'], []] as Spec[]) {
        const step = jit(descend, { donate: [0], name: 'step' })
        let state = begin(spec)
        let loss: tf.Tensor
        const [{ spec: at }, needed] = [place(state.w)!, step.memory(state, x)]
        const shares = at.filter(axes => axes).length * 2 || 1
        assert.equal(needed.aliased, (2 * 512) / shares + 4, 'in place on each device')
        const { traced, compiled } = stats()!
        for (let i = 0; i < 3; i++) [state, loss] = await step.async(state, x)
        assert.deepEqual([stats()!.traced - traced, stats()!.compiled - compiled <= 1], [0, true])
        assert.deepEqual([place(state.w)!.spec, place(state.m)!.spec], [at, at])
        near(state.w, expected.w)
        near(loss!, losses!)
        assert.deepEqual(values(state.n), [3])
        disposeTree([state, loss!])
      }
    })

    it('a constraint inside places a result, and its gradient', () => {
      const f = jit((x: tf.Tensor) => {
        const y = constrain(tf.square(x), four, ['data'])
        const slope = tf.grad(z => tf.sum(tf.mul(constrain(z, four, [null, 'model']), z)))(x)
        return [y, slope] as const
      })
      const x = counting(4, 2)
      const [y, slope] = f(x)
      assert.deepEqual(place(y), { spec: ['data', ''], shard: [2, 2] })
      assert.deepEqual(values(y), values(tf.square(x)))
      assert.deepEqual(values(slope), values(tf.mul(x, 2)))
    })

    it('what it closes over is divided too, and may move', () => {
      const fixed = shard(counting(4), two, ['data'])
      const variable = tf.variable(counting(4))
      const f = jit((x: tf.Tensor) => tf.add(tf.mul(x, fixed), variable))
      const x = tf.tensor1d([1, 2, 3, 4])
      assert.deepEqual(values(f(x)), [0, 3, 8, 15])
      variable.assign(shard(tf.tensor1d([10, 20, 30, 40]), two, ['data']))
      assert.deepEqual(values(f(x)), [10, 22, 36, 52])
      variable.assign(tf.add(variable, 1))
      assert.deepEqual(values(f(x)), [11, 23, 37, 53])
      variable.dispose()
    })

    it('results lie where the compiler leaves them, and are read so', () => {
      const x = shard(counting(8, 4), four, ['data', 'model'])
      const f = jit((t: tf.Tensor) => [tf.transpose(t), tf.sum(t, 0), tf.sum(t)])
      const got = f(x)
      assert.deepEqual(got.map(t => place(t)!.spec), [['model', 'data'], ['model'], []]) // prettier-ignore
      assert.deepEqual(values(got[0]!), values(tf.transpose(counting(8, 4))))
      got.slice(1).forEach((t, i) => near(t, tf.sum(counting(8, 4), i === 0 ? 0 : undefined)))
    })
  })

  it('a loop over stacked weights gathers one layer at a time: computation follows the rows it is told to', () => {
    const [layers, C, B, T] = [16, 32, 8, 64]
    const weights = tf.mul(tf.sin(counting(layers, C, C)), 0.1)
    const step = jit(
      (w: tf.Tensor, ids: tf.Tensor) => {
        const rows = tf.expandDims(tf.cast(constrain(ids, two, ['data']), 'float32'), 2) // [B, T, 1]
        const body = (x: tf.Tensor, layer: tf.Tensor): [tf.Tensor, null] => {
          const y = tf.matMul(tf.reshape(x, [B * T, C]), layer, false, true)
          return [tf.add(x, tf.tanh(tf.reshape(y, [B, T, C]))), null]
        }
        const x = tf.sin(tf.mul(rows, tf.range(1, C + 1))) // [B, T, C]
        return tf.sub(w, tf.grad(v => tf.mean(scan(body, x, v, { remat: true })[0]))(w))
      },
      { donate: [0] },
    )
    const ids = tf.cast(counting(B, T), 'int32')
    const alone = step(copy(weights), ids)
    const divided = shard(weights, two, [null, null, 'data'])
    const bytes = 4 * C * C // of a layer
    const { arguments: read, aliased, temporary } = step.memory(divided, ids)
    assert.equal(read, (layers * bytes) / 2 + 4 * B * T)
    assert.equal(aliased, (layers * bytes) / 2)
    // The loop's stacked gradient, its carries of half the rows, and a few activations and whole layers. Were the weights gathered
    // before the loop, it would be 16 layers more; did computation follow the weights, all rows of some activations.
    const carries = (4 * layers * B * T * C) / 2
    const few = (4 * carries) / layers + 4 * bytes
    assert.ok(temporary < (layers * bytes) / 2 + carries + few, `${temporary / bytes} layers`)
    near(step(divided, ids), alone)
  })

  it('a program from the cache on disk knows where its results lie', () => {
    const folder = mkdtempSync(join(tmpdir(), 'rewardlab-mesh-'))
    const { client } = backend().engine
    const x = shard(counting(4, 4), four, ['data', 'model'])
    const text = jit((t: tf.Tensor) => tf.transpose(tf.exp(t)), { name: 'kept' }).lower(x)
    const engines = [1, 2].map(() => new Engine(client, new ExecutableCache(folder, client)))
    const found = engines.map(engine => {
      const [y] = engine.execute(engine.program(text), [backend().storage(x)], [{ shape: [4, 4], type: 'f32' }])
      return { loaded: engine.stats.loaded, sharding: y!.sharding, values: [...new Float32Array(y!.read().buffer)] }
    })
    assert.deepEqual(found[0]!.loaded, 0)
    assert.deepEqual(found[1], { ...found[0], loaded: 1 })
    assert.deepEqual(found[0]!.sharding!.counts, [2, 2])
    rmSync(folder, { recursive: true })
  })

  it('gives all memory back', () => {
    const step = jit((w: tf.Tensor, x: tf.Tensor) => tf.sub(w, tf.mul(tf.sum(x), w)), { donate: [0] })
    let w = shard(counting(8, 8), four, ['data', 'model'])
    const x = tf.scalar(0.5)
    const held = () => ({ ...memory()!, peakBytes: 0, tensors: tf.memory().numTensors })
    for (let i = 0; i < 3; i++) w = step(w, x)
    const before = held()
    for (let i = 0; i < 20; i++) w = step(w, x)
    assert.deepEqual(held(), before)
  })
})
