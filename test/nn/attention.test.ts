import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import { attention, groupAttention, repeatRows, type AttentionMask, type AttentionOptions } from '../../src/nn/index.js'
import { astype, disposeTree, jit, scan, start, typeOf, type ArgumentTree } from '../../src/xla/index.js'
import { checkGradient, close, noise, values } from './numbers.js'

/** float32 against PyTorch's float64, which stands rounded to 6 places; values are of the order of 1. */
const PARITY = 1e-5
/** Relative to the largest value: bf16 keeps 8 bits, and weights, their gradients and results are rounded to it. */
const BF16 = 2 ** -7

interface Case {
  name: string
  T: number
  S: number
  K: number
  bias?: boolean
  scale?: number
  causal?: boolean
  window?: number
  offset?: number
  keyMask?: number[][]
  segments?: { q: number[][]; kv: number[][] }
  blocks?: { q: number[][]; kv: number[][] }
  out: number[]
  dq: number[]
  dk: number[]
  dv: number[]
}
interface Fixture {
  inputs: Record<'q' | 'k' | 'v' | 'cotangent' | 'bias', { shape: number[]; values: number[] }>
  cases: Case[]
}
const fixture = JSON.parse(readFileSync('test/fixtures/nn/attention.json', 'utf8')) as Fixture

const RESULTS = ['out', 'dq', 'dk', 'dv'] as const
type Results = Record<(typeof RESULTS)[number], tf.Tensor>

const int = (rows: number[][]) => tf.tensor2d(rows, undefined, 'int32')

/** Output of a case, and its gradients along the fixture's cotangents. */
function evaluate(c: Case, block: number | null): Results {
  const of = (name: keyof Fixture['inputs'], size: number[]) => {
    const { shape, values } = fixture.inputs[name]
    return tf.slice(tf.tensor(values, shape), [0, 0, 0, 0], size)
  }
  const [b, , h, d] = fixture.inputs.q.shape as [number, number, number, number]
  const [q, cotangent] = [of('q', [b, c.T, h, d]), of('cotangent', [b, c.T, h, d])]
  const [k, v] = [of('k', [b, c.K, c.S, d]), of('v', [b, c.K, c.S, d])]
  const { causal, window, offset } = c
  const mask: AttentionMask = {
    ...{ causal, window, offset },
    keyMask: c.keyMask && int(c.keyMask),
    segments: c.segments && { q: int(c.segments.q), kv: int(c.segments.kv) },
    blocks: c.blocks && { q: int(c.blocks.q), kv: int(c.blocks.kv) },
  }
  const options: AttentionOptions = { scale: c.scale, bias: c.bias ? of('bias', [1, h, c.T, c.S]) : undefined, block }
  const run = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => attention(q, k, v, mask, options)
  return withGradients(run, [q, k, v], tf.reshape(cotangent, [b, c.T, h * d]))
}

type Three = [tf.Tensor, tf.Tensor, tf.Tensor]
type Attend = (...inputs: Three) => tf.Tensor

/** The value of f, and the gradients of ⟨f(q, k, v), cotangent⟩. */
function withGradients(f: Attend, at: Three, cotangent: tf.Tensor): Results {
  const { value, grads } = tf.valueAndGrads((...x) => f(...(x as Three)))(at, cotangent)
  const [dq, dk, dv] = grads as Three
  return { out: value, dq, dk, dv }
}

async function compare(cases: Case[], results: Results[]): Promise<void> {
  for (const [i, c] of cases.entries())
    for (const name of RESULTS) {
      const found = await values(results[i]![name])
      const off = found.map((x, j) => Math.abs(x - c[name][j]!))
      assert.equal(found.length, c[name].length)
      assert.ok(Math.max(...off) < PARITY, `${c.name}: ${name} differs by ${Math.max(...off)}`)
      c.out.forEach((x, j) => x === 0 && name === 'out' && assert.ok(found[j] === 0)) // exactly: nothing is seen
    }
}

/** Bytes that a compiled value and gradient needs besides its arguments and outputs. */
function temporaries(t: number, block: number | null): number {
  const inputs = [[1, t, 2, 16], [1, 1, t, 16], [1, 1, t, 16]].map(shape => tf.zeros(shape)) as Three // prettier-ignore
  const program = jit((...at: Three) =>
    withGradients((q, k, v) => attention(q, k, v, { causal: true }, { block }), at, tf.ones([1, t, 32])),
  )
  return program.memory(...inputs).temporary
}

