import { writeFile } from 'node:fs/promises'

/** What a span of time went into. */
export type Activity = 'trace' | 'compile' | 'load' | 'upload' | 'execute' | 'read' | 'device'

/** An event of the Chrome trace format: a whole span (X), or the beginning (b) and end (e) of one that others may overlap. */
export interface TraceEvent {
  name: string
  cat: Activity | 'profile' | '__metadata'
  ph: 'X' | 'b' | 'e' | 'M'
  /** Microseconds. */
  ts: number
  dur?: number
  pid: number
  tid: number
  id?: number
  args?: Readonly<Record<string, unknown>>
}

/** For chrome://tracing and https://ui.perfetto.dev. */
export interface ChromeTrace {
  traceEvents: TraceEvent[]
  displayTimeUnit: 'ms'
}

const THREADS = { JavaScript: 1, device: 2 }
const now = () => 1000 * performance.now()

/** The profile being taken. */
let events: TraceEvent[] | null = null
let completions: Promise<void>[] = []
/** When the device ended what it was last seen to run. */
let deviceFree = 0

/** Takes a Chrome trace of what the engine does while `f` runs: tracing, compiling, loading, uploading, executing and reading, a span
 * each, with the program's name. On the thread "device", from when a program is started, or the one before it ended, to when the
 * event loop hears of its end.
 * @param file where the trace is written as JSON */
export async function profile(f: () => unknown, file?: string): Promise<ChromeTrace> {
  if (events) throw new Error('xla.profile: a profile is being taken already. Await it first.')
  const threads = Object.entries(THREADS).map(([name, tid]) => metadata('thread_name', tid, name))
  const trace: ChromeTrace = {
    traceEvents: [metadata('process_name', 0, 'rewardlab'), ...threads],
    displayTimeUnit: 'ms',
  }
  events = trace.traceEvents
  completions = []
  const start = now()
  try {
    await f()
    await Promise.all(completions)
    whole(f.name || 'profile', 'profile', start, THREADS.JavaScript)
  } finally {
    events = null
  }
  if (file !== undefined) await writeFile(file, JSON.stringify(trace))
  return trace
}

/** Runs `f`; a profile shows how long. */
export function span<T>(activity: Activity, name: string, f: () => T, args: object = {}): T {
  if (!events) return f()
  const start = now()
  try {
    return f()
  } finally {
    whole(name, activity, start, THREADS.JavaScript, args)
  }
}

/** The same for what goes on beside other spans. */
export async function asyncSpan<T>(
  activity: Activity,
  name: string,
  f: () => Promise<T>,
  args: object = {},
): Promise<T> {
  if (!events) return f()
  const common = { name, cat: activity, pid: process.pid, tid: THREADS.JavaScript, id: events.length }
  events.push({ ...common, ph: 'b', ts: now(), args: { ...args } })
  try {
    return await f()
  } finally {
    events?.push({ ...common, ph: 'e', ts: now() })
  }
}

/** Shows a program on the device from now until `ended`, which is asked for only while a profile is taken. */
export function deviceSpan(name: string, ended: () => Promise<void>): void {
  if (!events) return
  const start = now()
  const shown = () => {
    whole(name, 'device', Math.max(start, deviceFree), THREADS.device)
    deviceFree = now()
  }
  completions.push(ended().then(shown, shown))
}

function whole(name: string, cat: Activity | 'profile', start: number, tid: number, args: object = {}): void {
  events?.push({ name, cat, ph: 'X', ts: start, dur: now() - start, pid: process.pid, tid, args: { ...args } })
}

function metadata(name: string, tid: number, value: string): TraceEvent {
  return { name, cat: '__metadata', ph: 'M', ts: 0, pid: process.pid, tid, args: { name: value } }
}
