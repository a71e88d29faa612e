import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import { start, sync } from '../../src/xla/index.js'
import { cases } from './cases.js'
import type { Case } from './cases.js'
import { Draw } from './draw.js'

const RUNS = 3
/** Relative to 1 + |value|: float32 functions approximated differently, sums in another order. */
const FORWARD = 1e-4
/** Gradients compound several of these. */
const GRADIENT = 1e-3
/** Central differences of float32 functions: rounding over the step. */
const FINITE = 2e-2
const STEP = 1e-2

type Value = number | string
interface Result {
  shape: number[]
  dtype: string
  values: Value[]
}

describe('kernels against tfjs on the CPU', function () {
  this.timeout(60_000)
  before(async () => {
    await start({ backend: 'xla' })
  })
  after(() => void tf.setBackend('xla'))

  it('has a case for every kernel', () => {
    const registered = tf.getKernelsForBackend('xla').map(k => k.kernelName)
    assert.deepEqual([...registered].sort(), Object.keys(cases).sort())
  })

  for (const [name, test] of Object.entries(cases))
    it(name, async () => {
      for (let run = 0; run < RUNS; run++) await compare(name, test, run)
    })
})

async function compare(name: string, test: Case, run: number): Promise<void> {
  const at = (what: string) => `${name}, run ${run}, ${what}`
  const differentiate = test.gradient !== 'none' && run < 2
  const wanted = await evaluate('cpu', test, run, differentiate && test.gradient !== 'finite')
  const got = await evaluate('xla', test, run, differentiate)
  if (run === 0 && !name.endsWith('Grad'))
    assert.ok(got.kernels.includes(name), `${name}: the case ran ${got.kernels.join(', ')} instead`)
  close(at('result'), wanted.results, got.results, test.tolerance ?? FORWARD)
  if (!differentiate) return
  if (got.gradients.length === 0) return
  if (test.gradient === 'finite') finiteDifferences(at('gradient'), test, run, got.gradients)
  else close(at('gradient'), wanted.gradients, got.gradients, test.tolerance ?? GRADIENT)
}

interface Evaluation {
  results: Result[]
  gradients: Result[]
  kernels: string[]
}

/** Runs a case on a backend: its results, and their gradients along fixed random cotangents. */
async function evaluate(backend: 'cpu' | 'xla', test: Case, run: number, differentiate: boolean): Promise<Evaluation> {
  await tf.setBackend(backend)
  const { inputs, run: ours, reference } = test(new Draw(run))
  const f = backend === 'cpu' ? (reference ?? ours) : ours
  const list = (r: tf.Tensor | tf.Tensor[]) => (Array.isArray(r) ? r : [r])
  const kernels: string[] = []
  const outputs =
    backend === 'xla' && run === 0 ? await profiled(() => list(f(...inputs)), kernels) : list(f(...inputs))
  const gradients =
    differentiate && outputs.some(t => t.dtype === 'float32')
      ? tf.grads((...xs) => weighed(list(f(...xs))))(inputs.map(x => tf.cast(x, 'float32')))
      : []
  if (backend === 'xla') await sync() // results and gradients in one program
  return { results: outputs.map(read), gradients: gradients.map(read), kernels }
}

async function profiled(f: () => tf.Tensor[], kernels: string[]): Promise<tf.Tensor[]> {
  let outputs: tf.Tensor[] = []
  const { kernelNames } = await tf.profile(() => {
    outputs = f()
    return outputs
  })
  kernels.push(...kernelNames)
  return outputs
}

/** Σ output · cotangent over the floats among the outputs. */
function weighed(outputs: tf.Tensor[]): tf.Scalar {
  const draw = new Draw(1)
  return outputs
    .filter(t => t.dtype === 'float32')
    .map(t => tf.sum(tf.mul(t, draw.uniform(t.shape))))
    .reduce((p, q) => tf.add(p, q)) as tf.Scalar
}

function read(t: tf.Tensor): Result {
  return { shape: t.shape, dtype: t.dtype, values: Array.from(t.dataSync() as unknown as ArrayLike<Value>) }
}

function close(what: string, wanted: Result[], got: Result[], tolerance: number): void {
  assert.equal(got.length, wanted.length, `${what}: number of tensors`)
  wanted.forEach((w, i) => {
    const g = got[i]!
    assert.deepEqual(g.shape, w.shape, `${what} ${i}: shape`)
    assert.equal(g.dtype, w.dtype, `${what} ${i}: dtype`)
    w.values.forEach((p, j) => {
      const q = g.values[j]!
      if (typeof p === 'string' || typeof q === 'string') return assert.equal(q, p, `${what} ${i}: value ${j}`)
      const same = Object.is(p, q) || p === q || Math.abs(p - q) <= tolerance * (1 + Math.abs(p))
      assert.ok(same, `${what} ${i}: value ${j} is ${q}, needed ${p}`)
    })
  })
}

/** The gradient along one random direction, against a central difference on the CPU backend. */
function finiteDifferences(what: string, test: Case, run: number, gradients: Result[]): void {
  tf.tidy(() => {
    const { inputs, run: f } = test(new Draw(run))
    const draw = new Draw(7)
    const directions = inputs.map(x => draw.uniform(x.shape, -1, 1))
    const value = (step: number): number => {
      const moved = inputs.map((x, i) => tf.add(x, tf.mul(directions[i]!, step)))
      const out = f(...moved)
      return weighed(Array.isArray(out) ? out : [out]).dataSync()[0]!
    }
    const slope = (value(STEP) - value(-STEP)) / (2 * STEP)
    const along = gradients.reduce((sum, g, i) => {
      const v = directions[i]!.dataSync()
      return sum + g.values.reduce<number>((s, x, j) => s + (x as number) * v[j]!, 0)
    }, 0)
    assert.ok(
      Math.abs(slope - along) <= FINITE * (1 + Math.abs(slope)),
      `${what}: ${along} along a direction, where the difference quotient is ${slope}`,
    )
  })
}
