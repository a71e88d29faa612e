import assert from 'node:assert/strict'
import * as tf from '@tensorflow/tfjs-core'
import type { CausalModel } from '../../src/models/index.js'
import { drawTokens } from '../../src/sampling/drawTokens.js'
import { generate, positionsOf, type Plan } from '../../src/sampling/index.js'
import { disposeTree, random, start } from '../../src/xla/index.js'

/** A model whose next token depends on the last alone: logits are a row of a table. Its cache holds nothing. */
const bigram = (vocabulary: number): CausalModel => {
  const look = (table: tf.Tensor, ids: tf.Tensor) => tf.gather(table, ids) // [B, T, V]
  const rows = (ids: tf.Tensor, places: number) => tf.zeros([1, ids.shape[0], 1, places, 1])
  return {
    architecture: 'Bigram',
    parameters: [],
    layers: 1,
    vocabulary,
    context: 100,
    hidden: (table, { input_ids }) => look(table as tf.Tensor, input_ids),
    continued: (table, prompts, rows) => look(table as tf.Tensor, tf.concat([prompts.input_ids, rows.input_ids], 1)), // one row each
    head: (_, hidden) => hidden,
    prefill: (table, { input_ids }) => {
      const empty = rows(input_ids, input_ids.shape[1]!)
      return { hidden: look(table as tf.Tensor, input_ids), cache: { keys: empty, values: empty } }
    },
    layersOf: () => ({}),
    decode: (table, _, step) => ({ hidden: look(table as tf.Tensor, step.input_ids), caches: [...step.caches] }),
  }
}

