import { textReward, type Reward } from './reward.js'

/** Whether a reply thinks and then answers: `<think>…</think>` 0.3, `<answer>…</answer>` 0.3, both and in that order 0.4. */
export function thinkAnswerFormat(): Reward {
  return textReward('thinkAnswerFormat', [], text => {
    const think = /<think>.*?<\/think>/s.exec(text)
    const answer = /<answer>.*?<\/answer>/s.exec(text)
    const tenths =
      (think ? 3 : 0) + (answer ? 3 : 0) + (think && answer && think.index + think[0].length <= answer.index ? 4 : 0)
    return tenths / 10
  })
}
