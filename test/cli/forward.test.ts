import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { forwardCommand } from '../../src/cli/forward.js'
import { openSafetensors, writeSafetensors, type StoredTensor, type TensorSource } from '../../src/io/safetensors.js'
import { fixture } from '../models/fixture.js'
import { rewardlab } from './rewardlab.js'

const PARITY = 1e-4 // float32 against PyTorch's float32
const VOCABULARY = 320

describe('rewardlab forward', () => {
  let dir: string
  let expected: TensorSource
  let files = 0
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'forward-'))
    expected = await openSafetensors(fixture('qwen2_expected.safetensors'))
  })
  after(async () => {
    await expected.close()
    await rm(dir, { recursive: true })
  })

  /** Stored inputs of the reference under the names that `forward` takes; changes add, replace or (undefined) remove. */
  async function inputs(
    change: Record<string, StoredTensor | undefined> = {},
    dtype: 'I64' | 'I32' = 'I64',
    side = 'left',
  ): Promise<string> {
    const stored = async (name: string): Promise<StoredTensor> => ({
      dtype,
      shape: expected.tensors.get(`${side}.${name}`)!.shape,
      data: await expected.read(`${side}.${name}`),
    })
    const all = { input_ids: await stored('input_ids'), attention_mask: await stored('attention_mask'), ...change }
    const path = join(dir, `in-${files++}.safetensors`)
    const present = Object.entries(all).filter((entry): entry is [string, StoredTensor] => entry[1] !== undefined)
    await writeSafetensors(path, Object.fromEntries(present))
    return path
  }

  const cases: [what: string, model: string, dtype: 'I64' | 'I32', side: string, options: string[], logits: string][] =
    [
      ['padding on the left, I64', 'qwen2', 'I64', 'left', [], 'left.logits'],
      ['padding on the right, I32', 'qwen2', 'I32', 'right', [], 'right.logits'],
      ['an untied head in bfloat16 shards', 'qwen2_untied', 'I32', 'left', [], 'untied.logits'],
      ['an adapter of PEFT', 'qwen2', 'I64', 'left', ['--adapter', fixture('qwen2_adapter')], 'adapter.logits'],
    ]
  for (const [what, model, dtype, side, options, reference] of cases)
    it(`gives the logits of transformers: ${what}`, async () => {
      const out = join(dir, `${reference}.out`)
      const { code, stdout, stderr } = await rewardlab([
        ...['forward', fixture(model), await inputs({}, dtype, side), out, '--json'],
        ...options,
      ])
      assert.equal(code, 0, stderr + stdout)
      const shape = [3, 24, VOCABULARY]
      assert.deepEqual(JSON.parse(stdout), { output: out, outputs: { logits: shape } })
      const found = await openSafetensors(out)
      assert.deepEqual(found.tensors.get('logits')!.shape, shape)
      const stride = VOCABULARY / expected.tensors.get(reference)!.shape[2]!
      const logits = (await found.read('logits')).filter((_, i) => i % stride === 0)
      await found.close()
      const wanted = Array.from(await expected.read(reference))
      assert.equal(logits.length, wanted.length)
      const apart = wanted.reduce((worst, x, i) => Math.max(worst, Math.abs(x - logits[i]!)), 0)
      assert.ok(apart < PARITY, `${apart}`)
    })

  it('says what it wrote', async () => {
    const out = join(dir, 'said.safetensors')
    const { stdout } = await rewardlab(['forward', fixture('qwen2'), await inputs(), out])
    assert.equal(stdout, `logits [3, 24, ${VOCABULARY}] → ${out}\n`)
  })

  it('refuses inputs that do not fit', async () => {
    const ids = (shape: number[], ...values: number[]): StoredTensor => ({
      dtype: 'I32',
      shape,
      data: Int32Array.from(values),
    })
    const floats: StoredTensor = { dtype: 'F32', shape: [3, 24], data: new Float32Array(72) }
    const [out, none] = [join(dir, 'never.safetensors'), join(dir, 'none')]
    const model = fixture('qwen2')
    const cases: [args: string[], message: RegExp][] = [
      [[model], /found 1 arguments, needed 3: MODEL_DIR IN\.safetensors OUT\.safetensors/],
      [[none, await inputs(), out], /none.config\.json: there is no such file, nor its folder/],
      [[model, none, out], /none: there is no such file\. Needed: a \.safetensors file/],
      [[model, await inputs({ pixels: floats }), out], /unknown input "pixels"\. Qwen2ForCausalLM takes input_ids/],
      [
        [model, await inputs({ input_ids: undefined }), out],
        /input_ids is missing, needed \[rows, tokens\] I64 or I32/,
      ],
      [
        [model, await inputs({ input_ids: ids([2], 1, 2), attention_mask: undefined }), out],
        /input_ids is \[2\], needed \[rows, tokens\]/,
      ],
      [[model, await inputs({ position_ids: floats }), out], /position_ids is F32, needed I64 or I32/],
      [
        [model, await inputs({ attention_mask: ids([1, 2], 1, 1), position_ids: undefined }), out],
        /attention_mask is \[1, 2\], needed \[3, 24\]/,
      ],
      [[model, await inputs(), out, '--adapter', none], /none.adapter_config\.json: there is no such file/],
      [[model, await inputs(), join(none, 'out')], /none.out: there is no such folder/],
      [
        [model, await inputs({ input_ids: ids([1, 2], 5, VOCABULARY), attention_mask: undefined }), out],
        /input_ids holds 320, needed ids from 0 to 319/,
      ],
    ]
    for (const [args, message] of cases)
      await assert.rejects(
        forwardCommand.run(args, () => {}),
        { message },
      )
  })
}).timeout(120_000)
