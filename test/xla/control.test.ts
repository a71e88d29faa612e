import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { cond, dynamicSlice, dynamicUpdateSlice, jit, scan, start, whileLoop } from '../../src/xla/index.js'
import type { ScanOptions } from '../../src/xla/index.js'
import { Draw } from './draw.js'

/** float32 sums in another order. */
const TOLERANCE = 1e-5
const STEP = 1e-2
/** Central differences of float32 functions. */
const FINITE = 1e-2

function close(got: tf.Tensor, wanted: tf.Tensor, what = 'value', tolerance = TOLERANCE): void {
  assert.deepEqual(got.shape, wanted.shape, `${what}: shape`)
  const [g, w] = [got.dataSync(), wanted.dataSync()]
  w.forEach((v, i) => assert.ok(Math.abs(v - g[i]!) <= tolerance * (1 + Math.abs(v)), `${what}: ${g[i]} for ${v}`))
}

/** A recurrent step with a closed-over weight: carry tanh(carry·w + x), output carry·x. */
const step = (w: tf.Tensor2D) => (carry: tf.Tensor, x: tf.Tensor) => {
  const next = tf.tanh(tf.add(tf.reshape(tf.matMul(tf.reshape(carry, [1, 3]), w), [3]), x))
  return [next, tf.mul(next, x)] as [tf.Tensor, tf.Tensor]
}

function unrolled(w: tf.Tensor2D, init: tf.Tensor, xs: tf.Tensor, reverse = false): [tf.Tensor, tf.Tensor] {
  let carry = init
  const ys: tf.Tensor[] = []
  const slices = tf.unstack(xs)
  for (let k = 0; k < slices.length; k++) {
    const i = reverse ? slices.length - 1 - k : k
    ;[carry, ys[i]] = step(w)(carry, slices[i]!)
  }
  return [carry, tf.stack(ys)]
}

/* A state is typed by what it starts with: any tensor. */
const scalar: (value: number, dtype?: 'float32' | 'int32') => tf.Tensor = tf.scalar
const zeros: (shape: number[]) => tf.Tensor = tf.zeros

