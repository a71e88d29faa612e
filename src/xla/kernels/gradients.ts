import * as tf from '@tensorflow/tfjs-core'

/* Gradients that tfjs lacks or has wrong. They are made of tfjs operations, and so serve every backend. */

/** Sums a gradient over the axes along which its input was broadcast. */
function unbroadcast(gradient: tf.Tensor, shape: number[]): tf.Tensor {
  const axes = tf.broadcast_util.getReductionAxes(shape, gradient.shape)
  return tf.reshape(axes.length ? tf.sum(gradient, axes) : gradient, shape)
}

/** tfjs's own do not sum over broadcast axes. */
for (const [kernelName, holds] of [
  [tf.Maximum, tf.greaterEqual],
  [tf.Minimum, tf.lessEqual],
] as const)
  tf.registerGradient({
    kernelName,
    inputsToSave: ['a', 'b'],
    gradFunc: (dy, saved) => {
      const [a, b] = saved as [tf.Tensor, tf.Tensor]
      const fromA = holds(a, b)
      const where = (chosen: tf.Tensor) => tf.mul(dy as tf.Tensor, tf.cast(chosen, 'float32'))
      return {
        a: () => unbroadcast(where(fromA), a.shape),
        b: () => unbroadcast(where(tf.logicalNot(fromA)), b.shape),
      }
    },
  })

tf.registerGradient({
  kernelName: tf.SquaredDifference,
  inputsToSave: ['a', 'b'],
  gradFunc: (dy, saved) => {
    const [a, b] = saved as [tf.Tensor, tf.Tensor]
    const slope = () => tf.mul(tf.mul(dy as tf.Tensor, 2), tf.sub(a, b))
    return { a: () => unbroadcast(slope(), a.shape), b: () => unbroadcast(tf.neg(slope()), b.shape) }
  },
})

tf.registerGradient({
  kernelName: tf.BatchMatMul,
  inputsToSave: ['a', 'b'],
  gradFunc: (dys, saved, attrs) => {
    const [a, b] = saved as [tf.Tensor, tf.Tensor]
    const { transposeA, transposeB } = attrs as unknown as tf.BatchMatMulAttrs
    const dy = dys as tf.Tensor
    const da = () => (transposeA ? tf.matMul(b, dy, transposeB, true) : tf.matMul(dy, b, false, !transposeB))
    const db = () => (transposeB ? tf.matMul(dy, a, true, transposeA) : tf.matMul(a, dy, !transposeA, false))
    return { a: () => unbroadcast(da(), a.shape), b: () => unbroadcast(db(), b.shape) }
  },
})

/** Each factor's gradient is the product of those before it and those after it: no division, so that zeros are safe.
 * tfjs's own calls methods that exist only with its operations chained. */
tf.registerGradient({
  kernelName: tf.Prod,
  inputsToSave: ['x'],
  gradFunc: (dy, saved, attrs) => {
    const [x] = saved as [tf.Tensor]
    const axes = tf.util.parseAxisParam(attrs.axis as number[], x.shape)
    const others = x.shape.map((_, i) => i).filter(i => !axes.includes(i))
    const order = [...others, ...axes]
    const kept = x.shape.map((d, i) => (axes.includes(i) ? 1 : d))
    return {
      x: () => {
        const turned = tf.transpose(x, order)
        const factors = tf.reshape(turned, [tf.util.sizeFromShape(others.map(i => x.shape[i]!)), -1])
        const rest = tf.mul(tf.cumprod(factors, 1, true), tf.cumprod(factors, 1, true, true))
        const back = tf.transpose(tf.reshape(rest, turned.shape), tf.backend_util.getUndoAxesPermutation(order))
        return tf.mul(back, tf.reshape(dy as tf.Tensor, kept))
      },
    }
  },
})

/** Each slice's gradient is added where the slice was taken. tfjs's own needs chained operations for batches. */
tf.registerGradient({
  kernelName: tf.GatherV2,
  inputsToSave: ['x', 'indices'],
  gradFunc: (dy, saved, attrs) => {
    const [x, indices] = saved as [tf.Tensor, tf.Tensor]
    const { axis, batchDims } = attrs as unknown as tf.GatherV2Attrs
    const a = tf.util.parseAxisParam(axis, x.shape)[0]!
    const { sizeFromShape } = tf.util
    const batch = sizeFromShape(x.shape.slice(0, batchDims))
    const outer = sizeFromShape(x.shape.slice(batchDims, a))
    const n = x.shape[a]!
    const inner = sizeFromShape(x.shape.slice(a + 1))
    const count = sizeFromShape(indices.shape.slice(batchDims))
    return {
      x: () => {
        const taken = tf.transpose(tf.reshape(dy as tf.Tensor, [batch, outer, count, inner]), [0, 2, 1, 3])
        const first = tf.mul(tf.range(0, batch, 1, 'int32'), tf.scalar(n, 'int32'))
        const ids = tf.add(tf.reshape(indices, [batch, count]), tf.expandDims(first, 1))
        const rows = tf.reshape(taken, [batch * count, outer * inner])
        const sums = tf.unsortedSegmentSum(rows, tf.reshape<tf.Rank.R1>(ids, [-1]), batch * n)
        return tf.reshape(tf.transpose(tf.reshape(sums, [batch, n, outer, inner]), [0, 2, 1, 3]), x.shape)
      },
      indices: () => indices,
    }
  },
})

/** Each operand's gradient is an einsum of the other and the cotangent. Axes that only this operand names are repeated. */
tf.registerGradient({
  kernelName: tf.Einsum,
  saveAllInputs: true,
  gradFunc: (dy, saved, attrs) => {
    const [left, output] = (attrs.equation as string).replace(/\s/g, '').split('->') as [string, string]
    const terms = left.split(',')
    const gradient = (i: number): tf.Tensor => {
      const x = saved[i]!
      const others = saved.filter((_, j) => j !== i)
      const given = output + terms.filter((_, j) => j !== i).join('')
      const named = [...terms[i]!].filter(c => given.includes(c)).join('')
      const equation = [output, ...terms.filter((_, j) => j !== i)].join(',')
      const dx = tf.einsum(`${equation}->${named}`, dy as tf.Tensor, ...others)
      const shape = x.shape.map((d, axis) => (named.includes(terms[i]![axis]!) ? d : 1))
      return tf.broadcastTo(tf.reshape(dx, shape), x.shape)
    }
    return Object.fromEntries(saved.map((_, i) => [i, () => gradient(i)]))
  },
})

/** tfjs's own transposes the result when the axis is not the last. */
tf.registerGradient({
  kernelName: tf.Cumsum,
  gradFunc: (dy, _, attrs) => {
    const { axis, exclusive, reverse } = attrs as unknown as tf.CumsumAttrs
    return { x: () => tf.cumsum(dy as tf.Tensor, axis, exclusive, !reverse) }
  },
})
