import * as tf from '@tensorflow/tfjs-core'
import type { TensorInfo } from '@tensorflow/tfjs-core'
import { hostNode } from '../backend.js'
import type { Node } from '../graph.js'
import * as hlo from '../hlo.js'
import { floatType } from '../types.js'
import { take } from './indexing.js'
import { einsum } from './matmul.js'
import { kernel } from './register.js'

/* Images [batch, height, width, channels]. */

interface Resize {
  alignCorners: boolean
  halfPixelCenters: boolean
}

/** Where each of `output` pixels of an axis lies among `input` ones. */
function sources(input: number, output: number, { alignCorners, halfPixelCenters }: Resize, shift: number): number[] {
  const corners = alignCorners && output > 1 ? 1 : 0
  const ratio = (input - corners) / (output - corners)
  return Array.from({ length: output }, (_, i) => (halfPixelCenters ? ratio * (i + 0.5) - shift : ratio * i))
}

function nearestSources(input: number, output: number, r: Resize): number[] {
  const round = r.alignCorners ? Math.round : Math.floor
  return sources(input, output, r, 0).map(at => Math.max(0, Math.min(input - 1, round(at))))
}

/** The weights [output, input] of an axis's resizing, which is linear. */
function nearestWeights(input: number, output: number, r: Resize): Node {
  const weights = new Float32Array(output * input)
  nearestSources(input, output, r).forEach((source, i) => (weights[i * input + source] = 1))
  return hostNode(weights, [output, input], 'f32')
}

function bilinearWeights(input: number, output: number, r: Resize): Node {
  const weights = new Float32Array(output * input)
  sources(input, output, r, 0.5).forEach((at, i) => {
    const floor = Math.max(0, Math.floor(at))
    const ceil = Math.min(input - 1, Math.ceil(at))
    weights[i * input + floor]! += 1 - (at - floor)
    weights[i * input + ceil]! += at - floor
  })
  return hostNode(weights, [output, input], 'f32')
}

type Weights = (input: number, output: number, r: Resize) => Node

const resize = (x: Node, rows: Node, columns: Node): Node =>
  einsum('byic,xi->byxc', [einsum('bjic,yj->byic', [x, rows]), columns])

/** The transpose of the resizing. */
function resizeGradient(dy: Node, images: Node, r: Resize, weights: Weights): Node {
  const [, height, width] = images.shape as [number, number, number]
  const [, toHeight, toWidth] = dy.shape as [number, number, number]
  const back = einsum('byxc,yj->bjxc', [hlo.convert(dy, 'f32'), weights(height, toHeight, r)])
  return hlo.convert(einsum('bjxc,xi->bjic', [back, weights(width, toWidth, r)]), floatType(images.type))
}

type Images = { images: TensorInfo }
type Gradient = Images & { dy: TensorInfo }

kernel<Images, tf.ResizeBilinearAttrs>(tf.ResizeBilinear, ({ images }, a) => {
  const [, height, width] = images.shape as [number, number, number]
  const x = hlo.convert(images, 'f32')
  const resized = resize(x, bilinearWeights(height, a.size[0], a), bilinearWeights(width, a.size[1], a))
  return hlo.convert(resized, floatType(images.type))
})
kernel<Gradient, Resize>(tf.ResizeBilinearGrad, ({ dy, images }, a) => resizeGradient(dy, images, a, bilinearWeights))

kernel<Images, tf.ResizeNearestNeighborAttrs>(tf.ResizeNearestNeighbor, ({ images }, a) =>
  a.size.reduce((x, output, i) => {
    const indices = nearestSources(x.shape[i + 1]!, output, a)
    return take(x, hostNode(indices, [output], 's32'), i + 1)
  }, images),
)
kernel<Gradient, Resize>(tf.ResizeNearestNeighborGrad, ({ dy, images }, a) =>
  resizeGradient(dy, images, a, nearestWeights),
)

type Image = { image: TensorInfo }
kernel<Image>(tf.FlipLeftRight, ({ image }) => hlo.reverse(image, [2]))

// Sampling at computed places

const scalar = (value: number): Node => hlo.fill(value, [], 'f32')
const floor = (x: Node): Node => hlo.unary('floor', x)
const within = (x: Node, size: number): Node =>
  hlo.binary('and', hlo.compare('GE', x, scalar(0)), hlo.compare('LE', x, scalar(size - 1)))

