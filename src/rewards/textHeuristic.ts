import { textReward, type Reward } from './reward.js'

export interface TextHeuristicOptions {
  /** Words at which the share for length is full. Default 100. */
  fullLength?: number
}

/** A heuristic for explanations, between 0 and 1: length + reasoning + coherence.
 *
 * - length: 0.5 · min(words / fullLength, 1)
 * - reasoning: 0.1 for each different reasoning word, at most 0.3
 * - coherence: 0.2 · the share of sentences that open with a capital or a digit, have at least three words and are ended
 *
 * It measures form only, and a policy trained on it alone will fill pages: keep a held-out score beside it. */
export function textHeuristic({ fullLength = 100 }: TextHeuristicOptions = {}): Reward {
  if (!(fullLength > 0))
    throw new Error(
      `textHeuristic: fullLength is ${fullLength}, needed a number of words above 0. Use for example 100.`,
    )
  return textReward('textHeuristic', [], text => {
    const length = 0.5 * Math.min(words(text).length / fullLength, 1)
    const reasoning = 0.1 * Math.min(REASONING.filter(word => new RegExp(`\\b${word}\\b`, 'i').test(text)).length, 3)
    return length + reasoning + 0.2 * coherence(text)
  })
}

const REASONING = ['therefore', 'because', 'since', 'thus', 'hence', 'so', 'first', 'then', 'finally', 'consequently']

function coherence(text: string): number {
  const sentences = text.trim().split(/(?<=[.!?])\s+/)
  const whole = sentences.filter(sentence => /^[\p{Lu}\d].*[.!?]$/su.test(sentence) && words(sentence).length >= 3)
  return whole.length / sentences.length
}

function words(text: string): string[] {
  return text.match(/[\p{L}\p{N}]+/gu) ?? []
}
