import { checkImage, isRgbImage, type RgbImage } from '../io/images.js'
import { start } from '../xla/index.js'
import { readColumn, type Completion, type RewardBatch, type Score } from './reward.js'

/** A completion that is a picture, with the values of the columns that a reward reads. */
export interface PictureRow {
  image: RgbImage
  values: readonly unknown[]
}

/** Scores a batch of pictures some at a time, as many of one size as make one program: a power of two of them, the last one
 * repeated where they do not suffice, and not more than `maxPixels` together.
 * @param name the reward's, for errors
 * @param columns data set columns that `score` needs; a null in one of them makes the score null
 * @throws naming the reward and the row whose completion is no picture, or a column that the batch lacks */
export async function scorePictures(
  name: string,
  batch: RewardBatch,
  columns: readonly string[],
  score: (rows: PictureRow[]) => Promise<readonly Score[]>,
  { maxPixels = 2 ** 22 }: { maxPixels?: number } = {},
): Promise<Score[]> {
  await start()
  const read = columns.map(column => readColumn(name, batch, column))
  const scores: Score[] = batch.completions.map(() => null)
  const bySize = new Map<string, number[]>()
  batch.completions.forEach((completion, row) => {
    const { width, height } = pictureOf(completion, `${name}, row ${row}`)
    if (read.some(column => column[row] === null || column[row] === undefined)) return
    const size = `${width} × ${height}`
    bySize.set(size, [...(bySize.get(size) ?? []), row])
  })
  for (const rows of bySize.values()) {
    const { width, height } = batch.completions[rows[0]!] as RgbImage
    const most = 2 ** Math.max(0, Math.floor(Math.log2(maxPixels / (width * height))))
    for (let at = 0; at < rows.length; at += most) {
      const part = rows.slice(at, at + most)
      const padded = 2 ** Math.ceil(Math.log2(part.length))
      const pictures = Array.from({ length: padded }, (_, i) => {
        const row = part[Math.min(i, part.length - 1)]!
        return { image: batch.completions[row] as RgbImage, values: read.map(column => column[row]) }
      })
      const found = await score(pictures)
      part.forEach((row, i) => (scores[row] = found[i]!))
    }
  }
  return scores
}

function pictureOf(completion: Completion, where: string): RgbImage {
  if (!isRgbImage(completion)) throw new Error(`${where}: the completion is text, needed a picture.`)
  checkImage(completion, where)
  return completion
}
