import { answerText } from './answerText.js'
import { textReward, type Reward } from './reward.js'

/** 1 if the answer's text is the gold one, else the intersection over union of their sets of actions.
 *
 * Reads the column `answer`, with or without its `<answer>` tags. Actions stand as `(1) open the door (2) sit`, or are parted
 * by line breaks, semicolons or commas; case, spacing and closing punctuation do not count. A reply without
 * `<answer>…</answer>` scores 0.
 * @throws naming the row whose gold answer has no action */
export function actionIou(): Reward {
  return textReward('actionIou', ['answer'], (text, answer) => {
    const goldText = answerText(String(answer)) ?? String(answer)
    const gold = new Set(actions(goldText))
    if (gold.size === 0) throw new Error(`answer is ${JSON.stringify(answer)}, needed at least one action.`)
    const given = answerText(text)
    if (given === null) return 0
    if (given === goldText.trim()) return 1
    const named = new Set(actions(given))
    const shared = [...named].filter(action => gold.has(action)).length
    return shared / (gold.size + named.size - shared)
  })
}

/** The actions of an answer in order, each in one spelling. */
export function actions(text: string): string[] {
  const numbered = /\(\d+\)/.test(text)
  return text
    .split(numbered ? /\(\d+\)/ : /[\n;,]/)
    .map(action =>
      action
        .toLowerCase()
        .replace(/\s+/g, ' ')
        .replace(/^[\s.,;:]+|[\s.,;:]+$/g, ''),
    )
    .filter(action => action !== '')
}
