import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as tf from '@tensorflow/tfjs-core'
import { openSafetensors, type TensorData } from '../../src/io/safetensors.js'
import {
  astype,
  dequantizeNf4,
  disposeTree,
  fromBytes,
  jit,
  mapTensors,
  matMulNf4,
  quantizeNf4,
  random,
  scan,
  start,
  tensorsOf,
  typeOf,
  whileLoop,
  type Nf4,
} from '../../src/xla/index.js'
import { bytesOf } from '../../src/xla/types.js'

const [OUT, IN] = [150, 128] // of the fixture

/** What the fixture's generator quantises. */
const matrix = (): tf.Tensor => {
  const value = (i: number, block: number) =>
    block === 5 ? 0 : ((((i * 7919) % 10007) - 5003) / 1024) * 2 ** ((block % 7) - 3)
  return tf.tensor2d(
    Array.from({ length: OUT * IN }, (_, i) => value(i, Math.floor(i / 64))),
    [OUT, IN],
  )
}
interface Case {
  out: number
  in: number
  seed: number
  cpu: string
  cuda?: string
  /** Scales that the kernels round apart. */
  differ?: number
}

/** As the fixture's generator makes them. */
function wholeNumbers(count: number, seed: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    let x = (i + 0x9e3779b9 * seed) >>> 0
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
    x = (x ^ (x >>> 16)) >>> 0
    const spread = 100 + ((Math.floor(i / 64) * 7919 + seed) % 900)
    return Math.floor((((x % 2001) - 1000) * spread) / 1000)
  })
}

/** SHA-256 of all bytes. */
async function digest(q: Nf4): Promise<string> {
  const sum = createHash('sha256')
  for (const [t, Kind] of [
    [q.packed, Uint8Array],
    [q.absmax, Uint8Array],
    [q.nested_absmax, Float32Array],
    [q.offset, Float32Array],
  ] as const)
    // prettier-ignore
    sum.update(new Uint8Array(Kind.from(await t.data()).buffer))
  return sum.digest('hex')
}

const values = async (t: tf.Tensor): Promise<number[]> => Array.from(await t.data())
const normal = (seed: number, shape: number[]): tf.Tensor => random.normal(random.key(seed), shape)

