import * as tf from '@tensorflow/tfjs-core'
import { jit } from '../../src/xla/index.js'

/** Step of the central differences: small enough to miss the kinks of clipped losses, large enough for float32. */
const H = 2e-3

/** Gradient of a scalar function of a matrix by central differences. */
export function finiteDifferences(f: (x: tf.Tensor) => tf.Tensor, at: number[][]): number[][] {
  const program = jit(f)
  const value = (moved: number[][]) => tf.tidy(() => program(tf.tensor2d(moved)).dataSync()[0]!)
  return at.map((row, b) =>
    row.map((_, t) => {
      const moved = (d: number) => at.map((r, i) => r.map((x, j) => (i === b && j === t ? x + d : x)))
      return (value(moved(H)) - value(moved(-H))) / (2 * H)
    }),
  )
}
