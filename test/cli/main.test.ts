import assert from 'node:assert/strict'
import { rewardlab } from './rewardlab.js'

describe('rewardlab', () => {
  it('lists its commands and their options', async () => {
    assert.match((await rewardlab(['--help'])).stdout, /doctor [^]*forward +one forward pass[^]*generate/)
    for (const [command, usage] of [
      ['doctor', /^Usage: rewardlab doctor/],
      ['forward', /^Usage: rewardlab forward MODEL_DIR IN\.safetensors OUT\.safetensors/],
      ['train', /^Usage: rewardlab train CONFIG\.yaml/],
      ['generate', /^Usage: rewardlab generate MODEL_DIR --messages FILE\.jsonl[^]*--max_new_tokens N/],
    ] as const) {
      const { code, stdout } = await rewardlab([command, '--help'])
      assert.equal(code, 0)
      assert.match(stdout, usage)
      assert.match(stdout, /--json/)
    }
  })

  it('fails in one line with exit code 1, as JSON if asked to', async () => {
    const cases = [
      [['dcotor'], 'unknown command "dcotor", needed one of doctor, estimate, evaluate, forward, generate, score, sweep, train. See rewardlab --help.'],
      [['forward', 'x'], 'found 1 arguments, needed 3: MODEL_DIR IN.safetensors OUT.safetensors. See --help.'],
      [['generate', 'x', '--max_tokens', '3'], 'unknown option --max_tokens. Did you mean --max_new_tokens? See --help.'],
      [['forward', 'x', 'y', 'z'], 'x/config.json: there is no such file, nor its folder. Check the path.'],
      [['generate', 'x', '--messages', 'y'], "y: cannot be read (ENOENT: no such file or directory, open 'y'). Needed a JSON lines file, plain or gzip."],
    ] as const // prettier-ignore
    for (const [args, message] of cases) {
      const [text, json] = await Promise.all([rewardlab(args), rewardlab([...args, '--json'])])
      assert.deepEqual(text, { code: 1, stdout: '', stderr: `rewardlab ${args[0]}: ${message}\n` })
      assert.deepEqual({ ...json, stdout: JSON.parse(json.stdout) as object }, { code: 1, stdout: { error: message }, stderr: '' }) // prettier-ignore
    }
  })
}).timeout(60_000)
