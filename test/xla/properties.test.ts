import assert from 'node:assert/strict'
import fc from 'fast-check'
import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import { start, sync } from '../../src/xla/index.js'
import { properties } from './properties.js'
import type { Property } from './properties.js'

/** Samples drawn of each property, and where drawing starts; a long search takes more, from elsewhere. */
const SAMPLES = Number(process.env.REWARDLAB_SAMPLES ?? 3)
const SEED = Number(process.env.REWARDLAB_SEED ?? 1)
/** Relative to 1 + |value|: float32 functions approximated differently, sums in another order. */
const TOLERANCE = 1e-4

interface Result {
  shape: number[]
  dtype: string
  values: number[]
}
type Outcome = Result[] | Error
interface Outcomes {
  cpu: Outcome
  xla: Outcome
}

type Run = () => tf.Tensor | tf.Tensor[]

/** Lets properties that run at the same time evaluate their samples together: what all of them record is one program, since
 * compiling each for itself would take most of the time. */
class Rounds {
  private waiting: { run: Run; done: (outcomes: Outcomes) => void; failed: (error: unknown) => void }[] = []

  constructor(private participants: number) {}

  /** Runs on both backends, once all participants have come. */
  evaluate(run: Run): Promise<Outcomes> {
    return new Promise((done, failed) => {
      this.waiting.push({ run, done, failed })
      this.runIfAllCame()
    })
  }

  /** A participant comes no more. */
  leave(): void {
    this.participants--
    this.runIfAllCame()
  }

  private runIfAllCame(): void {
    if (this.waiting.length < this.participants || this.waiting.length === 0) return
    const round = this.waiting
    this.waiting = []
    const runs = round.map(({ run }) => run)
    void (async () => {
      try {
        const cpu = await onBackend('cpu', runs)
        const xla = await onBackend('xla', runs)
        round.forEach(({ done }, i) => done({ cpu: cpu[i]!, xla: xla[i]! }))
      } catch (error) {
        round.forEach(({ failed }) => failed(error))
      }
    })()
  }
}

async function onBackend(backend: 'cpu' | 'xla', runs: Run[]): Promise<Outcome[]> {
  await tf.setBackend(backend)
  tf.engine().startScope()
  try {
    const recorded = runs.map(run => attempt(() => [run()].flat()))
    if (backend === 'xla') await sync() // one program, or where that fails, each for itself
    return recorded.map(r => (r instanceof Error ? r : attempt(() => r.map(read))))
  } finally {
    tf.engine().endScope()
  }
}

function attempt<T>(f: () => T): T | Error {
  try {
    return f()
  } catch (error) {
    return error as Error
  }
}

const read = (x: tf.Tensor): Result => ({ shape: x.shape, dtype: x.dtype, values: Array.from(x.dataSync()) })

function compare({ cpu, xla }: Outcomes): void {
  if (cpu instanceof Error && xla instanceof Error) return
  if (cpu instanceof Error) assert.fail(`the CPU backend throws, ours does not: ${cpu.message}`)
  if (xla instanceof Error) throw xla
  assert.equal(xla.length, cpu.length, 'number of tensors')
  cpu.forEach((wanted, i) => {
    const got = xla[i]!
    assert.deepEqual(
      { shape: got.shape, dtype: got.dtype },
      { shape: wanted.shape, dtype: wanted.dtype },
      `tensor ${i}`,
    )
    wanted.values.forEach((p, j) => {
      const q = got.values[j]!
      const same = p === q || (Number.isNaN(p) && Number.isNaN(q)) || Math.abs(p - q) <= TOLERANCE * (1 + Math.abs(p))
      assert.ok(same, `tensor ${i}: value ${j} is ${q}, needed ${p} of ${wanted.values.join(', ')}`)
    })
  })
}

/** The report of a failure, shrunk; null if all samples hold. */
async function check({ sample, run }: Property, rounds: Rounds): Promise<string | null> {
  const holds = fc.asyncProperty(sample, async drawn => {
    compare(await rounds.evaluate(() => run(drawn)))
  })
  const details = await fc.check(holds, { seed: SEED, numRuns: SAMPLES })
  rounds.leave()
  if (!details.failed) return null
  return `${(details.errorInstance as Error).message}\n${await fc.asyncDefaultReportMessage(details)}`
}

describe('kernels on whatever is drawn, against tfjs on the CPU', function () {
  this.timeout(0)
  const reports = new Map<string, Promise<string | null>>()

  before(async () => {
    await start({ backend: 'xla' })
    const list = Object.entries(properties)
    const rounds = new Rounds(list.length)
    for (const [name, property] of list) reports.set(name, check(property, rounds))
    await Promise.all(reports.values())
  })
  after(() => void tf.setBackend('xla'))

  for (const name of Object.keys(properties))
    it(name, async () => {
      const report = await reports.get(name)
      if (report) assert.fail(report)
    })
})
