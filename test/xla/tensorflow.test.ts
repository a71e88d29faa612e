import assert from 'node:assert/strict'
import { pathToFileURL } from 'node:url'
import { join } from 'node:path'
import { packageRoot } from '../../src/xla/index.js'
import { findTensorflow } from '../../src/xla/tensorflow.js'
import { node } from '../cli/rewardlab.js'

const setUp = findTensorflow() !== undefined

/** What a program in a process of its own prints, as JSON, and what it says on stderr. */
async function onTensorflow(program: string): Promise<{ result: unknown; stderr: string }> {
  const library = join(packageRoot(), 'dist/src/xla/index.js')
  const head = `
    import * as xla from '${pathToFileURL(library).href}'
    import { createRequire } from 'node:module'
    const tf = createRequire('${library}')('@tensorflow/tfjs-core')
    await xla.start()`
  const environment = { REWARDLAB_BACKEND: 'tensorflow' }
  const { code, stdout, stderr } = await node(['--input-type=module', '-e', `${head}\n${program}`], environment)
  assert.equal(code, 0, stderr)
  return { result: JSON.parse(stdout), stderr }
}

describe(`TensorFlow as the backend${setUp ? '' : ': not set up, npm run setup:tensorflow makes it'}`, function () {
  this.timeout(60_000)
  before(function () {
    if (!setUp) this.skip()
  })

  it('runs jit, scan, whileLoop and cond eagerly, with the same random numbers', async () => {
    const { result } = await onTensorflow(`
      const { jit, scan, whileLoop, cond, dynamicUpdateSlice, random } = xla
      const values = x => [...x.dataSync()]
      const loss = jit(w => scan((c, x) => [tf.mul(tf.add(c, x), w), c], tf.scalar(0), tf.tensor1d([1, 2, 3]))[0])
      const doubled = whileLoop(n => tf.less(n, 100), n => tf.mul(n, 2), tf.scalar(3))
      const chosen = cond(tf.greater(doubled, 100), () => tf.neg(doubled), () => doubled)
      const updated = dynamicUpdateSlice(tf.zeros([2, 3]), tf.ones([1, 2]), [tf.scalar(1, 'int32'), 1])
      const w = tf.scalar(2)
      console.log(JSON.stringify({
        backend: tf.getBackend(), loss: values(loss(w)), gradient: values(tf.grad(loss)(w)), doubled: values(doubled),
        chosen: values(chosen), updated: values(updated), bits: values(random.bits(random.key(42), [])),
        rounded: values(tf.round(tf.tensor1d([-1, 2], 'int32'))), stats: xla.stats(), memory: xla.memory(),
      }))`)
    assert.deepEqual(result, {
      backend: 'tensorflow',
      loss: [22], // ((w + 2)·w + 3)·w = w³ + 2w² + 3w at w = 2
      gradient: [23],
      doubled: [192],
      chosen: [-192],
      updated: [0, 0, 0, 0, 1, 1],
      bits: [2098992034], // jax.random's, as in test/fixtures/jax_random.json
      rounded: [-1, 2],
      stats: null,
      memory: null,
    })
  })

  it('stores bf16 as f32, and says so once', async () => {
    const { result, stderr } = await onTensorflow(`
      const { astype, typeOf } = xla
      const x = tf.tensor1d([1 / 3, -2])
      const halves = [astype(x, 'bf16'), astype(x, 'f16'), astype(astype(x, 'bf16'), 'f32')]
      console.log(JSON.stringify([halves.map(typeOf), halves.map(h => tf.max(tf.abs(tf.sub(h, x))).dataSync()[0])]))`)
    assert.deepEqual(result, [
      ['f32', 'f32', 'f32'],
      [0, 0, 0],
    ])
    const said = stderr.split('\n').filter(line => line.includes('stored as f32'))
    assert.deepEqual(said, ['The backend tensorflow has no bf16 and f16: such values are stored as f32.'])
  })

  it('has no meshes and no 4-bit matrices, and says so', async () => {
    const { result } = await onTensorflow(`
      const refusal = f => { try { f() } catch (error) { return error.message } }
      console.log(JSON.stringify([refusal(() => xla.mesh({ data: 2 })), refusal(() => xla.quantizeNf4(tf.ones([64, 64])))]))`)
    const [mesh, nf4] = result as [string, string]
    assert.match(mesh, /^xla\.mesh: tfjs runs on "tensorflow", which knows one device; needed the backend "xla"/)
    assert.match(nf4, /^quantizeNf4: 4-bit weights need the backend xla; this is tensorflow/)
  })
})
