import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Dealer, Subscriber } from 'zeromq'
import { decode, encode, type Connection, type Content, type Message } from '../../kernels/wire.js'

const main = fileURLToPath(new URL('../../kernels/main.js', import.meta.url))

/** The answer to a request, and what was broadcast for it. */
export interface Answer {
  readonly reply: Content
  readonly outputs: readonly Message[]
}

/** A front end for tests: starts a kernel in an empty folder and talks to it over its sockets. */
export class Client {
  readonly folder = mkdtempSync(join(tmpdir(), 'rewardlab-kernel-'))
  readonly broadcasts: Message[] = []
  readonly #sockets = { shell: new Dealer(), control: new Dealer(), stdin: new Dealer() }
  readonly #iopub = new Subscriber({ receiveHighWaterMark: 0 })
  readonly #listeners = new Set<(message: Message) => void>()
  readonly #connection: Connection
  process!: ChildProcess
  #log = ''
  /** Answers the kernel's questions to the user. */
  answerInput: (prompt: string) => string = () => ''

  private constructor(connection: Connection) {
    this.#connection = connection
  }

  static async start(env: Record<string, string> = {}): Promise<Client> {
    const [shell_port, control_port, iopub_port, stdin_port, hb_port] = await freePorts(5)
    const ports = { shell_port, control_port, iopub_port, stdin_port, hb_port } as Record<string, number>
    const fixed = { transport: 'tcp', ip: '127.0.0.1', key: randomUUID(), signature_scheme: 'hmac-sha256' }
    const client = new Client({ ...fixed, ...ports } as unknown as Connection)
    await client.#launch(env)
    return client
  }

  async #launch(env: Record<string, string>): Promise<void> {
    const { ip, ...ports } = this.#connection
    const file = join(this.folder, 'connection.json')
    writeFileSync(file, JSON.stringify(this.#connection))
    const variables = { ...process.env, REWARDLAB_HISTORY: join(this.folder, 'history.jsonl'), ...env }
    this.process = spawn(process.execPath, [main, file], {
      cwd: this.folder,
      env: variables,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.process.stderr!.on('data', chunk => (this.#log += String(chunk)))
    const identity = randomUUID()
    for (const channel of ['shell', 'control', 'stdin'] as const) {
      Object.assign(this.#sockets[channel], { routingId: identity, linger: 0 })
      this.#sockets[channel].connect(`tcp://${ip}:${ports[`${channel}_port`]}`)
      void this.#listen(channel)
    }
    this.#iopub.connect(`tcp://${ip}:${ports.iopub_port}`)
    this.#iopub.subscribe()
    void (async () => {
      for await (const frames of this.#iopub) {
        const message = decode(this.#connection, frames)
        this.broadcasts.push(message)
        for (const listener of this.#listeners) listener(message)
      }
    })()
    while (this.broadcasts.length === 0) await setTimeout(10) // its greeting
  }

  async #listen(channel: 'shell' | 'control' | 'stdin'): Promise<void> {
    for await (const frames of this.#sockets[channel]) {
      const message = decode(this.#connection, frames)
      if (channel === 'stdin') void this.#answer(message)
      else for (const listener of this.#listeners) listener(message)
    }
  }

  async #answer({ header, content }: Message): Promise<void> {
    const value = JSON.stringify({ value: this.answerInput(String(content['prompt'])) })
    await this.#sockets.stdin.send(
      encode(this.#connection, { channel: 'stdin', type: 'input_reply', content: value, parent: header }),
    )
  }

  /** Sends a message without waiting; returns its id. */
  async send(
    type: string,
    content: Content = {},
    channel: 'shell' | 'control' = 'shell',
    buffers: readonly Uint8Array[] = [],
  ): Promise<string> {
    const frames = encode(this.#connection, { channel, type, content: JSON.stringify(content), buffers })
    await this.#sockets[channel].send(frames)
    return (JSON.parse(frames[2]!.toString()) as { msg_id: string }).msg_id
  }

  /** Sends a request and waits for its reply and for the kernel to be idle again. */
  async request(type: string, content: Content = {}, channel: 'shell' | 'control' = 'shell'): Promise<Answer> {
    const heard: Message[] = []
    const record = (message: Message) => heard.push(message)
    this.#listeners.add(record)
    const id = await this.send(type, content, channel)
    for (let waited = 0; waited < 60_000; waited += 5) {
      const mine = heard.filter(({ parent }) => parent.msg_id === id)
      const reply = mine.find(({ header }) => header.msg_type.endsWith('_reply'))
      const idle = mine.some(message => message.content['execution_state'] === 'idle')
      if (reply && idle) {
        this.#listeners.delete(record)
        return { reply: reply.content, outputs: mine.filter(message => message !== reply) }
      }
      await setTimeout(5)
    }
    throw new Error(`${type}: no answer within 60 s. ${this.#log}`)
  }

  execute(code: string, options: Content = {}): Promise<Answer> {
    return this.request('execute_request', { code, silent: false, store_history: true, allow_stdin: true, ...options })
  }

  interrupt(): Promise<Answer> {
    return this.request('interrupt_request', {}, 'control')
  }

  stop(): void {
    this.process.kill('SIGKILL')
    for (const socket of [...Object.values(this.#sockets), this.#iopub]) socket.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map(server => once(server, 'listening')))
  const ports = servers.map(server => (server.address() as { port: number }).port)
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  return ports
}
