import assert from 'node:assert/strict'
import { sft } from '../../src/optimizers/index.js'
import { loadPolicy, type LanguagePolicy, type PolicyOptions, type Prompt } from '../../src/policies/index.js'
import { weightRule } from '../../src/policies/sharding.js'
import { eachTensor, memory, mesh, placement, start, type Mesh } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'
import { picture } from '../models/pictures.js'

/** Devices add the parts of a sum in another order than one does: float32, over three steps. */
const REORDERED = 1e-5
const FOUR: PolicyOptions = { mesh: { data: 2, model: 2 }, sharding: 'fsdp' }

describe('sharding of a policy', function () {
  this.timeout(180_000) // compiling takes what other work on the machine leaves
  let four: Mesh
  before(async () => {
    await start({ backend: 'xla' })
    four = mesh({ data: 2, model: 2 })
  })

  it('divides matrices as Megatron does, and then by their longest axis; what does not divide stays whole', () => {
    const cases: [path: string, shape: number[], ddp: unknown[], fsdp: unknown[]][] = [
      ['layers.self_attn.q_proj.weight', [3, 64, 32], [null, 'model', null], [null, 'model', 'data']],
      ['layers.self_attn.k_proj.bias', [3, 16], [null, 'model'], [null, 'model']],
      ['layers.self_attn.o_proj.weight', [3, 32, 64], [null, null, 'model'], [null, 'data', 'model']],
      ['layers.mlp.down_proj.weight', [3, 32, 96], [null, null, 'model'], [null, 'data', 'model']],
      ['layers.mlp.up_proj.weight', [3, 49, 32], [null, null, null], [null, null, 'data']],
      ['layers.self_attn.q_proj.lora_A', [3, 8, 32], [null, null, null], [null, null, 'data']],
      ['layers.self_attn.q_proj.lora_B', [3, 64, 8], [null, 'model', null], [null, 'model', 'data']],
      ['layers.mlp.down_proj.lora_A', [3, 8, 96], [null, null, 'model'], [null, 'data', 'model']],
      ['layers.mlp.down_proj.lora_B', [3, 32, 8], [null, null, null], [null, 'data', null]],
      ['layers.mlp.down_proj.weight.packed', [3, 32, 48], [null, null, 'model'], [null, 'data', 'model']],
      ['layers.self_attn.out_proj.weight', [3, 32, 64], [null, null, 'model'], [null, 'data', 'model']],
      ['layers.self_attn.out_proj.bias', [3, 32], [null, null], [null, null]],
      ['layers.fc1.weight', [3, 96, 32], [null, 'model', null], [null, 'model', 'data']],
      ['layers.fc1.bias', [3, 96], [null, 'model'], [null, 'model']],
      [
        'visual.vision_tower.encoder.layers.mlp.fc2.weight',
        [3, 32, 96],
        [null, null, 'model'],
        [null, 'data', 'model'],
      ],
      ['layers.input_layernorm.weight', [3, 32], [null, null], [null, null]],
      ['layers.mlp.down_proj.lora_scaling', [3], [null], [null]],
      ['embed_tokens.weight', [320, 32], ['model', null], ['model', 'data']],
      ['norm.weight', [32], [null], [null]],
    ]
    for (const [path, shape, ddp, fsdp] of cases) {
      assert.deepEqual(weightRule(four, 'ddp')(path, shape), ddp, path)
      assert.deepEqual(weightRule(four, 'fsdp')(path, shape), fsdp, path)
    }
  })

  it('refuses what it does not know', async () => {
    const refused = (options: object, expected: RegExp) =>
      assert.rejects(loadPolicy(fixture('qwen2'), options), expected)
    await refused({ mesh: { batch: 2 } }, /loadPolicy: mesh: unknown key "batch".*data, model/)
    await refused({ mesh: { data: 2 }, sharding: 'zero' }, /sharding is "zero", needs one of ddp, fsdp/)
    await refused({ mesh: { data: 32 } }, /needs 32 devices/)
  })

  /** Three steps of supervised training: the rows' numbers, and bytes of weights and moments on each device. */
  async function trained(options: PolicyOptions, model = 'qwen2', prompts: Prompt[] = Array<string>(4).fill('Count:')) {
    const before = memory()!.devices
    const policy = await loadPolicy(fixture(model), options)
    const completions = [' one', ' two', ' three', ' four']
    const rows = prompts.map((prompt, i) => ({ prompt, completion: completions[i]! }))
    const config = { max_steps: 3, per_device_train_batch_size: 4, learning_rate: 1e-3 } as const
    const run = await sft(policy, rows, config).done()
    const bytes = memory()!.devices.map((now, i) => now - before[i]!)
    eachTensor(policy.weights.trainable, (t, path) => {
      const spec = placement(t)?.spec.map(axes => axes[0] ?? null)
      if (options.mesh)
        assert.deepEqual(spec, weightRule(four, options.sharding!)(path, t.shape), `${path} after a step`)
    })
    run.dispose()
    policy.dispose()
    const after = memory()!.devices // less, where something of an earlier test was collected meanwhile
    assert.ok(after.every((held, i) => held <= before[i]!), `all memory is returned: ${after.join()}, before ${before.join()}`) // prettier-ignore
    return { numbers: run.rows.flatMap(row => [row['loss'] as number, row['grad_norm'] as number]), bytes }
  }

  type Trained = Awaited<ReturnType<typeof trained>>
  function agree(divided: Trained, alone: Trained): void {
    alone.numbers.forEach((x, i) => {
      const found = divided.numbers[i]!
      assert.ok(Math.abs(found - x) < REORDERED * x, `${i}: ${found}, on one device ${x}`)
    })
  }

  it('training on four devices gives the losses of one, with a quarter of weights and moments on each', async () => {
    const [alone, divided] = [await trained({}), await trained(FOUR)]
    agree(divided, alone)
    const shares = divided.bytes.map(bytes => bytes / alone.bytes[0]!)
    assert.ok(
      shares.every(share => share > 0.25 && share < 0.27),
      `shares ${shares.join()}`,
    ) // norms and biases are whole
  })

  it('training a model that sees, with its tower, gives the losses of one device', async () => {
    const prompts = [1, 2, 3, 4].map(n => ({ prompt: 'What?', images: [picture(n, 16, 8 * n)] }))
    const tower = { tune_mm_vision: true, gradient_checkpointing: false } // compiles sooner
    agree(await trained({ ...FOUR, ...tower }, 'blip2', prompts), await trained(tower, 'blip2', prompts)) // with OPT
  })

  it('draws what one device draws, also rows that do not divide', async () => {
    const options = { num_generations: 1, max_completion_length: 6, seed: 5 }
    const drawn = async (policy: LanguagePolicy) => {
      const samples = await policy.sample(['Ann has', 'Ben', 'Tom has 3'], options)
      const logProbs = Array.from(await samples.trajectories.logProbs.data())
      policy.dispose()
      return { outputs: samples.outputs, logProbs }
    }
    const [alone, divided] = [await drawn(await loadPolicy(fixture('qwen2'))), await drawn(await loadPolicy(fixture('qwen2'), FOUR))] // prettier-ignore
    assert.deepEqual(divided.outputs, alone.outputs)
    divided.logProbs.forEach((x, i) => assert.ok(Math.abs(x - alone.logProbs[i]!) < REORDERED, `${i}: ${x}`))
  })
})
