import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createRun, latestCheckpoint, openRun } from '../../src/runs/index.js'
import { event, record, type TensorBoardEvent } from '../../src/runs/tensorboard.js'
import { temporaryFolder } from './temporary.js'

/** Records as TensorBoard's library writes them, made by test/fixtures/generate/event_files.py. */
const { records } = JSON.parse(readFileSync('test/fixtures/runs/tensorboard.json', 'utf8')) as {
  records: { event: TensorBoardEvent; record: string }[]
}

/** The records of a run's event files, in the order in which TensorBoard reads them, without their times. */
function eventsOf(dir: string): string[][] {
  const files = readdirSync(dir).filter(name => name.startsWith('events.out.tfevents.'))
  return files.sort().map(name => {
    const bytes = readFileSync(join(dir, name))
    const found: string[] = []
    for (let at = 0; at < bytes.length;) {
      const end = at + 12 + Number(bytes.readBigUInt64LE(at)) + 4
      found.push(bytes.subarray(at, end).toString('hex'))
      at = end
    }
    return found
  })
}

/** A record of this process, with the time that stands in `like`. */
function expected(like: string, given: TensorBoardEvent): string {
  return record(event({ ...given, wallTime: Buffer.from(like, 'hex').readDoubleLE(13) })).toString('hex')
}

describe('TensorBoard event files', () => {
  const dir = temporaryFolder()
  const sameEvents = (got: string[], want: TensorBoardEvent[]): void => {
    assert.equal(got.length, want.length)
    got.forEach((hex, i) => assert.equal(hex, expected(hex, want[i]!)))
  }
  const version = { fileVersion: 'brain.Event:2' }

  it('hold the bytes that TensorBoard itself writes', () => {
    assert.equal(records.length, 6)
    for (const { event: given, record: bytes } of records) assert.equal(record(event(given)).toString('hex'), bytes)
  })

  it('grow with each row, under the names that transformers gives', () => {
    const before = Date.now() / 1000
    const run = createRun('live', {}, { dir: dir(), report_to: 'tensorboard' })
    run.log({ step: 1, loss: 0.5, name: 'x', kl: null, eval_loss: NaN })
    run.log({ note: 'no step' })
    const scalars: [string, number][] = [['train/loss', 0.5], ['eval/loss', NaN]] // prettier-ignore
    const [file] = eventsOf(run.dir)
    sameEvents(file!, [version, { step: 1, scalars }]) // while it is written
    const time = Buffer.from(file![1]!, 'hex').readDoubleLE(13)
    assert.ok(before <= time && time <= Date.now() / 1000)
    run.close()
  })

  it('go on in a file of their own, from the checkpoint', async () => {
    const run = createRun('resumed', {}, { dir: dir(), report_to: 'tensorboard' })
    for (const step of [1, 2]) run.log({ step, loss: 1 / step })
    await run.checkpoint(2, folder => writeFileSync(join(folder, 'state'), 'two'))
    run.log({ step: 3, loss: 9 })
    run.close()
    const from = await latestCheckpoint(run.dir)
    const { now } = Date
    Date.now = () => now() - 3_600_000 // the clock has jumped back
    const again = createRun('resumed', {}, { dir: dir(), report_to: 'tensorboard', existing: 'append', from })
    Date.now = now
    again.log({ step: 3, loss: 0.3 })
    again.close()
    const files = eventsOf(run.dir)
    assert.deepEqual(files.map(file => file.length), [4, 3]) // prettier-ignore
    sameEvents(files[1]!, [version, { step: 3, start: true }, { step: 3, scalars: [['train/loss', 0.3]] }])
    assert.deepEqual(openRun(run.dir).rows.map(row => row['loss']), [1, 0.5, 0.3]) // prettier-ignore
  })

  it('are not written unasked', () => {
    const run = createRun('plain', {}, { dir: dir() })
    run.log({ step: 1, loss: 1 })
    run.close()
    assert.deepEqual(eventsOf(run.dir), [])
  })
})
