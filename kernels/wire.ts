import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** The file a Jupyter server passes to a kernel: where to listen, and the key that signs messages. */
export interface Connection {
  readonly transport: string
  readonly ip: string
  readonly key: string
  readonly signature_scheme: string
  readonly shell_port: number
  readonly control_port: number
  readonly iopub_port: number
  readonly stdin_port: number
  readonly hb_port: number
}

export interface Header {
  readonly msg_id: string
  readonly msg_type: string
  readonly session: string
  readonly username: string
  readonly date: string
  readonly version: string
}

export type Content = Record<string, unknown>

/** A received message; `idents` are the routing frames a reply must carry. */
export interface Message {
  readonly idents: readonly Uint8Array[]
  readonly header: Header
  /** Of the request this answers; empty in a request. */
  readonly parent: Partial<Header>
  readonly metadata: Content
  readonly content: Content
  readonly buffers: readonly Uint8Array[]
}

/** A message to send: a reply (shell, control), a question (stdin) or a broadcast (iopub). */
export interface Outgoing {
  readonly channel: 'shell' | 'control' | 'iopub' | 'stdin'
  readonly type: string
  /** JSON: made where the value is, so that one that cannot be sent fails there. */
  readonly content: string
  readonly parent?: Header | undefined
  readonly idents?: readonly Uint8Array[]
  readonly metadata?: Content
  readonly buffers?: readonly Uint8Array[]
}

const DELIMITER = Buffer.from('<IDS|MSG>')
const session = randomUUID()

/** @throws Error when the path is missing or the file is no connection file */
export function readConnection(path: string | undefined): Connection {
  if (path === undefined)
    throw new Error('kernel: got no connection file, needs its path as first argument. Start it through Jupyter.')
  return JSON.parse(readFileSync(path, 'utf8')) as Connection
}

/** Frames → message.
 * @throws Error when the delimiter is missing or the signature is wrong
 * @source https://jupyter-client.readthedocs.io/en/stable/messaging.html, wire protocol */
export function decode(connection: Connection, frames: readonly Buffer[]): Message {
  const start = frames.findIndex(frame => frame.equals(DELIMITER))
  if (start < 0 || frames.length < start + 6) throw new Error('message: not in the Jupyter wire format')
  const parts = frames.slice(start + 2, start + 6)
  const expected = sign(connection, parts)
  const given = frames[start + 1]!
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Error('message: wrong signature')
  const [header, parent, metadata, content] = parts.map(part => JSON.parse(part.toString()) as Content)
  return {
    idents: frames.slice(0, start),
    header: header as unknown as Header,
    parent: parent!,
    metadata: metadata!,
    content: content!,
    buffers: frames.slice(start + 6),
  }
}

/** Message → signed frames; a broadcast is led by its type as topic. */
export function encode(connection: Connection, message: Outgoing): (Buffer | Uint8Array)[] {
  const { channel, type, content, parent = {}, metadata = {}, idents = [], buffers = [] } = message
  const header: Header = {
    msg_id: randomUUID(),
    msg_type: type,
    session,
    username: 'kernel',
    date: new Date().toISOString(),
    version: '5.4',
  }
  const [head, origin, meta] = [header, parent, metadata].map(part => JSON.stringify(part))
  const parts = [head!, origin!, meta!, content].map(part => Buffer.from(part))
  const address = channel === 'iopub' ? [Buffer.from(type)] : idents
  return [...address, DELIMITER, sign(connection, parts), ...parts, ...buffers]
}

/** `execute_request` → `execute_reply`. */
export const replyType = ({ msg_type }: Header): string => msg_type.replace(/_request$/, '_reply')

function sign({ key, signature_scheme }: Connection, parts: readonly Buffer[]): Buffer {
  if (key === '') return Buffer.alloc(0)
  const hmac = createHmac(signature_scheme.replace(/^hmac-/, ''), key)
  for (const part of parts) hmac.update(part)
  return Buffer.from(hmac.digest('hex'))
}
