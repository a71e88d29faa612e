import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fixture } from '../models/fixture.js'
import { rewardlab } from './rewardlab.js'

describe('rewardlab generate, of a decoder with layers of two kinds', () => {
  it('completes a conversation, on a stock backend as on the engine', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'generate-'))
    const path = join(dir, 'messages.jsonl')
    await writeFile(path, JSON.stringify({ messages: [{ role: 'user', content: 'How many apples does Ann have?' }] }))
    const drawn = (env: Record<string, string>) =>
      rewardlab(['generate', fixture('gemma3'), '--messages', path, '--max_new_tokens', '8', '--greedy'], env)
    const [engine, stock] = [await drawn({}), await drawn({ REWARDLAB_BACKEND: 'cpu' })]
    assert.equal(engine.code, 0, engine.stderr)
    assert.ok(engine.stdout.trim().length > 0)
    assert.equal(engine.stdout, stock.stdout)
    await rm(dir, { recursive: true })
  })
})
