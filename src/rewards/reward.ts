import type { Message } from '../datasets/index.js'
import { isRgbImage, type RgbImage } from '../io/images.js'

/** A sample's score; null where the reward does not apply to it. */
export type Score = number | null

/** An output as the policy gives it: text, the messages of the assistant's turn, or a picture. */
export type Completion = string | readonly Message[] | RgbImage

/** Samples to score: prompts, completions, and the data set's other columns, each as long as the completions. */
export interface RewardBatch {
  readonly prompts: readonly unknown[]
  readonly completions: readonly Completion[]
  readonly [column: string]: readonly unknown[]
}

/** Scores each sample of a batch.
 * @param signal aborts once nobody waits for the scores any more: give it to `fetch` and the like */
export type Reward = (batch: RewardBatch, signal?: AbortSignal) => Score[] | Promise<Score[]>

/** A reward from a function of one sample.
 * @param name the reward's name, for errors
 * @param columns data set columns that `score` takes after the text; a null in one of them makes the score null
 * @throws naming the reward and a column that the batch lacks, or the row whose scoring failed */
export function textReward<const C extends readonly string[]>(
  name: string,
  columns: C,
  score: (text: string, ...values: { [K in keyof C]: unknown }) => Score,
): (batch: RewardBatch) => Score[] {
  return batch => {
    const read = columns.map(column => readColumn(name, batch, column))
    return batch.completions.map((completion, row) => {
      const values = read.map(column => column[row]) as { [K in keyof C]: unknown }
      if (values.some(value => value === null || value === undefined)) return null
      try {
        return score(completionText(completion), ...values)
      } catch (error) {
        throw new Error(`${name}, row ${row}: ${(error as Error).message}`, { cause: error })
      }
    })
  }
}

/** The text of an output: the string itself, or its messages' contents joined by line breaks.
 * @throws if it is a picture */
export function completionText(completion: Completion): string {
  if (isRgbImage(completion)) throw new Error('the completion is a picture, needed text. Use a reward for images.')
  return typeof completion === 'string' ? completion : completion.map(message => message.content).join('\n')
}

/** A column of a batch.
 * @throws naming the reward, and the column that the batch lacks or that is not as long as the completions */
export function readColumn(name: string, batch: RewardBatch, column: string): readonly unknown[] {
  const values = batch[column]
  const rows = batch.completions.length
  if (values === undefined)
    throw new Error(
      `${name}: column "${column}" is missing (got ${Object.keys(batch).join(', ')}). Add it to the data set's rows.`,
    )
  if (values.length !== rows)
    throw new Error(
      `${name}: column "${column}" has ${values.length} values for ${rows} completions. Repeat each row's value for its generations.`,
    )
  return values
}
