import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { SLOTS } from '../../kernels/threads.js'
import type { Content } from '../../kernels/wire.js'

interface Answer {
  readonly id: number
  readonly value?: unknown
  readonly traceback?: string
}

/** Cells of a notebook in an empty folder, without the sockets of a kernel. */
export class Notebook {
  readonly folder = mkdtempSync(join(tmpdir(), 'rewardlab-cells-'))
  #asked = 0
  readonly #worker = new Worker(new URL('./cellsWorker.js', import.meta.url), {
    argv: [this.folder],
    workerData: new Int32Array(new SharedArrayBuffer(SLOTS * Int32Array.BYTES_PER_ELEMENT)), // of interrupts
  })

  /** The value of a cell's last expression.
   * @throws the traceback that the user would see, without colours */
  run(code: string): Promise<unknown> {
    return this.ask('execute', { code })
  }

  async ask(type: 'execute' | 'complete' | 'inspect', content: Content): Promise<unknown> {
    const id = ++this.#asked
    this.#worker.postMessage({ id, type, content })
    let answer: Answer
    do [answer] = (await once(this.#worker, 'message')) as [Answer]
    while (answer.id !== id) // to a question whose test has run out of time
    // eslint-disable-next-line no-control-regex
    if (answer.traceback !== undefined) throw new Error(answer.traceback.replace(/\u001b\[\d+m/g, ''))
    return answer.value
  }

  write(name: string, text: string): void {
    const path = join(this.folder, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }

  async close(): Promise<void> {
    await this.#worker.terminate()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
