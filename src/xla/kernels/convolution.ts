import * as tf from '@tensorflow/tfjs-core'
import type { TensorInfo } from '@tensorflow/tfjs-core'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import { activate } from './activations.js'
import { kernel } from './register.js'

/* Convolutions over two or three spatial axes. The gradient with regard to the input convolves the dilated cotangent with the
 * reversed filter; the gradient with regard to the filter convolves the input with the cotangent as the filter. */

/** Geometry of a convolution, one entry a spatial axis. */
interface Geometry {
  inSize: number[]
  outSize: number[]
  filterSize: number[]
  strides: number[]
  dilations: number[]
  /** Zeros before the first value. */
  before: number[]
  channelsFirst: boolean
  inShape: number[]
  outShape: number[]
}

type Size = number | number[]
interface Attrs {
  strides: Size
  dilations?: Size
  pad: 'valid' | 'same' | number | tf.backend_util.ExplicitPadding
  dataFormat?: 'NHWC' | 'NCHW'
  dimRoundingMode?: 'floor' | 'round' | 'ceil'
}

function geometry2D(inShape: readonly number[], filterShape: readonly number[], a: Attrs, depthwise = false): Geometry {
  const c = tf.backend_util.computeConv2DInfo(
    inShape as [number, number, number, number],
    filterShape as [number, number, number, number],
    a.strides as number,
    (a.dilations ?? 1) as number,
    a.pad,
    a.dimRoundingMode,
    depthwise,
    tf.backend_util.convertConv2DDataFormat(a.dataFormat ?? 'NHWC'),
  )
  return {
    inSize: [c.inHeight, c.inWidth],
    outSize: [c.outHeight, c.outWidth],
    filterSize: [c.filterHeight, c.filterWidth],
    strides: [c.strideHeight, c.strideWidth],
    dilations: [c.dilationHeight, c.dilationWidth],
    before: [c.padInfo.top, c.padInfo.left],
    channelsFirst: c.dataFormat === 'channelsFirst',
    inShape: c.inShape,
    outShape: c.outShape,
  }
}

function geometry3D(inShape: readonly number[], filterShape: readonly number[], a: Attrs): Geometry {
  const c = tf.backend_util.computeConv3DInfo(
    inShape as [number, number, number, number, number],
    filterShape as [number, number, number, number, number],
    a.strides as number,
    (a.dilations ?? 1) as number,
    a.pad as 'same',
  )
  return {
    inSize: [c.inDepth, c.inHeight, c.inWidth],
    outSize: [c.outDepth, c.outHeight, c.outWidth],
    filterSize: [c.filterDepth, c.filterHeight, c.filterWidth],
    strides: [c.strideDepth, c.strideHeight, c.strideWidth],
    dilations: [c.dilationDepth, c.dilationHeight, c.dilationWidth],
    before: [c.padInfo.front, c.padInfo.top, c.padInfo.left],
    channelsFirst: false,
    inShape: c.inShape,
    outShape: c.outShape,
  }
}

/** A layout such as "[b, 0, 1, f]": batch, spatial axes, features. */
function imageLayout(g: Geometry, batch = 'b', feature = 'f'): string {
  const spatial = g.inSize.map((_, i) => i)
  return `[${(g.channelsFirst ? [batch, feature, ...spatial] : [batch, ...spatial, feature]).join(', ')}]`
}

const filterLayout = (g: Geometry, input = 'i', output = 'o'): string =>
  `[${[...g.inSize.map((_, i) => i), input, output].join(', ')}]`

/** The window's extent along an axis with its holes. */
const span = (size: number, dilation: number): number => (size - 1) * dilation + 1

/** Padding on both sides such that `input` values, read by a window of `extent` every `stride`, give `output` ones. */
function padding(input: number, extent: number, stride: number, output: number, before: number): [number, number] {
  return [before, (output - 1) * stride + extent - input - before]
}

/** @param groups the number of input channels if each has filters of its own (depthwise), else 1 */
function forward(x: Node, filter: Node, g: Geometry, groups = 1): Node {
  return hlo.convolution(x, filter, {
    layout: `${imageLayout(g)}x${filterLayout(g)}->${imageLayout(g)}`,
    outShape: g.outShape,
    strides: g.strides,
    padding: g.inSize.map((n, i) =>
      padding(n, span(g.filterSize[i]!, g.dilations[i]!), g.strides[i]!, g.outSize[i]!, g.before[i]!),
    ),
    filterDilation: g.dilations,
    featureGroups: groups,
  })
}

function checkCotangent(dy: Node, g: Geometry): void {
  if (dy.shape.join() !== g.outShape.join())
    throw new Error(
      `convolution's gradient: dy is [${dy.shape.join(',')}]; needed [${g.outShape.join(',')}], the shape that an input ` +
        `[${g.inShape.join(',')}] gives.`,
    )
}

