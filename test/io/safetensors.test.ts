import assert from 'node:assert/strict'
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSafetensors, writeSafetensors } from '../../src/io/safetensors.js'

describe('safetensors', () => {
  let dir: string
  before(async () => (dir = await mkdtemp(join(tmpdir(), 'safetensors-'))))
  after(() => rm(dir, { recursive: true }))

  /** A file of the given header and number of data bytes. */
  async function stored(header: unknown, bytes: number): Promise<string> {
    const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(text.length))
    const path = join(dir, 'bad.safetensors')
    await writeFile(path, Buffer.concat([length, text, Buffer.alloc(bytes)]))
    return path
  }
  const f32 = (shape: number[], begin: number, end: number) => ({ dtype: 'F32', shape, data_offsets: [begin, end] })

  it('writes and reads every type', async () => {
    const path = join(dir, 'all.safetensors')
    const floats = Float32Array.of(1.5, -0.25, 3, 65504)
    await writeSafetensors(
      path,
      {
        f32: { dtype: 'F32', shape: [2, 2], data: floats },
        bf16: { dtype: 'BF16', shape: [4], data: () => floats },
        i64: { dtype: 'I64', shape: [2], data: Int32Array.of(-7, 2 ** 31 - 1) },
        i32: { dtype: 'I32', shape: [1], data: Int32Array.of(-7) },
        u8: { dtype: 'U8', shape: [2], data: Uint8Array.of(1, 255) },
        bool: { dtype: 'BOOL', shape: [], data: Uint8Array.of(1) },
        empty: { dtype: 'F32', shape: [0, 3], data: new Float32Array() },
      },
      { format: 'pt' },
    )
    const file = await openSafetensors(path)
    assert.deepEqual(file.metadata, { format: 'pt' })
    assert.deepEqual(file.tensors.get('f32')?.shape, [2, 2])
    assert.deepEqual(await file.read('f32'), floats)
    assert.deepEqual(await file.read('bf16'), Float32Array.of(1.5, -0.25, 3, 65536)) // 65504 rounds up
    assert.deepEqual(await file.read('i64'), Int32Array.of(-7, 2 ** 31 - 1))
    assert.deepEqual(await file.read('i32'), Int32Array.of(-7))
    assert.deepEqual(await file.read('u8'), Uint8Array.of(1, 255))
    assert.deepEqual(await file.read('bool'), Uint8Array.of(1))
    assert.equal((await file.read('empty')).length, 0)
    await assert.rejects(file.read('absent'), /no tensor "absent"\. It holds "f32", "bf16"/)
    await file.close()
    assert.deepEqual(
      (await readdir(dir)).filter(name => name.endsWith('.part')),
      [],
    )
  })

  it('reads half precision: normal, subnormal, infinite', async () => {
    const path = await stored({ h: { dtype: 'F16', shape: [4], data_offsets: [0, 8] } }, 0)
    await writeFile(path, Buffer.concat([await readFile(path), Buffer.from('003c01000080007c', 'hex')]))
    const file = await openSafetensors(path)
    assert.deepEqual(await file.read('h'), Float32Array.of(1, 2 ** -24, -0, Infinity))
    await file.close()
  })

  it('rounds bfloat16 to nearest even, as torch does', async () => {
    const path = join(dir, 'round.safetensors')
    const data = Float32Array.of(1 + 2 ** -8, 1 + 3 * 2 ** -8, NaN, -Infinity)
    await writeSafetensors(path, { x: { dtype: 'BF16', shape: [4], data } })
    const file = await openSafetensors(path)
    assert.deepEqual(await file.read('x'), Float32Array.of(1, 1 + 2 ** -6, NaN, -Infinity))
    await file.close()
  })

  const cases: [what: string, header: unknown, bytes: number, message: RegExp][] = [
    ['truncated data', { a: f32([4], 0, 16) }, 10, /truncated: \d+ bytes, needed \d+/],
    ['bytes after the end', { a: f32([1], 0, 4) }, 9, /5 bytes follow the last tensor/],
    ['an overlap', { a: f32([2], 0, 8), b: f32([1], 4, 8) }, 8, /"b" begins at byte 4, inside another tensor/],
    ['a hole', { a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12, /"b" begins at byte 8, after a hole/],
    ['offsets that miss the shape', { a: f32([3], 0, 8) }, 8, /"a" F32 \[3\] has 8 bytes in data_offsets, needed 12/],
    ['a negative size', { a: f32([-1], 0, 4) }, 4, /"a" lacks a sound shape/],
    [
      'an unknown type',
      { a: { dtype: 'F8', shape: [1], data_offsets: [0, 1] } },
      1,
      /"a" has dtype "F8"\. Supported are F32/,
    ],
    ['a header that is not JSON', '{"a":', 0, /the header is not JSON/],
    ['a header that is not an object', [], 0, /the header is not a JSON object/],
  ]
  for (const [what, header, bytes, message] of cases)
    it(`refuses ${what}`, async () => {
      await assert.rejects(openSafetensors(await stored(header, bytes)), message)
    })

  it('names a missing file', () =>
    assert.rejects(openSafetensors(join(dir, 'none.safetensors')), /none\.safetensors: there is no such file/))

  it('refuses a header longer than the file', async () => {
    const path = join(dir, 'short.safetensors')
    await writeFile(path, Buffer.from('ff00000000000000', 'hex'))
    await assert.rejects(openSafetensors(path), /truncated: 8 bytes, the header alone needs 263/)
  })

  it('refuses an I64 that does not fit in int32', async () => {
    const path = await stored({ a: { dtype: 'I64', shape: [1], data_offsets: [0, 8] } }, 0)
    await writeFile(path, Buffer.concat([await readFile(path), Buffer.from('0000000001000000', 'hex')]))
    const file = await openSafetensors(path)
    await assert.rejects(file.read('a'), /"a" holds an I64 beyond int32 at index 0/)
    await file.close()
  })

  it('leaves no file behind when the data do not match the shape', async () => {
    const path = join(dir, 'wrong.safetensors')
    const tensor = { dtype: 'F32' as const, shape: [3], data: Float32Array.of(1) }
    await assert.rejects(writeSafetensors(path, { a: tensor }), /"a" has 1 values; its shape \[3\] needs 3/)
    assert.ok(!(await readdir(dir)).some(name => name.startsWith('wrong')))
  })
})
