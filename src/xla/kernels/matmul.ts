import * as tf from '@tensorflow/tfjs-core'
import type { TensorInfo } from '@tensorflow/tfjs-core'
import { backend } from '../backend.js'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import { activate } from './activations.js'
import { kernel } from './register.js'

kernel<tf.BatchMatMulInputs, tf.BatchMatMulAttrs>(tf.BatchMatMul, ({ a, b }, { transposeA, transposeB }) =>
  matmul(a, b, transposeA, transposeB),
)

/** a [..., M, K] × b [..., K, N] → [..., M, N]; leading axes broadcast. `wide`: sums in half precision stay in f32. */
export function matmul(a: Node, b: Node, transposeA = false, transposeB = false, wide = false): Node {
  if (a.shape.length < 2 || b.shape.length < 2)
    throw new Error(`matMul: got [${a.shape.join(',')}] and [${b.shape.join(',')}]; needed at least two axes each`)
  const lead = hlo.broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2))
  const p = hlo.broadcast(a, [...lead, ...a.shape.slice(-2)])
  const q = hlo.broadcast(b, [...lead, ...b.shape.slice(-2)])
  const n = lead.length
  const batch = lead.map((_, i) => i)
  const [inA, inB] = [transposeA ? n : n + 1, transposeB ? n + 1 : n]
  if (n === 0 && transposeB && p.shape[1 - inA]! <= FEW_ROWS && onCpu() && hlo.productType(p, q) === 'f32') {
    const product = hlo.dot(q, p, { batch: [[], []], contract: [[inB], [inA]] }, wide) // [N, M]
    return hlo.transpose(hlo.barrier([product])[0]!, [1, 0]) // without the barrier XLA turns it back
  }
  return hlo.dot(p, q, { batch: [batch, batch], contract: [[inA], [inB]] }, wide)
}

/** Up to so many rows, x·Wᵀ is computed as (W·xᵀ)ᵀ: XLA's products on the CPU pack their right factor, and x is the smaller one, so
 * that it takes half the time. With more rows what reads the transposed product loses more than that. In half precision there is
 * little to gain. Not of batches: XLA gives such a product the transposed layout, which its CPU compiler cannot write, and ends
 * the process. */
const FEW_ROWS = 64
const onCpu = () => backend().engine.client.platform === 'cpu'

/** Each subscript names an axis, once in a term; those that the output lacks are summed over. At most two operands. */
kernel<Record<string, TensorInfo>, tf.EinsumAttrs>(tf.Einsum, (inputs, { equation }) =>
  einsum(equation, Object.values(inputs)),
)

export function einsum(equation: string, operands: readonly Node[]): Node {
  const { allDims, idDims } = tf.backend_util.decodeEinsumEquation(equation, operands.length)
  tf.backend_util.checkEinsumDimSizes(allDims.length, idDims, operands as unknown as tf.Tensor[])
  const [left, right] = equation.replace(/\s/g, '').split('->') as [string, string]
  const terms = left.split(',')
  const singles = operands.map((x, i) => soloAxes(x, terms[i]!, right + terms.filter((_, j) => j !== i).join('')))
  if (singles.length === 1) return arrange(singles[0]!.node, singles[0]!.term, right)
  const [a, b] = singles as [Single, Single]
  const shared = [...a.term].filter(c => b.term.includes(c))
  const batch = shared.filter(c => right.includes(c))
  const contract = shared.filter(c => !right.includes(c))
  const axes = (s: Single, names: string[]) => names.map(c => s.term.indexOf(c))
  const node = hlo.dot(a.node, b.node, {
    batch: [axes(a, batch), axes(b, batch)],
    contract: [axes(a, contract), axes(b, contract)],
  })
  const free = (s: Single) => [...s.term].filter(c => !shared.includes(c))
  return arrange(node, [...batch, ...free(a), ...free(b)].join(''), right)
}

interface Single {
  node: Node
  term: string
}

/** Sums over axes nobody else names. */
function soloAxes(x: Node, term: string, others: string): Single {
  const alone = [...term].flatMap((c, i) => (others.includes(c) ? [] : [i]))
  return { node: hlo.reduce('add', x, alone), term: [...term].filter(c => others.includes(c)).join('') }
}

function arrange(node: Node, term: string, output: string): Node {
  return hlo.transpose(
    node,
    [...output].map(c => term.indexOf(c)),
  )
}

type Fused = tf._FusedMatMulInputs
kernel<Fused & { bias: TensorInfo; preluActivationWeights: TensorInfo }, tf._FusedMatMulAttrs>(
  tf._FusedMatMul,
  ({ a, b, bias, preluActivationWeights }, { transposeA, transposeB, activation, leakyreluAlpha }) => {
    const product = matmul(a, b, transposeA, transposeB)
    return activate(bias ? hlo.add(product, bias) : product, activation, preluActivationWeights, leakyreluAlpha)
  },
)
