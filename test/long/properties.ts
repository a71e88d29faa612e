/* test/xla/properties.test.ts with many samples a kernel in place of a few, from another seed each time, or the one given. */
import { join } from 'node:path'
import { packageRoot } from '../../src/xla/index.js'
import { node } from '../cli/rewardlab.js'

const SAMPLES = 60

const seed = process.argv[2] ?? String(Date.now() % 2 ** 31)
const root = packageRoot()
const program = [join(root, 'node_modules/mocha/bin/mocha.js'), join(root, 'dist/test/xla/properties.test.js')]
const { stdout } = await node([...program, '--reporter', 'json'], {
  REWARDLAB_SAMPLES: String(SAMPLES),
  REWARDLAB_SEED: seed,
})
const { stats, failures } = JSON.parse(stdout.slice(stdout.indexOf('{\n'))) as {
  stats: { passes: number; failures: number }
  failures: { title: string; err: { message: string } }[]
}
for (const { title, err } of failures) console.error(`${title}: ${err.message}`)
console.log(
  `properties: ${stats.passes} kernels passed, ${stats.failures} failed on ${SAMPLES} samples each, seed ${seed}, ` +
    `${process.uptime().toFixed(0)} s`,
)
process.exitCode = stats.failures === 0 ? 0 : 1
