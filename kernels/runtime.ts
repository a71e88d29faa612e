import { setImmediate } from 'node:timers'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { clearOutput, display, input } from '../src/widgets/index.js'
import { setNotebook } from '../src/widgets/notebook.js'
import { Cells } from './cells.js'
import { Comms } from './comms.js'
import { mimeBundle } from './display.js'
import { failure, installStackTraces, KeyboardInterrupt, type Failure } from './errors.js'
import { History } from './history.js'
import { info } from './info.js'
import { complete, inspect, isComplete, page, questioned } from './introspection.js'
import { Output } from './output.js'
import { rememberScopes } from './scopes.js'
import { Shown } from './shown.js'
import { PATIENT, SEEN, SETTLED, TAKEN, TERMINATED, WHOLE, type FromRuntime, type ToRuntime } from './threads.js'
import { serveTslab } from './tslab.js'
import { uninterrupted } from './uninterrupted.js'
import { replyType, type Content, type Message } from './wire.js'

// The worker: user code, the compiler and the engine. It answers what arrives on the shell socket; main.ts sends it.

const port = parentPort!
const flags = workerData as Int32Array
const post = (message: FromRuntime) => port.postMessage(message)

/** The execute request that runs or ran last, and the comm message whose callback runs now: output belongs to them.
 * (Output that a callback prints later, after an await, goes to the cell; display handles have their own place.) */
let cell: Message | undefined
let callback: Message | undefined
const output = new Output(post, () => (callback ?? cell)?.header)
const shown = new Shown(output)
const comms = new Comms((type, content, extra) => output.publish(type, content, extra))
const history = new History()

installStackTraces()
for (const name of ['stdout', 'stderr'] as const)
  process[name].write = (chunk: string | Uint8Array, encoding?: unknown, done?: unknown): boolean => {
    output.write(name, typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString())
    const finished = typeof encoding === 'function' ? encoding : done
    if (typeof finished === 'function') (finished as () => void)()
    return true
  }
process.on('uncaughtException', error => report('Uncaught error in a callback', error))
process.on('unhandledRejection', error => report('Unhandled rejection', error))

/** The run of a cell; its signal tells long work to stop. */
let run: Run = { controller: new AbortController(), reject: () => {}, closeScopes: () => {} }
interface Run {
  readonly controller: AbortController
  readonly reject: (error: KeyboardInterrupt) => void
  readonly closeScopes: () => void
}
let asked: { readonly resolve: (line: string) => void; readonly reject: (error: Error) => void } | undefined

/** What the modules of `src` find on the global object: the signal of the running cell, and callbacks that repair state
 * after an interrupt. They learn whether it terminated code half-way, which then runs no `finally`. */
const repairs = new Set<(terminated: boolean) => void>()
Object.assign(globalThis, {
  display,
  clearOutput,
  input,
  [Symbol.for('rewardlab.signal')]: () => run.controller.signal,
  [Symbol.for('rewardlab.interrupted')]: repairs,
  [Symbol.for('rewardlab.patience')]: (patient: boolean) => Atomics.store(flags, PATIENT, Number(patient)),
})
setNotebook({
  show: (value, options) => shown.show(value, options),
  bundle: mimeBundle,
  clearOutput: wait => output.publish('clear_output', { wait }),
  input: ask,
  openComm: (target, data, extra) => comms.open(target, data, extra),
})
serveTslab((content, update) => output.publish(update ? 'update_display_data' : 'display_data', content))

const cells = new Cells(process.cwd())
const handlers: Record<string, (request: Message) => Content | Promise<Content> | undefined> = {
  kernel_info_request: () => info,
  execute_request: execute,
  complete_request: ({ content }) => complete(cells, content),
  inspect_request: ({ content }) => inspect(cells, content),
  is_complete_request: ({ content }) => isComplete(content),
  history_request: ({ content }) => ({ status: 'ok', history: history.query(content) }),
  comm_info_request: ({ content }) => ({ status: 'ok', comms: comms.info(content['target_name']) }),
  comm_open: receiveComm,
  comm_msg: receiveComm,
  comm_close: receiveComm,
}

/** Execute requests wait here for each other; all others are answered at once, even while a cell awaits. */
const queue: Message[] = []
let running: Message | undefined
let count = 0

async function answer(request: Message): Promise<void> {
  const status = (execution_state: string, { header }: Message) =>
    output.publish('status', { execution_state }, { parent: header })
  status('busy', request)
  try {
    const content = await handlers[request.header.msg_type]?.(request)
    if (content) reply(request, content)
  } catch (error) {
    reply(request, { status: 'error', ...failure(error) })
  }
  status('idle', request)
  if (running && running !== request) status('busy', running) // front ends show the last state they hear
}

function reply({ header, idents }: Message, content: Content): void {
  post({ channel: 'shell', type: replyType(header), content: JSON.stringify(content), parent: header, idents })
}

/** Terminated before a request has left the queue, it may be called again; from then on until it awaits, it is not. */
async function work(): Promise<void> {
  while (!running && queue.length > 0) {
    await uninterrupted(() => answer((running = cell = queue.shift()!)))
    running = undefined
  }
}

