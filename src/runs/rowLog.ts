import { readFileSync } from 'node:fs'
import { parseRow, type Row } from '../datasets/jsonl.js'
import { openByteLog, type ByteLog } from './byteLog.js'

/** A JSON lines file that only grows, by whole lines. */
export interface RowLog extends Pick<ByteLog, 'flush' | 'close'> {
  /** Adds rows; after an error (a full disk) the file is as it was before.
   * @throws naming the file */
  append(rows: readonly object[]): void
}

/** Opens a log for appending. A line that a crash left torn at its end is cut off.
 * @param kept bytes of it to keep, as `flush` told them; the rest is cut off, too */
export function openRowLog(path: string, kept = Infinity): RowLog {
  const log = openByteLog(path, content => Math.min(content.lastIndexOf(0x0a) + 1, kept))
  return {
    append: rows => log.append(Buffer.from(rows.map(row => `${JSON.stringify(row, spellNonFinite)}\n`).join(''))),
    flush: () => log.flush(),
    close: () => log.close(),
  }
}

/** Reads a log.
 * @returns its rows, and a note if a crash left its last line torn: that line is left out
 * @throws naming the line that is damaged before the end */
export function readRowLog(path: string): { rows: Row[]; note?: string } {
  const text = readFileSync(path, 'utf8')
  const end = text.lastIndexOf('\n') + 1
  const lines = text.slice(0, end).split('\n').slice(0, -1)
  const rows = lines.map((line, i) => parseRow(line, `${path}, line ${i + 1}`))
  if (end === text.length) return { rows }
  return { rows, note: `${path}: the last line is torn and was left out; the run was cut off while writing it.` }
}

/** JSON has no NaN and no infinities, but a diverged run has: they are written as text. */
function spellNonFinite(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value
}

/** A row of numbers with those that JSON cannot hold read back. */
export function withNonFinite(row: Row): Row {
  const entries = Object.entries(row).map(([key, value]) => [key, NON_FINITE.has(value) ? Number(value) : value])
  return Object.fromEntries(entries) as Row
}

const NON_FINITE = new Set<unknown>(['NaN', 'Infinity', '-Infinity'])
