import { statSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { requireFile } from '../io/requireFile.js'
import type { Row } from './jsonl.js'

/** Of values on the heap; V8 ends the process, not the thread, where an array grows beyond a gigabyte. */
const HEAP_MB = 1000
const LEAST_SECONDS = 60
const SLOWEST = 1e6 // bytes a second

/** Rows of a Parquet or Arrow file, decoded in a thread of its own: decoders believe the lengths that a file declares, and a few bytes may ask for
 * billions of values. A thread ends alone.
 * @throws Error if the file is none, or takes too much time or memory */
export async function* columnarRows(path: string): AsyncGenerator<Row> {
  requireFile(path)
  const seconds = LEAST_SECONDS + statSync(path).size / SLOWEST
  const worker = new Worker(new URL('./columnsWorker.js', import.meta.url), {
    workerData: path,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  })
  try {
    for (let rows; (rows = await nextRows(worker, seconds)) !== null;) yield* rows
  } finally {
    await worker.terminate()
  }
}

type Answer = { rows: Row[] | null; failure?: undefined } | { failure: string }

async function nextRows(worker: Worker, seconds: number): Promise<Row[] | null> {
  let [left, timer] = [seconds, undefined as NodeJS.Timeout | undefined]
  try {
    const answer = await new Promise<Answer>((resolve, reject) => {
      const late = () => reject(new Error(`not decoded after ${Math.round(seconds)} s. Write the rows anew, in smaller row groups.`)) // prettier-ignore
      timer = setInterval(() => --left < 0 && late(), 1000) // counted, as a process may be stopped for a while
      worker.once('message', resolve).once('error', (error: NodeJS.ErrnoException) => {
        const full = error.code === 'ERR_WORKER_OUT_OF_MEMORY'
        reject(full ? new Error(`decoding takes more than ${HEAP_MB} MB. Write the rows anew, in smaller row groups.`) : error) // prettier-ignore
      })
      worker.postMessage('next')
    })
    if (answer.failure !== undefined) throw new Error(answer.failure)
    return answer.rows
  } finally {
    clearInterval(timer)
    worker
      .removeAllListeners('message')
      .removeAllListeners('error')
      .on('error', () => undefined) // of one that ends later
  }
}
