import * as tf from '@tensorflow/tfjs-core'
import { insideOperation } from '../backend.js'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import { floatType, isFloat } from '../types.js'
import { elu, leakyRelu, prelu, relu, relu6 } from './activations.js'
import { onHost, runOnHost } from './host.js'
import { kernel, listKernel, rawKernel } from './register.js'

type X = { x: tf.TensorInfo }
type AB = { a: tf.TensorInfo; b: tf.TensorInfo }

const float = (x: Node): Node => hlo.convert(x, floatType(x.type))
const unsigned = (x: Node): boolean => x.type === 'pred' || x.type === 'u8' || x.type === 'u32'
/** Booleans count as integers. */
const numeric = (x: Node): Node => (x.type === 'pred' ? hlo.convert(x, 's32') : x)
const { like, compare, select, multiply, add, subtract } = hlo

/** Operations that exist as they are; integers become f32 where the result is not an integer. */
const UNARY: Record<string, string> = {
  [tf.Exp]: 'exponential',
  [tf.Expm1]: 'exponential_minus_one',
  [tf.Log]: 'log',
  [tf.Log1p]: 'log_plus_one',
  [tf.Sqrt]: 'sqrt',
  [tf.Rsqrt]: 'rsqrt',
  [tf.Sin]: 'sine',
  [tf.Cos]: 'cosine',
  [tf.Tanh]: 'tanh',
  [tf.Sigmoid]: 'logistic',
}
const CHLO: Record<string, string> = {
  [tf.Tan]: 'tan',
  [tf.Asin]: 'asin',
  [tf.Acos]: 'acos',
  [tf.Atan]: 'atan',
  [tf.Sinh]: 'sinh',
  [tf.Cosh]: 'cosh',
  [tf.Asinh]: 'asinh',
  [tf.Acosh]: 'acosh',
  [tf.Atanh]: 'atanh',
  [tf.Erf]: 'erf',
}
/** Operations that keep an integer's type. */
const ROUNDING: Record<string, string> = {
  [tf.Floor]: 'floor',
  [tf.Ceil]: 'ceil',
  [tf.Round]: 'round_nearest_even',
}

for (const [name, op] of Object.entries(UNARY)) kernel<X>(name, ({ x }) => hlo.unary(op, float(x)))
for (const [name, op] of Object.entries(CHLO)) kernel<X>(name, ({ x }) => hlo.chlo(op, float(x)))
for (const [name, op] of Object.entries(ROUNDING)) kernel<X>(name, ({ x }) => (isFloat(x.type) ? hlo.unary(op, x) : x))

kernel<X>(tf.Neg, ({ x }) => hlo.unary('negate', numeric(x)))
kernel<X>(tf.Abs, ({ x }) => (unsigned(x) ? x : hlo.unary('abs', x)))
kernel<X>(tf.Sign, ({ x }) => {
  if (isFloat(x.type)) return select(hlo.isNaN(x), like(x, 0), hlo.unary('sign', x))
  return unsigned(x) ? hlo.minimum(x, like(x, 1)) : hlo.unary('sign', x)
})
kernel<X>(tf.Square, ({ x }) => multiply(x, x))
kernel<X>(tf.Reciprocal, ({ x }) => hlo.divide(like(float(x), 1), float(x)))
kernel<X>(tf.Softplus, ({ x }) =>
  add(
    hlo.maximum(x, like(x, 0)),
    hlo.unary('log_plus_one', hlo.unary('exponential', hlo.unary('negate', hlo.unary('abs', x)))),
  ),
)
kernel<X>(tf.Relu, ({ x }) => relu(x))
kernel<X>(tf.Relu6, ({ x }) => relu6(x))
kernel<X>(tf.Elu, ({ x }) => elu(x))
kernel<tf.EluGradInputs>(tf.EluGrad, ({ dy, y }) =>
  select(compare('GE', y, like(y, 0)), dy, multiply(dy, add(y, like(y, 1)))),
)
const SELU_SCALE_ALPHA = 1.7580993408473768
const SELU_SCALE = 1.0507009873554805
kernel<X>(tf.Selu, ({ x }) =>
  select(
    compare('GE', x, like(x, 0)),
    multiply(x, like(x, SELU_SCALE)),
    multiply(hlo.unary('exponential_minus_one', x), like(x, SELU_SCALE_ALPHA)),
  ),
)
kernel<X, tf.LeakyReluAttrs>(tf.LeakyRelu, ({ x }, { alpha }) => leakyRelu(float(x), alpha))
kernel<{ x: tf.TensorInfo; alpha: tf.TensorInfo }>(tf.Prelu, ({ x, alpha }) => prelu(x, alpha))
/** 1 above zero, `alpha` at or below it, NaN for NaN. */
kernel<X, tf.StepAttrs>(tf.Step, ({ x: input }, { alpha }) => {
  const x = numeric(input)
  const step = select(compare('GT', x, like(x, 0)), like(x, 1), like(x, alpha ?? 0))
  return isFloat(x.type) ? select(hlo.isNaN(x), x, step) : step
})
kernel<X, tf.ClipByValueAttrs>(tf.ClipByValue, ({ x: input }, { clipValueMin, clipValueMax }) => {
  const x = numeric(input)
  return hlo.minimum(hlo.maximum(x, like(x, clipValueMin)), like(x, clipValueMax))
})

kernel<X>(tf.IsNan, ({ x }) => (isFloat(x.type) ? hlo.isNaN(x) : hlo.fill(0, x.shape, 'pred')))
kernel<X>(tf.IsFinite, ({ x }) => hlo.unary('is_finite', float(x), 'pred'))
kernel<X>(tf.IsInf, ({ x }) => compare('EQ', hlo.unary('abs', float(x)), like(float(x), Infinity)))

