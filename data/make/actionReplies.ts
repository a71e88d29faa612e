import { actionReply, numbered, rng, SHAPE_ACTIONS, type Rng, type ShapeClip } from '../../src/datasets/index.js'

/** What an assistant says to a clip; with faults it is often wrong: the last of three actions is missed more often than not; else an action is taken for another,
 * two are in the wrong order, or the form is not kept. That leaves room for reinforcement learning. */
export function actionReplies(clips: readonly ShapeClip[], seed: number, faults: boolean): string[] {
  const random = rng(seed, 5)
  return clips.map(clip => {
    const actions = faults ? faulty(clip.actions, random) : clip.actions
    const [think, answer] = actionReply(`The ${clip.colour} ${clip.shape}`, actions).split('\n') as [string, string]
    const form = faults ? random.uniform() : 1
    if (form < 0.08) return answer
    if (form < 0.16) return `${think}\n${numbered(actions)}`
    if (form < 0.2) return `${answer}\n${think}`
    return `${think}\n${answer}`
  })
}

const MISSED = 0.6 // of three actions the last
const SWAPPED = 0.12
const MISTAKEN = 0.1 // each action

function faulty(right: readonly string[], random: Rng): string[] {
  let actions = right.map(action => (random.uniform() < MISTAKEN ? random.pick(SHAPE_ACTIONS) : action))
  if (actions.length === 3 && random.uniform() < MISSED) actions = actions.slice(0, 2)
  if (random.uniform() < SWAPPED) [actions[0], actions[1]] = [actions[1]!, actions[0]!]
  return actions
}
