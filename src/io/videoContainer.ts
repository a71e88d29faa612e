import type { FileHandle } from 'node:fs/promises'

/** What the frame around a video says. */
export interface VideoContainer {
  /** How long the file should be, in bytes; undefined where it does not say. */
  bytes?: number
  /** How far its frames are to be turned, clockwise. */
  rotation: 0 | 90 | 180 | 270
}

/** Reads so many bytes from a place; fewer at the end. */
type Read = (at: number, count: number) => Promise<Buffer>

/** Reads bytes of an open file, or of what lies in memory. */
export const reader =
  (source: FileHandle | Uint8Array): Read =>
  async (at, count) => {
    if (source instanceof Uint8Array) return Buffer.from(source.subarray(at, at + count))
    const { buffer, bytesRead } = await source.read(Buffer.alloc(count), 0, count, at)
    return buffer.subarray(0, bytesRead)
  }

/** Reads how large an mp4 or a webm should be, and how the first one's video lies; FFmpeg's demuxers keep both to themselves.
 * @source ISO/IEC 14496-12 (boxes, tkhd); RFC 8794 (EBML) */
export async function readContainer(read: Read, size: number): Promise<VideoContainer> {
  const start = await read(0, 12)
  if (start.length === 12 && start.readUInt32BE(0) === EBML) return { bytes: await matroskaSize(read), rotation: 0 }
  return /^(ftyp|moov|mdat|free|skip|wide)$/.test(start.toString('latin1', 4, 8)) ? mp4(read, size) : { rotation: 0 }
}

const [EBML, SEGMENT] = [0x1a45dfa3, 0x18538067]
const LARGEST_INDEX = 2 ** 28 // bytes of a moov box: of hours some megabytes
const MOST_BOXES = 100_000 // of a day in fragments of two seconds

async function mp4(read: Read, length: number): Promise<VideoContainer> {
  let [end, rotation]: [number, VideoContainer['rotation']] = [0, 0]
  for (let box = 0; ; box++) {
    if (end > length || box > MOST_BOXES) return { bytes: end, rotation }
    const head = await read(end, 16)
    if (head.length < 8) return { bytes: head.length === 0 ? end : end + 8, rotation }
    const size = sizeOf(head)
    if (size === 0) return { rotation } // to the end, wherever that is
    if (size < 8) return { bytes: end, rotation } // no box: what is behind does not count
    if (head.toString('latin1', 4, 8) === 'moov' && size <= LARGEST_INDEX)
      rotation = rotationOf(await read(end, Math.min(size, length - end)))
    end += size
  }
}

/** Of a box, 0 for one that reaches to the end. */
function sizeOf(head: Buffer): number {
  const size = head.readUInt32BE(0)
  return size === 1 && head.length >= 16 ? Number(head.readBigUInt64BE(8)) : size
}

/** The boxes inside one, without its own head. */
function* boxes(box: Buffer): Generator<{ type: string; content: Buffer }> {
  for (let at = 8; at + 8 <= box.length;) {
    const size = sizeOf(box.subarray(at))
    if (size < 8) return
    yield { type: box.toString('latin1', at + 4, at + 8), content: box.subarray(at, at + size) }
    at += size
  }
}

/** From the matrix of the first track that is a video: its upper left is a rotation, of 16.16 bits. */
function rotationOf(moov: Buffer): VideoContainer['rotation'] {
  for (const track of boxes(moov)) {
    const inside = (box: Buffer, type: string) => [...boxes(box)].find(found => found.type === type)?.content
    if (track.type !== 'trak') continue
    const [header, media] = [inside(track.content, 'tkhd'), inside(track.content, 'mdia')]
    const handler = media && inside(media, 'hdlr')
    if (!header || handler?.toString('latin1', 16, 20) !== 'vide') continue
    const matrix = header[8] === 1 ? 60 : 48 // the version tells how long times are
    if (header.length < matrix + 8) return 0
    const [cos, sin] = [header.readInt32BE(matrix), header.readInt32BE(matrix + 4)]
    const quarter = Math.round(Math.atan2(sin, cos) / (Math.PI / 2))
    return (((quarter + 4) % 4) * 90) as VideoContainer['rotation']
  }
  return 0
}

/** Where the segment ends, which holds everything; undefined where it was written without knowing. */
async function matroskaSize(read: Read): Promise<number | undefined> {
  let at = 0
  for (const id of [EBML, SEGMENT]) {
    const head = await read(at, 12)
    if (head.length < 12 || head.readUInt32BE(0) !== id) return undefined
    const length = Math.clz32(head[4]!) - 23 // of the size that follows, in bytes
    if (length > 8) return undefined
    let size = BigInt(head[4]! & (0xff >> length))
    for (let i = 1; i < length; i++) size = (size << 8n) | BigInt(head[4 + i]!)
    if (size === (1n << BigInt(7 * length)) - 1n) return undefined // unknown
    at += 4 + length + Number(size)
  }
  return at
}
