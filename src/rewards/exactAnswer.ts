import { answerText } from './answerText.js'
import { canonicalNumber } from './canonicalNumber.js'
import { textReward, type Reward } from './reward.js'

/** `score` if the number in the last `<answer>…</answer>` equals the gold answer, 0 otherwise; with `answerFormat` the
 * totals are 0, 1, 2 and 3.
 *
 * Reads the column `answer`: a number, or a text that is one or ends in GSM8K's `#### NUMBER`. Numbers compare by
 * value and without rounding (`1,250.0` is 1250).
 * @throws naming the row whose gold answer is no number */
export function exactAnswer({ score = 2 }: { score?: number } = {}): Reward {
  return textReward('exactAnswer', ['answer'], (text, answer) => {
    const gold = canonicalNumber(String(answer).split('####').at(-1)!)
    if (gold === null)
      throw new Error(`answer is ${JSON.stringify(answer)}, needed a number or a text ending in "#### NUMBER".`)
    const given = answerText(text)
    return given !== null && canonicalNumber(given) === gold ? score : 0
  })
}
