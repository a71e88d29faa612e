import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openSafetensors, writeSafetensors, type StoredTensor } from '../../src/io/safetensors.js'
import { fixture } from '../models/fixture.js'

const PARITY = 1e-4 // float32 against PyTorch's float32

describe('rewardlab', () => {
  let dir: string
  before(async () => (dir = await mkdtemp(join(tmpdir(), 'cli-'))))
  after(() => rm(dir, { recursive: true }))

  const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
  const rewardlab = (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> => run(args)
  const run = (args: string[], env: NodeJS.ProcessEnv = process.env): ReturnType<typeof rewardlab> =>
    new Promise(done =>
      execFile(process.execPath, [main, ...args], { env }, (error, stdout, stderr) =>
        done({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
      ),
    )

  /** Inputs of the reference file, under the names that `forward` takes. */
  async function inputs(change: Record<string, StoredTensor> = {}): Promise<string> {
    const source = await openSafetensors(fixture('qwen2_expected.safetensors'))
    const shape = source.tensors.get('left.input_ids')!.shape
    const path = join(dir, 'in.safetensors')
    await writeSafetensors(path, {
      input_ids: { dtype: 'I64', shape, data: await source.read('left.input_ids') },
      attention_mask: { dtype: 'I32', shape, data: await source.read('left.attention_mask') },
      ...change,
    })
    await source.close()
    return path
  }

  it('lists its commands and their options', async () => {
    assert.match((await rewardlab('--help')).stdout, /forward +one forward pass[^]*generate/)
    assert.match((await rewardlab('forward', '--help')).stdout, /Usage: rewardlab forward MODEL_DIR IN\.safetensors/)
    assert.match((await rewardlab('generate', '--help')).stdout, /--max_new_tokens N/)
  })

  it('forward gives the logits of transformers, with an adapter those of PEFT', async () => {
    const out = join(dir, 'out.safetensors')
    for (const [options, reference] of [
      [[], 'left.logits'],
      [['--adapter', fixture('qwen2_adapter')], 'adapter.logits'],
    ] as const) {
      const { code, stdout } = await rewardlab('forward', fixture('qwen2'), await inputs(), out, '--json', ...options)
      assert.equal(code, 0)
      assert.deepEqual(JSON.parse(stdout), { output: out, outputs: { logits: [3, 24, 320] } })
      const [found, expected] = await Promise.all([
        openSafetensors(out),
        openSafetensors(fixture('qwen2_expected.safetensors')),
      ])
      const stride = 320 / expected.tensors.get(reference)!.shape[2]!
      const logits = (await found.read('logits')).filter((_, i) => i % stride === 0)
      const wanted = await expected.read(reference)
      assert.equal(logits.length, wanted.length)
      wanted.forEach((x, i) => assert.ok(Math.abs(x - logits[i]!) < PARITY))
      await Promise.all([found.close(), expected.close()])
    }
  })

  it('generate completes prompts and conversations', async () => {
    const { prompts, messages } = JSON.parse(await readFile(fixture('qwen2_expected.json'), 'utf8')) as {
      prompts: string[]
      messages: object[]
    }
    const file = join(dir, 'prompts.jsonl')
    await writeFile(file, [...prompts.map(prompt => ({ prompt })), { messages }].map(r => JSON.stringify(r)).join('\n'))
    const args = [
      'generate',
      fixture('qwen2'),
      '--messages',
      file,
      '--max_new_tokens',
      '8',
      '--batch_size',
      '3',
      '--json',
    ]
    const { code, stdout } = await rewardlab(...args, '--greedy')
    assert.equal(code, 0)
    const rows = stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as { prompt: unknown; completion: string })
    assert.deepEqual(
      rows.map(row => row.prompt),
      [...prompts, messages],
    )
    assert.equal(rows[0]!.completion, ',') // as in the reference: ends with its first token
    const plain = { ...process.env, REWARDLAB_BACKEND: 'cpu' } // nothing to compile
    const drawn = async (seed: string) => (await run([...args, '--temperature', '0.9', '--seed', seed], plain)).stdout
    const [a, b, c] = await Promise.all([drawn('1'), drawn('1'), drawn('2')])
    assert.equal(a, b)
    assert.notEqual(a, c)
  })

  it('fails in one line, with exit code 1', async () => {
    const out = join(dir, 'never.safetensors')
    const messages = join(dir, 'bad.jsonl')
    await writeFile(messages, '{"prompt": "a"}\n{"text": "b"}\n')
    const outside: StoredTensor = { dtype: 'I32', shape: [1, 2], data: Int32Array.of(5, 320) }
    const cases: [args: string[], message: RegExp][] = [
      [['train'], /^rewardlab train: unknown command "train", needed one of/],
      [['forward', fixture('qwen2')], /found 1 arguments, needed 3: MODEL_DIR IN\.safetensors OUT\.safetensors/],
      [['forward', join(dir, 'none'), 'a', 'b'], /none.config\.json: there is no such file/],
      [['forward', fixture('qwen2'), join(dir, 'none.safetensors'), out], /none\.safetensors: there is no such file/],
      [['forward', fixture('qwen2'), await inputs({ pixels: outside }), out], /unknown input "pixels"/],
      [['generate', fixture('qwen2')], /--messages FILE\.jsonl is missing/],
      [['generate', fixture('qwen2'), '--messages', messages], /bad\.jsonl: row 2 has no "messages"/],
      [
        ['generate', fixture('qwen2'), '--messages', join(dir, 'prompts.jsonl'), '--top_k', 'x'],
        /--top_k is "x", needed a number/,
      ],
      [['generate', fixture('qwen2'), '--beams', '3'], /--beams/],
    ]
    for (const [args, message] of cases) {
      const { code, stderr } = await rewardlab(...args)
      assert.equal(code, 1, args.join(' '))
      assert.match(stderr, message)
      assert.equal(stderr.trim().split('\n').length, 1, stderr)
    }
    const bare = await rewardlab(
      'forward',
      fixture('qwen2'),
      await inputs({ input_ids: outside, attention_mask: outside }),
      out,
      '--json',
    )
    assert.equal(bare.code, 1)
    assert.match((JSON.parse(bare.stdout) as { error: string }).error, /input_ids holds 320, needed ids from 0 to 319/)
  })
}).timeout(120_000)
