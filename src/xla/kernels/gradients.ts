import * as tf from '@tensorflow/tfjs-core'

/* Gradients that tfjs lacks or has wrong. They are tfjs operations, and so serve every backend. */

/** Each operand's gradient is an einsum of the other and the cotangent. Axes that only this operand names are repeated. */
tf.registerGradient({
  kernelName: tf.Einsum,
  saveAllInputs: true,
  gradFunc: (dy, saved, attrs) => {
    const [left, output] = (attrs.equation as string).replace(/\s/g, '').split('->') as [string, string]
    const terms = left.split(',')
    const repeated = terms.find(term => new Set(term).size < term.length)
    if (repeated !== undefined)
      throw new Error(`einsum "${left}->${output}": the gradient of a diagonal ("${repeated}") is not implemented`)
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