/** Whether just one of two numbers is negative. */
const differ = (a: Node, b: Node): Node => compare('NE', compare('LT', a, like(a, 0)), compare('LT', b, like(b, 0)))

/** The larger or smaller of two. NaN wins: XLA's own operation passes over one in the second operand on the CPU. */
export function extreme(op: 'maximum' | 'minimum', a: Node, b: Node): Node {
  const [p, q] = hlo.align(numeric(a), numeric(b))
  const result = hlo.binary(op, p, q)
  return isFloat(p.type) ? select(hlo.isNaN(p), p, select(hlo.isNaN(q), q, result)) : result
}

// Two operands that broadcast
kernel<AB>(tf.Add, ({ a, b }) => add(numeric(a), numeric(b)))
kernel<AB>(tf.Sub, ({ a, b }) => subtract(numeric(a), numeric(b)))
kernel<AB>(tf.Multiply, ({ a, b }) => multiply(numeric(a), numeric(b)))
kernel<AB>(tf.RealDiv, ({ a, b }) => hlo.divide(float(a), float(b)))
kernel<AB>(tf.Maximum, ({ a, b }) => extreme('maximum', a, b))
kernel<AB>(tf.Minimum, ({ a, b }) => extreme('minimum', a, b))
kernel<AB>(tf.Atan2, ({ a, b }) => hlo.binary('atan2', float(a), float(b)))
kernel<AB>(tf.SquaredDifference, ({ a, b }) => {
  const d = subtract(numeric(a), numeric(b))
  return multiply(d, d)
})
kernel<AB>(tf.Pow, ({ a, b }) => hlo.binary('power', numeric(a), numeric(b)))
/** As tfjs has it, an integer divided by zero is 0, with remainder 0. XLA would end the process where it folds constants. */
function divided(a: Node, b: Node, f: (p: Node, q: Node) => Node): Node {
  const [p, q] = hlo.align(numeric(a), numeric(b))
  if (isFloat(p.type)) return f(p, q)
  const none = compare('EQ', q, like(q, 0))
  return select(none, like(p, 0), f(p, select(none, like(q, 1), q)))
}

/** Always an integer, as in tfjs's other backends. */
kernel<AB>(tf.FloorDiv, ({ a, b }) =>
  divided(a, b, (p, q) => {
    if (isFloat(p.type)) return hlo.convert(hlo.unary('floor', hlo.divide(p, q)), 's32')
    const quotient = hlo.divide(p, q) // towards zero
    const rest = subtract(p, multiply(quotient, q))
    const inexact = hlo.binary('and', compare('NE', rest, like(rest, 0)), differ(rest, q))
    return select(inexact, subtract(quotient, like(quotient, 1)), quotient)
  }),
)
/** The remainder takes the divisor's sign. */
kernel<AB>(tf.Mod, ({ a, b }) =>
  divided(a, b, (p, q) => {
    const remainder = hlo.binary('remainder', p, q)
    return select(differ(p, q), hlo.binary('remainder', add(remainder, q), q), remainder)
  }),
)
listKernel(tf.AddN, xs => xs.reduce((sum, x) => add(sum, x)))

const COMPARE: Record<string, hlo.Comparison> = {
  [tf.Equal]: 'EQ',
  [tf.NotEqual]: 'NE',
  [tf.Greater]: 'GT',
  [tf.GreaterEqual]: 'GE',
  [tf.Less]: 'LT',
  [tf.LessEqual]: 'LE',
}
for (const [name, direction] of Object.entries(COMPARE)) kernel<AB>(name, ({ a, b }) => compare(direction, a, b))

const truth = (x: Node): Node => (x.type === 'pred' ? x : compare('NE', x, like(x, 0)))
kernel<AB>(tf.LogicalAnd, ({ a, b }) => hlo.binary('and', truth(a), truth(b)))
kernel<AB>(tf.LogicalOr, ({ a, b }) => hlo.binary('or', truth(a), truth(b)))
kernel<AB>(tf.BitwiseAnd, ({ a, b }) => hlo.binary('and', a, b))
kernel<X>(tf.LogicalNot, ({ x }) => hlo.unary('not', truth(x)))

/** A condition of rank 1 chooses whole rows. */
kernel<tf.SelectInputs>(tf.Select, ({ condition, t, e }) => {
  const rows = condition.shape.length === 1 && t.shape.length > 1
  const shape = rows ? [condition.shape[0]!, ...t.shape.slice(1).map(() => 1)] : condition.shape
  return select(hlo.reshape(truth(condition), shape), t, e)
})

rawKernel(tf.Cast, (backend, inputs, attrs) => {
  const { dtype } = attrs as tf.CastAttrs
  const x = inputs.x!
  if (onHost(x.dtype) || onHost(dtype)) return runOnHost(tf.Cast, backend, inputs, attrs)
  return backend.info(cast(backend.node(x), dtype))
})

function cast(x: Node, dtype: tf.DataType): Node {
  switch (dtype) {
    case 'float32': {
      const result = float(x)
      // tfjs casts an integer that meets a float: a float of any type shall win.
      if (result !== x) result.weak = insideOperation(2)
      return result
    }
    case 'int32':
      return isFloat(x.type) || x.type === 'pred' ? hlo.convert(x, 's32') : x
    case 'bool':
      return truth(x)
    default:
      throw new Error(`xla: cannot cast to ${dtype}`)
  }
}
