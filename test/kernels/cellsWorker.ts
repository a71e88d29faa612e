import { parentPort } from 'node:worker_threads'
import { Cells } from '../../kernels/cells.js'
import { failure, installStackTraces } from '../../kernels/errors.js'
import { complete, inspect } from '../../kernels/introspection.js'
import type { Content } from '../../kernels/wire.js'

// Runs cells in the thread that the kernel would run them in; test/kernels/notebook.ts talks to it.

installStackTraces()
const cells = new Cells(process.argv[2]!)
let count = 0
const answers: Record<string, (content: Content) => unknown> = {
  execute: ({ code }) => cells.execute(String(code), `cell[${++count}]`),
  complete: content => complete(cells, content),
  inspect: content => inspect(cells, content),
}

parentPort!.on(
  'message',
  ({ id, type, content }: { readonly id: number; readonly type: string; readonly content: Content }) => {
    void (async () => {
      try {
        parentPort!.postMessage({ id, value: await answers[type]!(content) })
      } catch (error) {
        parentPort!.postMessage({ id, traceback: failure(error).traceback.join('\n') })
      }
    })()
  },
)
