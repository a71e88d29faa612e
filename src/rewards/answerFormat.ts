import { canonicalNumber } from './canonicalNumber.js'
import { textReward, type Reward } from './reward.js'

/** 1 if the last line is `<answer>NUMBER</answer>` and nothing else, 0 otherwise. */
export function answerFormat(): Reward {
  return textReward('answerFormat', [], text => {
    const lastLine = text.trimEnd().split('\n').at(-1)!
    const inside = /^\s*<answer>([^<>$]*)<\/answer>$/.exec(lastLine)?.[1]
    return inside !== undefined && canonicalNumber(inside) !== null ? 1 : 0
  })
}
