import assert from 'node:assert/strict'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { loadWeights, openCheckpoint, saveWeights, type Parameter } from '../../src/io/checkpoint.js'
import { Fields, readJson } from '../../src/io/json.js'
import { initQwen2, qwen2, qwen2Config, type CausalModel } from '../../src/models/index.js'
import { sft } from '../../src/optimizers/index.js'
import { trainingDefaults } from '../../src/optimizers/trainingConfig.js'
import { stepState } from '../../src/optimizers/trainState.js'
import { trainStep } from '../../src/optimizers/trainStep.js'
import { loadPolicy, type LanguagePolicy } from '../../src/policies/index.js'
import {
  dequantizeNf4,
  disposeTree,
  isNf4,
  jit,
  mapTensors,
  memory,
  random,
  start,
  tensorsOf,
  typeOf,
  type Nf4,
  type TensorTree,
} from '../../src/xla/index.js'
import { bytesOf } from '../../src/xla/types.js'
import { fixture } from '../models/fixture.js'

const PARITY = 1e-4 // float32 sums in another order
const rows = ['Ann has', 'Ben has'].map(prompt => ({ prompt, completion: ' 12 apples.' }))
const bytes = (tree: TensorTree) => tensorsOf(tree).reduce((sum, t) => sum + bytesOf(t.shape, typeOf(t)), 0)
const layerMatrix = ({ name, shape }: Parameter) => name.includes('*') && shape.length === 2

const restore = jit((w: Nf4) => dequantizeNf4(w))

/** Stacked matrices in full precision in the place of quantised ones. */
function restored(tree: TensorTree): TensorTree {
  if (tree instanceof tf.Tensor || Array.isArray(tree)) return tree
  if (isNf4(tree)) {
    const layers = tf.unstack(tree.packed).map((_, l) => restore(mapTensors(tree, t => tf.unstack(t)[l]!)))
    return tf.stack(layers)
  }
  return Object.fromEntries(Object.entries(tree).map(([key, child]) => [key, restored(child)]))
}

interface Made {
  dir: string
  model: CausalModel
}

/** A folder with a random model of the fixture's kind, all of whose layers' matrices are [width, width]: one program
 * quantises them. */
async function made(width: number, change: object): Promise<Made> {
  const dir = await mkdtemp(join(tmpdir(), 'nf4-'))
  await cp(fixture('qwen2'), dir, { recursive: true })
  const path = join(dir, 'config.json')
  const sizes = { hidden_size: width, intermediate_size: width, num_key_value_heads: 4, layer_types: null }
  await writeFile(path, JSON.stringify({ ...(await readJson(path)), ...sizes, ...change }))
  const config = qwen2Config(new Fields(await readJson(path), path))
  const model = qwen2(config)
  const weights = initQwen2(config, random.key(1))
  await saveWeights(join(dir, 'model.safetensors'), weights, model.parameters, model)
  disposeTree(weights)
  return { dir, model }
}

