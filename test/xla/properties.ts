import fc from 'fast-check'
import * as tf from '@tensorflow/tfjs-core'

/* What is drawn for each kernel of the backend: shapes with empty axes and none, broadcasts, types, attributes, and values with
 * NaN and infinities among them. Each must give what tfjs's CPU backend gives. */

type Dtype = 'float32' | 'int32' | 'bool'

/** A tensor as it is drawn, printed and shrunk. */
interface Values {
  shape: number[]
  dtype: Dtype
  values: number[]
}

export interface Property<Sample = unknown> {
  sample: fc.Arbitrary<Sample>
  run(sample: Sample): tf.Tensor | tf.Tensor[]
}

const property = <S>(sample: fc.Arbitrary<S>, run: (s: S) => tf.Tensor | tf.Tensor[]): Property => ({ sample, run })

const t = <T extends tf.Tensor>({ values, shape, dtype }: Values): T => tf.tensor(values, shape, dtype) as T

const kernel = (name: string, inputs: Record<string, Values | Values[]>, attrs: object = {}): tf.Tensor =>
  tf
    .engine()
    .runKernel(
      name,
      Object.fromEntries(Object.entries(inputs).map(([k, v]) => [k, t(v as Values)])),
      attrs as tf.NamedAttrMap,
    )

// Numbers

const int = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max })
const between = (low: number, high: number): fc.Arbitrary<number> =>
  fc.noBias(int(0, 1 << 20)).map(n => Math.fround(low + ((high - low) * n) / (1 << 20)))

const plain = between(-4, 4)
const positive = between(0.1, 4)
const zeroOrOne = int(0, 1)
/** Numbers, and what is not one: NaN, infinities, both zeros, halves, tiny and huge numbers. */
const special = fc.oneof(
  { weight: 3, arbitrary: plain },
  { weight: 2, arbitrary: fc.constantFrom(NaN, Infinity, -Infinity, 0, -0, 0.5, -0.5, 1.5, 2.5, 1e-30, -1e30) },
)
const OF: Record<Dtype, fc.Arbitrary<number>> = { float32: special, int32: int(-6, 6), bool: zeroOrOne }

// Tensors

const size = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1)

/** A tensor of a shape. */
const of = (shape: readonly number[], value = plain, dtype: Dtype = 'float32'): fc.Arbitrary<Values> =>
  fc
    .array(value, { minLength: size(shape), maxLength: size(shape) })
    .map(values => ({ shape: [...shape], dtype, values }))

/** A tensor of a shape and any of some types, mostly of the first. */
const typed = (shape: readonly number[], ...dtypes: Dtype[]): fc.Arbitrary<Values> =>
  fc
    .oneof(
      ...(dtypes.length ? dtypes : (['float32', 'int32', 'bool'] as const)).map((dtype, i) => ({
        weight: i === 0 ? 3 : 1,
        arbitrary: fc.constant(dtype),
      })),
    )
    .chain(dtype => of(shape, OF[dtype], dtype))

/** A tensor of a shape whose values all differ. */
const distinct = (shape: readonly number[]): fc.Arbitrary<Values> => {
  const n = size(shape)
  const ranks = Array.from({ length: n }, (_, i) => i)
  return fc
    .shuffledSubarray(ranks, { minLength: n })
    .map(order => ({ shape: [...shape], dtype: 'float32', values: order.map(i => (i - n / 2) / 4) }))
}

const axis = int(1, 4)
const axisOrEmpty = fc.oneof({ weight: 8, arbitrary: axis }, { weight: 1, arbitrary: fc.constant(0) })

/** Shapes of `min` to `max` axes, some of them empty. */
const shapes = (min = 0, max = 4): fc.Arbitrary<number[]> =>
  fc.array(axisOrEmpty, { minLength: min, maxLength: max, size: 'max' })
/** Shapes without an empty axis. */
const full = (min = 0, max = 4): fc.Arbitrary<number[]> =>
  fc.array(axis, { minLength: min, maxLength: max, size: 'max' })

const axisOf = (shape: readonly number[]): fc.Arbitrary<number> => int(0, shape.length - 1)

/** A shape that broadcasts to another: leading axes left out, others 1. */
const broadcastable = (shape: readonly number[]): fc.Arbitrary<number[]> =>
  fc
    .tuple(
      int(0, shape.length),
      fc.array(fc.boolean(), { minLength: shape.length, maxLength: shape.length }),
      fc.boolean(),
    )
    .map(([from, ones, same]) => (same ? [...shape] : shape.map((d, i) => (ones[i] ? 1 : d)).slice(from)))

/** Two tensors that broadcast together. */
const pair = (first: (shape: number[]) => fc.Arbitrary<Values>, second = first): fc.Arbitrary<[Values, Values]> =>
  shapes()
    .chain(shape => fc.tuple(broadcastable(shape), broadcastable(shape)))
    .chain(([p, q]) => fc.tuple(first(p), second(q)))

const floats =
  (value = special) =>
  (shape: number[]) =>
    of(shape, value)
const all = (shape: number[]) => typed(shape)
const numbers = (shape: number[]) => typed(shape, 'float32', 'int32')

// Families

type Unary = (x: tf.Tensor) => tf.Tensor
type Binary = (p: tf.Tensor, q: tf.Tensor) => tf.Tensor

const unary = (run: Unary, value = special): Property =>
  property(
    shapes().chain(s => of(s, value)),
    x => run(t(x)),
  )
/** tfjs's CPU backend does arithmetic on booleans in bytes, and leaves 2 or 255 in a boolean. */
const unaryOfNumbers = (run: Unary): Property => property(shapes().chain(numbers), x => run(t(x)))
const unaryOfAll = (run: Unary): Property =>
  property(
    shapes().chain(s => typed(s)),
    x => run(t(x)),
  )
