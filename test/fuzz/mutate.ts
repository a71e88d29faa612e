import type { Rng } from '../../src/datasets/index.js'

const WORDS = ['-1', '1e999', '9007199254740993', 'null', 'true', '[]', '{}', '""', '"\\u0000"', '__proto__', 'constructor', '../', '/', '\\', '\n', '\r', ',', ':', '"', '[', '{', '\uFEFF', 'é'] // prettier-ignore
const NUMBERS = [0, 1, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff]
const DIGITS = ['0', '-1', '65536', '4294967295', '1e308', '9007199254740992']
const LONGEST = 1 << 16 // bytes

/** An input with a few changes, such as accidents and attackers make: bits, numbers of 1 to 8 bytes, numbers in text, and parts left out, doubled, repeated or
 * taken from another input.
 * @param words of the format, put in as they are */
export function mutate(input: Buffer, other: Buffer, words: readonly string[], random: Rng): Buffer {
  let bytes = Buffer.from(input)
  for (let left = 1 + random.int(6); left > 0; left--)
    bytes = Buffer.from(changed(bytes, other, words, random).subarray(0, LONGEST))
  return bytes
}

function changed(bytes: Buffer, other: Buffer, words: readonly string[], random: Rng): Buffer {
  const at = random.int(bytes.length + 1)
  const length = random.int(1 + Math.min(bytes.length - at, 1 << random.int(10)))
  const part = bytes.subarray(at, at + length)
  const put = (piece: Buffer, instead = 0): Buffer =>
    Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + instead)])
  switch (random.int(9)) {
    case 0:
      return put(Buffer.of((bytes[at] ?? 0) ^ (1 << random.int(8))), 1)
    case 1:
      return put(Buffer.of(random.int(256)), 1)
    case 2: {
      const number = Buffer.alloc(8)
      number.writeUInt32LE(random.pick(NUMBERS))
      const sized = number.subarray(0, random.pick([1, 2, 4, 8]))
      return put(random.int(2) ? sized : sized.reverse(), sized.length)
    }
    case 3:
      return put(Buffer.alloc(0), length)
    case 4:
      return put(part)
    case 5: {
      const from = random.int(other.length + 1)
      return put(other.subarray(from, from + (1 << random.int(10))), random.int(2) ? length : 0)
    }
    case 6:
      return put(Buffer.from(random.pick([...WORDS, ...words])), random.int(2) ? length : 0)
    case 7: {
      const digits = /\d+/.exec(bytes.toString('latin1', at, at + 64))
      if (!digits) return bytes
      const from = at + digits.index
      return Buffer.concat([bytes.subarray(0, from), Buffer.from(random.pick(DIGITS)), bytes.subarray(from + digits[0].length)]) // prettier-ignore
    }
    default:
      return put(Buffer.concat(Array<Buffer>(1 << random.int(8)).fill(part.subarray(0, 64))))
  }
}
