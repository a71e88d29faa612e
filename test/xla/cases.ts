import * as tf from '@tensorflow/tfjs-core'
import { astype, constrain, copy, dynamicSlice, dynamicUpdateSlice, mesh, wideMatMul } from '../../src/xla/index.js'
import type { Draw } from './draw.js'

/* How each kernel of the backend is exercised: one entry a kernel, in families. */

type Run = (...xs: tf.Tensor[]) => tf.Tensor | tf.Tensor[]

export interface Case {
  /** Inputs of one run, and what is done with them: on our backend and on tfjs's CPU backend. */
  (draw: Draw): { inputs: tf.Tensor[]; run: Run; reference?: Run }
  /** `finite`: tfjs's CPU gradient is wrong or missing, so that ours is held against finite differences;
   * `none`: there is none, or the case has nothing to differentiate. Default: compared with the CPU backend's. */
  gradient?: 'finite' | 'none'
  /** Relative to 1 + |value|. */
  tolerance?: number
}

const a = (name: string, inputs: tf.NamedTensorMap | tf.Tensor[], attrs: object = {}): tf.Tensor =>
  tf.engine().runKernel(name, inputs as tf.NamedTensorMap, attrs as tf.NamedAttrMap)

const make = (f: (draw: Draw) => ReturnType<Case>, options: Pick<Case, 'gradient' | 'tolerance'> = {}): Case =>
  Object.assign((draw: Draw) => f(draw), options)
const plain = (f: (draw: Draw) => ReturnType<Case>): Case => make(f, { gradient: 'none' })
const finite = (f: (draw: Draw) => ReturnType<Case>): Case => make(f, { gradient: 'finite' })

/** The gradient is our own, on the CPU backend too. */
const OURS = { gradient: 'finite' } as const

type Values = 'uniform' | 'positive' | 'unit' | 'special' | 'ints' | 'bools'

/** Elementwise on one input; beyond the first run over special values, if the kernel means something for them. */
const unary = (run: (x: tf.Tensor) => tf.Tensor, values: Values = 'uniform', special = true): Case =>
  make(d => ({ inputs: [d[special && d.run % 3 === 1 ? 'special' : values](d.shape())], run: run }))

const pair = (d: Draw, values: Values, other = values): [tf.Tensor, tf.Tensor] => {
  const shape = d.shape()
  return [d[values](shape), d[other](d.broadcastable(shape))]
}
const binary = (
  run: (p: tf.Tensor, q: tf.Tensor) => tf.Tensor,
  options: Pick<Case, 'gradient' | 'tolerance'> = {},
): Case => make(d => ({ inputs: pair(d, d.run === 1 ? 'ints' : 'uniform'), run: run }), options)
const comparison = (run: (p: tf.Tensor, q: tf.Tensor) => tf.Tensor): Case =>
  plain(d => ({ inputs: pair(d, (['ints', 'special', 'uniform'] as const)[d.run % 3]!), run: run }))
const logical = (run: (p: tf.Tensor, q: tf.Tensor) => tf.Tensor): Case =>
  plain(d => ({ inputs: pair(d, 'bools'), run: run }))

const reduction = (
  run: (x: tf.Tensor, axes: number[], keepDims: boolean) => tf.Tensor,
  values: Values = 'uniform',
  options: Pick<Case, 'gradient' | 'tolerance'> = {},
): Case =>
  make(d => {
    const shape = d.full(1)
    const axes = shape.map((_, i) => i).filter(i => i === shape.length - 1 || d.random() < 0.5)
    const keepDims = d.run === 1
    return {
      inputs: [d[values === 'uniform' && d.run === 2 ? 'special' : values](shape)],
      run: x => run(x, axes, keepDims),
    }
  }, options)