const binary = (run: Binary, first = all, second = first): Property =>
  property(pair(first, second), ([p, q]) => run(t(p), t(q)))
/** No booleans alone, as above, and none with infinities: false · infinity is 0 for XLA. */
const arithmetic = (run: Binary): Property =>
  property(
    pair(all).filter(([p, q]) => {
      const bools = [p, q].filter(x => x.dtype === 'bool').length
      return bools === 0 || (bools === 1 && [...p.values, ...q.values].every(Number.isFinite))
    }),
    ([p, q]) => run(t(p), t(q)),
  )
const logical = (run: Binary): Property => binary(run, s => of(s, zeroOrOne, 'bool'))

const elementwise: Record<string, Property> = {
  Abs: unaryOfAll(tf.abs),
  Acos: unary(tf.acos),
  Acosh: unary(tf.acosh),
  Asin: unary(tf.asin),
  Asinh: unary(tf.asinh),
  Atan: unary(tf.atan),
  Atanh: unary(tf.atanh),
  BitwiseAnd: property(
    shapes().chain(s => fc.tuple(of(s, int(-64, 64), 'int32'), of(s, int(-64, 64), 'int32'))),
    ([p, q]) => tf.bitwiseAnd(t(p), t(q)),
  ),
  // What infinity is as an integer is not defined.
  Cast: property(
    shapes().chain(s =>
      fc.oneof(
        fc.tuple(typed(s), fc.constantFrom<Dtype[]>('float32', 'bool')),
        fc.tuple(fc.oneof(of(s), typed(s, 'int32', 'bool')), fc.constant<Dtype>('int32')),
      ),
    ),
    ([x, to]) => tf.cast(t(x), to),
  ),
  Ceil: unary(tf.ceil),
  ClipByValue: unaryOfNumbers(x => tf.clipByValue(x, -1, 2)),
  Cos: unary(tf.cos),
  Cosh: unary(tf.cosh),
  Elu: unary(tf.elu),
  EluGrad: property(
    shapes().chain(s => fc.tuple(of(s, special), of(s, special))),
    ([dy, y]) => kernel('EluGrad', { dy, y }),
  ),
  Erf: unary(tf.erf),
  Exp: unary(tf.exp),
  Expm1: unary(tf.expm1),
  Floor: unary(tf.floor),
  IsFinite: unaryOfAll(tf.isFinite),
  IsInf: unaryOfAll(tf.isInf),
  IsNan: unaryOfAll(tf.isNaN),
  LeakyRelu: unary(x => tf.leakyRelu(x, 0.3)),
  Log: unary(tf.log),
  Log1p: unary(tf.log1p),
  LogicalNot: property(
    shapes().chain(s => of(s, zeroOrOne, 'bool')),
    x => tf.logicalNot(t(x)),
  ),
  Neg: unaryOfNumbers(tf.neg),
  OnesLike: unaryOfAll(tf.onesLike),
  Reciprocal: unary(tf.reciprocal),
  Relu: unaryOfAll(tf.relu),
  Relu6: unaryOfAll(tf.relu6),
  Round: unary(tf.round),
  Rsqrt: unary(tf.rsqrt),
  Selu: unary(tf.selu),
  Sigmoid: unary(tf.sigmoid),
  Sign: unaryOfAll(tf.sign),
  Sin: unary(tf.sin),
  Sinh: unary(tf.sinh),
  Softplus: unary(tf.softplus),
  Sqrt: unary(tf.sqrt),
  Square: unaryOfAll(tf.square),
  Step: unaryOfNumbers(x => tf.step(x, 0.25)),
  Tan: unary(tf.tan),
  Tanh: unary(tf.tanh),
  ZerosLike: unaryOfAll(tf.zerosLike),

  Add: arithmetic(tf.add),
  AddN: property(
    shapes().chain(s => fc.array(of(s, special), { minLength: 1, maxLength: 3 })),
    xs => tf.addN(xs.map(t)),
  ),
  Atan2: binary(tf.atan2, floats(special.map(v => v + 0))), // XLA does not tell -0 from 0 here
  Equal: binary(tf.equal),
  FloorDiv: binary(tf.floorDiv, s => typed(s, 'int32')),
  Greater: binary(tf.greater),
  GreaterEqual: binary(tf.greaterEqual),
  Less: binary(tf.less),
  LessEqual: binary(tf.lessEqual),
  LogicalAnd: logical(tf.logicalAnd),
  LogicalOr: logical(tf.logicalOr),
  Maximum: binary(tf.maximum),
  Minimum: binary(tf.minimum),
  Mod: arithmetic(tf.mod),
  Multiply: arithmetic(tf.mul),
  NotEqual: binary(tf.notEqual),
  Pow: binary(tf.pow, numbers, s => fc.oneof(of(s), of(s, int(-3, 3), 'int32'))), // 1 to the power NaN is 1 for XLA
  Prelu: binary(tf.prelu, floats()),
  RealDiv: arithmetic(tf.div),
  Select: property(
    // tfjs's broadcastTo leaves what should become empty as it is.
    pair(all)
      .filter(([p, q]) => p.shape.join() === q.shape.join() || !q.shape.includes(0))
      .chain(([p, q]) => fc.tuple(fc.constant(p), fc.constant(q), of(q.shape, zeroOrOne, 'bool'))),
    ([p, q, condition]) => tf.where(t(condition), t(p), t(q)),
  ),
  SquaredDifference: arithmetic(tf.squaredDifference),
  Sub: arithmetic(tf.sub),
}

