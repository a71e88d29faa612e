/* The thread that {@link columnarRows} starts: it answers each message with some rows, at the end with null. */
import { parentPort, workerData } from 'node:worker_threads'
import { decodeColumns } from './decodeColumns.js'

process.on('unhandledRejection', () => undefined) // hyparquet reads columns at once: the first that fails is told, others may fail after it

const port = parentPort!
const parts = decodeColumns(workerData as string)
port.on('message', () => {
  parts.next().then(
    next => port.postMessage({ rows: next.done ? null : next.value }),
    (error: Error) => port.postMessage({ failure: error.message }),
  )
})