const elementwise: Record<string, Case> = {
  Abs: unary(tf.abs),
  Acos: unary(tf.acos, 'unit'),
  Acosh: unary(tf.acosh, 'positive', false),
  Asin: unary(tf.asin, 'unit'),
  Asinh: unary(tf.asinh),
  Atan: unary(tf.atan),
  Atanh: unary(tf.atanh, 'unit'),
  BitwiseAnd: plain(d => {
    const shape = d.shape()
    return { inputs: [d.ints(shape, 0, 64), d.ints(shape, 0, 64)], run: (p, q) => tf.bitwiseAnd(p, q) }
  }),
  Cast: plain(d => {
    const to = (['int32', 'float32', 'bool'] as const)[d.run % 3]!
    return { inputs: [d[d.pick(['uniform', 'ints', 'bools'] as const)](d.shape())], run: x => tf.cast(x, to) }
  }),
  Ceil: unary(tf.ceil),
  ClipByValue: unary(x => tf.clipByValue(x, -1, 2)),
  Cos: unary(tf.cos),
  Cosh: unary(tf.cosh),
  Elu: unary(tf.elu),
  EluGrad: plain(d => {
    const shape = d.shape()
    return { inputs: [d.uniform(shape), d.uniform(shape)], run: (dy, y) => a('EluGrad', { dy: dy, y: y }) }
  }),
  Erf: unary(tf.erf),
  Exp: unary(tf.exp),
  Expm1: unary(tf.expm1),
  Floor: unary(tf.floor),
  IsFinite: plain(d => ({ inputs: [d.special(d.shape())], run: x => tf.isFinite(x) })),
  IsInf: plain(d => ({ inputs: [d.special(d.shape())], run: x => tf.isInf(x) })),
  IsNan: plain(d => ({ inputs: [d.special(d.shape())], run: x => tf.isNaN(x) })),
  LeakyRelu: unary(x => tf.leakyRelu(x, 0.3)),
  Log: unary(tf.log, 'positive'),
  Log1p: unary(tf.log1p, 'positive'),
  LogicalNot: plain(d => ({ inputs: [d.bools(d.shape())], run: x => tf.logicalNot(x) })),
  Neg: unary(tf.neg),
  Prelu: make(d => {
    const shape = d.full(2)
    return { inputs: [d.uniform(shape), d.uniform(shape.slice(1))], run: (x, alpha) => tf.prelu(x, alpha) }
  }),
  Reciprocal: unary(tf.reciprocal, 'positive'),
  Relu: unary(tf.relu),
  // Where the gradient multiplies NaN by a mask, XLA may choose 0.
  Relu6: unary(x => tf.relu6(tf.mul(x, 4)), 'uniform', false),
  Round: unary(tf.round),
  Rsqrt: unary(tf.rsqrt, 'positive', false),
  Selu: unary(tf.selu),
  Sigmoid: unary(tf.sigmoid),
  Sign: unary(tf.sign),
  Sin: unary(tf.sin),
  Sinh: unary(tf.sinh),
  Softplus: unary(tf.softplus),
  Sqrt: unary(tf.sqrt, 'positive'),
  Square: unary(tf.square),
  Step: unary(x => tf.step(x, 0.25)),
  Tan: unary(tf.tan, 'unit'),
  Tanh: unary(tf.tanh),

  Add: binary(tf.add),
  AddN: make(d => {
    const shape = d.shape()
    return { inputs: [1, 2, 3].map(() => d.uniform(shape)), run: (...xs) => tf.addN(xs) }
  }),
  Atan2: make(d => ({ inputs: pair(d, 'positive', 'uniform'), run: (p, q) => tf.atan2(p, q) })),
  FloorDiv: plain(d => ({ inputs: pair(d, 'uniform', 'positive'), run: (p, q) => tf.floorDiv(p, q) })),
  Maximum: binary(tf.maximum, OURS),
  Minimum: binary(tf.minimum, OURS),
  Mod: make(d => ({ inputs: pair(d, 'uniform', 'positive'), run: (p, q) => tf.mod(p, q) })),
  Multiply: binary(tf.mul),
  Pow: make(d => ({ inputs: pair(d, 'positive', 'uniform'), run: (p, q) => tf.pow(p, q) })),
  RealDiv: make(d => ({ inputs: pair(d, 'uniform', 'positive'), run: (p, q) => tf.div(p, q) })),
  SquaredDifference: binary(tf.squaredDifference, OURS),
  Sub: binary(tf.sub),

  Equal: comparison(tf.equal),
  Greater: comparison(tf.greater),
  GreaterEqual: comparison(tf.greaterEqual),
  Less: comparison(tf.less),
  LessEqual: comparison(tf.lessEqual),
  NotEqual: comparison(tf.notEqual),
  LogicalAnd: logical(tf.logicalAnd),
  LogicalOr: logical(tf.logicalOr),
  Select: make(d => {
    const shape = d.full(2)
    const condition = d.bools(shape)
    return { inputs: [d.uniform(shape), d.uniform(shape)], run: (p, q) => tf.where(condition, p, q) }
  }),
}

const reductions: Record<string, Case> = {
  All: reduction((x, axes, keep) => tf.all(x, axes, keep), 'bools', { gradient: 'none' }),
  Any: reduction((x, axes, keep) => tf.any(x, axes, keep), 'bools', { gradient: 'none' }),
  ArgMax: reduction((x, axes) => tf.argMax(x, axes[0]), 'ints', { gradient: 'none' }),
  ArgMin: reduction((x, axes) => tf.argMin(x, axes[0]), 'ints', { gradient: 'none' }),
  Max: reduction((x, axes, keep) => tf.max(x, axes, keep)),
  Mean: reduction((x, axes, keep) => tf.mean(x, axes, keep)),
  Min: reduction((x, axes, keep) => tf.min(x, axes, keep)),
  Prod: reduction((x, axes, keep) => tf.prod(x, axes, keep), 'uniform', OURS),
  Sum: reduction((x, axes, keep) => tf.sum(x, axes, keep)),
  Softmax: make(d => ({ inputs: [d.uniform(d.full(1))], run: x => tf.softmax(x) })),
  LogSoftmax: make(d => ({
    inputs: [d.uniform(d.full(1))],
    run: x => a('LogSoftmax', { logits: x }, { axis: -1 }),
    reference: x => tf.logSoftmax(x),
  })),
  Cumprod: plain(d => {
    const shape = d.full(2)
    const axis = d.int(0, shape.length)
    const [exclusive, reverse] = [d.run % 2 === 1, d.run >= 1]
    return { inputs: [d.uniform(shape)], run: x => tf.cumprod(x, axis, exclusive, reverse) }
  }),
  Cumsum: finite(d => {
    const shape = d.full(2)
    const axis = d.run === 0 ? 0 : shape.length - 1
    const [exclusive, reverse] = [d.run % 2 === 1, d.run >= 1]
    return { inputs: [d.uniform(shape)], run: x => tf.cumsum(x, axis, exclusive, reverse) }
  }),
}

const EQUATIONS = ['ij,jk->ik', 'bhqd,bhkd->bhqk', 'bij,bjk->bki', 'ij->i', 'i,j->ij', 'bij,bij->b']
const SIZES: Record<string, number> = { b: 2, d: 4, h: 2, i: 3, j: 4, k: 2, q: 3 }

