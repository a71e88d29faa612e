import { crc32, deflateSync } from 'node:zlib'

/** RGB or RGBA, 8 bits a channel, rows from the top: `data` holds height × width × 3 or 4 bytes. */
export interface Pixels {
  readonly data: Uint8Array | Uint8ClampedArray
  readonly width: number
  readonly height: number
}

export const isPixels = (value: unknown): value is Pixels =>
  typeof value === 'object' && value !== null && 'data' in value && 'width' in value && 'height' in value

/** Pixels → PNG file.
 * @source https://www.w3.org/TR/png-3/ */
export function encodePng({ data, width, height }: Pixels): Buffer {
  const channels = data.length / (width * height)
  const line = width * channels
  const rows = Buffer.alloc(height * (1 + line)) // each row is led by its filter, 0 = none
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * line, (y + 1) * line), y * (1 + line) + 1)
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, channels === 4 ? 6 : 2], 8) // bit depth, RGBA or RGB
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(rows)), chunk('IEND')])
}

function chunk(type: string, data: Buffer = Buffer.alloc(0)): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  return Buffer.concat([uint32(data.length), body, uint32(crc32(body))])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
