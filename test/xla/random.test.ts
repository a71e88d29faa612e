import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import { jit, packageRoot, random, start } from '../../src/xla/index.js'

interface Fixture {
  versions: { jax: string }
  seed: number
  key: number[]
  split: number[][]
  foldIn: [number, number[]][]
  draws: { shape: number[]; bits: number[]; uniform: number[]; normal: number[]; gumbel: number[] }[]
}

/** log and erf⁻¹ are approximated anew by each backend: a few units in the last place of float32. */
const TRANSCENDENTAL = 2e-6

const fixture = JSON.parse(readFileSync(join(packageRoot(), 'test/fixtures/jax_random.json'), 'utf8')) as Fixture
const values = (t: tf.Tensor): number[] => Array.from(t.dataSync())

function close(got: tf.Tensor, wanted: number[]): void {
  values(got).forEach((v, i) => {
    const w = wanted[i]!
    assert.ok(Math.abs(v - w) <= TRANSCENDENTAL * (1 + Math.abs(w)), `value ${i}: ${v}, needed ${w}`)
  })
}

describe('random', function () {
  this.timeout(30_000) // compiling takes what other work on the machine leaves
  before(() => start({ backend: 'xla' }))
  after(() => void tf.setBackend('xla'))

  for (const backend of ['xla', 'cpu'])
    describe(`on ${backend}: the bits of jax ${fixture.versions.jax}`, () => {
      let key: tf.Tensor
      before(async () => {
        await tf.setBackend(backend)
        key = random.key(fixture.seed)
      })

      it('key, split and foldIn', () => {
        assert.deepEqual(values(key), fixture.key)
        assert.deepEqual(random.split(key, 3).map(values), fixture.split)
        for (const [data, words] of fixture.foldIn) {
          assert.deepEqual(values(random.foldIn(key, data)), words)
          assert.deepEqual(values(random.foldIn(key, tf.scalar(data, 'int32'))), words)
        }
      })

      for (const draw of fixture.draws)
        it(`bits, uniform, normal and gumbel of shape [${draw.shape.join(', ')}]`, () => {
          assert.deepEqual(values(random.bits(key, draw.shape)), draw.bits)
          const uniform = random.uniform(key, draw.shape)
          assert.deepEqual(uniform.shape, draw.shape)
          assert.deepEqual(values(uniform), draw.uniform)
          close(random.normal(key, draw.shape), draw.normal)
          close(random.gumbel(key, draw.shape), draw.gumbel)
        })
    })

  describe('draws', () => {
    before(() => tf.setBackend('xla'))

    it('are the same inside jit, where the key is an input', () => {
      const f = jit((k: tf.Tensor) => random.uniform(k, [4]))
      for (const seed of [1, 2])
        assert.deepEqual(values(f(random.key(seed))), values(random.uniform(random.key(seed), [4])))
    })

    it('differ between keys', () => {
      const [a, b] = random.split(random.key(0))
      assert.notDeepEqual(values(random.bits(a!, [2])), values(random.bits(b!, [2])))
      assert.notDeepEqual(values(random.bits(random.key(5), [2])), values(random.bits(random.key(5 + 2 ** 32), [2])))
    })

    it('categorical has the probabilities of the softmax', () => {
      const n = 20_000
      const probabilities = [0.1, 0.2, 0.7]
      const logits = tf.broadcastTo(tf.log(tf.tensor1d(probabilities)), [n, 3])
      const drawn = values(random.categorical(random.key(3), logits))
      const spread = 4 * Math.sqrt(0.25 / n) // four standard deviations, at most
      probabilities.forEach((p, i) => {
        const share = drawn.filter(v => v === i).length / n
        assert.ok(Math.abs(share - p) < spread, `outcome ${i}: ${share}, needed ${p}`)
      })
    })

    it('normal has mean 0 and variance 1', () => {
      const { mean, variance } = tf.moments(random.normal(random.key(9), [40_000]))
      assert.ok(Math.abs(mean.dataSync()[0]!) < 0.02)
      assert.ok(Math.abs(variance.dataSync()[0]! - 1) < 0.03)
    })

    it('multinomial follows its seed and its probabilities', () => {
      const logits = tf.log<tf.Tensor1D>(tf.tensor1d([0.5, 0.25, 0.25]))
      const draw = (seed: number) => values(tf.multinomial(logits, 4000, seed))
      assert.deepEqual(draw(7), draw(7))
      assert.notDeepEqual(draw(7), draw(8))
      const share = draw(7).filter(v => v === 0).length / 4000
      assert.ok(Math.abs(share - 0.5) < 0.04, `${share}`)
    })

    it('key refuses what is no integer', () => {
      assert.throws(() => random.key(0.5), /needed an integer/)
    })
  })
})