/** Pixels at whole coordinates y and x [n, h, w] of the images numbered batch [n]; `fill` outside. @returns [n, h, w, c] */
function pixels(image: Node, batch: Node, y: Node, x: Node, fill: Node): Node {
  const [, height, width, channels] = image.shape as [number, number, number, number]
  const places = [...y.shape, 1]
  const number = hlo.broadcast(hlo.reshape(batch, [batch.shape[0]!, 1, 1, 1]), places)
  const indices = hlo.concatenate([number, ...[y, x].map(c => hlo.reshape(hlo.convert(c, 's32'), places))], 3)
  const axes = {
    offset: [3],
    collapsed: [0, 1, 2],
    startMap: [0, 1, 2],
    indexVector: 3,
    sizes: [1, 1, 1, channels],
  }
  const values = hlo.gather(image, indices, axes, [...y.shape, channels])
  const inside = hlo.reshape(hlo.binary('and', within(y, height), within(x, width)), places)
  return hlo.select(inside, values, hlo.convert(fill, image.type))
}

/** Pixels at any coordinates: the nearest, or a mean of four neighbours. */
function sample(method: 'nearest' | 'bilinear', image: Node, batch: Node, y: Node, x: Node, fill: Node): Node {
  const rounded = (c: Node) => floor(hlo.add(c, scalar(0.5)))
  if (method === 'nearest') return pixels(image, batch, rounded(y), rounded(x), fill)
  const [top, left] = [floor(y), floor(x)]
  const [bottom, right] = [hlo.add(top, scalar(1)), hlo.add(left, scalar(1))]
  const channelled = (c: Node) => hlo.reshape(c, [...c.shape, 1])
  const mix = (a: Node, b: Node, t: Node) => hlo.add(hlo.multiply(a, hlo.subtract(scalar(1), t)), hlo.multiply(b, t))
  const along = channelled(hlo.subtract(x, left))
  const row = (at: Node) => mix(pixels(image, batch, at, left, fill), pixels(image, batch, at, right, fill), along)
  return mix(row(top), row(bottom), channelled(hlo.subtract(y, top)))
}

/** Boxes [n, 4] = (y1, x1, y2, x2) in units of the image, each cut out and resized. */
kernel<tf.CropAndResizeInputs, tf.CropAndResizeAttrs>(tf.CropAndResize, ({ image, boxes, boxInd }, a) => {
  const [, height, width] = image.shape as [number, number, number]
  const n = boxes.shape[0]!
  const [rows, columns] = a.cropSize
  const edge = (i: number) => hlo.reshape(hlo.slice(boxes, [0, i], [n, i + 1]), [n, 1, 1])
  /** Coordinates of the box's pixels along an axis of `size`. */
  const coordinates = (from: Node, to: Node, size: number, count: number, axis: number): Node => {
    const shape = [n, rows, columns]
    if (count === 1) return hlo.broadcast(hlo.multiply(hlo.add(from, to), scalar(0.5 * (size - 1))), shape)
    const step = hlo.multiply(hlo.subtract(to, from), scalar((size - 1) / (count - 1)))
    return hlo.add(hlo.multiply(from, scalar(size - 1)), hlo.multiply(hlo.iota(shape, axis, 'f32'), step))
  }
  const y = coordinates(edge(0), edge(2), height, rows, 1)
  const x = coordinates(edge(1), edge(3), width, columns, 2)
  const fill = scalar(a.extrapolationValue)
  const values = sample(a.method, hlo.convert(image, 'f32'), hlo.convert(boxInd, 's32'), y, x, fill)
  const inside = hlo.binary('and', within(y, height), within(x, width))
  const chosen = hlo.select(hlo.reshape(inside, [n, rows, columns, 1]), values, fill)
  return hlo.convert(chosen, floatType(image.type))
})

