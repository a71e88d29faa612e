/* Training on 1, 2 and 4 of the CPU's virtual devices in every layout: the same losses, and memory a device as it should be. */
import assert from 'node:assert/strict'
import type { Row } from '../../src/optimizers/index.js'
import type { PolicyOptions } from '../../src/policies/index.js'
import { memory, start } from '../../src/xla/index.js'
import { METHODS, timedRowsOf, type Method } from '../acceptance/shortRuns.js'

const STEPS: Record<Method, number> = { sft: 30, grpo: 20, dpo: 5, srpo: 5 }
/** Devices add the parts of a sum in another order than one does, which moves its last bits (float32: 1e-7); AdamW's first steps have the
 * size of the learning rate whatever the gradient's size, so that the difference grows from step to step. Relative, from 1 up. */
const REORDERED = 1e-3
/** Weights and moments that are not divided: norms and biases, and scalars. Share of all. */
const UNDIVIDED = 0.01

const LAYOUTS: PolicyOptions[] = [
  { mesh: { data: 2 } },
  { mesh: { data: 4 } },
  { mesh: { data: 2 }, sharding: 'fsdp' },
  { mesh: { data: 4 }, sharding: 'fsdp' },
  { mesh: { model: 2 } },
  { mesh: { model: 4 } },
  { mesh: { data: 2, model: 2 } },
  { mesh: { data: 2, model: 2 }, sharding: 'fsdp' },
]
const COMPARED = ['loss', 'grad_norm', 'reward', 'kl', 'entropy', 'rewards/chosen', 'logps/chosen']

await start({ backend: 'xla' })
const began = performance.now()
const worst: Partial<Record<Method, number>> = {}
const shares: string[] = []
for (const method of METHODS) {
  const alone = await measured(method, {})
  for (const options of LAYOUTS) {
    if (STEPS[method] < 10 && options !== LAYOUTS.at(-1)) continue // the last one has everything in it
    const found = await measured(method, options)
    const difference = apart(found.rows, alone.rows)
    const name = `${method} ${JSON.stringify(options)}`
    assert.ok(difference < REORDERED, `${name}: numbers differ by ${difference}`)
    worst[method] = Math.max(worst[method] ?? 0, difference)
    const { data = 1, model = 1 } = options.mesh!
    const kept = 1 / (model * (options.sharding === 'fsdp' ? data : 1))
    for (const bytes of found.bytes.slice(0, data * model)) {
      const share = bytes / alone.bytes[0]!
      assert.ok(share < kept + UNDIVIDED, `${name}: a device keeps ${share} of weights and moments, expected ${kept}`)
    }
    if (method === 'sft') shares.push(`${label(options)} ${(found.bytes[0]! / alone.bytes[0]!).toFixed(3)}`)
  }
}
console.log(
  `devices: losses, rewards and gradient norms of ${METHODS.map(m => `${m} (${STEPS[m]} steps) within ${worst[m]!.toExponential(1)}`).join(', ')} of one device's; ` +
    `weights and moments a device: ${shares.join(', ')}; ${((performance.now() - began) / 1000).toFixed(0)} s`,
)

/** A run's rows, and what each device held at its end more than before. */
async function measured(method: Method, options: PolicyOptions): Promise<{ rows: Row[]; bytes: number[] }> {
  const before = memory()!.devices
  let bytes: number[] = []
  const rows = await timedRowsOf(method, STEPS[method], 1, options, () => {
    bytes = memory()!.devices.map((now, i) => now - before[i]!)
  })
  return { rows, bytes }
}

/** The largest difference between numbers of two runs. */
function apart(rows: readonly Row[], expected: readonly Row[]): number {
  const tokens = (list: readonly Row[]) => list.map(row => row['num_tokens'])
  assert.deepEqual(tokens(rows), tokens(expected), 'completions of the same lengths')
  const differences = rows.flatMap((row, i) =>
    COMPARED.filter(name => typeof row[name] === 'number').map(name => {
      const [a, b] = [row[name] as number, expected[i]![name] as number]
      return Math.abs(a - b) / Math.max(1, Math.abs(b))
    }),
  )
  return Math.max(...differences)
}

function label({ mesh, sharding = 'ddp' }: PolicyOptions): string {
  const axes = Object.entries(mesh!).map(([axis, size]) => `${axis} ${size}`)
  return `${axes.join(' × ')}${mesh!.data ? ` ${sharding}` : ''}`
}