const products: Record<string, Case> = {
  BatchMatMul: finite(d => {
    const lead = d.run === 0 ? [] : d.run === 1 ? [1] : [3] // tfjs's CPU kernel broadcasts one axis rightly
    const [transposeA, transposeB] = [d.run === 1, d.run === 2]
    const p = [...lead, ...(transposeA ? [4, 3] : [3, 4])]
    const q = [...lead.map(n => (n === 1 ? 2 : n)), ...(transposeB ? [5, 4] : [4, 5])]
    return { inputs: [d.uniform(p), d.uniform(q)], run: (x, y) => tf.matMul(x, y, transposeA, transposeB) }
  }),
  Einsum: finite(d => {
    const equation = EQUATIONS[d.run % EQUATIONS.length]!
    const shapes = equation.split('->')[0]!.split(',')
    return {
      inputs: shapes.map(term => d.uniform([...term].map(c => SIZES[c]!))),
      run: (...xs) => tf.einsum(equation, ...xs),
    }
  }),
  _FusedMatMul: make(
    d => {
      const activation = (['relu', 'elu', 'prelu', 'leakyrelu', 'sigmoid', 'relu6', 'linear'] as const)[d.run % 7]!
      return {
        inputs: [d.uniform([3, 4]), d.uniform([4, 5]), d.uniform([5]), d.uniform([5])],
        run: (p, q, bias, prelu) =>
          tf.fused.matMul({
            a: p,
            b: q,
            bias: bias,
            activation,
            ...(activation === 'prelu' ? { preluActivationWeights: prelu } : {}),
            leakyreluAlpha: 0.2,
          }),
      }
    },
    { gradient: 'none' },
  ),
}

const axisOf = (d: Draw, shape: readonly number[]): number => d.int(0, shape.length)

const shapes: Record<string, Case> = {
  BroadcastTo: make(
    d => {
      const shape = d.full(1)
      return {
        inputs: [d.uniform(d.broadcastable(shape))],
        run: x => a('BroadcastTo', { x: x }, { shape }),
        reference: x => tf.broadcastTo(x, shape),
      }
    },
    { gradient: 'none' },
  ),
  Concat: make(d => {
    const shape = d.shape(1)
    const axis = axisOf(d, shape)
    const other = shape.map((n, i) => (i === axis ? n + 1 : n))
    return { inputs: [d.uniform(shape), d.uniform(other)], run: (...xs) => tf.concat(xs, axis) }
  }),
  Diag: plain(d => ({ inputs: [d.uniform([3, 2].slice(d.run % 2))], run: x => tf.diag(x) })),
  ExpandDims: make(d => {
    const shape = d.shape()
    const axis = d.int(0, shape.length + 1)
    return { inputs: [d.uniform(shape)], run: x => tf.expandDims(x, axis) }
  }),
  Fill: plain(d => {
    const shape = d.shape()
    return { inputs: [], run: () => [tf.fill(shape, 2.5), tf.fill(shape, 1, 'int32')] }
  }),
  Identity: make(d => ({ inputs: [d.uniform(d.shape())], run: x => tf.clone(x) })),
  LinSpace: plain(d => ({ inputs: [], run: () => tf.linspace(-1, d.run * 3, 4 + d.run) })),
  MirrorPad: make(d => {
    const paddings = [
      [1, 2],
      [0, 1],
    ] as [[number, number], [number, number]]
    const mode = d.run % 2 === 0 ? 'reflect' : 'symmetric'
    return { inputs: [d.uniform([3, 4])], run: x => tf.mirrorPad(x, paddings, mode) }
  }),
  OneHot: plain(d => ({ inputs: [d.ints(d.shape(), -1, 5)], run: x => tf.oneHot(x, 4, 2, -1) })),
  OnesLike: unary(tf.onesLike),
  Pack: make(d => {
    const shape = d.shape()
    const axis = d.int(0, shape.length + 1)
    return { inputs: [d.uniform(shape), d.uniform(shape)], run: (...xs) => tf.stack(xs, axis) }
  }),
  PadV2: make(d => {
    const shape = d.shape(1)
    const paddings = shape.map((): [number, number] => [d.int(0, 3), d.int(0, 3)])
    return { inputs: [d.uniform(shape)], run: x => tf.pad(x, paddings, 1.5) }
  }),
  Range: plain(d => ({
    inputs: [],
    run: () => [tf.range(-2, d.run * 3, 0.5), tf.range(5, -1, -2, 'int32'), tf.range(1, 1)],
  })),
  Reshape: make(d => {
    const shape = d.full()
    return { inputs: [d.uniform(shape)], run: x => tf.reshape(x, [-1, ...shape.slice(-1)]) }
  }),
  Reverse: make(d => {
    const shape = d.shape(1)
    const axis = axisOf(d, shape)
    return { inputs: [d.uniform(shape)], run: x => tf.reverse(x, axis) }
  }),
  Slice: make(d => {
    const shape = d.full(1)
    const begin = shape.map(n => d.int(0, n))
    const size = shape.map((n, i) => d.int(0, n - begin[i]! + 1))
    return { inputs: [d.uniform(shape)], run: x => tf.slice(x, begin, size) }
  }),
  SplitV: make(d => {
    const sizes = [1, 0, 3, 2]
    return { inputs: [d.uniform([2, 6])], run: x => tf.split(x, sizes, 1) }
  }),
  StridedSlice: plain(d => {
    const [begin, end, strides] = [
      [
        [0, 1],
        [4, 5],
        [2, 2],
      ],
      [
        [3, 4],
        [0, -6],
        [-1, -2],
      ],
      [
        [1, 0],
        [2, 5],
        [1, 1],
      ],
    ][d.run % 3] as [number[], number[], number[]]
    return { inputs: [d.uniform([4, 5])], run: x => tf.stridedSlice(x, begin, end, strides, 0, d.run % 2, 0, 0, 0) }
  }),
  Tile: make(d => {
    const shape = d.full(1)
    const reps = shape.map(() => d.int(1, 4))
    return { inputs: [d.uniform(shape)], run: x => tf.tile(x, reps) }
  }),
  Transpose: make(d => {
    const shape = d.shape(1)
    const permutation = shape.map((_, i) => (i + 1) % shape.length)
    return { inputs: [d.uniform(shape)], run: x => tf.transpose(x, permutation) }
  }),
  Unpack: make(d => {
    const shape = d.full(2)
    const axis = axisOf(d, shape)
    return { inputs: [d.uniform(shape)], run: x => tf.unstack(x, axis) }
  }),
  ZerosLike: unary(tf.zerosLike),
  BatchToSpaceND: make(d => ({
    inputs: [d.uniform([12, 2, 3, 2])],
    run: x =>
      tf.batchToSpaceND(
        x,
        [2, 3],
        d.run === 0
          ? [
              [0, 1],
              [1, 0],
            ]
          : [
              [0, 0],
              [0, 0],
            ],
      ),
  })),
  SpaceToBatchND: make(d => ({
    inputs: [d.uniform([2, 3, 4, 2])],
    run: x =>
      tf.spaceToBatchND(
        x,
        [2, 3],
        d.run === 0
          ? [
              [0, 1],
              [1, 1],
            ]
          : [
              [1, 0],
              [0, 2],
            ],
      ),
  })),
  DepthToSpace: plain(d => ({
    inputs: [d.uniform([2, 3, 1, 18])],
    run: x => tf.depthToSpace(x as tf.Tensor4D, d.run === 0 ? 3 : 3, 'NHWC'),
  })),
}