describe('attention', function () {
  this.timeout(60_000) // compiling takes what other work on the machine leaves
  before(() => start({ backend: 'xla' }))

  describe("equals PyTorch's scaled_dot_product_attention, values and gradients", () => {
    const unbiased = fixture.cases.filter(c => !c.bias)
    for (const [form, block, cases] of [
      ['dense', null, fixture.cases],
      ['blocks of 2', 2, unbiased],
    ] as const)
      it(form, async () => {
        const all = jit(
          () => cases.map(c => evaluate(c, block)) as unknown as ArgumentTree,
        ) as unknown as () => Results[]
        await compare([...cases], all())
      })

    for (const block of [3, 64])
      it(`blocks of ${block}, on plain tfjs`, async () => {
        await tf.setBackend('cpu')
        try {
          const { numTensors } = tf.memory()
          const all = () => unbiased.map(c => evaluate(c, block)) as unknown as tf.TensorContainer
          const results = tf.tidy(all) as unknown as Results[]
          await compare(unbiased, results)
          disposeTree(results)
          assert.equal(tf.memory().numTensors, numTensors)
        } finally {
          await tf.setBackend('xla')
        }
      })
  })

  for (const block of [null, 1]) {
    const form = block ? 'blockwise' : 'dense'
    it(`${form}: softmax of scaled products, two query heads to a key head`, async () => {
      // One key head of size 1, two query heads; the second query sees both keys.
      const q = tf.tensor4d([0, 0, 1, -1], [1, 2, 2, 1])
      const k = tf.tensor4d([0, 2], [1, 1, 2, 1])
      const v = tf.tensor4d([10, 20], [1, 1, 2, 1])
      const run = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => attention(q, k, v, { causal: true }, { block })
      const second = (x: number) => (10 + 20 * Math.exp(2 * x)) / (1 + Math.exp(2 * x))
      close(await values(run(q, k, v)), [10, 10, second(1), second(-1)], 1e-4)
      await checkGradient(x => run(x, k, v), noise(11, [1, 2, 2, 1]))
      await checkGradient(x => run(q, x, v), noise(6, [1, 1, 2, 1]))
      await checkGradient(x => run(q, k, x), noise(7, [1, 1, 2, 1]))
    })
  }

  it('reads keys that a group shares once, as if each row had them', async () => {
    const [n, G, K, H, D, P, T] = [2, 3, 2, 4, 8, 5, 4]
    const q = noise(1, [n * G, 1, H, D])
    const [sharedKeys, sharedValues] = [noise(2, [n, K, P, D]), noise(3, [n, K, P, D])]
    const [keys, values_] = [noise(4, [n * G, K, T, D]), noise(5, [n * G, K, T, D])]
    const whole = (shared: tf.Tensor, own: tf.Tensor) => tf.concat([repeatRows(shared, G), own], 2)
    const turned = (x: tf.Tensor) => tf.transpose(x, [0, 1, 3, 2])
    const keyMask = tf.cast(tf.greater(noise(6, [n * G, P + T]), -0.7), 'int32')
    for (const mask of [{ keyMask }, { keyMask, causal: true, offset: P + 2, window: 6 }]) {
      const found = groupAttention(
        q,
        { keys: turned(sharedKeys), values: sharedValues },
        { keys: turned(keys), values: values_ },
        mask,
      )
      close(
        await values(found),
        await values(attention(q, whole(sharedKeys, keys), whole(sharedValues, values_), mask)),
      )
    }
  })

  it('takes the blockwise form for long sequences', () => {
    const shapes = (t: number) => {
      const [q, k] = [tf.zeros([1, t, 1, 2]), tf.zeros([1, 1, t, 2])]
      return jit((q: tf.Tensor, k: tf.Tensor) => attention(q, k, k)).lower(q, k)
    }
    assert.doesNotMatch(shapes(512), /stablehlo\.while/)
    assert.match(shapes(513), /stablehlo\.while/)
    assert.doesNotMatch(shapes(513), /513x513/)
  })

  it('needs memory that grows with the length, a small part of what the matrix of scores takes', () => {
    const [half, whole, dense] = [temporaries(2048, 256), temporaries(4096, 256), temporaries(4096, null)]
    assert.ok(whole < 2.1 * half, `${whole} bytes for 4,096 places, ${half} for half of them`)
    assert.ok(whole < dense / 50, `${whole} bytes, dense ${dense}`)
  })

  it('does not compute blocks that the mask hides', async () => {
    // NaN in the keys and values of a block that is read reaches whoever reads it.
    const spoilt = (from: number) => tf.tensor4d(Array.from({ length: 16 }, (_, i) => (i >= 2 * from && i < 2 * from + 8 ? NaN : 1)), [1, 1, 8, 2]) // prettier-ignore
    const ids = tf.tensor2d([[1, 1, 1, 1, 0, 0, 0, 0]], undefined, 'int32')
    const hidden: [from: number, clean: number, mask: AttentionMask][] = [
      [4, 0, { causal: true }],
      [4, 0, { segments: { q: ids, kv: ids } }],
      [0, 4, { segments: { q: ids, kv: ids } }],
      [0, 4, { causal: true, window: 1 }],
      [0, 4, { keyMask: tf.tensor2d([[0, 0, 0, 0, 0, 1, 1, 1]]) }],
      [0, 4, { causal: true, window: 3, offset: 6 }],
    ]
    const run = jit((...keys: tf.Tensor[]) =>
      keys.map((k, i) => {
        const attend: Attend = (q, k, v) => attention(q, k, v, hidden[i]![2], { block: 4 })
        const { out, dq } = withGradients(attend, [noise(1, [1, 8, 1, 2]), k, k], tf.ones([1, 8, 2]))
        return [out, dq]
      }),
    )
    const results = run(...hidden.map(([from]) => spoilt(from)))
    for (const [i, [, clean]] of hidden.entries())
      for (const x of results[i]!) {
        const found = (await values(x)).slice(2 * clean, 2 * clean + 8)
        assert.ok(found.every(Number.isFinite), `mask ${i}: ${found.join()}`)
      }
  })

  it('takes an offset and a window that are computed', async () => {
    const [q, kv] = [noise(1, [1, 6, 2, 4]), noise(2, [1, 1, 6, 4])]
    const whole = await values(attention(q, kv, kv, { causal: true, window: 3 }))
    const part = jit((offset: tf.Tensor, window: tf.Tensor) =>
      [null, 4].map(block =>
        attention(tf.slice(q, [0, 3, 0, 0], [1, 2, 2, 4]), kv, kv, { causal: true, offset, window }, { block }),
      ),
    )
    for (const found of part(tf.scalar(3, 'int32'), tf.scalar(3, 'int32')))
      close(await values(found), whole.slice(3 * 8, 5 * 8))
  })

  it('works in a rematerialised scan of layers', async () => {
    const [x, weights] = [noise(3, [2, 5, 8]), noise(4, [3, 8, 8])]
    const keyMask = tf.tensor2d([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]) // prettier-ignore
    const loss = (block: number | null) => (x: tf.Tensor, weights: tf.Tensor) => {
      const mask = { causal: true, keyMask: tf.cast(keyMask, 'int32') } // made where the gradient is taped
      const layer = (x: tf.Tensor, w: tf.Tensor): [tf.Tensor, null] => {
        const q = tf.reshape(tf.matMul(tf.reshape(x, [10, 8]), w), [2, 5, 4, 2])
        const kv = tf.slice(tf.transpose(tf.reshape(x, [2, 5, 4, 2]), [0, 2, 1, 3]), [0, 0, 0, 0], [2, 2, 5, 2])
        return [tf.add(x, attention(q, kv, kv, mask, { block })), null]
      }
      return tf.sum(tf.square(scan(layer, x, weights, { remat: true })[0]))
    }
    const [dense, blockwise] = [null, 2].map(block => jit((x: tf.Tensor, w: tf.Tensor) => tf.grads(loss(block) as never)([x, w]))(x, weights)) // prettier-ignore
    for (const i of [0, 1]) {
      const [found, wanted] = [await values(blockwise![i]!), await values(dense![i]!)]
      const size = Math.max(...wanted.map(Math.abs))
      close(found, wanted, PARITY * size)
    }
  })

  it('keeps bf16, and sums in f32', async () => {
    const [q, k, v] = [[1, 40, 2, 8], [1, 1, 40, 8], [1, 1, 40, 8]].map((shape, i) => astype(noise(i, shape), 'bf16')) as Three // prettier-ignore
    const run = (block: number | null) =>
      jit((...at: Three) =>
        withGradients(
          (q, k, v) => attention(q, k, v, { causal: true }, { block }),
          at,
          astype(tf.ones([1, 40, 16]), typeOf(at[0])),
        ),
      )
    const exact = run(null)(...([q, k, v].map(x => astype(x, 'f32')) as Three))
    for (const block of [null, 16]) {
      const found = run(block)(q, k, v)
      for (const name of RESULTS) {
        const wanted = await values(exact[name])
        assert.equal(typeOf(found[name]), 'bf16')
        close(await values(found[name]), wanted, BF16 * Math.max(...wanted.map(Math.abs)))
      }
    }
  })

  it('says what is wrong', () => {
    const [q, kv] = [tf.zeros([1, 3, 4, 2]), tf.zeros([1, 2, 5, 2])]
    const fails = (mask: AttentionMask, options: AttentionOptions, message: RegExp) =>
      assert.throws(() => attention(q, kv, kv, mask, options), message)
    fails({ keyMask: tf.ones([1, 3]) }, {}, /keyMask is \[1, 3\], needed \[1, 5\]/)
    fails({ segments: { q: tf.ones([1, 3]), kv: tf.ones([1, 4]) } }, {}, /segments\.kv is \[1, 4\], needed \[1, 5\]/)
    fails({ window: 2 }, {}, /window needs causal/)
    fails({}, { bias: tf.zeros([1, 4, 3, 5]), block: 2 }, /takes no bias/)
    fails({}, { bias: tf.zeros([4, 3, 5]) }, /bias is \[4, 3, 5\], needed \[1, 4, 3, 5\]/)
    assert.throws(() => attention(q, tf.zeros([1, 3, 5, 2]), tf.zeros([1, 3, 5, 2])), /4 query heads cannot share 3/)
    assert.throws(() => attention(q, kv, tf.zeros([1, 2, 4, 2])), /v is \[1, 2, 4, 2\], needed \[1, 2, 5, 2\]/)
    const once = (x: tf.Tensor) => tf.sum(tf.grad(x => tf.sum(attention(x, kv, kv, {}, { block: 2 })))(x))
    assert.throws(() => tf.grad(once)(q), /differentiated once/)
  })
})
