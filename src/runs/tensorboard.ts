import { readdirSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { openByteLog } from './byteLog.js'

/** What TensorBoard reads of a run: rows of numbers as scalars, named as transformers' callback names them (`train/loss`, `eval/loss`). */
export interface TensorBoardLog {
  /** Adds a row's numbers at its `step`; rows without one are passed over. */
  append(row: object): void
  close(): void
}

/** Starts an event file in a folder; TensorBoard reads it while it grows. Each opening makes a file of its own, whose name sorts after those before, so
 * that what a crash left torn at the end of one is passed over.
 * @param from the first step to come, of a run that goes on from a checkpoint: events of earlier files from it on no longer count
 * @source tensorflow/core/util/event.proto and lib/io/record_writer.h; the layout of torch.utils.tensorboard */
export function openTensorBoardLog(dir: string, from?: number): TensorBoardLog {
  const log = openByteLog(join(dir, eventFileName(dir)))
  log.append(record(event({ fileVersion: 'brain.Event:2' })))
  if (from !== undefined) log.append(record(event({ step: from, start: true })))
  return {
    append(row) {
      const { step, ...values } = row as Record<string, unknown>
      const scalars = Object.entries(values).filter((entry): entry is [string, number] => typeof entry[1] === 'number')
      if (typeof step === 'number' && scalars.length > 0) log.append(record(event({ step, scalars: scalars.map(tagged) }))) // prettier-ignore
    },
    close: () => log.close(),
  }
}

let opened = 0

/** As torch names them: time, machine, process, and how many this process has opened. A clock that has jumped back stands still here: TensorBoard reads
 * files in the order of their names. */
function eventFileName(dir: string): string {
  const before = readdirSync(dir).map(name => Number(/^events\.out\.tfevents\.(\d+)\./.exec(name)?.[1] ?? 0))
  const seconds = String(Math.max(Math.floor(Date.now() / 1000), 1 + Math.max(0, ...before))).padStart(10, '0')
  return `events.out.tfevents.${seconds}.${hostname()}.${process.pid}.${opened++}`
}

const tagged = ([metric, value]: [string, number]): [string, number] => [
  metric.startsWith('eval_') ? `eval/${metric.slice('eval_'.length)}` : `train/${metric}`,
  value,
]

/** What an `Event` message may hold here. */
export interface TensorBoardEvent {
  /** Seconds since 1970. Default: now. */
  wallTime?: number
  step?: number
  fileVersion?: string
  /** Values by tag; kept as float32. */
  scalars?: readonly (readonly [tag: string, value: number])[]
  /** A session starts at `step`. */
  start?: boolean
}

/** An `Event` message in protobuf's encoding. */
export function event({ wallTime = Date.now() / 1000, step, fileVersion, scalars, start }: TensorBoardEvent): Buffer {
  const values = scalars?.map(([tag, value]) => bytesField(1, [bytesField(1, [Buffer.from(tag)]), float(2, value)]))
  return Buffer.concat([
    double(1, wallTime),
    ...(step ? [varintField(2, step)] : []), // proto3 leaves a 0 out
    ...(fileVersion === undefined ? [] : [bytesField(3, [Buffer.from(fileVersion)])]),
    ...(values === undefined ? [] : [bytesField(5, values)]),
    ...(start ? [bytesField(7, [varintField(1, SESSION_START)])] : []),
  ])
}

const SESSION_START = 1

function varint(value: number): Buffer {
  const bytes: number[] = []
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80)
  return Buffer.from([...bytes, value])
}

const key = (field: number, wire: number): Buffer => Buffer.from([(field << 3) | wire])

const varintField = (field: number, value: number): Buffer => Buffer.concat([key(field, 0), varint(value)])

function bytesField(field: number, parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  return Buffer.concat([key(field, 2), varint(content.length), content])
}

function double(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return Buffer.concat([key(field, 1), bytes])
}

function float(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return Buffer.concat([key(field, 5), bytes])
}

/** A TFRecord: length, its checksum, the data, its checksum. */
export function record(data: Buffer): Buffer {
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(data.length))
  return Buffer.concat([length, maskedChecksum(length), data, maskedChecksum(data)])
}

/** CRC-32C, rotated and shifted as TFRecord does, so that the checksum of data that holds checksums stays a good one. */
function maskedChecksum(data: Buffer): Buffer {
  let crc = 0xffffffff
  for (const byte of data) crc = CRC_TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8)
  crc = ~crc >>> 0
  const masked = Buffer.alloc(4)
  masked.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0)
  return masked
}

/** Remainders of each byte by Castagnoli's polynomial, bits reversed. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0x82f63b78 : byte >>> 1
  return byte
})
