import type { Message } from '../io/tokenizer.js'
import { preferenceRows, type PreferenceRow } from './trlRows.js'
import type { Row } from './jsonl.js'

/** Preferences as Anthropic published them (hh-rlhf): `chosen` and `rejected` are whole transcripts, turns marked by `Human:` and `Assistant:` after
 * an empty line. They become messages; the prompt is what both begin with.
 * @throws naming the row that is no transcript, or whose transcripts do not end in the assistant's turn or share no turn
 * @source Bai et al., Training a Helpful and Harmless Assistant, arXiv 2204.05862 */
export function transcriptPreferences(rows: readonly Row[]): PreferenceRow[] {
  return preferenceRows(
    rows.map((row, i) => {
      const where = `transcriptPreferences: row ${i}`
      return {
        chosen: turnsOf(row['chosen'], `${where}, chosen`),
        rejected: turnsOf(row['rejected'], `${where}, rejected`),
      }
    }),
  )
}

const ROLES = { Human: 'user', Assistant: 'assistant' } as const

function turnsOf(transcript: unknown, where: string): Message[] {
  const parts = typeof transcript === 'string' ? transcript.split(/(?:^|\n\n)(Human|Assistant): ?/) : []
  if (parts.length < 5 || parts[0]!.trim() !== '' || parts.at(-2) !== 'Assistant')
    throw new Error(
      `${where} is ${JSON.stringify(transcript)?.slice(0, 60)}, needed a text of turns "\\n\\nHuman: …\\n\\nAssistant: …" that ends in the assistant's.`,
    )
  return Array.from({ length: (parts.length - 1) / 2 }, (_, i) => ({
    role: ROLES[parts[2 * i + 1] as keyof typeof ROLES],
    content: parts[2 * i + 2]!.trim(),
  }))
}
