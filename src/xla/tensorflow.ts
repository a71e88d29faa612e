import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import util from 'node:util'
import * as tf from '@tensorflow/tfjs-core'
import { packageRoot } from './plugins.js'

const PACKAGES = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node']
/** Looks in .tensorflow/, then in the folders above. */
const require = createRequire(join(packageRoot(), '.tensorflow/package.json'))
/** The backend's name in tfjs. */
const TENSORFLOW = 'tensorflow'

/** The package to load, made by `npm run setup:tensorflow`, or installed by the user; undefined if there is none. */
export function findTensorflow(): string | undefined {
  const folders = require.resolve.paths(PACKAGES[0]!) ?? []
  return PACKAGES.flatMap(name => folders.map(folder => join(folder, name))).find(path => existsSync(path))
}

/** Registers tfjs's own binding to TensorFlow.
 * @throws Error if there is none */
export function loadTensorflow(): void {
  const path = findTensorflow()
  if (path === undefined)
    throw new Error(
      'start: the backend "tensorflow" is not set up. Run "npm run setup:tensorflow" (it needs g++), or choose xla or cpu (REWARDLAB_BACKEND).',
    )
  restoreTypeTests()
  require(path)
  roundIntegersToThemselves()
}

/** The binding of 2024 calls tests of types that Node 23 removed, and that Node 22 warns of. */
function restoreTypeTests(): void {
  Object.assign(util, { isArray: Array.isArray, isNullOrUndefined: (value: unknown) => value == null })
}

/** TensorFlow has no Round of int32; tfjs rounds an integer to itself. */
function roundIntegersToThemselves(): void {
  const round = tf.getKernel('Round', TENSORFLOW)
  const identity = tf.getKernel('Identity', TENSORFLOW)
  tf.unregisterKernel('Round', TENSORFLOW)
  tf.registerKernel({
    ...round,
    kernelFunc: args => (args.inputs.x?.dtype === 'int32' ? identity : round).kernelFunc(args),
  })
}