const indexed: Record<string, Case> = {
  GatherV2: finite(d => {
    const shape = d.run === 1 ? [2, 3, 4] : d.full(2)
    const axis = d.run === 1 ? 2 : d.run === 0 ? 0 : shape.length - 1
    const batch = d.run === 1 ? 1 : 0
    const indices = d.ints(batch ? [2, 3] : d.run === 2 ? [] : [2, 2], 0, shape[axis])
    return { inputs: [d.uniform(shape)], run: x => tf.gather(x, indices, axis, batch) }
  }),
  GatherNd: plain(d => {
    const indices = d.ints(d.run === 0 ? [3, 2] : [2, 2, 1], 0, 3)
    return { inputs: [d.uniform([3, 4, 2])], run: x => tf.gatherND(x, indices) }
  }),
  ScatterNd: plain(d => {
    const indices = d.ints([4, 2], 0, 3)
    return { inputs: [d.uniform([4, 2])], run: x => tf.scatterND(indices, x, [3, 3, 2]) }
  }),
  TensorScatterUpdate: plain(d => {
    const indices = tf.tensor2d([[2], [0]], [2, 1], 'int32')
    return { inputs: [d.uniform([3, 2]), d.uniform([2, 2])], run: (x, y) => tf.tensorScatterUpdate(x, indices, y) }
  }),
  UnsortedSegmentSum: make(d => {
    const shape = d.full(1)
    const ids = d.ints([shape[0]!], -1, 3) as tf.Tensor1D
    return { inputs: [d.uniform(shape)], run: x => tf.unsortedSegmentSum(x, ids, 3) }
  }),
  TopK: plain(d => {
    const shape = [...d.full(1).slice(0, -1), 6]
    const { values, indices } = { values: d.run === 1 ? d.ints(shape) : d.uniform(shape), indices: 3 + d.run }
    return {
      inputs: [values],
      run: x => {
        const top = tf.topk(x, Math.min(indices, 6))
        return [top.values, top.indices]
      },
    }
  }),
  SearchSorted: plain(d => {
    const sorted = tf.cumsum(d.ints([2, 5], 0, 3), 1)
    return {
      inputs: [sorted, d.ints([2, 4], -1, 9)],
      run: (s, v) => tf.searchSorted(s, v, d.run % 2 ? 'right' : 'left'),
    }
  }),
  SparseToDense: plain(d => {
    const indices = tf.tensor2d(
      [
        [0, 1],
        [2, 1],
      ],
      [2, 2],
      'int32',
    )
    return { inputs: [d.uniform([2])], run: x => tf.sparseToDense(indices, x, [3, 3], 0.5) }
  }),
  Bincount: plain(d => {
    const x = d.ints([7], 0, 9) as tf.Tensor1D
    return { inputs: [d.uniform([7])], run: w => tf.bincount(x, (d.run ? w : tf.tensor1d([])) as tf.Tensor1D, 6) }
  }),
  DenseBincount: plain(d => {
    const x = d.ints([2, 5], 0, 7) as tf.Tensor2D
    const weighted = d.run % 2 === 1
    return {
      inputs: [d.uniform([2, 5])],
      run: w => tf.denseBincount(x, (weighted ? w : tf.tensor1d([])) as tf.Tensor2D, 6, d.run === 2),
    }
  }),
}

const PADS = ['same', 'valid', 1] as const
const convolution2D = (d: Draw) => ({
  strides: d.run === 0 ? 2 : 1,
  pad: PADS[d.run % 3]!,
  dilations: d.run === 1 ? 2 : 1,
  x: d.uniform([2, 6, 5, 3]),
})