describe('4-bit weights', function () {
  this.timeout(60_000)
  let small: Made
  before(async () => {
    await start({ backend: 'xla' })
    small = await made(32, { num_hidden_layers: 1, initializer_range: 0.3 })
  })
  after(() => rm(small.dir, { recursive: true }))

  const logits = async (policy: LanguagePolicy): Promise<number[]> => {
    const ids = tf.tensor2d([[5, 9, 200, 31, 7]], [1, 5], 'int32')
    const output = policy.forward({ input_ids: ids, attention_mask: tf.onesLike(ids) })
    const found = Array.from(await output.logits.data())
    disposeTree([ids, output])
    return found
  }

  it('compute what the restored matrices compute', async () => {
    const policy = await loadPolicy(small.dir, { quantization: 'nf4' })
    const plain = await loadPolicy(small.dir)
    const [found, exact] = [await logits(policy), await logits(plain)]
    const far = (other: number[]) => other.reduce((far, x, i) => Math.max(far, Math.abs(x - found[i]!)), 0)
    assert.ok(far(exact) > 0.1, 'four bits are not exact')
    plain.weights = { trainable: restored(policy.weights.frozen), frozen: {} }
    assert.ok(far(await logits(plain)) < PARITY)
    policy.dispose()
    plain.dispose()
  })

  it('are sampled from', async () => {
    const policy = await loadPolicy(small.dir, { quantization: 'nf4', adapter: { r: 4 } })
    const { outputs, trajectories } = await policy.sample(['Ann has'], { max_completion_length: 4, seed: 0 })
    const fresh = policy.evaluate(policy.weights, trajectories)
    const apart = tf.max(tf.abs(tf.sub(fresh.logProbs, trajectories.logProbs)))
    assert.ok((await apart.data())[0]! < PARITY)
    assert.equal(outputs.length, 1)
    disposeTree(trajectories)
    policy.dispose()
  })

  it('say what they cannot do', async () => {
    const { dir } = small
    const frozen = await loadPolicy(dir, { quantization: 'nf4' })
    await assert.rejects(sft(frozen, rows, { max_steps: 1 }).done(), /all weights of the policy are frozen.*adapter/)
    await assert.rejects(frozen.save(join(dir, 'saved')), /the weights are quantised to 4 bits/)
    await assert.rejects(loadPolicy(dir, { quantization: 'nf8' as 'nf4' }), /quantization is "nf8", needs one of nf4/)
    await tf.setBackend('cpu')
    await assert.rejects(
      loadPolicy(dir, { quantization: 'nf4' }),
      /4-bit weights need the backend xla; this is cpu\. Load the model without quantization/,
    )
    await tf.setBackend('xla')
    frozen.dispose()
  })

  describe('of a model of eight layers', () => {
    let dir: string
    let model: CausalModel
    let layer: number // bytes of a layer's matrices in full precision
    before(async () => {
      ;({ dir, model } = await made(256, { num_hidden_layers: 8 }))
      const matrices = model.parameters.filter(layerMatrix)
      layer = matrices.reduce((sum, { shape }) => sum + 4 * shape[0]! * shape[1]!, 0)
    })
    after(() => rm(dir, { recursive: true }))

    it('never exist in full precision while they are read, and take half a byte', async () => {
      const source = await openCheckpoint(dir)
      const start = memory()!.bytes
      let most = 0
      const read = (name: string) => {
        most = Math.max(most, memory()!.bytes - start)
        return source.read(name)
      }
      const weights = await loadWeights({ ...source, read }, model.parameters, {
        layers: model.layers,
        quantized: layerMatrix,
      })
      await source.close()
      const entries = (model.layers * layer) / 4
      const quantised = bytes(tensorsOf(weights).filter(t => typeOf(t) === 'u8'))
      assert.equal(quantised / entries, 0.5 + 1 / 64)
      assert.ok(most <= bytes(weights) + layer / 4, `${most} bytes while reading, ${bytes(weights)} in the end`)
      disposeTree(weights)
    })

    it('are restored a layer at a time, forward and backward, while an adapter is trained', async () => {
      const policy = await loadPolicy(dir, { quantization: 'nf4', adapter: { r: 4 } })
      const batch = policy.encode(['Ann has', 'Ben has'], [' 12 apples.', ' 4'])
      const step = trainStep<{ batch: TensorTree }>(
        'step',
        (_, { batch }) =>
          weights => {
            const { score, length } = policy.score(weights, batch)
            const tokens = tf.sum(length)
            return { sum: tf.neg(tf.sum(score)), normalizer: tokens, tokens, metrics: {} }
          },
        trainingDefaults,
      )
      const frozen = { policy: policy.weights.frozen }
      const scalars = { learning_rate: tf.scalar(1e-2) }
      let state = stepState(policy, 0)
      const { temporary } = step.memory(state, frozen, { batch }, scalars)
      assert.ok(temporary < 2 * layer, `${temporary} bytes, a layer has ${layer}`)
      const losses: number[] = []
      for (let i = 0; i < 10; i++) {
        const [next, { loss }] = step(state, frozen, { batch }, scalars)
        losses.push((await loss!.data())[0]!)
        state = next
      }
      assert.ok(losses.at(-1)! < 0.8 * losses[0]!, `${losses.join(', ')}`)
      disposeTree([state, frozen.policy])
    })
  })
})