describe('NF4', function () {
  this.timeout(30_000)
  const stored: Record<string, TensorData> = {}
  before(async () => {
    await start({ backend: 'xla' })
    const source = await openSafetensors('test/fixtures/nf4.safetensors')
    for (const name of source.tensors.keys()) stored[name] = await source.read(name)
    await source.close()
  })

  it('quantises as bitsandbytes does', async () => {
    const q = quantizeNf4(matrix())
    assert.deepEqual(await values(q.packed), [...stored['packed']!])
    assert.deepEqual(await values(q.nested_absmax), [...stored['nested_absmax']!])
    assert.deepEqual(await values(q.offset), [...stored['offset']!])
    assert.deepEqual(await values(q.absmax), [...stored['absmax']!])
  })

  it('gives the bytes of bitsandbytes for random matrices, as its CPU and as its CUDA kernel rounds scales', async () => {
    const { cases } = JSON.parse(readFileSync('test/fixtures/nf4_many.json', 'utf8')) as { cases: Case[] }
    assert.ok(cases.some(({ differ = 0 }) => differ > 0)) // else the kernels could not be told apart
    const quantize = jit(quantizeNf4)
    for (const { out, in: size, seed, cpu, cuda } of cases) {
      const x = tf.tensor2d(wholeNumbers(out * size, seed), [out, size])
      assert.equal(await digest(quantize(x)), cpu, `${out} × ${size}`)
      if (cuda) assert.equal(await digest(quantize(x, 'cuda')), cuda, `${out} × ${size}`)
    }
  })

  it('restores bit for bit what bitsandbytes restores', async () => {
    const u8 = (name: string, shape: number[]) => fromBytes(Uint8Array.from(stored[name]!), shape, 'u8')
    const q: Nf4 = {
      packed: u8('packed', [OUT, IN / 2]),
      absmax: u8('absmax', [300]),
      nested_absmax: tf.tensor1d(stored['nested_absmax'] as Float32Array),
      offset: tf.scalar(stored['offset']![0]!),
    }
    for (const type of ['f32', 'bf16'] as const) {
      const restored = dequantizeNf4(q, type)
      assert.equal(typeOf(restored), type)
      const found = await restored.data()
      assert.deepEqual(
        Array.from(stored['some']!, i => found[i]),
        [...stored[type]!],
      )
    }
  })

  it('multiplies by the restored matrix; the gradient reaches x', async () => {
    const q = quantizeNf4(normal(1, [96, 128]))
    const [x, cotangent] = [normal(2, [5, 128]), normal(3, [5, 96])]
    const dense = dequantizeNf4(q)
    const along = (f: (x: tf.Tensor) => tf.Tensor) => tf.grad(x => tf.sum(tf.mul(f(x), cotangent)))(x)
    const product = (x: tf.Tensor) => tf.matMul(x, dense, false, true)
    const near = async (a: tf.Tensor, b: tf.Tensor) => {
      const far = Math.max(...(await values(tf.abs(tf.sub(a, b)))))
      assert.ok(far < SUMS, `${far}`)
    }
    await near(matMulNf4(x, q), product(x))
    await near(
      along(x => matMulNf4(x, q)),
      along(product),
    )
    const half = astype(x, 'bf16')
    assert.equal(typeOf(matMulNf4(half, q)), 'bf16')
    assert.equal(typeOf(tf.grad(x => tf.sum(matMulNf4(x, q)))(half)), 'bf16')
  })

  it('takes half a byte an entry', () => {
    const [out, size] = [512, 1024]
    const stored = tensorsOf(quantizeNf4(tf.zeros([out, size]))).map(t => bytesOf(t.shape, typeOf(t)))
    const bytes = stored.reduce((a, b) => a + b)
    assert.ok(bytes / (out * size) < 0.516, `${bytes / (out * size)} bytes`)
  })

  it('refuses matrices that blocks do not fill, and stock backends', async () => {
    assert.throws(() => quantizeNf4(tf.zeros([3, 7])), /quantizeNf4: the matrix is \[3, 7\]; needed two axes/)
    assert.throws(() => quantizeNf4(tf.zeros([64])), /the matrix is \[64\]/)
    await tf.setBackend('cpu')
    assert.throws(() => quantizeNf4(tf.zeros([64, 64])), /4-bit weights need the backend xla; this is cpu/)
    await tf.setBackend('xla')
  })

  describe('in a loop over layers holds one restored matrix at a time:', () => {
    const [L, C, N] = [8, 256, 16]
    const layer = 4 * C * C // bytes in full precision
    let one: Nf4
    let x: tf.Tensor
    let stacked: Nf4
    before(() => {
      one = quantizeNf4(normal(4, [C, C]))
      stacked = mapTensors(one, t => tf.stack(Array.from({ length: L }, () => t)))
      x = normal(5, [N, C])
    })
    after(() => disposeTree([one, stacked, x]))

    const loop = (x: tf.Tensor, w: Nf4, scale: tf.Tensor, remat: boolean) =>
      scan((x: tf.Tensor, w: Nf4) => [tf.mul(tf.tanh(matMulNf4(x, w)), scale), null], x, w, { remat })[0]

    it('forward', () => {
      const forward = jit((x: tf.Tensor, w: Nf4) => loop(x, w, tf.scalar(1), false))
      const { temporary } = forward.memory(x, stacked)
      assert.ok(temporary < 2 * layer, `${temporary} bytes, a layer has ${layer}`)
    })

    for (const remat of [true, false])
      it(`forward and backward${remat ? ', rematerialised' : ''}`, () => {
        const along = (x: tf.Tensor, w: Nf4) => (scale: tf.Tensor) => tf.sum<tf.Scalar>(loop(x, w, scale, remat))
        const gradient = jit((x: tf.Tensor, w: Nf4, scale: tf.Tensor) => tf.grad(along(x, w))(scale))
        const { temporary } = gradient.memory(x, stacked, tf.scalar(1))
        const activations = 6 * L * 4 * N * C // kept for the backward pass
        assert.ok(temporary < 2 * layer + (remat ? 0 : activations), `${temporary} bytes, a layer has ${layer}`)
      })

    it('unrolled inside a loop', () => {
      const layers = Array.from({ length: L }, () => mapTensors(one, t => tf.clone(t)))
      const decode = jit((x: tf.Tensor, layers: Nf4[]) =>
        whileLoop<{ i: tf.Tensor; x: tf.Tensor }>(
          ({ i }) => tf.less(i, 10),
          ({ i, x }) => ({
            i: tf.add(i, tf.scalar(1, 'int32')),
            x: layers.reduce((x, w) => tf.tanh(matMulNf4(x, w)), x),
          }),
          { i: tf.scalar(0, 'int32'), x },
        ),
      )
      const { temporary } = decode.memory(x, layers)
      assert.ok(temporary < 2 * layer, `${temporary} bytes, a layer has ${layer}`)
    })
  })
})

const SUMS = 1e-4 // 128 float32 products summed in another order
