import assert from 'node:assert/strict'
import { CLIP_SIDE, movingShapes, SHAPE_ACTIONS, type ShapeClip } from '../../src/datasets/index.js'
import type { RgbImage } from '../../src/datasets/index.js'

/** Middle and number of the pixels that are not ground. */
function seen({ data }: RgbImage): { x: number; y: number; size: number } {
  let [x, y, size] = [0, 0, 0]
  for (let i = 0; i < CLIP_SIDE * CLIP_SIDE; i++) {
    if (data[3 * i] === 225 && data[3 * i + 1] === 225 && data[3 * i + 2] === 225) continue
    x += i % CLIP_SIDE
    y += Math.floor(i / CLIP_SIDE)
    size++
  }
  return { x: x / size, y: y / size, size }
}

/** What is to be seen of an action, from its first frame to its last. */
const happened: Record<string, (frames: readonly RgbImage[]) => boolean> = {
  'move left': frames => way(frames).x < -8,
  'move right': frames => way(frames).x > 8,
  'move up': frames => way(frames).y < -8,
  'move down': frames => way(frames).y > 8,
  grow: frames => way(frames).size > 1.5,
  shrink: frames => way(frames).size < 1 / 1.5,
  'change colour': frames => Math.max(...colour(frames[0]!).map((value, c) => Math.abs(value - colour(frames.at(-1)!)[c]!))) > 50, // prettier-ignore
  blink: frames => frames.some(frame => seen(frame).size === 0),
}
function way(frames: readonly RgbImage[]) {
  const [from, to] = [seen(frames[0]!), seen(frames.at(-1)!)]
  return { x: to.x - from.x, y: to.y - from.y, size: to.size / from.size }
}
function colour(frame: RgbImage): number[] {
  const { x, y } = seen(frame)
  const at = 3 * (Math.round(y) * CLIP_SIDE + Math.round(x))
  return [...frame.data.subarray(at, at + 3)]
}

describe('movingShapes', () => {
  it('shows each action that it names in its segment, and no other movement', () => {
    const { train, dev, test } = movingShapes({ seed: 1, size: 200 })
    const named = new Set<string>()
    for (const { frames, actions, frame_cnts, answer } of [...train, ...dev, ...test]) {
      assert.equal(frame_cnts.reduce((a, b) => a + b), frames.length) // prettier-ignore
      assert.equal(answer, actions.map((action, i) => `(${i + 1}) ${action}`).join(' '))
      actions.forEach((action, i) => {
        const from = frame_cnts.slice(0, i).reduce((a, b) => a + b, 0)
        const segment = frames.slice(from, from + frame_cnts[i]!)
        assert.ok(happened[action]!(segment), `${action} is not to be seen`)
        if (!action.startsWith('move')) assert.ok(Math.hypot(way(segment).x, way(segment).y) < 1.5, action)
        assert.notEqual(action, actions[i - 1])
        named.add(action)
      })
    }
    assert.deepEqual([...named].sort(), [...SHAPE_ACTIONS].sort())
  })

  it('is the same for a seed, has splits that share no clip, and refuses other sizes', () => {
    const text = ({ frames }: ShapeClip) => frames.map(({ data }) => Buffer.from(data).toString('base64')).join()
    const { train, dev, test } = movingShapes({ seed: 2, size: 100 })
    assert.deepEqual([train.length, dev.length, test.length], [80, 10, 10])
    assert.equal(text(movingShapes({ seed: 2, size: 100 }).test[3]!), text(test[3]!))
    const other = movingShapes({ seed: 3, size: 100 })
    const trained = new Set([...train, ...other.train].map(text))
    assert.ok([...dev, ...test, ...other.test].every(clip => !trained.has(text(clip))))
    assert.throws(() => movingShapes({ seed: 1, size: 3 }), /size is 3, needed a whole number of at least 10/)
  })
})
