import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { checkpoint, cond, jit, memory, scan, start, tensorsOf } from '../../src/xla/index.js'
import { agrees, close } from './agree.js'
import { Draw } from './draw.js'

describe('checkpoint', function () {
  this.timeout(60_000) // compiling takes what other work on the machine leaves
  const draw = new Draw(2)
  let x: tf.Tensor, w: tf.Tensor
  before(async () => {
    await start({ backend: 'xla' })
    ;[x, w] = [draw.uniform([3], -1, 1), draw.uniform([3], -1, 1)]
  })

  it('is the same function of trees, differentiated in arguments and closed-over tensors', () =>
    agrees(
      (x, w, b) => {
        const f = checkpoint(({ x, n }: { x: tf.Tensor; n: tf.Tensor }, factor: number) => ({
          y: [tf.tanh(tf.add(tf.mul(x, w), tf.reshape(b, [3])))],
          z: tf.mul(tf.gather(x, n), factor),
          same: x,
        }))
        const { y, z, same } = f({ x: tf.sin(x), n: tf.tensor1d([0, 2, 2], 'int32') }, 3)
        return tf.sum(tf.mul(tf.mul(y[0]!, z), tf.add(same, w)))
      },
      [x, w, draw.uniform([1, 3])],
    ))

  it('nests: in itself, in a scan, in a cond, and around both', () =>
    agrees(
      (x, w) => {
        const inner = checkpoint((c: tf.Tensor) => tf.sin(tf.mul(c, w)))
        const outer = checkpoint((c: tf.Tensor) => tf.mul(inner(inner(c)), x))
        const chosen = (c: tf.Tensor, y: tf.Tensor) =>
          cond(
            tf.greater(tf.sum(y), 0),
            () => outer(c),
            () => inner(tf.add(c, y)),
          )
        const looped = checkpoint((c: tf.Tensor) => scan((c, y) => [chosen(c, y), c], c, tf.stack([x, w, tf.neg(x)])))
        const [last, ys] = looped(x)
        return tf.add(tf.sum(last), tf.sum(tf.square(ys)))
      },
      [x, w],
    ))

  it('differentiates what throws nothing away: no arguments, and a constant', () => {
    const f = (x: tf.Tensor) => tf.sum(tf.mul(checkpoint(() => tf.exp(x))(), checkpoint(() => tf.scalar(2))()))
    close(tf.grad(f)(x), tf.mul(tf.exp(x), 2))
  })

  it('refuses a second derivative', () => {
    const f = (x: tf.Tensor) => tf.sum(checkpoint((x: tf.Tensor) => tf.square(x))(x))
    assert.throws(() => tf.grad(x => tf.sum(tf.grad(f)(x)))(x), /second derivative/)
  })

  it('holds nothing after its gradient, computed or not', () => {
    const f = checkpoint((x: tf.Tensor) => tf.sum(tf.mul(tf.exp(x), w)))
    const before = memory()!.buffers
    tf.tidy(() =>
      tf
        .grad(x => f(x))(x)
        .dataSync(),
    )
    tf.tidy(() =>
      tf
        .grad(x => (f(x), tf.sum(x)))(x)
        .dataSync(),
    )
    assert.equal(memory()!.buffers, before)
  })

  it('saves memory in a program that is not a loop: the compiler does not merge the two computations', () => {
    const [LAYERS, ROWS, C, I] = [12, 256, 16, 64]
    const weights = Array.from({ length: LAYERS }, () => ({ up: draw.uniform([C, I]), down: draw.uniform([I, C]) }))
    const layer = (x: tf.Tensor, w: { up: tf.Tensor; down: tf.Tensor }) =>
      tf.add(x, tf.matMul(tf.tanh(tf.matMul(x, w.up)), w.down))
    const compiled = (each: typeof layer) => {
      const step = jit((w: typeof weights, x: tf.Tensor) => {
        const loss = (x: tf.Tensor) => tf.sum(w.reduce(each, x))
        return tf.engine().gradients(() => loss(x), tensorsOf(w)).grads
      })
      return step.memory(weights, tf.zeros([ROWS, C])).temporary
    }
    const hidden = 4 * ROWS * I // bytes of one tanh
    const [kept, anew] = [compiled(layer), compiled(checkpoint(layer))]
    assert.ok(kept > LAYERS * hidden, `${kept} bytes keep ${LAYERS} activations of ${hidden}`)
    const inputs = (LAYERS * hidden * C) / I
    assert.ok(anew < inputs + 3 * hidden, `${anew} bytes keep the layers' inputs, ${inputs}, and compute the rest anew`)
  })
})
