import type { Row } from '../optimizers/index.js'

/** Reports steps on stderr, with the time that is left: one line that changes on a terminal, elsewhere some twenty lines a run. */
export function progress(
  stream: Pick<NodeJS.WriteStream, 'write' | 'isTTY'> = process.stderr,
): (row: Row, steps: number) => void {
  let first: { time: number; step: number } | undefined
  return (row, steps) => {
    const now = performance.now()
    first ??= { time: now, step: row.step } // the first step compiles
    const done = row.step - first.step
    const left = done === 0 ? null : ((now - first.time) / done) * (steps - row.step)
    const headline = row['reward'] === undefined ? `loss ${digits(row['loss'])}` : `reward ${digits(row['reward'])}`
    const line = `step ${row.step}/${steps}, ${headline}${left === null ? '' : `, ${duration(left)} left`}`
    if (stream.isTTY) stream.write(`\r${line}\u001b[K${row.step === steps ? '\n' : ''}`)
    else if (row.step === steps || row.step % Math.ceil(steps / 20) === 0) stream.write(`${line}\n`)
  }
}

/** Writes a warning to stderr, on a terminal below the line of progress. */
export function warningLine(
  stream: Pick<NodeJS.WriteStream, 'write' | 'isTTY'> = process.stderr,
): (text: string) => void {
  return text => void stream.write(`${stream.isTTY ? '\n' : ''}warning: ${text}\n`)
}

const digits = (value: unknown): string => (typeof value === 'number' ? value.toPrecision(3) : 'none')

/** Milliseconds as `1:02:03` or `2:03`. */
function duration(ms: number): string {
  const [hours, minutes, seconds] = [ms / 3_600_000, (ms / 60_000) % 60, (ms / 1000) % 60].map(Math.floor) as [number, number, number] // prettier-ignore
  const two = (n: number) => String(n).padStart(2, '0')
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`
}