const convolutions: Record<string, Case> = {
  Conv2D: make(d => {
    const { strides, pad, x } = convolution2D(d)
    const format = d.run === 1 ? 'NCHW' : 'NHWC'
    const input = format === 'NCHW' ? tf.transpose(x, [0, 3, 1, 2]) : x
    return {
      inputs: [input, d.uniform([3, 3, 3, 2])],
      run: (p, q) => tf.conv2d(p as tf.Tensor4D, q as tf.Tensor4D, strides, pad, format),
    }
  }),
  Conv2DBackpropInput: make(d => {
    const strides = d.run === 0 ? 2 : 1
    return {
      inputs: [d.uniform([2, 3, 2, 4]), d.uniform([3, 3, 3, 4])],
      run: (dy, filter) =>
        tf.conv2dTranspose(dy as tf.Tensor4D, filter as tf.Tensor4D, [2, 3 * strides, 2 * strides, 3], strides, 'same'),
    }
  }),
  Conv2DBackpropFilter: plain(d => {
    const attrs = { strides: d.run === 0 ? 2 : 1, pad: 'same', dataFormat: 'NHWC', filterShape: [3, 2, 3, 2] }
    const dy = d.uniform(d.run === 0 ? [2, 3, 3, 2] : [2, 6, 5, 2])
    return { inputs: [d.uniform([2, 6, 5, 3]), dy], run: (x, g) => a('Conv2DBackpropFilter', { x: x, dy: g }, attrs) }
  }),
  DepthwiseConv2dNative: make(d => {
    const { strides, pad, x } = convolution2D(d)
    return {
      inputs: [x, d.uniform([3, 3, 3, 2])],
      run: (p, q) => tf.depthwiseConv2d(p as tf.Tensor4D, q as tf.Tensor4D, strides, pad),
    }
  }),
  DepthwiseConv2dNativeBackpropInput: plain(d => {
    const attrs = { strides: 1, dilations: 1, pad: 'same', inputShape: [2, 4, 3, 2] }
    return {
      inputs: [d.uniform([2, 4, 3, 6]), d.uniform([3, 2, 2, 3])],
      run: (dy, filter) => a('DepthwiseConv2dNativeBackpropInput', { dy: dy, filter: filter }, attrs),
    }
  }),
  DepthwiseConv2dNativeBackpropFilter: plain(d => {
    const attrs = { strides: 1, dilations: 1, pad: 'same', filterShape: [3, 2, 2, 3] }
    return {
      inputs: [d.uniform([2, 4, 3, 2]), d.uniform([2, 4, 3, 6])],
      run: (x, dy) => a('DepthwiseConv2dNativeBackpropFilter', { x: x, dy: dy }, attrs),
    }
  }),
  FusedConv2D: plain(d => {
    const activation = (['relu', 'elu', 'linear'] as const)[d.run % 3]!
    return {
      inputs: [d.uniform([2, 6, 5, 3]), d.uniform([3, 3, 3, 2]), d.uniform([2])],
      run: (x, filter, bias) =>
        tf.fused.conv2d({
          x: x as tf.Tensor4D,
          filter: filter as tf.Tensor4D,
          strides: 1,
          pad: 'same',
          bias: bias,
          activation,
        }),
    }
  }),
  FusedDepthwiseConv2D: plain(d => ({
    inputs: [d.uniform([2, 6, 5, 3]), d.uniform([3, 3, 3, 2]), d.uniform([6])],
    run: (x, filter, bias) =>
      tf.fused.depthwiseConv2d({
        x: x as tf.Tensor4D,
        filter: filter as tf.Tensor4D,
        strides: 1,
        pad: 'same',
        dilations: d.run === 1 ? 2 : 1,
        bias: bias,
        activation: 'relu',
      }),
  })),
  Conv3D: make(d => ({
    inputs: [d.uniform([1, 4, 3, 4, 2]), d.uniform([2, 2, 2, 2, 3])],
    run: (x, f) => tf.conv3d(x as tf.Tensor5D, f as tf.Tensor5D, d.run === 0 ? 2 : 1, d.run === 1 ? 'valid' : 'same'),
  })),
  Conv3DBackpropInputV2: plain(d => {
    const attrs = { strides: 1, pad: 'same', inputShape: [1, 4, 3, 4, 2] }
    return {
      inputs: [d.uniform([1, 4, 3, 4, 3]), d.uniform([2, 2, 3, 2, 3])],
      run: (dy, filter) => a('Conv3DBackpropInputV2', { dy: dy, filter: filter }, attrs),
    }
  }),
  Conv3DBackpropFilterV2: plain(d => {
    const attrs = { strides: 1, pad: 'same', filterShape: [2, 2, 3, 2, 3] }
    return {
      inputs: [d.uniform([1, 4, 3, 4, 2]), d.uniform([1, 4, 3, 4, 3])],
      run: (x, dy) => a('Conv3DBackpropFilterV2', { x: x, dy: dy }, attrs),
    }
  }),
  Dilation2D: make(d => {
    const { strides, dilations, x } = convolution2D(d)
    const pad = d.run === 1 ? 'valid' : 'same'
    return {
      inputs: [x, d.uniform([2, 3, 3])],
      run: (p, q) => tf.dilation2d(p as tf.Tensor4D, q as tf.Tensor3D, strides, pad, dilations),
    }
  }),
  Dilation2DBackpropInput: plain(d => dilationGradient(d, 'Dilation2DBackpropInput')),
  Dilation2DBackpropFilter: plain(d => dilationGradient(d, 'Dilation2DBackpropFilter')),
}

