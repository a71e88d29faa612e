import assert from 'node:assert/strict'
import { srpo, type SrpoConfig } from '../../src/optimizers/index.js'
import { weighted } from '../../src/rewards/index.js'
import { start } from '../../src/xla/index.js'
import { LettersPolicy } from './lettersPolicy.js'

const prompts = Array.from({ length: 4 }, (_, prompt) => ({ prompt }))
const count =
  (letter: string) =>
  ({ completions }: { completions: readonly unknown[] }) =>
    completions.map(c => [...(c as string)].filter(l => l === letter).length)

/** Two components that cannot both be had. */
const rewards = (a: number, b: number) => weighted({ a: [count('a'), a], b: [count('b'), b] })

const args: Partial<SrpoConfig> = {
  per_device_train_batch_size: 32,
  max_steps: 40,
  learning_rate: 0.1,
  lr_scheduler_type: 'constant',
  max_completion_length: 3,
}

const train = async (weights: [number, number], extra: Partial<SrpoConfig>) => {
  const run = await srpo(new LettersPolicy(), prompts, rewards(...weights), { ...args, ...extra }).done()
  const last = run.rows.at(-1)!
  return { run, a: last['rewards/a/mean'] as number, b: last['rewards/b/mean'] as number }
}

describe('srpo', function () {
  this.timeout(60_000)
  before(() => start())

  for (const normalization of ['none', 'group', 'running'] as const)
    it(`learns what the weights say, normalization ${normalization}`, async () => {
      const [forA, forB] = [await train([1, 0.2], { normalization }), await train([0.2, 1], { normalization })]
      assert.ok(forA.a > 2 && forB.b > 2, `${forA.a} ${forA.b} ${forB.a} ${forB.b}`)
    })

  it('chebyshev keeps both components where the linear sum drops the lighter one', async () => {
    const meanOfB = async (scalarization: 'linear' | 'chebyshev') => {
      const { run } = await train([1, 0.8], { scalarization, normalization: 'none', max_steps: 60, seed: 1 })
      return run.rows.slice(-10).reduce((sum, row) => sum + (row['rewards/b/mean'] as number) / 10, 0)
    }
    const [chebyshev, linear] = [await meanOfB('chebyshev'), await meanOfB('linear')]
    assert.ok(chebyshev > linear + 0.2, `${chebyshev} ${linear}`)
  })

  it('reports contributions that add up to the reward, and shares of the advantage that add up to 1', async () => {
    const { run } = await train([1, 0.5], { max_steps: 3 })
    for (const row of run.rows) {
      const sum = (prefix: string) => ['a', 'b'].reduce((total, name) => total + (row[prefix + name] as number), 0)
      assert.ok(Math.abs(sum('contributions/') - (row['reward'] as number)) < 1e-6)
      assert.ok(Math.abs(sum('advantage_share/') - 1) < 1e-6)
      assert.equal(row['contributions/b'], 0.5 * (row['rewards/b/mean'] as number))
    }
  })

  it('moves scheduled weights in a straight line, and logs it', async () => {
    const { run } = await train([1, 1], { max_steps: 5, reward_weights: { a: [1, 0], b: 0.5 } })
    assert.deepEqual(
      run.rows.map(row => row['weights/a']),
      [1, 0.75, 0.5, 0.25, 0],
    )
    assert.deepEqual(
      run.rows.map(row => row['weights/b']),
      [0.5, 0.5, 0.5, 0.5, 0.5],
    )
    assert.equal(run.rows[1]!['event'], 'weights: a 1 → 0.75')
  })

  it('goes on from a state with its running statistics and weights', async () => {
    const config = { ...args, max_steps: 6, normalization: 'running' } as const
    const make = () => srpo(new LettersPolicy(), prompts, rewards(1, 0.3), config)
    const whole = await make().done()
    const first = make()
    for await (const row of first) if (row.step === 3) break
    const second = await srpo(new LettersPolicy(), prompts, rewards(1, 0.3), config, first.state).done()
    const kept = ['loss', 'reward', 'grad_norm', 'advantage_share/a', 'weights/b']
    const numbers = (rows: typeof second.rows) => rows.map(row => kept.map(name => row[name]))
    assert.deepEqual(numbers(second.rows), numbers(whole.rows.slice(3)))
  })

  it('refuses unknown components and choices', () => {
    const make = (given: Partial<SrpoConfig>) => () => srpo(new LettersPolicy(), prompts, rewards(1, 1), given)
    assert.throws(make({ reward_weights: { c: 1 } }), /SrpoConfig: reward_weights is "c", needs one of a, b/)
    assert.throws(make({ normalization: 'groups' as 'group' }), /Did you mean "group"/)
    assert.throws(make({ multi_objective_aggregation: 'sum_then_normalize' } as Partial<SrpoConfig>), /unknown key/)
  })
})
