import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import {
  addFault,
  imagesToTensor,
  QUALITY_FAULTS,
  rng,
  type QualityFault,
  type RgbImage,
} from '../../src/datasets/index.js'
import { openSafetensors } from '../../src/io/safetensors.js'
import { pictureMeasures } from '../../src/metrics/index.js'
import { jit, start, type Jitted } from '../../src/xla/index.js'
import { qualityScenes } from '../../data/make/qualityScenes.js'
import { fixture } from '../models/fixture.js'

const PARITY = 1e-5 // float32 against scikit-image's float64
const ROUNDING = 1e-4
const SIZE = 48

type Measure = keyof typeof pictureMeasures

describe('pictureMeasures', () => {
  before(() => start())
  const programs: Partial<Record<Measure, Jitted<[tf.Tensor], tf.Tensor>>> = {}

  const measured = async (measure: Measure, pictures: readonly RgbImage[]): Promise<number[]> => {
    const tensor = imagesToTensor(pictures)
    const values = await (programs[measure] ??= jit(pictureMeasures[measure], { name: measure })).async(tensor)
    const numbers = [...(await values.data())]
    tf.dispose([tensor, values])
    return numbers
  }
  const painted = (color: (x: number, y: number) => number[]): RgbImage => {
    const pixels = Array.from({ length: SIZE ** 2 }, (_, i) => color(i % SIZE, Math.floor(i / SIZE)))
    return { width: SIZE, height: SIZE, data: Uint8ClampedArray.from(pixels.flat()) }
  }
  const flat = (...color: number[]) => painted(() => color)
  const near = async (measure: Measure, picture: RgbImage, wanted: number): Promise<void> => {
    const [found] = await measured(measure, [picture])
    assert.ok(Math.abs(found! - wanted) < ROUNDING, `${measure} is ${found}, not ${wanted}`)
  }

  it('sharpness is one minus scikit-image\u2019s blur_effect', async () => {
    const expected = await openSafetensors(fixture('similarity.safetensors'))
    const [rows, height, width] = expected.tensors.get('sharp')!.shape as [number, number, number]
    const data = await expected.read('sharp')
    const size = height * width * 3
    const pictures = Array.from({ length: rows }, (_, i) => ({
      ...{ width, height },
      data: new Uint8ClampedArray(data.subarray(i * size, (i + 1) * size)),
    }))
    const blur = await expected.read('blur_effect')
    await expected.close()
    const found = await measured('sharpness', pictures)
    found.forEach((x, i) => assert.ok(Math.abs(x - (1 - blur[i]!)) < PARITY, `${i}: ${x}, not ${1 - blur[i]!}`))
  })

  it('a flat grey picture has no edges, noise, blocks or colours', async () => {
    const grey = flat(128, 128, 128)
    for (const [measure, wanted] of [
      ['sharpness', 0],
      ['noise', 1],
      ['blocking', 1],
      ['colourfulness', 0],
    ] as const)
      // prettier-ignore
      await near(measure, grey, wanted)
    await near('exposure', grey, 1)
  })

  it('noise tells the deviation', async () => {
    const random = rng(4)
    const normal = () => Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform())
    const sigma = 0.05 // then the measure is one half
    const noisy = painted(() => Array<number>(3).fill(128 + 255 * sigma * normal()))
    const [found] = await measured('noise', [noisy])
    assert.ok(Math.abs(found! - 0.5) < 0.03, `${found}`) // 2,304 pixels
  })

  it('exposure falls with clipped pixels and away from the middle', async () => {
    await near('exposure', flat(64, 64, 64), Math.exp((-0.5 * (64 / 255 - 0.5) ** 2) / 0.0625))
    await near('exposure', flat(255, 255, 255), 0)
    const half = painted(x => Array<number>(3).fill(x < SIZE / 2 ? 255 : 0))
    await near('exposure', half, 0)
    await near(
      'exposure',
      painted(x => (x < 12 ? [255, 255, 255] : [85, 85, 85])),
      0.75,
    ) // mean one half, a quarter white
  })

  it('blocking compares the borders of blocks with the rest', async () => {
    const steps = painted(x => Array<number>(3).fill(100 + 4 * Math.floor(x / 8)))
    await near('blocking', steps, (1 / 255 / (5 / 255) + 1) / 2) // steps of 4 levels along one axis, none along the other
    const ramp = painted(x => Array<number>(3).fill(20 + 4 * x))
    await near('blocking', ramp, 1)
  })

  it('colourfulness is the formula of its authors', async () => {
    // Red and blue halves: R − G is 200 or 0, (R + G)/2 − B is 100 or −200.
    const halves = painted(x => (x < SIZE / 2 ? [200, 0, 0] : [0, 0, 200]))
    await near('colourfulness', halves, 1)
    const faint = painted(x => (x < SIZE / 2 ? [120, 100, 100] : [100, 100, 120]))
    await near('colourfulness', faint, (Math.hypot(10, 15) + 0.3 * Math.hypot(10, -5)) / 109)
  })

  /** What each measure must fall by, on average, under its fault, and at most move by under those it should not notice. */
  const FAULTS: Record<Exclude<Measure, 'colourfulness'>, { fault: QualityFault; ignores: QualityFault[] }> = {
    sharpness: { fault: 'blur', ignores: ['colour'] }, // exposure that clips takes edges away
    noise: { fault: 'noise', ignores: ['blur', 'ringing', 'exposure', 'colour', 'banding'] },
    exposure: { fault: 'exposure', ignores: ['blur', 'ringing', 'blocking'] },
    blocking: { fault: 'blocking', ignores: ['blur', 'ringing', 'noise', 'exposure', 'colour'] },
  }
  for (const [measure, { fault, ignores }] of Object.entries(FAULTS) as [Measure, (typeof FAULTS)['noise']][])
    it(`${measure} falls with ${fault}, and more than with ${ignores.join(', ')}`, async () => {
      const scenes = await qualityScenes('test', { size: SIZE, count: 12, seed: 2 })
      const mean = async (kind: QualityFault, strength: number) => {
        const values = await measured(measure, scenes.map((s, i) => addFault(s, kind, strength, rng(i)))) // prettier-ignore
        return values.reduce((sum, x) => sum + x, 0) / values.length
      }
      const series = [0, 0.2, 0.5, 0.9]
      const own = await Promise.all(series.map(s => mean(fault, s)))
      for (let i = 1; i < own.length; i++) assert.ok(own[i]! < own[i - 1]!, `${fault}: ${own.join(', ')}`)
      for (const other of ignores) {
        const moved = Math.abs((await mean(other, 0.5)) - own[0]!)
        assert.ok(moved < (own[0]! - own[2]!) / 2, `${other} moves it by ${moved}, ${fault} by ${own[0]! - own[2]!}`)
      }
      assert.ok(ignores.every(kind => QUALITY_FAULTS.includes(kind)))
    })
})