function dilationGradient(d: Draw, name: string): ReturnType<Case> {
  const attrs = { strides: [1, 1], pad: 'same', dilations: [1, 1] }
  return {
    inputs: [d.uniform([1, 4, 3, 2]), d.uniform([2, 3, 2]), d.uniform([1, 4, 3, 2])],
    run: (x, filter, dy) => a(name, { x: x, filter: filter, dy: dy }, attrs),
  }
}

/** Windows of one size along all axes: tfjs's CPU gradient of max pooling errs for others. */
const pooling2D = (d: Draw) => ({ filterSize: 2 + (d.run % 2), strides: d.run === 0 ? 2 : 1, pad: PADS[d.run % 3]! })
const pooling3D = (d: Draw) => ({ ...pooling2D(d), pad: d.run === 1 ? ('valid' as const) : ('same' as const) })
const image2D = (d: Draw) => d.uniform([2, 6, 5, 2]) as tf.Tensor4D
const image3D = (d: Draw) => d.uniform([1, 4, 3, 4, 2]) as tf.Tensor5D

const poolings: Record<string, Case> = {
  // tfjs's CPU gradient divides by the window's size, padding included, where the forward pass does not.
  AvgPool: finite(d => {
    const { filterSize, strides, pad } = pooling2D(d)
    return { inputs: [image2D(d)], run: x => tf.avgPool(x as tf.Tensor4D, filterSize, strides, pad) }
  }),
  AvgPool3D: finite(d => {
    const { filterSize, strides, pad } = pooling3D(d)
    return { inputs: [image3D(d)], run: x => tf.avgPool3d(x as tf.Tensor5D, filterSize, strides, pad) }
  }),
  MaxPool: make(d => {
    const { filterSize, strides, pad } = pooling2D(d)
    return { inputs: [image2D(d)], run: x => tf.maxPool(x as tf.Tensor4D, filterSize, strides, pad) }
  }),
  MaxPool3D: make(d => {
    const { filterSize, strides, pad } = pooling3D(d)
    return { inputs: [image3D(d)], run: x => tf.maxPool3d(x as tf.Tensor5D, filterSize, strides, pad) }
  }),
  AvgPoolGrad: plain(d => poolGradient(d, 'AvgPoolGrad', [2, 5, 4, 2], image2D(d))),
  AvgPool3DGrad: plain(d => poolGradient(d, 'AvgPool3DGrad', [1, 3, 2, 3, 2], image3D(d))),
  MaxPoolGrad: plain(d => poolGradient(d, 'MaxPoolGrad', [2, 5, 4, 2], image2D(d))),
  MaxPool3DGrad: plain(d => poolGradient(d, 'MaxPool3DGrad', [1, 3, 2, 3, 2], image3D(d))),
  MaxPoolWithArgmax: plain(d => {
    const { filterSize, strides } = pooling2D(d)
    return {
      inputs: [image2D(d)],
      run: x => {
        const r = tf.maxPoolWithArgmax(
          x as tf.Tensor4D,
          filterSize,
          strides,
          d.run === 1 ? 'valid' : 'same',
          d.run === 2,
        )
        return [r.result!, r.indexes!]
      },
    }
  }),
}

function poolGradient(d: Draw, name: string, outShape: number[], input: tf.Tensor): ReturnType<Case> {
  const attrs = { filterSize: 2, strides: 1, pad: 'valid' }
  return {
    inputs: [d.uniform(outShape), input, d.uniform(outShape)],
    run: (dy, x, output) => a(name, { dy: dy, input: x, output: output }, attrs),
  }
}

const LRN = { depthRadius: 2, bias: 1, alpha: 0.5, beta: 0.6 }
const RESIZED: [number, number][] = [
  [7, 7],
  [3, 3],
  [1, 4],
]

