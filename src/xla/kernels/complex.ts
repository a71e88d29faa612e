import * as tf from '@tensorflow/tfjs-core'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import { extreme } from './elementwise.js'
import { hostKernels, rawKernel } from './register.js'

/* A complex tensor is a pair of real ones. Its parts stay on the device; other operations on it run on the host. */

rawKernel(tf.Complex, (backend, { real, imag }) => backend.complex(real!, imag!))

for (const [name, part] of [
  [tf.Real, 'real'],
  [tf.Imag, 'imag'],
] as const)
  rawKernel(name, (backend, { input }) => {
    if (input!.dtype === 'complex64') {
      const { dataId } = backend.complexParts(input!)[part]
      backend.incRef(dataId)
      return { dataId, shape: input!.shape, dtype: 'float32' }
    }
    const x = backend.node(input!)
    return backend.info(part === 'real' ? hlo.convert(x, 'f32') : hlo.fill(0, x.shape, 'f32'))
  })

rawKernel(tf.ComplexAbs, (backend, { x }) => {
  const { real, imag } = backend.complexParts(x!)
  const [a, b] = [real, imag].map(part => backend.node({ ...part, shape: x!.shape })) as [Node, Node]
  // Scaled, so that no square overflows or vanishes.
  const [p, q] = [hlo.unary('abs', a), hlo.unary('abs', b)]
  const large = extreme('maximum', p, q)
  const ratio = hlo.divide(hlo.minimum(p, q), large)
  const length = hlo.multiply(large, hlo.unary('sqrt', hlo.add(hlo.like(ratio, 1), hlo.multiply(ratio, ratio))))
  const is = (y: Node, value: number) => hlo.compare('EQ', y, hlo.like(y, value))
  const finite = hlo.select(is(large, 0), large, length)
  const infinite = hlo.binary('or', is(p, Infinity), is(q, Infinity)) // whatever the other is
  return backend.info(hlo.select(infinite, hlo.like(large, Infinity), finite))
})

hostKernels(tf.FFT, tf.IFFT)
