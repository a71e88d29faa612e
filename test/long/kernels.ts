/* test/xla/kernels.test.ts with many generated shapes a kernel in place of a few. */
import { join } from 'node:path'
import { packageRoot } from '../../src/xla/index.js'
import { node } from '../cli/rewardlab.js'

const SHAPES = 25

const root = packageRoot()
const program = [join(root, 'node_modules/mocha/bin/mocha.js'), join(root, 'dist/test/xla/kernels.test.js')]
const { stdout } = await node([...program, '--reporter', 'json', '--timeout', '600000'], {
  REWARDLAB_KERNEL_SHAPES: String(SHAPES),
})
const { stats, failures } = JSON.parse(stdout.slice(stdout.indexOf('{\n'))) as {
  stats: { passes: number; failures: number; duration: number }
  failures: { title: string; err: { message: string } }[]
}
for (const { title, err } of failures) console.error(`${title}: ${err.message}`)
const { passes, duration } = stats
console.log(
  `kernels: ${passes} passed, ${stats.failures} failed on ${SHAPES} shapes each, ${(duration / 1000).toFixed(0)} s`,
)
process.exitCode = stats.failures === 0 ? 0 : 1
