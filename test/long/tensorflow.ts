/* The TensorFlow backend: tfjs-core's specs, and updates by each method that agree with those on our engine. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packageRoot } from '../../src/xla/index.js'
import { findTensorflow } from '../../src/xla/tensorflow.js'
import { METHODS } from '../acceptance/shortRuns.js'
import { differences, stepTimes, type Rows } from '../gpu/agreement.js'

if (findTensorflow() === undefined) {
  console.error('tensorflow: not run, since it is not set up. Run "npm run setup:tensorflow" first.')
  process.exit(1)
}

async function output(program: string, args: string[], backend: string): Promise<string> {
  const env = { ...process.env, REWARDLAB_BACKEND: backend }
  const { stdout } = await promisify(execFile)(process.execPath, [join(packageRoot(), program), ...args], { env })
  return stdout.trim().split('\n').at(-1)!
}

const steps = async (backend: string) => JSON.parse(await output('dist/test/gpu/steps.js', [], backend)) as Rows

const conformance = await output('dist/test/conformance/main.js', ['--backend', 'tensorflow'], 'tensorflow')
const [tensorflow, xla] = [await steps('tensorflow'), await steps('xla')]
const problems = differences(tensorflow, xla)
problems.forEach(problem => console.error(problem))
const [theirs, ours] = [stepTimes(tensorflow), stepTimes(xla)]
const times = METHODS.map(method => `${method} ${theirs[method].toFixed(0)} (xla ${ours[method].toFixed(0)})`).join(
  ', ',
)
console.log(
  `tensorflow: ${conformance.split(';')[0]}; ${xla.sft.length} updates a method ${problems.length === 0 ? 'agree' : 'DISAGREE'} with xla; ms an update: ${times}`,
)
process.exitCode = problems.length === 0 ? 0 : 1
