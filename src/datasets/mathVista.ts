import { dirname, resolve } from 'node:path'
import { readRows } from './readRows.js'
import type { Row } from './jsonl.js'
import type { StoredPrompt } from './visionRows.js'
import { shown } from '../io/excerpt.js'
import { readImage } from '../io/images.js'
import { readJson } from '../io/json.js'

/** A question about a picture. */
export interface MathVistaRow {
  pid: string
  /** As evaluations ask it: with a hint about the form of the answer, and the choices. */
  prompt: string
  /** Path of the picture, or its encoded bytes: what `readImage` takes. */
  image: string | Uint8Array
  /** Of a multiple choice the text of the right one; empty in the test split, which is not published. */
  answer: string
  question_type: 'multi_choice' | 'free_form'
  answer_type: 'text' | 'integer' | 'float' | 'list'
  /** Null where the answer is free. */
  choices: string[] | null
  /** Digits behind the point, where the answer is a float. */
  precision: number | null
  unit: string | null
  /** Grade, skills, source, task and so on. */
  metadata: Record<string, unknown>
}

/** Reads MathVista as published: the Parquet files, which hold the pictures, or `testmini.json`, an object of problems by number whose pictures are
 * files beside it; or JSON lines of the same fields.
 * @throws naming the file, the problem and the field that is missing or of another kind
 * @source Lu et al., MathVista, arXiv 2310.02255; the data set card of AI4Math/MathVista */
export async function mathVista(path: string): Promise<MathVistaRow[]> {
  const rows = path.endsWith('.json') ? await byNumber(path) : await readRows(path)
  return rows.map((row, i) => {
    const where = `mathVista: ${path}, problem ${typeof row['pid'] === 'string' ? row['pid'].slice(0, 40) : i}`
    const text = (field: string, given: unknown = row[field]): string => {
      if (typeof given === 'string') return given
      throw new Error(`${where}: field "${field}" is ${shown(given)}, needed a text.`)
    }
    const one = <const T extends string>(field: string, known: readonly T[]): T => {
      const found = known.find(name => name === row[field])
      if (found !== undefined) return found
      throw new Error(`${where}: field "${field}" is ${shown(row[field])}, needed ${known.join(' or ')}.`)
    }
    const stored = row['decoded_image'] as { bytes?: unknown } | null | undefined
    return {
      pid: text('pid'),
      prompt: text('query', row['query'] ?? row['question']),
      image: stored?.bytes instanceof Uint8Array ? stored.bytes : resolve(dirname(path), text('image')),
      answer: text('answer', row['answer'] ?? ''),
      question_type: one('question_type', ['multi_choice', 'free_form']),
      answer_type: one('answer_type', ['text', 'integer', 'float', 'list']),
      choices: Array.isArray(row['choices']) ? row['choices'].map(choice => text('choices', choice)) : null,
      precision: typeof row['precision'] === 'number' ? row['precision'] : null,
      unit: typeof row['unit'] === 'string' ? row['unit'] : null,
      metadata: (row['metadata'] ?? {}) as Record<string, unknown>,
    }
  })
}

/** Problems as rows for a policy that sees: pictures are decoded when it takes them. Other columns stay. */
export function mathVistaPrompts(
  rows: readonly MathVistaRow[],
): (Omit<MathVistaRow, 'prompt'> & { prompt: StoredPrompt })[] {
  return rows.map(({ prompt, ...row }) => ({
    ...row,
    prompt: {
      prompt: [{ role: 'user', content: prompt }],
      where: `mathVista, problem ${row.pid}`,
      open: async () => ({ images: [await readImage(row.image)], videos: [] }),
    },
  }))
}

/** An object of problems; the number is a problem's `pid` where it has none. */
async function byNumber(path: string): Promise<Row[]> {
  const problems = await readJson(path).catch((error: Error) => {
    throw new Error(`mathVista: ${error.message} Needed MathVista's JSON.`, { cause: error })
  })
  const entries = Object.entries(problems as Record<string, Row>)
  if (entries.length === 0) throw new Error(`mathVista: ${path} holds no problem. Check the file.`)
  return entries.map(([pid, row]) => ({ pid, ...row }))
}
