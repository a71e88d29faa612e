import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import { astype, sync, typeOf } from '../../src/xla/index.js'
import type { ElementType } from '../../src/xla/index.js'
import { fromDevice, toDevice } from '../../src/xla/layout.js'
import { cases } from './cases.js'
import { Draw } from './draw.js'

/* Kernels in half precision: element types, and values against float32 on the same rounded inputs. */

export type Half = 'bf16' | 'f16'

/** Relative to 1 + |value|: four roundings to the type, which has 8 or 11 bits. */
const FORWARD = { bf16: 4 * 2 ** -8, f16: 4 * 2 ** -11 }
/** A gradient compounds several operations. */
const GRADIENT = { bf16: 16 * 2 ** -8, f16: 16 * 2 ** -11 }

/** Kernels whose floats are f32 whatever comes in. */
const WIDE: Record<string, string> = {
  Bincount: 'the case counts without weights',
  DenseBincount: 'the case counts without weights',
  Real: 'complex numbers have f32 parts',
  Imag: 'complex numbers have f32 parts',
  FFT: 'complex numbers have f32 parts',
  IFFT: 'complex numbers have f32 parts',
  NonMaxSuppressionV5: 'runs on the host',
  SparseSegmentMean: 'runs on the host',
  SparseSegmentSum: 'runs on the host',
  XlaAstype: 'the case converts to f32',
  XlaWideMatMul: 'sums stay in f32',
}

const list = (r: tf.Tensor | tf.Tensor[]): tf.Tensor[] => (Array.isArray(r) ? r : [r])
const isFloat = (t: tf.Tensor) => t.dtype === 'float32'

/** The kernels that take floats. */
export const floatKernels = (): string[] =>
  Object.keys(cases).filter(name => cases[name]!(new Draw(0)).inputs.some(isFloat))

interface Recorded {
  outputs: tf.Tensor[]
  gradients: tf.Tensor[]
}

/** A case's results, and their gradients along fixed cotangents. */
function record(name: string, seed: number, prepared: (x: tf.Tensor) => tf.Tensor): Recorded {
  const test = cases[name]!
  const { inputs, run: ours, reference } = test(new Draw(seed))
  const run = tf.getBackend() === 'cpu' ? (reference ?? ours) : ours
  const given = inputs.map(x => (isFloat(x) ? prepared(x) : x))
  const outputs = list(run(...given))
  const weighed = (...xs: tf.Tensor[]) => {
    const draw = new Draw(1)
    const terms = list(run(...xs)).filter(isFloat)
    return terms.map(t => tf.sum(tf.mul(t, draw.uniform(t.shape)))).reduce((p, q) => tf.add(p, q)) as tf.Scalar
  }
  const differentiable = test.gradient !== 'none' && outputs.some(isFloat) && given.every(isFloat)
  return { outputs, gradients: differentiable ? tf.grads(weighed)(given) : [] }
}

/** Records every kernel on inputs of a type, and computes nothing. @returns results and gradients of another type */
export function wrongTypes(type: Half): string[] {
  const wrong = (name: string): string[] => {
    const wanted: ElementType = WIDE[name] ? 'f32' : type
    const { outputs, gradients } = record(name, 0, x => astype(x, type))
    const named = [
      ...outputs.map((t, i) => [`${name}, result ${i}`, t, wanted] as const),
      ...gradients.map((t, i) => [`${name}, gradient ${i}`, t, type] as const),
    ]
    return named.flatMap(([what, t, right]) =>
      isFloat(t) && typeOf(t) !== right ? [`${what}: ${typeOf(t)}, needed ${right}`] : [],
    )
  }
  const { engine } = tf
  return floatKernels().flatMap(name => {
    engine().startScope(name)
    try {
      return wrong(name)
    } finally {
      engine().endScope()
    }
  })
}

/** Compares values of some kernels with float32. @returns what differs by more than the tolerance */
export async function wrongValues(names: readonly string[], type: Half, seed: number): Promise<string[]> {
  const half = names.map(name => record(name, seed, x => astype(x, type)))
  await sync() // all of them in few programs
  const problems: string[] = []
  for (const [k, name] of names.entries()) {
    await tf.setBackend(cases[name]!.gradient === 'finite' ? 'xla' : 'cpu') // tfjs's gradient is wrong or missing
    const full = record(name, seed, x => rounded(x, type))
    for (const [part, rounding] of [
      ['outputs', FORWARD[type]],
      ['gradients', GRADIENT[type]],
    ] as const)
      half[k]![part].forEach((got, i) => {
        const tolerance = Math.max(rounding, cases[name]!.tolerance ?? 0)
        problems.push(...differences(`${name}, ${part} ${i}`, got, full[part][i]!, tolerance))
      })
  }
  await tf.setBackend('xla')
  half.forEach(({ outputs, gradients }) => tf.dispose([...outputs, ...gradients]))
  return problems
}

const rounded = (x: tf.Tensor, type: Half): tf.Tensor =>
  tf.tensor(fromDevice(toDevice(x.dataSync(), type), type), x.shape)

function differences(what: string, got: tf.Tensor, wanted: tf.Tensor, tolerance: number): string[] {
  assert.deepEqual(got.shape, wanted.shape, `${what}: shape`)
  const [p, q] = [Array.from(got.dataSync()), Array.from(wanted.dataSync())]
  const far = q.findIndex(
    (w, i) => !(Object.is(p[i], w) || p[i] === w || Math.abs(p[i]! - w) <= tolerance * (1 + Math.abs(w))),
  )
  return far < 0 ? [] : [`${what}: value ${far} is ${p[far]}, in float32 ${q[far]}`]
}