describe('control flow', function () {
  this.timeout(30_000) // compiling takes what other work on the machine leaves
  before(() => start({ backend: 'xla' }))

  describe('scan', () => {
    const draw = new Draw(0)
    const w = draw.uniform([3, 3], -0.5, 0.5) as tf.Tensor2D
    const init = draw.uniform([3])
    const xs = draw.uniform([5, 3])
    const loss = ([last, ys]: [tf.Tensor, tf.Tensor]) => tf.add<tf.Scalar>(tf.sum(tf.square(last)), tf.sum(tf.sin(ys)))
    const variants: Record<string, ScanOptions> = {
      forward: {},
      reverse: { reverse: true },
      rematerialised: { remat: true },
      'reverse, rematerialised': { reverse: true, remat: true },
    }

    for (const [name, options] of Object.entries(variants)) {
      it(`${name}: equals the unrolled loop`, () => {
        const [last, ys] = scan(step(w), init, xs, options)
        const [wantedLast, wantedYs] = unrolled(w, init, xs, options.reverse)
        close(last, wantedLast, 'carry')
        close(ys, wantedYs, 'ys')
      })

      for (const inside of [false, true])
        it(`${name}: gradients of carry, xs and closed-over tensors, ${inside ? 'jitted' : 'lazy'}`, () => {
          const gradients = (f: (...xs: tf.Tensor[]) => tf.Scalar) => (a: tf.Tensor, b: tf.Tensor, c: tf.Tensor) =>
            tf.grads(f)([a, b, c])
          const scanned = gradients((w, init, xs) => loss(scan(step(w as tf.Tensor2D), init, xs, options)))
          const wanted = gradients((w, init, xs) => loss(unrolled(w as tf.Tensor2D, init, xs, options.reverse)))(
            w,
            init,
            xs,
          )
          const got = inside ? jit(scanned)(w, init, xs) : scanned(w, init, xs)
          got.forEach((g, i) => close(g, wanted[i]!, ['weight', 'carry', 'xs'][i]))
        })
    }

    it('agrees with finite differences', () => {
      const f = (x: tf.Tensor) => loss(scan(step(w), init, x))
      const direction = new Draw(3).uniform(xs.shape, -1, 1)
      const at = (h: number) => f(tf.add(xs, tf.mul(direction, h))).dataSync()[0]!
      const slope = (at(STEP) - at(-STEP)) / (2 * STEP)
      const along = tf.sum(tf.mul(tf.grad(f)(xs), direction)).dataSync()[0]!
      assert.ok(Math.abs(slope - along) <= FINITE * (1 + Math.abs(slope)), `${along}, quotient ${slope}`)
    })

    it('takes trees, integers beside floats, and no xs', () => {
      const [state, ys] = scan(
        ({ n, x }: { n: tf.Tensor; x: tf.Tensor }) => [
          { n: tf.add(n, tf.scalar(1, 'int32')), x: tf.mul(x, 2) },
          [tf.add(x, tf.cast(n, 'float32'))],
        ],
        { n: tf.scalar(0, 'int32'), x: tf.scalar(1) },
        null,
        { length: 4 },
      )
      assert.deepEqual([state.n.dtype, state.n.dataSync()[0], state.x.dataSync()[0]], ['int32', 4, 16])
      assert.deepEqual([...ys[0]!.dataSync()], [1, 3, 6, 11])
    })

    it('differentiates past integers in carry and xs', () => {
      const table = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2])
      const ids = tf.tensor1d([2, 0, 2], 'int32')
      const f = (t: tf.Tensor) => {
        const body = (c: { n: tf.Tensor; sum: tf.Tensor }, i: tf.Tensor): [typeof c, null] => [
          { n: tf.add(c.n, i), sum: tf.add(tf.mul(c.sum, 2), tf.gather(t, i)) },
          null,
        ]
        return tf.sum(scan(body, { n: tf.scalar(0, 'int32'), sum: zeros([2]) }, ids)[0].sum)
      }
      assert.deepEqual([...tf.grad(f)(table).dataSync()], [2, 2, 0, 0, 5, 5])
    })

    it('nests, forward and gradient', () => {
      const outer = (v: tf.Tensor) =>
        scan(
          (c: tf.Tensor, row: tf.Tensor) => {
            const [inner] = scan((a: tf.Tensor, x: tf.Tensor) => [tf.add(tf.mul(a, v), x), null], c, row)
            return [inner, inner]
          },
          scalar(1),
          tf.tensor2d([1, 2, 3, 4], [2, 2]),
        )[0]
      const plain = (v: tf.Tensor) => [1, 2, 3, 4].reduce((c: tf.Tensor, x) => tf.add(tf.mul(c, v), x), tf.scalar(1))
      const v = tf.scalar(0.7)
      close(outer(v), plain(v))
      close(tf.grad(x => outer(x))(v), tf.grad(x => plain(x))(v), 'gradient')
      close(jit((x: tf.Tensor) => tf.grad(y => outer(y))(x))(v), tf.grad(x => plain(x))(v), 'gradient, jitted')
    })

    it('works inside jit, and with a while loop inside', () => {
      const f = jit((xs: tf.Tensor) =>
        scan(
          (c: tf.Tensor, x: tf.Tensor) => {
            const doubled = whileLoop(
              (s: tf.Tensor) => tf.less(s, 100),
              (s: tf.Tensor) => tf.mul(s, 2),
              tf.add<tf.Tensor>(c, x),
            )
            return [doubled, c]
          },
          scalar(1),
          xs,
        ),
      )
      const [last, ys] = f(tf.tensor1d([2, 1]))
      assert.deepEqual([...last.dataSync(), ...ys.dataSync()], [193, 1, 192])
    })

    it('runs an empty scan', () => {
      const [last, ys] = scan((c: tf.Tensor, x: tf.Tensor) => [tf.add(c, x), c], scalar(5), tf.zeros([0]))
      assert.deepEqual([last.dataSync()[0], ys.shape], [5, [0]])
    })

    it('says what is wrong', () => {
      const body = (c: tf.Tensor, [a]: tf.Tensor[]): [tf.Tensor, null] => [tf.add(c, a!), null]
      assert.throws(() => scan(body, tf.scalar(0), [tf.zeros([2]), tf.zeros([3])]), /leading axes of xs are 2, 3/)
      assert.throws(() => scan((c: tf.Tensor) => [c, c], tf.scalar(0), null), /Pass \{ length \}/)
      assert.throws(
        () =>
          scan((c: tf.Tensor): [tf.Tensor, null] => [tf.concat([c, c]), null], zeros([1]), null, {
            length: 2,
          }),
        /tensor<2xf32>, needed tensor<1xf32>/,
      )
      assert.deepEqual([...tf.add(tf.scalar(1), 1).dataSync()], [2])
    })
  })

  describe('whileLoop', () => {
    it('stops when the condition fails, lazy and jitted', () => {
      const collatz = (n: tf.Tensor) =>
        whileLoop(
          s => tf.greater(s.n, 1),
          s => ({
            n: tf.where(tf.equal(tf.mod(s.n, 2), 0), tf.div(s.n, 2), tf.add(tf.mul(s.n, 3), 1)),
            steps: tf.add(s.steps, tf.scalar(1, 'int32')),
          }),
          { n, steps: scalar(0, 'int32') },
        ).steps
      assert.equal(collatz(tf.scalar(27)).dataSync()[0], 111)
      assert.equal(jit(collatz)(tf.scalar(6)).dataSync()[0], 8)
    })

    it('reads closed-over tensors', () => {
      const limit = tf.scalar(20)
      const factor = tf.scalar(3)
      const x = whileLoop(
        (s: tf.Tensor) => tf.less(s, limit),
        s => tf.mul(s, factor),
        scalar(1),
      )
      assert.equal(x.dataSync()[0], 27)
    })

    it('refuses a state that changes shape or type', () => {
      assert.throws(
        () =>
          whileLoop(
            () => tf.scalar(true, 'bool'),
            (s: tf.Tensor) => tf.concat([s, s]),
            zeros([1]),
          ),
        /needed tensor<1xf32>/,
      )
    })
  })

  describe('cond', () => {
    const f = (p: tf.Tensor, x: tf.Tensor) =>
      cond(
        p,
        () => [tf.add(x, 1), x],
        () => [tf.mul(x, 10), tf.neg(x)],
      )
    it('takes one branch, lazy and jitted', () => {
      for (const run of [f, jit(f)])
        for (const [p, wanted] of [
          [true, [4, 3]],
          [false, [30, -3]],
        ] as const)
          assert.deepEqual(
            run(tf.scalar(p, 'bool'), tf.scalar(3)).map(t => t.dataSync()[0]),
            wanted,
          )
    })

    it('refuses branches of different shapes', () => {
      assert.throws(
        () =>
          cond(
            tf.scalar(true, 'bool'),
            () => tf.zeros([2]),
            () => tf.zeros([3]),
          ),
        /second branch.*tensor<3xf32>, needed tensor<2xf32>/,
      )
    })
  })

  describe('dynamic slices', () => {
    const x = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2])
    it('reads and writes at computed starts, clamped', () => {
      assert.deepEqual([...dynamicSlice(x, [tf.scalar(1, 'int32'), 0], [2, 1]).dataSync()], [3, 5])
      assert.deepEqual([...dynamicSlice(x, [tf.scalar(9, 'int32'), 0], [1, 2]).dataSync()], [5, 6])
      const written = dynamicUpdateSlice(x, tf.tensor2d([[9, 9]]), [tf.scalar(1, 'int32'), 0])
      assert.deepEqual([...written.dataSync()], [1, 2, 9, 9, 5, 6])
    })

    it('passes gradients to what was read, and to what was not overwritten', () => {
      const at = [tf.scalar(1, 'int32'), 0]
      const read = tf.grad(y => tf.sum(tf.square(dynamicSlice(y, at, [1, 2]))))(x)
      assert.deepEqual([...read.dataSync()], [0, 0, 6, 8, 0, 0])
      const [dx, du] = tf.grads((y, u) => tf.sum(tf.square(dynamicUpdateSlice(y, u, at))))([x, tf.tensor2d([[7, 8]])])
      assert.deepEqual([...dx!.dataSync()], [2, 4, 0, 0, 10, 12])
      assert.deepEqual([...du!.dataSync()], [14, 16])
    })

    it('needs one start an axis', () => {
      assert.throws(() => dynamicSlice(x, [0], [1, 2]), /1 starts for a tensor of rank 2/)
    })
  })
})