type Reduce = (x: tf.Tensor, axes: number[], keepDims: boolean) => tf.Tensor

const reduction = (run: Reduce, tensor: (shape: number[]) => fc.Arbitrary<Values>, shape = shapes()): Property =>
  property(
    shape.chain(s => fc.record({ x: tensor(s), axes: fc.subarray(s.map((_, i) => i)), keepDims: fc.boolean() })),
    ({ x, axes, keepDims }) => run(t(x), axes, keepDims),
  )

const alongAxis = (run: (x: tf.Tensor, axis: number) => tf.Tensor, value = special): Property =>
  property(
    full(1).chain(s => fc.record({ x: of(s, value), axis: axisOf(s) })),
    ({ x, axis }) => run(t(x), axis),
  )
const scan = (run: (x: tf.Tensor, axis: number, exclusive: boolean, reverse: boolean) => tf.Tensor): Property =>
  property(
    shapes(1).chain(s =>
      fc.record({ x: typed(s, 'float32', 'int32'), axis: axisOf(s), exclusive: fc.boolean(), reverse: fc.boolean() }),
    ),
    ({ x, axis, exclusive, reverse }) => run(t(x), axis, exclusive, reverse),
  )
const bools = (s: number[]) => of(s, zeroOrOne, 'bool')

const reductions: Record<string, Property> = {
  All: reduction(tf.all, bools, full()),
  Any: reduction(tf.any, bools),
  ArgMax: alongAxis((x, axis) => tf.argMax(x, axis)),
  ArgMin: alongAxis((x, axis) => tf.argMin(x, axis)),
  Cumprod: scan(tf.cumprod),
  Cumsum: scan(tf.cumsum),
  LogSoftmax: alongAxis(x => tf.logSoftmax(x)),
  Max: reduction(tf.max, all, full()),
  Mean: reduction(tf.mean, all, full()),
  Min: reduction(tf.min, all, full()),
  Prod: reduction(tf.prod, all),
  Softmax: alongAxis(x => tf.softmax(x)),
  Sum: reduction(tf.sum, all),
}