describe('generate', () => {
  before(() => start())

  const plan: Plan = { generations: 1, length: 6, greedy: false, filtered: false, penalized: false, stop: [0], pad: 3 }
  const draw = (seed: number, temperature = 1) => ({
    temperature: tf.scalar(temperature),
    top_p: tf.scalar(1),
    top_k: tf.scalar(0, 'int32'),
    min_p: tf.scalar(0),
    repetition_penalty: tf.scalar(1.5),
    key: random.key(seed),
  })
  const prompts = (rows: number[][]) => {
    const input_ids = tf.tensor2d(rows, undefined, 'int32')
    return { input_ids, attention_mask: tf.onesLike(input_ids) }
  }
  const rowsOf = async (t: tf.Tensor): Promise<number[][]> => (await t.array()) as number[][]

  it('stops a row at its end, that token included, and pads what follows', async () => {
    const next = tf.tensor2d([
      [9, 0, 0, 0], // after 0 comes 0
      [9, 0, 0, 0], // after 1 comes 0
      [0, 9, 0, 0], // after 2 comes 1
      [0, 0, 0, 9], // after 3 comes 3
    ])
    const found = await generate(bigram(4))(next, prompts([[1], [2], [3]]), draw(1), { ...plan, greedy: true })
    assert.deepEqual(await rowsOf(found.tokens), [
      [0, 3, 3, 3, 3, 3],
      [1, 0, 3, 3, 3, 3],
      [3, 3, 3, 3, 3, 3],
    ])
    assert.deepEqual(await rowsOf(found.mask), [
      [1, 0, 0, 0, 0, 0],
      [1, 1, 0, 0, 0, 0],
      [1, 1, 1, 1, 1, 1],
    ])
    assert.deepEqual(Array.from(await found.finished.data()), [1, 1, 0])
    const certain = 9 - Math.log(Math.exp(9) + 3)
    const logProbs = await rowsOf(found.logProbs)
    assert.ok(Math.abs(logProbs[1]![1]! - certain) < 1e-6)
    assert.ok(logProbs[0]!.slice(1).every(x => x === 0))
    disposeTree([next, found])
  })

  it('makes tokens of prompt and completion less likely where a penalty is asked for', async () => {
    const table = tf.tensor2d([
      [-9, 3, 2.5, 2.4],
      [-9, 3, 2.5, 2.4],
      [-9, 3, 2.5, 2.4],
      [-9, 3, 2.5, 2.4],
    ])
    const asked = { ...plan, greedy: true, penalized: true, length: 5, stop: [99] }
    const found = await generate(bigram(4))(table, prompts([[1], [2]]), draw(1), asked)
    // After 1: 3/1.5 = 2 < 2.5; after 2, of 2, 1.67 and 2.4: 3; then all of them are used: 1.
    assert.deepEqual(await rowsOf(found.tokens), [
      [2, 3, 1, 1, 1],
      [1, 3, 1, 1, 1],
    ])
    disposeTree([table, found])
  })

  it('draws tokens as often as their probabilities say', async () => {
    const p = [0.1, 0.2, 0.7]
    const temperature = 2
    const table = tf.mul(tf.log(tf.tensor2d([p, p, p])), temperature) // undone by the temperature
    const many = { ...plan, generations: 2000, length: 2, stop: [99] }
    const found = await generate(bigram(3))(table, prompts([[1]]), draw(5, temperature), many)
    const tokens = (await rowsOf(found.tokens)).flat()
    p.forEach((chance, token) => {
      const share = tokens.filter(t => t === token).length / tokens.length
      const deviation = Math.sqrt((chance * (1 - chance)) / tokens.length)
      assert.ok(
        Math.abs(share - chance) < 4 * deviation,
        `token ${token}: ${share}, needed ${chance} ± ${4 * deviation}`,
      )
    })
    disposeTree([table, found])
  })

  it('gives each row and step noise of its own', async () => {
    const table = tf.zeros([8, 8])
    const settings = { ...plan, generations: 4, length: 16, stop: [99] }
    const found = await generate(bigram(8))(table, prompts([[1], [1]]), draw(5), settings)
    const rows = (await rowsOf(found.tokens)).map(row => row.join(''))
    assert.equal(new Set(rows).size, 8)
    assert.ok(rows.every(row => new Set(row).size > 2))
    disposeTree([table, found])
  })

  it('goes on with half of many rows when the others have ended, and draws what it would have drawn', async () => {
    const [P, G, T] = [5, 30, 8] // 150 rows, then 75, then 38
    const logits = Array.from({ length: 16 }, (_, i) => Math.sin(i * i) + (i % 4 === 0 ? 1.2 : 0))
    const table = tf.tensor2d(logits, [4, 4])
    const settings = { ...plan, generations: G, length: T }
    const found = await generate(bigram(4))(table, prompts([[1], [2], [3], [1], [2]]), draw(7), settings)
    let last = Array.from({ length: P * G }, (_, row) => [1, 2, 3, 1, 2][Math.floor(row / G)]!)
    const wanted = last.map((): number[] => [])
    for (let step = 0; step < T; step++) {
      const tokens = tf.tidy(() => {
        const noise = random.uniform(random.foldIn(random.key(7), tf.scalar(step, 'int32')), [P * G])
        return drawTokens(noise, tf.gather(table, tf.tensor1d(last, 'int32')))
      })
      last = Array.from(await tokens.data())
      wanted.forEach((row, b) => row.push(row.includes(0) ? plan.pad : last[b]!))
      tokens.dispose()
    }
    assert.deepEqual(await rowsOf(found.tokens), wanted)
    const lengths = wanted.map(row => (row.includes(0) ? row.indexOf(0) + 1 : T))
    assert.ok(lengths.filter(length => length < 3).length > (P * G) / 2, 'half of the rows end early')
    assert.deepEqual(
      (await rowsOf(found.mask)).map(row => row.reduce((a, b) => a + b)),
      lengths,
    )
    assert.deepEqual(Array.from(await found.finished.data()), wanted.map(row => (row.includes(0) ? 1 : 0))) // prettier-ignore
    disposeTree([table, found])
  })

  it('counts positions from the first real token', async () => {
    const mask = tf.tensor2d(
      [
        [0, 0, 1, 1],
        [1, 1, 1, 0],
      ],
      undefined,
      'int32',
    )
    assert.deepEqual(await rowsOf(positionsOf(mask)), [
      [0, 0, 0, 1],
      [0, 1, 2, 2],
    ])
  })
})