/** Turns each image about a point. The angle is an input of the program, so that another one does not compile again. */
kernel<Image, tf.RotateWithOffsetAttrs>(tf.RotateWithOffset, ({ image }, { radians, fillValue, center }) => {
  const [batch, height, width, channels] = image.shape as [number, number, number, number]
  const middle = tf.backend_util.getImageCenter(center, height, width)
  const numbers = [Math.sin(radians), Math.cos(radians), ...middle].map(v => hostNode([v], [], 'f32'))
  const [sin, cos, cx, cy] = numbers as [Node, Node, Node, Node]
  const OPAQUE = 255
  const fills = typeof fillValue === 'number' ? Array<number>(channels).fill(fillValue) : [...fillValue, OPAQUE]
  const shape = [batch, height, width]
  const dx = hlo.subtract(hlo.iota(shape, 2, 'f32'), cx)
  const dy = hlo.subtract(hlo.iota(shape, 1, 'f32'), cy)
  const x = hlo.add(hlo.subtract(hlo.multiply(dx, cos), hlo.multiply(dy, sin)), cx)
  const y = hlo.add(hlo.add(hlo.multiply(dx, sin), hlo.multiply(dy, cos)), cy)
  return sample(
    'nearest',
    image,
    hlo.iota([batch], 0, 's32'),
    y,
    x,
    hostNode(fills.slice(0, channels), [channels], 'f32'),
  )
})

/** A coordinate outside the axis, brought back in. */
function mapped(at: Node, size: number, mode: tf.TransformAttrs['fillMode']): Node {
  const last = scalar(size - 1)
  const clamped = (x: Node) => hlo.minimum(hlo.maximum(x, scalar(0)), last)
  const trunc = (x: Node) => hlo.convert(hlo.convert(x, 's32'), 'f32')
  const times = (count: Node, n: number) => hlo.multiply(count, scalar(n))
  const below = hlo.compare('LT', at, scalar(0))
  const above = hlo.compare('GT', at, last)
  switch (mode) {
    case 'constant':
      return at
    case 'nearest':
      return clamped(at)
    case 'wrap': {
      // [abcd] is continued as [abcd|abcd|abcd]
      if (size === 1) return hlo.like(at, 0)
      const laps = trunc(hlo.divide(hlo.unary('abs', at), last))
      const up = hlo.add(at, times(hlo.add(laps, scalar(1)), size))
      return clamped(hlo.select(below, up, hlo.select(above, hlo.subtract(at, times(laps, size)), at)))
    }
    case 'reflect': {
      // [abcd] is continued as [dcba|abcd|dcba]
      if (size === 1) return hlo.like(at, 0)
      const period = 2 * size
      const laps = times(trunc(hlo.divide(hlo.unary('abs', at), scalar(period))), period)
      const mirror = (x: Node) => hlo.subtract(scalar(-1), x)
      const lifted = hlo.add(at, laps)
      const low = hlo.select(hlo.compare('LT', lifted, scalar(-size)), hlo.add(lifted, scalar(period)), mirror(lifted))
      const lowered = hlo.subtract(at, laps)
      const high = hlo.select(
        hlo.compare('GE', lowered, scalar(size)),
        hlo.add(mirror(lowered), scalar(period)),
        lowered,
      )
      return clamped(hlo.select(below, low, hlo.select(above, high, at)))
    }
  }
}

/** Projective transforms [1 or batch, 8] = (a0, a1, a2, b0, b1, b2, c0, c1): the output pixel (x, y) is read at
 * ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k), where k = c0 x + c1 y + 1. */
kernel<tf.TransformInputs, tf.TransformAttrs>(tf.Transform, ({ image, transforms }, a) => {
  const [batch, height, width] = image.shape as [number, number, number]
  const shape = [batch, ...(a.outputShape ?? [height, width])]
  const rows = transforms.shape[0]!
  const c = Array.from({ length: 8 }, (_, i) => hlo.reshape(hlo.slice(transforms, [0, i], [rows, i + 1]), [rows, 1, 1]))
  const [x, y] = [hlo.iota(shape, 2, 'f32'), hlo.iota(shape, 1, 'f32')]
  const line = (i: number, constant: Node) =>
    hlo.add(hlo.add(hlo.multiply(c[i]!, x), hlo.multiply(c[i + 1]!, y)), constant)
  const k = line(6, scalar(1))
  const at = (i: number, size: number) => mapped(hlo.divide(line(i, c[i + 2]!), k), size, a.fillMode)
  const fill = scalar(a.fillValue)
  const numbers = hlo.iota([batch], 0, 's32')
  const values = sample(a.interpolation, image, numbers, at(3, height), at(0, width), fill)
  const finite = hlo.reshape(hlo.compare('NE', k, scalar(0)), [...shape, 1])
  return hlo.convert(hlo.select(finite, values, fill), image.type)
})