const ACTIVATIONS = ['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'leakyrelu', 'prelu'] as const

/** Two matrices, each perhaps transposed, and leading axes. */
const matrices = (lead: fc.Arbitrary<[number[], number[]]>) =>
  fc
    .record({ lead, m: axisOrEmpty, k: axis, n: axisOrEmpty, transposeA: fc.boolean(), transposeB: fc.boolean() })
    .chain(({ lead: [p, q], m, k, n, transposeA, transposeB }) =>
      fc.record({
        a: of([...p, ...(transposeA ? [k, m] : [m, k])], special),
        b: of([...q, ...(transposeB ? [n, k] : [k, n])], special),
        transposeA: fc.constant(transposeA),
        transposeB: fc.constant(transposeB),
      }),
    )

const products: Record<string, Property> = {
  BatchMatMul: property(
    matrices(axis.chain(n => fc.constantFrom<[number[], number[]][]>([[], []], [[n], [n]], [[1], [n]], [[n], [1]]))),
    ({ a, b, transposeA, transposeB }) => tf.matMul(t(a), t(b), transposeA, transposeB),
  ),
  Einsum: property(
    fc
      .record({
        equation: fc.constantFrom(
          'ij,jk->ik',
          'bhqd,bhkd->bhqk',
          'bij,bjk->bki',
          'ij->i',
          'ij->ji',
          'i,j->ij',
          'bij,bij->b',
        ),
        sizes: fc.array(axis, { minLength: 26, maxLength: 26 }),
      })
      .chain(({ equation, sizes }) => {
        const shape = (term: string) => [...term].map(c => sizes[c.charCodeAt(0) - 97]!)
        const xs = equation
          .split('->')[0]!
          .split(',')
          .map(term => of(shape(term)))
        return fc.record({ equation: fc.constant(equation), xs: fc.tuple(...xs) })
      }),
    ({ equation, xs }) => tf.einsum(equation, ...xs.map(t)),
  ),
  _FusedMatMul: property(
    fc.tuple(axis, axis, axis, fc.constantFrom(...ACTIVATIONS), fc.boolean()).chain(([m, k, n, activation, row]) =>
      fc.record({
        a: of([m, k]),
        b: of([k, n]),
        bias: of(row ? [n] : [m, n]),
        alpha: of([n]),
        activation: fc.constant(activation),
      }),
    ),
    ({ a, b, bias, alpha, activation }) =>
      tf.fused.matMul({
        a: t<tf.Tensor2D>(a),
        b: t<tf.Tensor2D>(b),
        bias: t(bias),
        activation,
        ...(activation === 'prelu' ? { preluActivationWeights: t(alpha) } : {}),
        leakyreluAlpha: 0.2,
      }),
  ),
}

/** For each axis of a shape one value. */
const perAxis = <T>(shape: readonly number[], value: (size: number) => fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.tuple(...shape.map(value))

const mask = int(0, 15)

const layout: Record<string, Property> = {
  BatchToSpaceND: property(
    fc
      .record({ block: fc.tuple(axis, axis), batch: axis, inner: fc.tuple(axis, axis), rest: axis })
      .chain(({ block: [p, q], batch, inner: [h, w], rest }) =>
        fc.record({
          x: of([batch * p * q, h, w, rest]),
          block: fc.constant([p, q]),
          crops: fc.tuple(fc.tuple(int(0, p - 1), int(0, p - 1)), fc.tuple(int(0, q - 1), int(0, q - 1))),
        }),
      )
      .filter(({ x, block, crops }) => crops.every(([a, b], i) => a + b < x.shape[i + 1]! * block[i]!)),
    ({ x, block, crops }) => tf.batchToSpaceND(t(x), [...block], crops),
  ),
  BroadcastTo: property(
    full(1).chain(shape => fc.record({ x: broadcastable(shape).chain(s => typed(s)), shape: fc.constant(shape) })),
    ({ x, shape }) => tf.broadcastTo(t(x), shape),
  ),
  Concat: property(
    shapes(1)
      .chain(s =>
        fc.record({
          shape: fc.constant(s),
          axis: axisOf(s),
          sizes: fc.array(int(0, 3), { minLength: 1, maxLength: 3 }),
        }),
      )
      .chain(({ shape, axis, sizes }) =>
        fc.record({ axis: fc.constant(axis), xs: fc.tuple(...sizes.map(n => of(shape.with(axis, n), special))) }),
      ),
    ({ xs, axis }) => tf.concat(xs.map(t), axis),
  ),
  DepthToSpace: property(
    fc
      .tuple(axis, axis, axis, int(2, 3))
      .chain(([b, h, w, block]) => fc.record({ x: of([b, h, w, 2 * block * block]), block: fc.constant(block) })),
    ({ x, block }) => tf.depthToSpace(t<tf.Tensor4D>(x), block, 'NHWC'),
  ),
  Diag: property(
    full(1, 2).chain(s => typed(s, 'float32', 'int32')),
    x => tf.diag(t(x)),
  ),
  ExpandDims: property(
    shapes().chain(s => fc.record({ x: typed(s), axis: int(-s.length - 1, s.length) })),
    ({ x, axis }) => tf.expandDims(t(x), axis),
  ),
  Fill: property(fc.record({ shape: shapes(), value: special }), ({ shape, value }) => tf.fill(shape, value)),
  Identity: unaryOfAll(tf.clone),
  LinSpace: property(fc.record({ start: plain, stop: plain, num: int(1, 9) }), ({ start, stop, num }) =>
    tf.linspace(start, stop, num),
  ),
  MirrorPad: property(
    full(1)
      .chain(s => fc.record({ x: typed(s), mode: fc.constantFrom('reflect' as const, 'symmetric' as const) }))
      .chain(({ x, mode }) =>
        fc.record({
          x: fc.constant(x),
          mode: fc.constant(mode),
          paddings: perAxis(x.shape, n => {
            const most = mode === 'reflect' ? n - 1 : n
            return fc.tuple(int(0, most), int(0, most))
          }),
        }),
      ),
    ({ x, paddings, mode }) => tf.mirrorPad(t(x), paddings, mode),
  ),
  OneHot: property(
    fc.record({ indices: shapes(0, 3).chain(s => of(s, int(-1, 5), 'int32')), depth: axis, on: plain, off: plain }),
    ({ indices, depth, on, off }) => tf.oneHot(t(indices), depth, on, off),
  ),
  Pack: property(
    shapes(0, 3).chain(s =>
      fc.record({ axis: int(0, s.length), xs: fc.array(of(s, special), { minLength: 1, maxLength: 3 }) }),
    ),
    ({ xs, axis }) => tf.stack(xs.map(t), axis),
  ),
  PadV2: property(
    shapes(1).chain(s =>
      fc.record({
        x: typed(s, 'float32', 'int32'),
        paddings: perAxis(s, () => fc.tuple(int(0, 2), int(0, 2))),
        value: int(-2, 2),
      }),
    ),
    ({ x, paddings, value }) => tf.pad(t(x), paddings, value),
  ),
  Range: property(
    fc.record({
      start: int(-9, 9),
      stop: int(-9, 9),
      step: fc.constantFrom(1, 2, -1, -2),
      dtype: fc.constantFrom('float32' as const, 'int32' as const),
    }),
    ({ start, stop, step, dtype }) => tf.range(start, stop, dtype === 'int32' ? Math.trunc(step) || 1 : step, dtype),
  ),
  Reshape: property(
    shapes().chain(s => typed(s)),
    x => tf.reshape(t(x), [...x.shape].reverse()),
  ),
  Reverse: property(
    shapes(1).chain(s => fc.record({ x: typed(s), axes: fc.subarray(s.map((_, i) => i)) })),
    ({ x, axes }) => tf.reverse(t(x), axes),
  ),
  Slice: property(
    shapes(1)
      .chain(s => fc.record({ x: typed(s), begin: perAxis(s, n => int(0, n)) }))
      .chain(({ x, begin }) =>
        fc.record({
          x: fc.constant(x),
          begin: fc.constant(begin),
          size: fc.tuple(...begin.map((b, i) => int(-1, x.shape[i]! - b))),
        }),
      ),
    ({ x, begin, size }) => tf.slice(t(x), begin, size),
  ),
  SpaceToBatchND: property(
    fc
      .record({
        block: fc.tuple(axis, axis),
        batch: axis,
        blocks: fc.tuple(axis, axis),
        rest: axis,
        before: fc.tuple(int(0, 2), int(0, 2)),
      })
      .chain(({ block, batch, blocks, rest, before }) => {
        const inner = block.map((p, i) => Math.max(1, p * blocks[i]! - before[i]!))
        const paddings = inner.map((n, i) => [before[i]!, (block[i]! - ((n + before[i]!) % block[i]!)) % block[i]!])
        return fc.record({ x: of([batch, ...inner, rest]), block: fc.constant(block), paddings: fc.constant(paddings) })
      }),
    ({ x, block, paddings }) => tf.spaceToBatchND(t(x), block, paddings),
  ),
  SplitV: property(
    shapes(1)
      .chain(s =>
        fc.record({
          shape: fc.constant(s),
          axis: axisOf(s),
          sizes: fc.array(int(0, 3), { minLength: 1, maxLength: 3 }),
        }),
      )
      .chain(({ shape, axis, sizes }) =>
        fc.record({
          x: of(
            shape.with(
              axis,
              sizes.reduce((a, b) => a + b),
            ),
            special,
          ),
          axis: fc.constant(axis),
          sizes: fc.constant(sizes),
        }),
      ),
    ({ x, sizes, axis }) => tf.split(t(x), sizes, axis),
  ),
  StridedSlice: property(
    full(1, 3).chain(s =>
      fc
        .record({
          x: typed(s),
          begin: perAxis(s, n => int(-n - 1, n)),
          end: perAxis(s, n => int(-n - 1, n + 1)),
          strides: perAxis(s, () => fc.constantFrom(1, 2, -1, -2)),
          masks: fc.tuple(mask, mask, fc.constant(0), fc.constant(0)),
          shrink: mask,
        })
        .filter(({ begin, end, strides }) => {
          const place = (i: number, axis: number) => Math.max(0, i < 0 ? i + s[axis]! : i)
          return strides.some(by => by !== 1) || begin.every((b, axis) => place(b, axis) <= place(end[axis]!, axis))
        }),
    ),
    // tfjs's CPU backend errs where axes are dropped and strides are not 1, and where an end lies before its begin and they are.
    ({ x, begin, end, strides, masks, shrink }) =>
      tf.stridedSlice(t(x), begin, end, strides, ...masks, strides.every(s => s === 1) ? shrink : 0),
  ),
  Tile: property(
    shapes(1).chain(s => fc.record({ x: typed(s), reps: perAxis(s, () => int(0, 3)) })),
    ({ x, reps }) => tf.tile(t(x), reps),
  ),
  Transpose: property(
    shapes(1).chain(s =>
      fc.record({
        x: typed(s),
        order: fc.shuffledSubarray(
          s.map((_, i) => i),
          { minLength: s.length },
        ),
      }),
    ),
    ({ x, order }) => tf.transpose(t(x), order),
  ),
  Unpack: property(
    full(1).chain(s => fc.record({ x: typed(s), axis: axisOf(s) })),
    ({ x, axis }) => tf.unstack(t(x), axis),
  ),
}

const indicesBelow = (shape: readonly number[], n: number): fc.Arbitrary<Values> => of(shape, int(0, n - 1), 'int32')

/** Rows [N, K] that name the first K axes of a shape. */
const rows = (count: number, shape: readonly number[], k: number): fc.Arbitrary<Values> =>
  fc
    .array(fc.tuple(...shape.slice(0, k).map(n => int(0, n - 1))), { minLength: count, maxLength: count })
    .map(all => ({ shape: [count, k], dtype: 'int32', values: all.flat() }))

const scattered = full(1, 3).chain(shape =>
  fc
    .tuple(int(1, shape.length), int(1, 5))
    .chain(([k, n]) =>
      fc.record({ shape: fc.constant(shape), indices: rows(n, shape, k), updates: of([n, ...shape.slice(k)]) }),
    ),
)

const indexed: Record<string, Property> = {
  Bincount: property(
    int(0, 6).chain(n =>
      fc.record({ x: of([n], int(0, 9), 'int32'), weights: fc.oneof(of([n]), of([0])), size: int(1, 8) }),
    ),
    ({ x, weights, size }) => tf.bincount(t<tf.Tensor1D>(x), t<tf.Tensor1D>(weights), size),
  ),
  DenseBincount: property(
    fc.constantFrom([5], [2, 3], [1, 4]).chain(s =>
      fc.record({
        x: of(s, int(0, 9), 'int32'),
        weights: fc.oneof(of(s), of([0])),
        size: int(1, 8),
        binary: fc.boolean(),
      }),
    ),
    ({ x, weights, size, binary }) => tf.denseBincount(t<tf.Tensor1D>(x), t<tf.Tensor1D>(weights), size, binary),
  ),
  GatherNd: property(
    full(1, 3).chain(shape =>
      fc
        .tuple(int(1, shape.length), axisOrEmpty)
        .chain(([k, n]) => fc.record({ x: of(shape, special), indices: rows(n, shape, k) })),
    ),
    ({ x, indices }) => tf.gatherND(t(x), t(indices)),
  ),
  GatherV2: property(
    full(1, 3)
      .chain(shape => fc.record({ shape: fc.constant(shape), axis: axisOf(shape) }))
      .chain(({ shape, axis }) =>
        fc.tuple(int(0, Math.min(axis, 1)), shapes(0, 2)).chain(([batch, rest]) =>
          fc.record({
            x: typed(shape),
            indices: indicesBelow([...shape.slice(0, batch), ...rest], shape[axis]!),
            axis: fc.constant(axis),
            batch: fc.constant(batch),
          }),
        ),
      ),
    ({ x, indices, axis, batch }) => tf.gather(t(x), t(indices), axis, batch),
  ),
  ScatterNd: property(scattered, ({ indices, updates, shape }) => tf.scatterND(t(indices), t(updates), shape)),
  SearchSorted: property(
    fc.tuple(axis, axis, axis).chain(([b, n, m]) =>
      fc.record({
        steps: of([b, n], int(0, 2), 'int32'),
        values: of([b, m], int(-1, 8), 'int32'),
        side: fc.constantFrom('left' as const, 'right' as const),
      }),
    ),
    ({ steps, values, side }) => tf.searchSorted(tf.cumsum(t(steps), 1), t(values), side),
  ),
  SparseToDense: property(
    full(1, 3).chain(shape =>
      fc
        .uniqueArray(fc.tuple(...shape.map(n => int(0, n - 1))), { minLength: 1, maxLength: 4, selector: String })
        .chain(at => fc.record({ at: fc.constant(at), values: of([at.length]), shape: fc.constant(shape) })),
    ),
    ({ at, values, shape }) => tf.sparseToDense(tf.tensor2d(at, undefined, 'int32'), t(values), shape, tf.scalar(0.5)),
  ),
  TensorScatterUpdate: property(
    full(1, 3).chain(shape =>
      fc.uniqueArray(int(0, shape[0]! - 1), { minLength: 1 }).chain(at =>
        fc.record({
          x: of(shape, special),
          at: fc.constant(at),
          updates: of([at.length, ...shape.slice(1)], special),
        }),
      ),
    ),
    ({ x, at, updates }) => tf.tensorScatterUpdate(t(x), tf.tensor2d(at, [at.length, 1], 'int32'), t(updates)),
  ),
  TopK: property(
    full(1, 3).chain(s =>
      fc.record({
        x: fc.oneof(of(s, int(-3, 3)), of(s, int(-3, 3), 'int32'), of(s)),
        k: int(0, s[s.length - 1]!),
      }),
    ),
    ({ x, k }) => {
      const { values, indices } = tf.topk(t(x), k)
      return [values, indices]
    },
  ),
  UnsortedSegmentSum: property(
    full(1, 3).chain(s => fc.record({ x: of(s), ids: of([s[0]!], int(-1, 4), 'int32'), segments: int(1, 5) })),
    ({ x, ids, segments }) => tf.unsortedSegmentSum(t(x), t<tf.Tensor1D>(ids), segments),
  ),
}

const strides = fc.oneof(int(1, 2), fc.tuple(int(1, 3), int(1, 2)))
/** For padding in numbers tfjs computes the result's size as if windows were square. */
const window2D = fc
  .record({
    x: fc.tuple(int(1, 2), int(3, 6), int(3, 6), int(1, 3)),
    filter: fc.tuple(int(1, 3), int(1, 3)),
    strides,
    pad: fc.constantFrom('same' as const, 'valid' as const, 0, 1),
  })
  .filter(
    ({ filter: [h, w], strides, pad }) =>
      typeof pad === 'string' || (h === w && pad < h && typeof strides === 'number'),
  )
/** A 2D convolution: strides or dilations, not both. */
const convolution2D = (filterEnd: (channels: number) => fc.Arbitrary<[number, number]>) =>
  fc
    .tuple(window2D, fc.oneof(fc.constant(1), int(1, 2)), int(1, 3))
    .chain(([w, dilations, channels]) => filterEnd(channels).map(end => ({ w, dilations, end })))
    .chain(({ w, dilations, end }) =>
      fc.record({
        x: of([...w.x.slice(0, 3), end[0]]),
        filter: of([...w.filter, ...end]),
        strides: fc.constant(dilations === 1 ? w.strides : 1),
        pad: fc.constant(w.pad),
        dilations: fc.constant(dilations),
      }),
    )
    .filter(({ x, filter, dilations }) => [0, 1].every(i => (filter.shape[i]! - 1) * dilations + 1 <= x.shape[i + 1]!))
const dense = convolution2D(channels => int(1, 3).map(out => [channels, out]))
const depthwise = convolution2D(channels => int(1, 2).map(multiplier => [channels, multiplier]))

const window3D = fc
  .tuple(fc.tuple(int(2, 4), int(2, 4), int(2, 4)), fc.tuple(int(1, 2), int(1, 2), int(1, 2)), int(1, 2), int(1, 2))
  .chain(([image, filter, input, output]) =>
    fc.record({
      x: of([1, ...image, input]),
      filter: of([...filter, input, output]),
      strides: int(1, 2),
      pad: fc.constantFrom('same' as const, 'valid' as const),
    }),
  )

/** The gradient with regard to one input, along a cotangent of ones that grow. */
const gradient = (f: (x: tf.Tensor) => tf.Tensor, x: tf.Tensor): tf.Tensor =>
  tf.grad(y => {
    const out = f(y)
    return tf.mul(out, tf.reshape(tf.range(1, 1 + out.size), out.shape))
  })(x)

type Conv2D = {
  x: Values
  filter: Values
  strides: number | [number, number]
  pad: 'same' | 'valid' | number
  dilations: number
}
const conv2d = ({ strides, pad, dilations }: Conv2D, x: tf.Tensor, filter: tf.Tensor) =>
  tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, strides, pad, 'NHWC', dilations)
const depthwiseConv2d = ({ strides, pad, dilations }: Conv2D, x: tf.Tensor, filter: tf.Tensor) =>
  tf.depthwiseConv2d(x as tf.Tensor4D, filter as tf.Tensor4D, strides, pad, 'NHWC', dilations)
type Conv3D = { x: Values; filter: Values; strides: number; pad: 'same' | 'valid' }
const conv3d = ({ strides, pad }: Conv3D, x: tf.Tensor, filter: tf.Tensor) =>
  tf.conv3d(x as tf.Tensor5D, filter as tf.Tensor5D, strides, pad)

const fusedConvolution = (s: Conv2D, depth: boolean, activation: (typeof ACTIVATIONS)[number]): tf.Tensor => {
  const bias = tf.range(0, depth ? s.filter.shape[2]! * s.filter.shape[3]! : s.filter.shape[3]!)
  return (depth ? tf.fused.depthwiseConv2d : tf.fused.conv2d)({
    x: t<tf.Tensor4D>(s.x),
    filter: t<tf.Tensor4D>(s.filter),
    strides: s.strides,
    pad: s.pad,
    dilations: s.dilations,
    bias,
    activation,
    ...(activation === 'prelu' ? { preluActivationWeights: bias } : {}),
    leakyreluAlpha: 0.2,
  })
}

const dilation = window2D.chain(w =>
  fc.record({
    x: of(w.x),
    filter: of([...w.filter, w.x[3]]),
    strides: fc.constant(w.strides),
    pad: fc.constantFrom('same' as const, 'valid' as const),
  }),
)
type Dilation = { x: Values; filter: Values; strides: number | [number, number]; pad: 'same' | 'valid' }
const dilation2d = ({ strides, pad }: Dilation, x: tf.Tensor, filter: tf.Tensor) =>
  tf.dilation2d(x as tf.Tensor4D, filter as tf.Tensor3D, strides, pad)

const convolutions: Record<string, Property> = {
  Conv2D: property(fc.tuple(dense, fc.boolean()), ([s, channelsFirst]) => {
    if (!channelsFirst) return conv2d(s, t(s.x), t(s.filter))
    const x = tf.transpose(t<tf.Tensor4D>(s.x), [0, 3, 1, 2])
    return tf.conv2d(x, t<tf.Tensor4D>(s.filter), s.strides, s.pad, 'NCHW', s.dilations)
  }),
  Conv2DBackpropFilter: property(dense, s => gradient(filter => conv2d(s, t(s.x), filter), t(s.filter))),
  Conv2DBackpropInput: property(dense, s => gradient(x => conv2d(s, x, t(s.filter)), t(s.x))),
  Conv3D: property(window3D, s => conv3d(s, t(s.x), t(s.filter))),
  Conv3DBackpropFilterV2: property(window3D, s => gradient(filter => conv3d(s, t(s.x), filter), t(s.filter))),
  Conv3DBackpropInputV2: property(window3D, s => gradient(x => conv3d(s, x, t(s.filter)), t(s.x))),
  DepthwiseConv2dNative: property(depthwise, s => depthwiseConv2d(s, t(s.x), t(s.filter))),
  DepthwiseConv2dNativeBackpropFilter: property(depthwise, s =>
    gradient(filter => depthwiseConv2d(s, t(s.x), filter), t(s.filter)),
  ),
  DepthwiseConv2dNativeBackpropInput: property(depthwise, s =>
    gradient(x => depthwiseConv2d(s, x, t(s.filter)), t(s.x)),
  ),
  Dilation2D: property(dilation, s => dilation2d(s, t(s.x), t(s.filter))),
  Dilation2DBackpropFilter: property(dilation, s => gradient(filter => dilation2d(s, t(s.x), filter), t(s.filter))),
  Dilation2DBackpropInput: property(dilation, s => gradient(x => dilation2d(s, x, t(s.filter)), t(s.x))),
  FusedConv2D: property(fc.tuple(dense, fc.constantFrom(...ACTIVATIONS)), ([s, activation]) =>
    fusedConvolution(s, false, activation),
  ),
  FusedDepthwiseConv2D: property(fc.tuple(depthwise, fc.constantFrom(...ACTIVATIONS)), ([s, activation]) =>
    fusedConvolution(s, true, activation),
  ),
}

const pooling2D = window2D
  .filter(({ x, filter }) => filter[0] <= x[1] && filter[1] <= x[2])
  .chain(w =>
    fc.record({ x: of(w.x), filter: fc.constant(w.filter), strides: fc.constant(w.strides), pad: fc.constant(w.pad) }),
  )
const pooling3D = fc
  .record({
    image: fc.tuple(int(2, 4), int(2, 4), int(2, 4)),
    channels: int(1, 2),
    filter: int(1, 2),
    strides: int(1, 2),
    pad: fc.constantFrom('same' as const, 'valid' as const),
  })
  .chain(w =>
    fc.record({
      x: distinct([1, ...w.image, w.channels]),
      filter: fc.constant(w.filter),
      strides: fc.constant(w.strides),
      pad: fc.constant(w.pad),
    }),
  )
type Pool2D = { filter: [number, number]; strides: number | [number, number]; pad: 'same' | 'valid' | number }
type Pool3D = { filter: number; strides: number; pad: 'same' | 'valid' }
const pool2D =
  (f: typeof tf.maxPool) =>
  ({ filter, strides, pad }: Pool2D, x: tf.Tensor) =>
    f(x as tf.Tensor4D, filter, strides, pad)
const pool3D =
  (f: typeof tf.maxPool3d) =>
  ({ filter, strides, pad }: Pool3D, x: tf.Tensor) =>
    f(x as tf.Tensor5D, filter, strides, pad)

const poolings: Record<string, Property> = {
  AvgPool: property(pooling2D, s => pool2D(tf.avgPool)(s, t(s.x))),
  AvgPool3D: property(pooling3D, s => pool3D(tf.avgPool3d)(s, t(s.x))),
  AvgPoolGrad: property(pooling2D, s => gradient(x => pool2D(tf.avgPool)({ ...s, pad: 'valid' }, x), t(s.x))),
  AvgPool3DGrad: property(pooling3D, s => gradient(x => pool3D(tf.avgPool3d)({ ...s, pad: 'valid' }, x), t(s.x))),
  MaxPool: property(pooling2D, s => pool2D(tf.maxPool)(s, t(s.x))),
  MaxPool3D: property(pooling3D, s => pool3D(tf.maxPool3d)(s, t(s.x))),
  MaxPoolGrad: property(pooling2D, s => gradient(x => pool2D(tf.maxPool)(s, x), t(s.x))),
  MaxPool3DGrad: property(pooling3D, s => gradient(x => pool3D(tf.maxPool3d)(s, x), t(s.x))),
  MaxPoolWithArgmax: property(fc.tuple(pooling2D, fc.boolean()), ([s, batch]) => {
    const pad = typeof s.pad === 'number' ? 'valid' : s.pad
    const { result, indexes } = tf.maxPoolWithArgmax(t<tf.Tensor4D>(s.x), s.filter, s.strides, pad, batch)
    return [result!, indexes!]
  }),
}

const image = fc.tuple(int(1, 2), int(1, 6), int(1, 6), int(1, 3))
const resizing = image.chain(s =>
  fc.record({
    x: of(s),
    size: fc.tuple(int(1, 8), int(1, 8)),
    how: fc.constantFrom([false, false], [true, false], [false, true]),
  }),
)
/** tfjs's CPU gradients err for more than one image, for other than squares, for half-pixel centers, and do not end for one pixel. */
const resizingSquares = resizing
  .filter(({ how }) => !how[1])
  .chain(s => int(2, 6).chain(n => of([1, n, n, 2]).map(x => ({ ...s, x }))))
type Resize = { size: [number, number]; how: readonly boolean[] }
const resize =
  (f: typeof tf.image.resizeBilinear) =>
  ({ size, how }: Resize, x: tf.Tensor) =>
    f(x as tf.Tensor4D, size, how[0], how[1])

const normalized = fc.tuple(fc.constantFrom([2, 3, 2, 4], [3, 4]), fc.boolean()).chain(([shape, each]) => {
  const per = each ? shape : shape.slice(-1)
  return fc.record({ x: of(shape), mean: of(per), variance: of(per, positive), offset: of(per), scale: of(per) })
})
const local = fc.record({
  x: fc.tuple(int(1, 2), int(1, 2), int(1, 2), int(1, 6)).chain(s => of(s)),
  radius: int(0, 3),
  bias: between(0.5, 2),
  alpha: between(0.1, 1),
  beta: between(0.3, 0.8),
})

const images: Record<string, Property> = {
  CropAndResize: property(
    fc.record({
      x: of([2, 5, 6, 2]),
      boxes: of([3, 4], between(-0.5, 1.5)),
      numbers: indicesBelow([3], 2),
      size: fc.tuple(int(1, 5), int(1, 5)),
      method: fc.constantFrom('bilinear' as const, 'nearest' as const),
    }),
    ({ x, boxes, numbers, size, method }) =>
      tf.image.cropAndResize(t<tf.Tensor4D>(x), t<tf.Tensor2D>(boxes), t<tf.Tensor1D>(numbers), size, method, 0.5),
  ),
  FlipLeftRight: property(
    image.chain(s => of(s)),
    x => tf.image.flipLeftRight(t<tf.Tensor4D>(x)),
  ),
  FusedBatchNorm: property(normalized, s => tf.batchNorm(t(s.x), t(s.mean), t(s.variance), t(s.offset), t(s.scale))),
  LRN: property(local, s => tf.localResponseNormalization(t<tf.Tensor4D>(s.x), s.radius, s.bias, s.alpha, s.beta)),
  LRNGrad: property(local, s =>
    gradient(x => tf.localResponseNormalization(x as tf.Tensor4D, s.radius, s.bias, s.alpha, s.beta), t(s.x)),
  ),
  ResizeBilinear: property(resizing, s => resize(tf.image.resizeBilinear)(s, t(s.x))),
  ResizeBilinearGrad: property(resizingSquares, s => gradient(x => resize(tf.image.resizeBilinear)(s, x), t(s.x))),
  ResizeNearestNeighbor: property(resizing, s => resize(tf.image.resizeNearestNeighbor)(s, t(s.x))),
  ResizeNearestNeighborGrad: property(resizingSquares, s =>
    gradient(x => resize(tf.image.resizeNearestNeighbor)(s, x), t(s.x)),
  ),
  RotateWithOffset: property(
    image.chain(s => fc.record({ x: of(s), radians: between(-3, 3), center: between(0, 1) })),
    ({ x, radians, center }) => tf.image.rotateWithOffset(t<tf.Tensor4D>(x), radians, 0.5, center),
  ),
  Transform: property(
    fc.record({
      x: of([1, 5, 6, 2]),
      matrix: of([1, 8], between(-1.5, 1.5)),
      method: fc.constantFrom('nearest' as const, 'bilinear' as const),
      mode: fc.constantFrom('constant' as const, 'reflect' as const, 'wrap' as const, 'nearest' as const),
    }),
    ({ x, matrix, method, mode }) =>
      tf.image.transform(t<tf.Tensor4D>(x), t<tf.Tensor2D>(matrix), method, mode, 0.5, [4, 7]),
  ),
}

const complexPair = shapes().chain(s => fc.tuple(of(s, special), of(s, special)))

const complex: Record<string, Property> = {
  Complex: property(complexPair, ([p, q]) => tf.real(tf.complex(t(p), t(q)))),
  ComplexAbs: property(complexPair, ([p, q]) => tf.abs(tf.complex(t(p), t(q)))),
  Imag: property(complexPair, ([p, q]) => tf.imag(tf.complex(t(p), t(q)))),
  Real: property(complexPair, ([p, q]) => tf.real(tf.complex(t(p), t(q)))),
}

/** One entry a kernel. */
export const properties: Record<string, Property> = {
  ...elementwise,
  ...reductions,
  ...products,
  ...layout,
  ...indexed,
  ...convolutions,
  ...poolings,
  ...images,
  ...complex,
}
