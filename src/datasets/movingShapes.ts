import type { RgbImage } from '../io/images.js'
import { sampleVideo } from '../io/sampleVideo.js'
import type { Message } from '../io/tokenizer.js'
import { FIGURES, PALETTE, paint, plain, type Rgb } from './paint.js'
import { rng, type Rng } from './rng.js'
import { drawSplits, type Splits } from './splits.js'

/** What a shape may do, as answers name it. */
export const SHAPE_ACTIONS = ['move left', 'move right', 'move up', 'move down', 'grow', 'shrink', 'change colour', 'blink'] as const // prettier-ignore
export type ShapeAction = (typeof SHAPE_ACTIONS)[number]

/** Side of a frame, in pixels. */
export const CLIP_SIDE = 32
/** Frames a second of a clip, and of what a policy sees of it. */
export const CLIP_RATE = 4
const SEEN_RATE = 2

/** A short video of a shape that does two or three things, one after another. */
export interface ShapeClip {
  /** What a policy that sees takes: the question, and the frames of 2 a second. */
  prompt: { prompt: Message[]; videos: { frames: RgbImage[]; fps: number }[] }
  /** The right reply. */
  completion: string
  frames: RgbImage[]
  /** What it does, in order. */
  actions: ShapeAction[]
  /** How many frames each takes. */
  frame_cnts: number[]
  colour: string
  shape: string
  /** `(1) move left (2) grow` */
  answer: string
}

export const ACTION_QUESTION = 'Which actions does it do, in order?\nThink in <think> </think>, answer in <answer> </answer>.' // prettier-ignore

/** Clips of 32 × 32 pixels, 4 frames a second: a coloured shape on grey that moves, grows, shrinks, blinks or changes its colour, 8 frames an
 * action. Two neighbouring actions differ. The split is a hash of all that tells a clip, the same for every seed and size.
 * @param options.size clips in all; a tenth each go to dev and test
 * @throws if `size` is not a whole number of at least 10 */
export function movingShapes({ seed, size }: { seed: number; size: number }): Splits<ShapeClip> {
  const random = rng(seed)
  return drawSplits('movingShapes', size, () => {
    const plan = drawPlan(random)
    return plan && { row: () => filmed(plan), text: JSON.stringify(plan) }
  })
}

interface State {
  shape: keyof typeof SHAPES
  colour: keyof typeof PALETTE
  x: number
  y: number
  half: number
}

interface Plan {
  start: State
  acts: { action: ShapeAction; after: State }[]
}

const SHAPES = { circle: FIGURES.circle, square: FIGURES.square, triangle: FIGURES.triangle }
const GROUND: Rgb = [225, 225, 225]
const ACT = 8 // frames of an action
const WAY = 12 // pixels of a move
const GROWTH = 1.7
const HALF = [3, 8] as const // bounds of half a shape's side, in pixels

const names = <T extends object>(of: T) => Object.keys(of) as (keyof T)[]

/** Null if the shape would leave the picture. */
function drawPlan(random: Rng): Plan | null {
  const place = () => 6 + random.int(CLIP_SIDE - 12)
  const start: State = {
    shape: random.pick(names(SHAPES)),
    colour: random.pick(names(PALETTE)),
    x: place(),
    y: place(),
    half: 4 + random.int(3),
  }
  const acts: Plan['acts'] = []
  for (let left = 2 + random.int(2); left > 0; left--) {
    const before = acts.at(-1)
    const action = random.pick(SHAPE_ACTIONS.filter(other => other !== before?.action))
    const after = moved(before?.after ?? start, action, random)
    const inside = [after.x, after.y].every(at => at >= after.half && at <= CLIP_SIDE - after.half)
    if (!inside || after.half < HALF[0] || after.half > HALF[1]) return null
    acts.push({ action, after })
  }
  return { start, acts }
}

function moved(state: State, action: ShapeAction, random: Rng): State {
  switch (action) {
    case 'move left':
      return { ...state, x: state.x - WAY }
    case 'move right':
      return { ...state, x: state.x + WAY }
    case 'move up':
      return { ...state, y: state.y - WAY }
    case 'move down':
      return { ...state, y: state.y + WAY }
    case 'grow':
      return { ...state, half: state.half * GROWTH }
    case 'shrink':
      return { ...state, half: state.half / GROWTH }
    case 'change colour':
      return { ...state, colour: random.pick(names(PALETTE).filter(colour => colour !== state.colour)) }
    case 'blink':
      return state
  }
}

function filmed({ start, acts }: Plan): ShapeClip {
  const frames = acts.flatMap(({ action, after }, i) =>
    Array.from({ length: ACT }, (_, f) => frame(acts[i - 1]?.after ?? start, after, action, (f + 0.5) / ACT)),
  )
  const actions = acts.map(({ action }) => action)
  const frame_cnts = acts.map(() => ACT)
  const taken = sampleVideo(frames.length, CLIP_RATE, { fps: SEEN_RATE, frame_cnts }).map(f => frames[f]!)
  const { colour, shape } = start
  return {
    prompt: { prompt: [{ role: 'user', content: ACTION_QUESTION }], videos: [{ frames: taken, fps: SEEN_RATE }] },
    completion: actionReply(`The ${colour} ${shape}`, actions),
    frames,
    actions,
    frame_cnts,
    colour,
    shape,
    answer: numbered(actions),
  }
}

/** `<think>The red circle does grow, then blink.</think>` and the answer. */
export const actionReply = (who: string, actions: readonly string[]): string =>
  `<think>${who} does ${actions.join(', then ')}.</think>\n<answer>${numbered(actions)}</answer>`

/** Part of the way from one state to the next. */
function frame(from: State, to: State, action: ShapeAction, part: number): RgbImage {
  const image = plain(CLIP_SIDE, CLIP_SIDE, GROUND)
  if (action === 'blink' && part > 0.25 && part < 0.75) return image
  const between = (name: 'x' | 'y' | 'half') => from[name] + (to[name] - from[name]) * part
  const figure = { covers: SHAPES[from.shape], x: between('x'), y: between('y'), half: between('half') }
  paint(image, figure, PALETTE[part < 0.5 ? from.colour : to.colour])
  return image
}

/** `(1) move left (2) grow` */
export const numbered = (actions: readonly string[]): string => actions.map((action, i) => `(${i + 1}) ${action}`).join(' ') // prettier-ignore
