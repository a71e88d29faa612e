import { answerText } from './answerText.js'
import { textReward, type Reward } from './reward.js'

export interface ModerationOptions {
  /** The labels to judge, for example ['Nudity', 'Weapons']. */
  labels: readonly string[]
  /** A label rightly flagged. Default 1. */
  truePositive?: number
  /** A label missed. Default −1; lower it for more recall. */
  falseNegative?: number
  /** A label wrongly flagged. Default −0.2. */
  falsePositive?: number
  /** A label rightly left out. Default 0.1. */
  trueNegative?: number
}

/** Recall first: the sum over labels of an asymmetric score.
 *
 * Reads the column `labels`, the list of each sample's true labels. A reply flags what its last `<answer>…</answer>` lists
 * (`Nudity, Weapons`, or `Weapons: yes`). A reply without one flags nothing and earns nothing for what it left out.
 * @throws if there are no labels, or one twice; naming the row whose `labels` are no list, or hold an unknown one */
export function moderation(options: ModerationOptions): Reward {
  const { labels, truePositive = 1, falseNegative = -1, falsePositive = -0.2, trueNegative = 0.1 } = options
  if (labels.length === 0)
    throw new Error("moderation: labels is empty, needed at least one. Use for example ['Weapons'].")
  if (new Set(labels.map(label => label.toLowerCase())).size < labels.length)
    throw new Error(`moderation: labels are ${labels.join(', ')}, needed each once, whatever its case. Leave the second out.`) // prettier-ignore
  return textReward('moderation', ['labels'], (text, column) => {
    const gold = trueLabels(column, labels)
    const answer = answerText(text)
    const flagged = new Set(answer === null ? [] : flaggedLabels(answer, labels))
    let total = 0
    for (const label of labels) {
      if (gold.has(label)) total += flagged.has(label) ? truePositive : falseNegative
      else if (flagged.has(label)) total += falsePositive
      else if (answer !== null) total += trueNegative
    }
    return total
  })
}

/** The labels that an answer flags: named alone, or followed by a colon and a yes; in lists of any kind, JSON's among them. Case does not
 * count; a label within a word, or with words of its own around it (`no weapons`), is not named. */
export function flaggedLabels(answer: string, labels: readonly string[]): string[] {
  // Each label becomes one character, the longest first, so that labels may hold commas, "and" and one another.
  const marks = labels.map((label, k) => ({ label, mark: String.fromCodePoint(FIRST_MARK + k) }))
  const marked = [...marks]
    .sort((a, b) => b.label.length - a.label.length)
    .reduce((text, { label, mark }) => text.replace(wholeWords(label), mark), answer.replace(PRIVATE_USE, ''))
  const parts = marked
    .split(/[,;|\n[\]{}]|\band\b/i)
    .map(part => part.replace(/^(?:\d+[.)]|[\s\p{P}\p{S}])+/u, '').replace(/(?:(?![:=])[\s\p{P}\p{S}])+$/u, ''))
  const flagged = parts.map(part => {
    const [name, verdict = 'yes'] = part.split(/["'`*]*\s*[:=]\s*["'`*]*/)
    return /^(yes|true|1)$/i.test(verdict) ? name : undefined
  })
  return marks.filter(({ mark }) => flagged.includes(mark)).map(({ label }) => label)
}

/** Characters that no text means anything by. */
const PRIVATE_USE = /\p{Co}/gu
const FIRST_MARK = 0xf0000

const wholeWords = (label: string): RegExp =>
  new RegExp(`(?<![\\p{L}\\p{N}])${label.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')}(?![\\p{L}\\p{N}])`, 'giu')

function trueLabels(column: unknown, labels: readonly string[]): Set<string> {
  const unknown: unknown = Array.isArray(column) ? column.find(label => !labels.includes(label as string)) : column
  if (unknown === undefined) return new Set(column as string[])
  throw new Error(`labels is ${JSON.stringify(column)}, needed a list out of ${labels.join(', ')}.`)
}