const images: Record<string, Case> = {
  CropAndResize: plain(d => {
    const boxes = tf.tensor2d([
      [0, 0, 1, 1],
      [0.13, 0.21, 0.71, 0.92],
      [-0.2, 0.3, 0.5, 1.4],
    ])
    const numbers = tf.tensor1d([0, 1, 1], 'int32')
    const method = d.run === 1 ? 'nearest' : 'bilinear'
    const size: [number, number] = d.run === 2 ? [1, 1] : [4, 5]
    return {
      inputs: [d.uniform([2, 6, 7, 2])],
      run: x => tf.image.cropAndResize(x as tf.Tensor4D, boxes, numbers, size, method, 0.5),
    }
  }),
  FlipLeftRight: plain(d => ({
    inputs: [d.uniform([2, 3, 4, 2])],
    run: x => tf.image.flipLeftRight(x as tf.Tensor4D),
  })),
  // Images are square, and resized alone: tfjs's CPU gradients err for others.
  ResizeBilinear: make(d => ({
    inputs: [d.uniform([1, 5, 5, 2])],
    run: x => tf.image.resizeBilinear(x as tf.Tensor4D, RESIZED[d.run % 3]!, d.run === 1),
  })),
  ResizeBilinearGrad: finite(d => ({
    inputs: [d.uniform([2, 4, 6, 2])],
    run: x => tf.image.resizeBilinear(x as tf.Tensor4D, RESIZED[d.run % 3]!, false, true),
  })),
  ResizeNearestNeighbor: make(d => ({
    inputs: [d.uniform([1, 5, 5, 2])],
    run: x => tf.image.resizeNearestNeighbor(x as tf.Tensor4D, RESIZED[d.run % 3]!, d.run === 1),
  })),
  ResizeNearestNeighborGrad: finite(d => ({
    inputs: [d.uniform([2, 4, 6, 2])],
    run: x => tf.image.resizeNearestNeighbor(x as tf.Tensor4D, RESIZED[d.run % 3]!, false, true),
  })),
  RotateWithOffset: plain(d => ({
    inputs: [d.uniform([2, 7, 6, 3])],
    run: x => tf.image.rotateWithOffset(x as tf.Tensor4D, 0.7 + d.run, d.run === 1 ? 9 : [1, 2, 3], 0.3),
  })),
  Transform: plain(d => {
    const mode = (['constant', 'reflect', 'wrap', 'nearest'] as const)[d.run % 4]!
    const matrix = tf.tensor2d([[1.2, 0.3, -4.4, -0.2, 0.9, 3.3, 0.01, -0.02]])
    return {
      inputs: [d.uniform([1, 7, 6, 2])],
      run: x => tf.image.transform(x as tf.Tensor4D, matrix, d.run % 2 ? 'nearest' : 'bilinear', mode, 0.5, [9, 8]),
    }
  }),
  FusedBatchNorm: make(d => {
    const shape = [2, 3, 2, 4]
    const per = d.run === 1 ? shape : [4]
    return {
      inputs: [d.uniform(shape), d.uniform(per), d.positive(per), d.uniform(per), d.uniform(per)],
      run: (x, mean, variance, offset, scale) => tf.batchNorm(x, mean, variance, offset, scale),
    }
  }),
  LRN: make(d => ({
    inputs: [d.uniform([2, 2, 3, 5])],
    run: x => tf.localResponseNormalization(x as tf.Tensor4D, LRN.depthRadius, LRN.bias, LRN.alpha, LRN.beta),
  })),
  LRNGrad: plain(d => {
    const shape = [1, 2, 2, 5]
    return {
      inputs: [d.uniform(shape), d.uniform(shape), d.uniform(shape)],
      run: (x, y, dy) => a('LRNGrad', { x: x, y: y, dy: dy }, LRN),
    }
  }),
}

const complexOf = (d: Draw, shape: number[]) => [d.uniform(shape), d.uniform(shape)]
const parts = (z: tf.Tensor): tf.Tensor[] => [tf.real(z), tf.imag(z)]

const BOXES = [
  [0, 0, 1, 1],
  [0, 0.1, 1, 1.1],
  [0, 5, 1, 6],
]