function inputGradient(dy: Node, filter: Node, g: Geometry, groups = 1): Node {
  checkCotangent(dy, g)
  return hlo.convolution(dy, filter, {
    layout: `${imageLayout(g)}x${filterLayout(g, 'o', 'i')}->${imageLayout(g)}`,
    outShape: g.inShape,
    strides: g.inSize.map(() => 1),
    padding: g.outSize.map((n, i) => {
      const extent = span(g.filterSize[i]!, g.dilations[i]!)
      return padding(span(n, g.strides[i]!), extent, 1, g.inSize[i]!, extent - 1 - g.before[i]!)
    }),
    inputDilation: g.strides,
    filterDilation: g.dilations,
    reverse: true,
    featureGroups: groups,
  })
}

function filterGradient(x: Node, dy: Node, g: Geometry, filterShape: readonly number[], groups = 1): Node {
  checkCotangent(dy, g)
  const dyLayout = imageLayout(g, 'i', 'o')
  return hlo.convolution(x, dy, {
    layout: `${imageLayout(g, 'f', 'b')}x${dyLayout}->${filterLayout(g, 'b', 'f')}`,
    outShape: filterShape,
    strides: g.dilations,
    padding: g.inSize.map((n, i) =>
      padding(n, span(g.outSize[i]!, g.strides[i]!), g.dilations[i]!, g.filterSize[i]!, g.before[i]!),
    ),
    filterDilation: g.strides,
    batchGroups: groups,
  })
}

type XF = { x: TensorInfo; filter: TensorInfo }
type XD = { x: TensorInfo; dy: TensorInfo }
type DF = { dy: TensorInfo; filter: TensorInfo }

kernel<XF, Attrs>(tf.Conv2D, ({ x, filter }, a) => forward(x, filter, geometry2D(x.shape, filter.shape, a)))
kernel<DF, Attrs & { inputShape: number[] }>(tf.Conv2DBackpropInput, ({ dy, filter }, a) =>
  inputGradient(dy, filter, geometry2D(a.inputShape, filter.shape, a)),
)
kernel<XD, Attrs & { filterShape: number[] }>(tf.Conv2DBackpropFilter, ({ x, dy }, a) =>
  filterGradient(x, dy, geometry2D(x.shape, a.filterShape, a), a.filterShape),
)

kernel<XF, Attrs>(tf.Conv3D, ({ x, filter }, a) => forward(x, filter, geometry3D(x.shape, filter.shape, a)))
kernel<DF, Attrs & { inputShape: number[] }>(tf.Conv3DBackpropInputV2, ({ dy, filter }, a) =>
  inputGradient(dy, filter, geometry3D(a.inputShape, filter.shape, a)),
)
kernel<XD, Attrs & { filterShape: number[] }>(tf.Conv3DBackpropFilterV2, ({ x, dy }, a) =>
  filterGradient(x, dy, geometry3D(x.shape, a.filterShape, a), a.filterShape),
)

/** Each input channel has `multiplier` filters of its own: filter [H, W, channels, multiplier]. */
function depthwise(x: Node, filter: Node, a: Attrs): Node {
  const [height, width, channels, multiplier] = filter.shape as [number, number, number, number]
  const flat = hlo.reshape(filter, [height, width, 1, channels * multiplier])
  return forward(x, flat, geometry2D(x.shape, filter.shape, a, true), channels)
}

kernel<XF, Attrs>(tf.DepthwiseConv2dNative, ({ x, filter }, a) => depthwise(x, filter, a))
kernel<DF, Attrs & { inputShape: number[] }>(tf.DepthwiseConv2dNativeBackpropInput, ({ dy, filter }, a) =>
  inputGradient(dy, filter, geometry2D(a.inputShape, filter.shape, a, true), filter.shape[2]),
)
kernel<XD, Attrs & { filterShape: number[] }>(tf.DepthwiseConv2dNativeBackpropFilter, ({ x, dy }, a) => {
  const [height, width, channels, multiplier] = a.filterShape as [number, number, number, number]
  const g = geometry2D(x.shape, a.filterShape, a, true)
  return hlo.reshape(filterGradient(x, dy, g, [height, width, 1, channels * multiplier], channels), a.filterShape)
})

type Fused = XF & { bias: TensorInfo; preluActivationWeights: TensorInfo }
type FusedAttrs = Attrs & { activation: string; leakyreluAlpha?: number }

function fused(product: Node, inputs: { bias: Node; preluActivationWeights: Node }, a: FusedAttrs): Node {
  const first = a.dataFormat === 'NCHW'
  /** A vector has one value a channel. */
  const perChannel = (v: Node): Node => (first && v.shape.length === 1 ? hlo.reshape(v, [v.shape[0]!, 1, 1]) : v)
  const { bias, preluActivationWeights: prelu } = inputs
  const sum = bias ? hlo.add(product, perChannel(bias)) : product
  return activate(sum, a.activation, prelu && perChannel(prelu), a.leakyreluAlpha)
}

kernel<Fused, FusedAttrs>(tf.FusedConv2D, ({ x, filter, ...rest }, a) =>
  fused(forward(x, filter, geometry2D(x.shape, filter.shape, a)), rest, a),
)
kernel<Fused, FusedAttrs>(tf.FusedDepthwiseConv2D, ({ x, filter, ...rest }, a) =>
  fused(depthwise(x, filter, a), rest, a),
)
