import assert from 'node:assert/strict'
import { nearest, resolveConfig } from '../src/config.js'
import { dpoDefaults, grpoDefaults, resolveGrpoConfig, sftDefaults } from '../src/optimizers/index.js'

describe('configuration', () => {
  const defaults = { learning_rate: 0.1, shuffle: true, name: null as string | null, kind: 'linear' }

  it('fills gaps with defaults; undefined is a gap', () =>
    assert.deepEqual(resolveConfig('Test', defaults, { shuffle: undefined, kind: 'cosine' }), {
      ...defaults,
      kind: 'cosine',
    }))

  it('refuses unknown keys, naming the nearest', () => {
    const given = { learning_rat: 1 } as Partial<typeof defaults>
    assert.throws(
      () => resolveConfig('Test', defaults, given),
      /Test: unknown key "learning_rat". Did you mean "learning_rate"/,
    )
  })

  it('refuses what is no number or no boolean where one is needed', () => {
    const refuses = (given: object, message: RegExp) =>
      assert.throws(() => resolveConfig('Test', defaults, given), message)
    refuses({ learning_rate: '1e-3' }, /Test: learning_rate is "1e-3" \(string\), needs a number such as 0.1/)
    refuses({ shuffle: 1 }, /Test: shuffle is 1 \(number\), needs a boolean/)
  })

  it('has TRL 1.16’s defaults', () => {
    const { learning_rate, num_generations, max_completion_length, beta, epsilon, loss_type, scale_rewards } =
      grpoDefaults
    const grpo = { learning_rate, num_generations, max_completion_length, beta, epsilon, loss_type, scale_rewards }
    assert.deepEqual(grpo, { learning_rate: 1e-6, num_generations: 8, max_completion_length: 512, beta: 0, epsilon: 0.2, loss_type: 'dapo', scale_rewards: 'group' }) // prettier-ignore
    assert.deepEqual([dpoDefaults.beta, dpoDefaults.learning_rate, sftDefaults.learning_rate], [0.1, 1e-6, 2e-5])
    for (const c of [grpoDefaults, dpoDefaults, sftDefaults])
      assert.deepEqual(
        [c.per_device_train_batch_size, c.num_train_epochs, c.lr_scheduler_type, c.max_grad_norm, c.seed],
        [8, 3, 'linear', 1, 42],
      )
  })

  it('does not divide by a deviation under reinforce, unless asked to', () => {
    assert.equal(resolveGrpoConfig({ loss_type: 'reinforce' }).scale_rewards, 'none')
    assert.equal(resolveGrpoConfig({ loss_type: 'reinforce', scale_rewards: 'batch' }).scale_rewards, 'batch')
  })

  it('finds the nearest name', () => assert.equal(nearest('grp', ['dapo', 'grpo', 'sapo']), 'grpo'))
})