/** What runs on the host by tfjs's own CPU kernels: the way there and back is what these show. */
const onHost: Record<string, Case> = {
  Complex: plain(d => ({ inputs: complexOf(d, [2, 3]), run: (p, q) => tf.abs(tf.complex(p, q)) })),
  ComplexAbs: plain(d => ({ inputs: complexOf(d, d.shape(1)), run: (p, q) => tf.abs(tf.complex(p, q)) })),
  Real: plain(d => ({
    inputs: complexOf(d, [2, 3]),
    run: (p, q) => tf.real(tf.mul(tf.complex(p, q), tf.complex(q, p))),
  })),
  Imag: plain(d => ({
    inputs: complexOf(d, [2, 3]),
    run: (p, q) => tf.imag(tf.mul(tf.complex(p, q), tf.complex(q, p))),
  })),
  FFT: plain(d => ({ inputs: complexOf(d, [2, 8]), run: (p, q) => parts(tf.fft(tf.complex(p, q))) })),
  IFFT: plain(d => ({ inputs: complexOf(d, [2, 6]), run: (p, q) => parts(tf.ifft(tf.complex(p, q))) })),
  BroadcastArgs: plain(() => ({
    inputs: [],
    run: () => tf.broadcastArgs(tf.tensor1d([2, 1], 'int32'), tf.tensor1d([1, 3], 'int32')),
  })),
  NonMaxSuppressionV3: plain(d => ({
    inputs: [d.positive([3])],
    run: s => tf.image.nonMaxSuppression(tf.tensor2d(BOXES), s as tf.Tensor1D, 3),
  })),
  NonMaxSuppressionV4: plain(d => ({
    inputs: [d.positive([3])],
    run: s => {
      const r = tf.image.nonMaxSuppressionPadded(tf.tensor2d(BOXES), s as tf.Tensor1D, 3, 0.5, 0, true)
      return [r.selectedIndices!, r.validOutputs!]
    },
  })),
  NonMaxSuppressionV5: plain(d => ({
    inputs: [d.positive([3])],
    run: s => {
      const r = tf.image.nonMaxSuppressionWithScore(tf.tensor2d(BOXES), s as tf.Tensor1D, 3, 0.5, 0, 0.5)
      return [r.selectedIndices!, r.selectedScores!]
    },
  })),
  RaggedGather: plain(() => ({
    inputs: [],
    run: () => {
      const r = tf.engine().runKernel(
        'RaggedGather',
        {
          paramsNestedSplits: [tf.tensor1d([0, 3, 3, 5, 6], 'int32')],
          paramsDenseValues: tf.tensor1d([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
          indices: tf.tensor1d([2, 1, 0, 3], 'int32'),
        } as unknown as tf.NamedTensorMap,
        { outputRaggedRank: 1 },
      )
      return r
    },
  })),
  RaggedRange: plain(() => ({
    inputs: [],
    run: () => {
      const [starts, limits, deltas] = [
        [0, 5, 8],
        [8, 7, 8],
        [2, 1, 1],
      ].map(v => tf.tensor1d(v, 'int32'))
      return a('RaggedRange', { starts: starts!, limits: limits!, deltas: deltas! })
    },
  })),
  RaggedTensorToTensor: plain(() => ({
    inputs: [],
    run: () =>
      a(
        'RaggedTensorToTensor',
        {
          shape: tf.tensor1d([4, 4], 'int32'),
          values: tf.tensor1d([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
          defaultValue: tf.scalar(1.5),
          rowPartitionTensors: [tf.scalar(4, 'int32'), tf.tensor1d([0, 0, 0, 2, 2, 2, 2, 3, 3], 'int32')],
        } as unknown as tf.NamedTensorMap,
        { rowPartitionTypes: ['FIRST_DIM_SIZE', 'VALUE_ROWIDS'] },
      ),
  })),
  SparseFillEmptyRows: plain(() => ({
    inputs: [],
    run: () => {
      const indices = tf.tensor2d(
        [
          [0, 0],
          [1, 0],
          [1, 3],
          [3, 2],
        ],
        [4, 2],
        'int32',
      )
      const shape = tf.tensor1d([5, 6], 'int32')
      const r = tf.sparse.sparseFillEmptyRows(indices, tf.tensor1d([1, 2, 3, 4]), shape, tf.scalar(-1))
      return [r.outputIndices!, r.outputValues!, r.emptyRowIndicator!, r.reverseIndexMap!]
    },
  })),
  SparseReshape: plain(() => ({
    inputs: [],
    run: () => {
      const indices = tf.tensor2d(
        [
          [0, 0, 0],
          [0, 1, 1],
          [1, 2, 3],
        ],
        [3, 3],
        'int32',
      )
      const r = tf.sparse.sparseReshape(indices, tf.tensor1d([2, 3, 6], 'int32'), tf.tensor1d([9, -1], 'int32'))
      return [r.outputIndices!, r.outputShape!]
    },
  })),
  SparseSegmentMean: plain(d => ({
    inputs: [d.uniform([3, 4])],
    run: x => tf.sparse.sparseSegmentMean(x, tf.tensor1d([0, 1, 2], 'int32'), tf.tensor1d([0, 0, 1], 'int32')),
  })),
  SparseSegmentSum: plain(d => ({
    inputs: [d.uniform([3, 4])],
    run: x => tf.sparse.sparseSegmentSum(x, tf.tensor1d([0, 1, 2], 'int32'), tf.tensor1d([0, 0, 1], 'int32')),
  })),
  StaticRegexReplace: plain(() => ({
    inputs: [],
    run: () => tf.string.staticRegexReplace(tf.tensor1d(['banana', 'pear']), 'a', 'o', true),
  })),
  StringNGrams: plain(() => ({
    inputs: [],
    run: () => {
      const splits = tf.tensor1d([0, 3, 4], 'int32')
      const r = tf.string.stringNGrams(tf.tensor1d(['a', 'b', 'c', 'd']), splits, '|', [1, 2], 'L', 'R', -1, false)
      return [r.nGrams!, r.nGramsSplits!]
    },
  })),
  StringSplit: plain(() => ({
    inputs: [],
    run: () => {
      const r = tf.string.stringSplit(tf.tensor1d(['hello world', 'a b c']), tf.scalar(' '))
      return [r.indices!, r.values!, r.shape!]
    },
  })),
  StringToHashBucketFast: plain(() => ({
    inputs: [],
    run: () => tf.string.stringToHashBucketFast(tf.tensor1d(['Hello', 'TF.js', '']), 10),
  })),
  Unique: plain(d => ({
    inputs: [d.ints([3, 4], 0, 2)],
    run: x => {
      const r = tf.unique(x, d.run % 2)
      return [r.values, r.indices]
    },
  })),
}

const engine: Record<string, Case> = {
  // One outcome has all the probability: whatever the random numbers are, it is drawn.
  Multinomial: plain(d => ({
    inputs: [tf.mul(tf.oneHot(d.ints([2], 0, 4), 4), 200)],
    run: x => tf.multinomial(x as tf.Tensor2D, 5, 3),
  })),
  XlaAstype: make(
    d => ({
      inputs: [d.uniform(d.shape())],
      run: x => astype(astype(x, 'bf16'), 'f32'),
      reference: x => tf.clone(x),
    }),
    { tolerance: 2 ** -8 }, // bf16 keeps 8 bits
  ),
  XlaConstrain: make(d => ({
    inputs: [d.uniform([4, 3])],
    run: x => constrain(x, mesh({ data: 2 }), ['data', null]),
    reference: x => tf.clone(x),
  })),
  XlaCopy: make(d => ({ inputs: [d.uniform(d.shape())], run: x => copy(x) })),
  XlaWideMatMul: finite(d => {
    const [transposeA, transposeB] = [d.run === 1, d.run === 2]
    const [p, q] = [transposeA ? [2, 4, 3] : [2, 3, 4], transposeB ? [2, 5, 4] : [2, 4, 5]]
    return { inputs: [d.uniform(p), d.uniform(q)], run: (x, y) => wideMatMul(x, y, transposeA, transposeB) }
  }),
  XlaDynamicSlice: make(d => ({
    inputs: [d.uniform([4, 5])],
    run: x => dynamicSlice(x, [tf.scalar(d.run, 'int32'), 9], [2, 3]),
  })),
  XlaDynamicUpdateSlice: make(d => ({
    inputs: [d.uniform([4, 5]), d.uniform([2, 2])],
    run: (x, y) => dynamicUpdateSlice(x, y, [tf.scalar(d.run, 'int32'), 1]),
  })),
}

export const cases: Record<string, Case> = {
  ...elementwise,
  ...reductions,
  ...products,
  ...shapes,
  ...indexed,
  ...convolutions,
  ...poolings,
  ...images,
  ...onHost,
  ...engine,
}
