import { availableParallelism } from 'node:os'
import { setTimeout } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Reply, Router, XPublisher } from 'zeromq'
import { gather } from './gather.js'
import { info } from './info.js'
import { interrupter } from './interrupt.js'
import { SLOTS, TAKEN, WHOLE, type FromRuntime, type ToRuntime } from './threads.js'
import { decode, encode, readConnection, replyType, type Content, type Message, type Outgoing } from './wire.js'

// The kernel's process: `node main.js CONNECTION_FILE`. This thread owns every socket, so that interrupts and
// heartbeats are answered while user code runs in the worker. (A zeromq socket inside a worker aborts at exit.)

process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, availableParallelism())) // waits for devices block pool threads

const connection = readConnection(process.argv[2])
const unlimited = { sendHighWaterMark: 0, receiveHighWaterMark: 0, linger: 1000 } // a full queue would drop output silently
const sockets = {
  shell: new Router(unlimited),
  control: new Router(unlimited),
  stdin: new Router(unlimited),
  iopub: new XPublisher({ ...unlimited, verbosity: 'allSubs' }), // unlike a Publisher it tells who subscribes
}
const heartbeat = new Reply()

/** zeromq allows one send at a time on a socket: each waits for the one before. */
const idle: Promise<void> = Promise.resolve()
const sending = { shell: idle, control: idle, stdin: idle, iopub: idle }
function send(message: Outgoing): Promise<void> {
  const { channel } = message
  const frames = encode(connection, message)
  return (sending[channel] = sending[channel].then(() => sockets[channel].send(frames)).catch(console.error))
}
const reply = (channel: 'shell' | 'control', { header, idents }: Message, content: Content) =>
  send({ channel, type: replyType(header), content: JSON.stringify(content), parent: header, idents })
const broadcast = (type: string, content: Content, parent?: Message) =>
  send({ channel: 'iopub', type, content: JSON.stringify(content), parent: parent?.header })
const status = (execution_state: string, parent?: Message) => broadcast('status', { execution_state }, parent)

const flags = new Int32Array(new SharedArrayBuffer(SLOTS * Int32Array.BYTES_PER_ELEMENT))
flags[WHOLE] = 1 // until the runtime has set itself up
const worker = new Worker(new URL('./runtime.js', import.meta.url), {
  workerData: flags,
  // Terminated code leaves Node's stack of async ids as it was: Node would notice and abort the process.
  execArgv: [...process.execArgv, '--no-force-async-hooks-checks'],
})
const tell = (message: ToRuntime) => worker.postMessage(message)
const interrupt = interrupter(worker, flags, () => handed.forEach(tell)) // it drops those it has

/** Messages that the runtime has not taken yet, numbered in order: a termination may land where one is handed over. */
const handed: (ToRuntime & { readonly number: number })[] = []
let number = 0
function hand(kind: 'shell' | 'stdin', message: Message): void {
  while (handed[0] && handed[0].number <= Atomics.load(flags, TAKEN)) handed.shift()
  handed.push({ kind, message, number: ++number })
  tell(handed.at(-1)!)
}

/** Milliseconds an interrupt waits, at most, for a cell that was sent just before it: the two come on different sockets. */
const MOMENT = 250
/** Execute requests without an answer yet, by message id: they are answered here if the worker dies. */
const open = new Map<string, Message>()
let executionCount = 0
let ending: { readonly reason: string } | undefined

const { print, flush } = gather(({ name, text, parent }) => {
  void send({ channel: 'iopub', type: 'stream', content: JSON.stringify({ name, text }), parent })
})
worker.on('message', (message: FromRuntime) => {
  if ('text' in message) return print(message)
  flush()
  if (message.type === 'execute_input')
    executionCount = (JSON.parse(message.content) as { execution_count: number }).execution_count
  if (message.type === 'execute_reply' && message.parent) open.delete(message.parent.msg_id)
  void send(message)
})
worker.on('error', (error: Error & { code?: string }) => {
  const reason =
    error.code === 'ERR_WORKER_OUT_OF_MEMORY'
      ? 'The JavaScript heap is full. Keep less data in variables, or set NODE_OPTIONS=--max-old-space-size=8192 (MB).'
      : `The runtime failed: ${error.stack ?? error.message}`
  ending ??= { reason }
})
worker.on('exit', code => {
  ending ??= { reason: `process.exit(${code}) was called in a cell.` }
  void die(code)
})