async function execute({ content }: Message): Promise<Content> {
  const { code, silent = false, store_history = true, user_expressions = {}, stop_on_error = true } = content
  const source = String(code)
  if (silent !== true && store_history === true) history.add(++count, source)
  const execution_count = count
  if (silent !== true) output.publish('execute_input', { code: source, execution_count })
  const name = questioned(source)
  if (name !== undefined) return { status: 'ok', execution_count, user_expressions: {}, payload: [page(cells, name)] }
  try {
    const { data, expressions } = await interruptible(async () => {
      const value = await cells.execute(source, `cell[${execution_count}]`, run.controller.signal)
      const data = value === undefined ? {} : await mimeBundle(value)
      return { data, expressions: await evaluate(user_expressions as Record<string, string>) }
    })
    if (silent !== true && Object.keys(data).length > 0)
      output.publish('execute_result', { execution_count, data, metadata: {} })
    await output.settled()
    return { status: 'ok', execution_count, user_expressions: expressions, payload: [] }
  } catch (error) {
    const failed = failure(error)
    if (silent !== true) output.publish('error', failed)
    await output.settled()
    if (stop_on_error === true) abortQueue()
    return { status: 'error', execution_count, ...failed }
  }
}

/** Runs a cell's code until it ends or an interrupt frees the cell; code that awaits sees it by the signal. */
function interruptible<T>(code: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    run = { controller: new AbortController(), reject, closeScopes: rememberScopes() }
    code().then(resolve, reject)
  })
}

/** Asked again after each termination, which may have ended this function before its work was done. */
function interrupt(id: number): void {
  if (Atomics.load(flags, SETTLED) >= id) return
  const { controller, reject } = run
  const error = new KeyboardInterrupt()
  try {
    uninterrupted(() => release(id))
    asked?.reject(error)
    controller.abort(error)
  } finally {
    // In a turn of its own: microtasks of this one are lost if code that the cell has scheduled must be terminated too.
    setImmediate(() => {
      if (Atomics.load(flags, SETTLED) >= id) return
      uninterrupted(() => Atomics.store(flags, SETTLED, id))
      reject(error)
    })
  }
}

/** Repairs what terminated code has left. */
function release(id: number): void {
  if (Atomics.load(flags, SEEN) >= id) return
  Atomics.store(flags, SEEN, id)
  run.closeScopes()
  shown.release()
  for (const repair of repairs) repair(Atomics.load(flags, TERMINATED) === id)
}

/** After an error the requests already waiting are aborted, those that come later run. */
function abortQueue(): void {
  for (let waiting; (waiting = receiveMessageOnPort(port));) receive(waiting.message as ToRuntime)
  for (const request of queue.splice(0)) {
    output.publish('status', { execution_state: 'busy' }, { parent: request.header })
    reply(request, { status: 'aborted', execution_count: count })
    output.publish('status', { execution_state: 'idle' }, { parent: request.header })
  }
}

async function evaluate(expressions: Record<string, string>): Promise<Record<string, Content | Failure>> {
  const results: Record<string, Content | Failure> = {}
  for (const [name, expression] of Object.entries(expressions))
    try {
      results[name] = { status: 'ok', data: await mimeBundle(await cells.evaluate(expression)), metadata: {} }
    } catch (error) {
      results[name] = { status: 'error', ...failure(error) }
    }
  return results
}

async function ask(prompt: string, password: boolean): Promise<string> {
  if (cell?.content['allow_stdin'] !== true)
    throw new Error('input: this front end takes no input, needs an interactive notebook. Set the value in the code.')
  const { header, idents } = cell
  post({
    channel: 'stdin',
    type: 'input_request',
    content: JSON.stringify({ prompt, password }),
    parent: header,
    idents,
  })
  try {
    return await new Promise((resolve, reject) => (asked = { resolve, reject }))
  } finally {
    asked = undefined
  }
}

function receiveComm(message: Message): undefined {
  callback = message
  try {
    comms.receive(message)
  } catch (error) {
    report('Error in a widget callback', error)
  } finally {
    callback = undefined
  }
}

function report(title: string, error: unknown): void {
  output.write('stderr', `${title}: ${failure(error).traceback.join('\n')}\n`)
}

function receive(message: ToRuntime): void {
  switch (message.kind) {
    case 'interrupt':
      void work() // an interrupt before may have ended it: this one is meant for the cell that waits
      return interrupt(message.id)
    case 'shutdown':
      return process.exit()
    case 'stdin':
      if (taken(message.number)) asked?.resolve(String(message.message.content['value']))
      return
    case 'shell':
      if (message.message.header.msg_type !== 'execute_request') {
        if (taken(message.number)) void answer(message.message)
        return
      }
      uninterrupted(() => taken(message.number) && queue.push(message.message))
      void work()
  }
}

/** Whether a message is the next one: if one before it was lost in a termination, all from there come again. */
function taken(number: number): boolean {
  return Atomics.compareExchange(flags, TAKEN, number - 1, number) === number - 1
}

port.on('message', receive)
Atomics.sub(flags, WHOLE, 1) // set up
