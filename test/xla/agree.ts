import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import { jit, sync } from '../../src/xla/index.js'
import { Draw } from './draw.js'

/** Relative to 1 + |value|: float32 sums in another order, functions approximated differently, through some steps. */
export const SAME = 2e-5
/** Central differences of a float32 function: rounding over the step, and the third derivative times its square. */
const FINITE = 1e-2
const STEP = 1e-2

export type Scalar = (...inputs: tf.Tensor[]) => tf.Tensor

/** Asserts that two tensors have the same shape and values. */
export function close(got: tf.Tensor, wanted: tf.Tensor, what = 'value'): void {
  assert.deepEqual(got.shape, wanted.shape, `${what}: shape`)
  closeValues([...got.dataSync()], [...wanted.dataSync()], what, SAME)
}

function closeValues(got: number[], wanted: number[], what: string, tolerance: number): void {
  assert.equal(got.length, wanted.length, `${what}: length`)
  wanted.forEach((w, i) => {
    assert.ok(Number.isFinite(w), `${what}: ${w}`)
    assert.ok(Math.abs(w - got[i]!) <= tolerance * (1 + Math.abs(w)), `${what}[${i}]: ${got[i]} for ${w}`)
  })
}

/** Asserts that a scalar function of float tensors has the same value and gradients in the lazy graph, jitted, and on tfjs's
 * CPU backend, where loops are unrolled and one branch is taken; and that they agree with finite differences. */
export async function agrees(f: Scalar, inputs: tf.Tensor[]): Promise<void> {
  const arrays = inputs.map(t => ({ values: [...t.dataSync()], shape: t.shape }))
  const directions = arrays.map(({ shape }, i) => [...new Draw(i + 5).uniform(shape, -1, 1).dataSync()])
  const moved = (h: number) =>
    arrays.map(({ values, shape }, i) =>
      tf.tensor(
        values.map((v, j) => v + h * directions[i]![j]!),
        shape,
      ),
    )
  const at = (h: number) => onCpu(() => f(...moved(h)).dataSync()[0]!)

  const wanted = await onCpu(() => read(differentiated(f, moved(0))))
  const lazy = differentiated(f, inputs)
  await sync()
  const jitted = jit((...xs: tf.Tensor[]) => differentiated(f, xs))(...inputs)
  for (const [name, result] of Object.entries({ lazy, jitted })) {
    const got = read(result)
    closeValues([got.value], [wanted.value], `${name} value`, SAME)
    wanted.grads.forEach((g, i) => closeValues(got.grads[i]!, g, `${name} gradient ${i}`, SAME))
  }
  const along = wanted.grads.flatMap((g, i) => g.map((v, j) => v * directions[i]![j]!)).reduce((a, b) => a + b, 0)
  closeValues([((await at(STEP)) - (await at(-STEP))) / (2 * STEP)], [along], 'difference quotient', FINITE)
}

type Differentiated = { value: tf.Tensor; grads: tf.Tensor[] }

const differentiated = (f: Scalar, inputs: tf.Tensor[]): Differentiated => tf.valueAndGrads(f)(inputs)

function read({ value, grads }: Differentiated): { value: number; grads: number[][] } {
  return { value: value.dataSync()[0]!, grads: grads.map(g => [...g.dataSync()]) }
}

/** Runs `f` on tfjs's own backend, where control flow is plain JavaScript. */
export async function onCpu<T>(f: () => T): Promise<T> {
  await tf.setBackend('cpu')
  try {
    return f()
  } finally {
    await tf.setBackend('xla')
  }
}
