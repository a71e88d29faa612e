import * as tf from '@tensorflow/tfjs-core'

/** Seeded shapes and values for one run of a kernel's case. */
export class Draw {
  constructor(
    /** Which run of the case this is, from 0. */
    readonly run: number,
    private state = run * 7919 + 17,
  ) {}

  /** Uniform in [0, 1): mulberry32. */
  random(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** An integer in [low, high). */
  int(low: number, high: number): number {
    return low + Math.floor(this.random() * (high - low))
  }

  pick<T>(values: readonly T[]): T {
    return values[this.int(0, values.length)]!
  }

  /** A shape of at least `rank` axes: a matrix first, then one with an axis of size 1, then a scalar or an empty one. */
  shape(rank = 0): number[] {
    switch (this.run) {
      case 0:
        return [3, 4, 2, 2].slice(0, Math.max(2, rank))
      case 1:
        return [2, 1, 3, 2].slice(0, Math.max(3, rank))
      default:
        return rank === 0 ? [] : [2, 0, 3, 1].slice(0, Math.max(2, rank))
    }
  }

  /** The same, with no empty axis. */
  full(rank = 0): number[] {
    return this.shape(rank).map(d => d || 2)
  }

  /** Another shape that broadcasts with this one. */
  broadcastable(shape: readonly number[]): number[] {
    const from = this.run === 0 ? 1 : this.int(0, shape.length + 1)
    return shape.slice(from).map(d => (this.random() < 0.4 ? 1 : d))
  }

  private fill(shape: readonly number[], dtype: 'float32' | 'int32' | 'bool', value: () => number): tf.Tensor {
    const size = shape.reduce((n, d) => n * d, 1)
    return tf.tensor(Array.from({ length: size }, value), [...shape], dtype)
  }

  uniform(shape: readonly number[], low = -3, high = 3): tf.Tensor {
    return this.fill(shape, 'float32', () => low + (high - low) * this.random())
  }

  positive = (shape: readonly number[]): tf.Tensor => this.uniform(shape, 0.1, 4)
  unit = (shape: readonly number[]): tf.Tensor => this.uniform(shape, -0.95, 0.95)

  /** Uniform numbers, among them NaN, infinities, zeros of both signs and halves. */
  special = (shape: readonly number[]): tf.Tensor => {
    const odd = [NaN, Infinity, -Infinity, 0, -0, 0.5, -0.5, 1.5, 2.5, -2, 1]
    return this.fill(shape, 'float32', () => (this.random() < 0.5 ? this.pick(odd) : 6 * this.random() - 3))
  }

  ints(shape: readonly number[], low = -5, high = 6): tf.Tensor {
    return this.fill(shape, 'int32', () => this.int(low, high))
  }

  bools = (shape: readonly number[]): tf.Tensor => this.fill(shape, 'bool', () => this.int(0, 2))
}