/** Ends the process and says why. A second engine in the same process is not possible, so the server starts a new one. */
async function die(code: number): Promise<void> {
  flush()
  if (open.size > 0 || code !== 0) console.error(ending!.reason) // to the server's log
  const evalue = `${ending!.reason} The kernel ends; its variables are lost.`
  for (const request of open.values()) {
    const content = { ename: 'KernelDied', evalue, traceback: [`\u001b[31mKernelDied\u001b[39m: ${evalue}`] }
    void broadcast('error', content, request)
    void reply('shell', request, { status: 'error', execution_count: executionCount, ...content })
    void status('idle', request)
  }
  await Promise.all(Object.values(sending))
  await setTimeout(100) // zeromq hands the last frames to the network
  process.exit(code)
}

async function shutdown(channel: 'shell' | 'control', request: Message): Promise<void> {
  ending = { reason: '' }
  open.clear()
  const content = { status: 'ok', restart: request.content['restart'] === true }
  void broadcast('shutdown_reply', content, request)
  await reply(channel, request, content)
  tell({ kind: 'shutdown' }) // lets `exit` listeners of user code run
  void setTimeout(1000).then(() => process.kill(process.pid, 'SIGKILL')) // process.exit would wait for a native call
}

async function control(request: Message): Promise<void> {
  await status('busy', request)
  switch (request.header.msg_type) {
    case 'interrupt_request':
      for (const until = performance.now() + MOMENT; open.size === 0 && performance.now() < until;) await setTimeout(5)
      interrupt()
      await reply('control', request, { status: 'ok' })
      break
    case 'kernel_info_request':
      await reply('control', request, info)
      break
    case 'shutdown_request':
      await shutdown('control', request)
      break
    case 'debug_request': {
      const { seq, command } = request.content
      const message = 'This kernel has no debugger.'
      await reply('control', request, { type: 'response', request_seq: seq, success: false, command, message })
    }
  }
  await status('idle', request)
}

/** Reads a socket for ever; what is not a signed message of our server is dropped. */
async function listen(channel: 'shell' | 'control' | 'stdin', take: (message: Message) => unknown): Promise<void> {
  for await (const frames of sockets[channel]) {
    let message: Message
    try {
      message = decode(connection, frames)
    } catch (error) {
      console.error(String(error))
      continue
    }
    await take(message)
  }
}

/** Greets each subscription: a front end that waits for it misses no broadcast. */
async function welcome(): Promise<void> {
  for await (const [frame] of sockets.iopub)
    if (frame?.[0] === 1) void broadcast('iopub_welcome', { subscription: frame.toString('utf8', 1) })
}

async function start(): Promise<void> {
  const { transport, ip } = connection
  for (const channel of ['shell', 'control', 'stdin', 'iopub'] as const)
    await sockets[channel].bind(`${transport}://${ip}:${connection[`${channel}_port`]}`)
  await heartbeat.bind(`${transport}://${ip}:${connection.hb_port}`)
  await status('starting')
  void (async () => {
    for await (const beat of heartbeat) await heartbeat.send(beat)
  })()
  void welcome()
  void listen('control', control)
  void listen('stdin', message => hand('stdin', message))
  void listen('shell', message => {
    if (message.header.msg_type === 'shutdown_request') return shutdown('shell', message)
    if (message.header.msg_type === 'execute_request') open.set(message.header.msg_id, message)
    hand('shell', message)
  })
}

/** A kernel outlives a client that was killed: end with the server that started us. */
function watchParent(pid: number): void {
  setInterval(() => {
    try {
      process.kill(pid, 0)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') process.kill(process.pid, 'SIGKILL')
    }
  }, 1000).unref()
}

process.on('SIGINT', interrupt) // Ctrl-C in the server's terminal reaches the whole process group
const parent = Number(process.env['JPY_PARENT_PID'])
if (parent > 1) watchParent(parent)
await start()
