import assert from 'node:assert/strict'
import { answerFormat, exactAnswer, weighted, type Reward } from '../../src/rewards/index.js'
import { batchOf } from './samples.js'

describe('weighted', () => {
  const batch = batchOf(['<answer>1</answer>', 'it is <answer>2</answer>', ''], { answer: [1, 2, null] })

  it('keeps every component of every sample, without the weights', async () => {
    const rewards = weighted({ format: [answerFormat(), 0.3], correct: [exactAnswer(), 0.7] })
    assert.deepEqual(rewards.names, ['format', 'correct'])
    assert.deepEqual(rewards.weights, { format: 0.3, correct: 0.7 })
    assert.deepEqual(await rewards.score(batch), [
      [1, 0, 0],
      [2, 2, null],
    ])
  })

  it('changes weights live and tells its listeners once a change', () => {
    const rewards = weighted({ a: [answerFormat(), 1], b: [answerFormat(), 2] })
    const before = rewards.weights
    const told: unknown[] = []
    const end = rewards.onChange((weights, previous) => told.push([weights, previous]))
    rewards.setWeights({ b: 3 })
    rewards.setWeights({ a: 1, b: 3 })
    assert.deepEqual(told, [
      [
        { a: 1, b: 3 },
        { a: 1, b: 2 },
      ],
    ])
    assert.deepEqual(before, { a: 1, b: 2 })
    end()
    rewards.setWeights({ a: 0 })
    assert.equal(told.length, 1)
    assert.deepEqual(Object.entries(rewards.weights), [
      ['a', 0],
      ['b', 3],
    ])
  })

  it('refuses unknown names and weights that are no numbers, and then changes nothing', () => {
    const rewards = weighted({ a: [answerFormat(), 1], b: [answerFormat(), 2] })
    assert.throws(() => rewards.setWeights({ a: 5, c: 1 }), /no reward is named "c"\. Use a, b/)
    assert.throws(() => rewards.setWeights({ a: 5, b: NaN }), /weight of "b" is NaN/)
    assert.deepEqual(rewards.weights, { a: 1, b: 2 })
    assert.throws(() => weighted({}), /got no reward/)
    assert.throws(() => weighted({ a: [answerFormat(), Infinity] }), /weight of "a" is Infinity/)
  })

  it('awaits rewards that answer later', async () => {
    const later: Reward = ({ completions }) =>
      new Promise(resolve => setTimeout(() => resolve(completions.map(() => 1)), 1))
    assert.deepEqual(await weighted({ later: [later, 1] }).score(batch), [[1, 1, 1]])
  })

  describe('of a broken reward names it', () => {
    const fails = (reward: unknown, message: RegExp): Promise<void> =>
      assert.rejects(weighted({ fine: [answerFormat(), 1], broken: [reward as Reward, 1] }).score(batch), message)

    it('that never answers, which is told by its signal', async () => {
      const told: AbortSignal[] = []
      const hangs: Reward = (_, signal) => new Promise(() => signal!.onabort = () => told.push(signal!)) // prettier-ignore
      const rewards = weighted({ fine: [answerFormat(), 1], slow: [hangs, 1, { timeout: 0.02 }] })
      await assert.rejects(rewards.score(batch), /reward "slow" failed on a batch of 3: no scores after 0\.02 s\. See/)
      assert.match(String(told[0]!.reason), /no scores after/)
      assert.throws(() => weighted({ a: [hangs, 1, { timeout: 0 }] }), /timeout of "a" is 0, needed seconds above 0/)
    })

    it('that throws', async () => {
      await fails(() => {
        throw new TypeError('no such field')
      }, /^Error: reward "broken" failed on a batch of 3: no such field$/)
      await fails(() => Promise.reject(new Error('offline')), /reward "broken" failed on a batch of 3: offline/)
      await fails(
        () => exactAnswer()({ ...batch, answer: [1, 'x', 2] }),
        /reward "broken" failed on a batch of 3: exactAnswer, row 1: answer is "x"/,
      )
    })

    it('that returns something else than a score a completion', async () => {
      await fails(() => [1, 2], /reward "broken": returned 2 scores for 3 completions/)
      await fails(() => 1, /reward "broken": returned 1, needed a list of 3 scores/)
      await fails(() => undefined, /returned undefined/)
      await fails(() => [1, NaN, 1], /reward "broken", row 1: the score is NaN, needed a finite number, or null/)
      await fails(() => [1, 1, '1'], /row 2: the score is "1"/)
      await fails(() => [Infinity, 1, 1], /row 0: the score is Infinity/)
      await fails(() => [1, undefined, 1], /row 1: the score is undefined/)
      await fails(() => new Array<number>(3), /row 0: the score is undefined/)
    })
  })
})
