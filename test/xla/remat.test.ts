import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import { initQwen2, qwen2 } from '../../src/models/index.js'
import { jit, random, start, tensorsOf, withTensors } from '../../src/xla/index.js'
import type { Jitted, TensorTree } from '../../src/xla/index.js'

const config = {
  vocab_size: 64,
  hidden_size: 32,
  intermediate_size: 96,
  num_hidden_layers: 24,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  tie_word_embeddings: true,
  initializer_range: 0.02,
}
/** Rows and tokens. */
const [B, T] = [2, 48]
/** Of gradients, relative to 1 + |g|: the compiler may fuse the two differently. */
const SAME = 1e-5

describe('gradient checkpointing of a model with 24 layers', function () {
  this.timeout(120_000) // compiling takes what other work on the machine leaves

  interface Case {
    gradients: Jitted<[TensorTree, tf.Tensor], tf.Tensor[]>
    /** Bytes that wait for the backward pass: what the step needs beside its arguments and results, less what a forward pass
     * needs. */
    activations: number
  }
  let weights: TensorTree, ids: tf.Tensor, kept: Case, anew: Case

  function compiled(gradient_checkpointing: boolean): Case {
    const model = qwen2(config, { gradient_checkpointing })
    const loss = (w: TensorTree, input_ids: tf.Tensor): tf.Tensor => {
      const hidden = model.hidden(w, { input_ids, attention_mask: tf.onesLike(input_ids) })
      return tf.mean(tf.square(model.head(w, hidden)))
    }
    const gradients = jit((w: TensorTree, ids: tf.Tensor) =>
      tf.grads((...leaves: tf.Tensor[]) => loss(withTensors(w, leaves), ids))(tensorsOf(w)),
    )
    const activations = gradients.memory(weights, ids).temporary - jit(loss).memory(weights, ids).temporary
    return { gradients, activations }
  }

  before(async () => {
    await start({ backend: 'xla' })
    weights = initQwen2(config, random.key(0))
    ids = tf.tensor2d(
      Array.from({ length: B * T }, (_, i) => (7 * i) % 64),
      [B, T],
      'int32',
    )
    ;[kept, anew] = [compiled(false), compiled(true)]
  })

  it('needs at most a third of the activation memory', () => {
    assert.ok(3 * anew.activations <= kept.activations, `${anew.activations} bytes against ${kept.activations}`)
  })

  it('keeps of each layer its input [B, T, C] alone', () => {
    const { num_hidden_layers: L, hidden_size: C } = config
    const inputs = 4 * L * B * T * C
    const layer = (kept.activations - inputs) / L // what one layer gives and reads on the way back
    assert.ok(anew.activations < inputs + 3 * layer, `${anew.activations} bytes for inputs of ${inputs}`)
  })

  it('gives the same gradients', () => {
    const [wanted, got] = [kept, anew].map(({ gradients }) => gradients(weights, ids).map(g => g.dataSync()))
    wanted!.forEach((w, k) =>
      w.forEach((v, i) => assert.ok(Math.abs(v - got![k]![i]!) <= SAME * (1 + Math.abs(v)), `${k}, ${i}`)),
    )
  })
})
