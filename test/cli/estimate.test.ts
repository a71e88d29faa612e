import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { estimateCommand } from '../../src/cli/estimate.js'
import type { TrainingEstimate } from '../../src/cli/estimateTraining.js'
import { trainCommand } from '../../src/cli/train.js'
import type { KontextEstimate } from '../../src/models/index.js'
import { fixture } from '../models/fixture.js'

describe('rewardlab estimate', () => {
  const run = async (...args: string[]): Promise<[text: string, json: object]> => {
    let printed: [string, object] = ['', {}]
    await estimateCommand.run(args, (text, json) => (printed = [text, json]))
    return printed
  }

  it('tells which plans fit, without weights', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'estimate-'))
    await cp(fixture('kontext'), dir, { recursive: true, filter: path => !path.endsWith('.safetensors') })
    const [text, json] = await run(dir, '--memory', '0.3', '--r', '4', '--max_sequence_length', '32')
    const { memory, plans } = json as { memory: number; plans: { estimate: KontextEstimate }[] }
    assert.equal(memory, 0.3 * 2 ** 30)
    assert.equal(plans.length, 4)
    const lines = text.split('\n')
    assert.equal(lines.length, 6)
    for (const [i, { estimate }] of plans.entries()) {
      const verdict = (bytes: number) => (bytes <= memory ? 'fits' : 'too large')
      assert.match(lines[i + 1]!, new RegExp(`GiB ${verdict(estimate.editing)} +.*GiB ${verdict(estimate.training)}$`))
    }
    await rm(dir, { recursive: true })
  })

  it('tells what a training takes by part, and what would help, without weights', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'estimate-'))
    await cp(fixture('qwen2'), join(dir, 'model'), { recursive: true, filter: path => !path.endsWith('.safetensors') })
    await writeFile(join(dir, 'rows.jsonl'), JSON.stringify({ prompt: 'one two', chosen: ' three', rejected: ' six' }))
    const given = { optimizer: 'dpo', model: join(dir, 'model'), dataset: { path: join(dir, 'rows.jsonl') } }
    const config = join(dir, 'config.yaml')
    await writeFile(config, JSON.stringify(given))
    const [text, json] = await run(config)
    const { estimate, seconds } = json as { estimate: TrainingEstimate; seconds: { update: number; sampling: number } }
    assert.ok(seconds.update > 0 && seconds.update < 10 && seconds.sampling === 0)
    assert.match(text, /\ntime: about [\d.e-]+ s a step \(rough: it is measured as the run goes\), .* for 3 steps$/)
    const { weights, copies, optimizer, gradients, activations, sampling, runtime, total } = estimate
    assert.deepEqual([copies, optimizer, gradients, sampling], [weights, 2 * weights, weights, 0])
    assert.equal(total, weights + copies + optimizer + gradients + activations + runtime)
    assert.ok(activations > 0 && runtime > 0)
    const [, adapter] = await run(config, '--set', 'adapter.r=2')
    const of = (adapter as { estimate: TrainingEstimate }).estimate
    assert.ok(of.copies === 0 && of.gradients < 0.2 * weights && of.optimizer === 2 * of.gradients)
    const { availableMemory } = process
    process.availableMemory = () => 1e6
    const refused = trainCommand.run([config, '--set', `output_dir=${join(dir, 'out')}`], () => {})
    await assert.rejects(refused, /are more than the 0\.001 GiB of the device\. What helps most: --set.* --force trains all the same\.$/) // prettier-ignore
    process.availableMemory = availableMemory
    assert.equal(existsSync(join(dir, 'out')), false)
    const small = run(config, '--memory', String((0.9 * total) / 2 ** 30))
    await assert.rejects(
      small,
      /are more than the .* of the device\. What helps most: --set '.*GiB\), --set '.*GiB\), --set/,
    )
    await rm(dir, { recursive: true })
  })

  it('refuses what does not fit', async () => {
    await assert.rejects(run(fixture('flux')), /model_index\.json: there is no such file/)
    await assert.rejects(run(fixture('kontext'), '--r', 'x'), /--r is "x", needed a number/)
    await assert.rejects(run(fixture('kontext'), '--dtype', 'int8'), /dtype is "int8", needs one of/)
  })
}).timeout(120_000)
