import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gsm8k, readJsonl } from '../../src/datasets/index.js'
import { dpo, grpo, sft, srpo } from '../../src/optimizers/index.js'
import { loadPolicy, type LanguagePolicy } from '../../src/policies/index.js'
import { answerFormat, exactAnswer, weighted } from '../../src/rewards/index.js'
import { fixture } from '../models/fixture.js'

type Json = Record<string, unknown>

/* Each message names the file or field, what was found, what is needed, and what to do. */
describe('bad input', () => {
  let dir: string
  let policy: LanguagePolicy
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'bad-'))
    policy = await loadPolicy(fixture('qwen2'))
  })
  after(async () => {
    policy.dispose()
    await rm(dir, { recursive: true })
  })

  let models = 0
  /** A copy of the fixture's directory with something wrong. */
  async function broken(damage: (path: (file: string) => string) => Promise<unknown>): Promise<string> {
    const model = join(dir, `model-${models++}`)
    await cp(fixture('qwen2'), model, { recursive: true })
    await damage(file => join(model, file))
    return model
  }
  /** The same, with fields of a JSON file changed; undefined removes a field. */
  const edited = (file: string, change: Json) =>
    broken(async path => {
      const json = JSON.parse(await readFile(path(file), 'utf8')) as Json
      await writeFile(path(file), JSON.stringify({ ...json, ...change }))
    })
  const written = (file: string, text: string) => broken(path => writeFile(path(file), text))
  const refused = (model: string, message: RegExp) => assert.rejects(loadPolicy(model), oneLine(message))

  describe('a checkpoint', () => {
    it('is missing', async () => {
      await refused(
        join(dir, 'nowhere'),
        /nowhere.tokenizer\.json: there is no such file, nor its folder\. Check the path/,
      )
      await refused(
        await broken(path => rm(path('model.safetensors'))),
        /model-\d+: no weights\. Needed: model\.safetensors or model\.safetensors\.index\.json/,
      )
    })

    it('is truncated, or something else', async () => {
      const cut = (bytes: number) => broken(path => truncate(path('model.safetensors'), bytes))
      await refused(await cut(100_000), /model\.safetensors: truncated: 100000 bytes, needed 138616\..* save it again/)
      await refused(await cut(100), /model\.safetensors: truncated: 100 bytes, the header alone needs \d+\./)
      await refused(await cut(0), /model\.safetensors: 0 bytes, needed at least 8\./)
      await refused(
        await written('model.safetensors', 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n'),
        /model\.safetensors: a header of \d+ bytes, needed at most \d+\. .*Git LFS pointer/,
      )
    })

    it('has tensors of other shapes, too few or too many', async () => {
      await refused(
        await edited('config.json', { intermediate_size: 64 }),
        /model\.safetensors: 9 misshapen: model\.layers\.0\.mlp\.gate_proj\.weight is \[48,32\], needed \[64,32\].*Use the config\.json that belongs/,
      )
      await refused(
        await edited('config.json', { num_hidden_layers: 4, layer_types: null }),
        /model\.safetensors: 12 missing: model\.layers\.3\.input_layernorm\.weight/,
      )
      await refused(
        await edited('config.json', { num_hidden_layers: 2, layer_types: null }),
        /model\.safetensors: 12 unexpected: model\.layers\.2\.input_layernorm\.weight/,
      )
    })
  })

  describe('config.json', () => {
    it('is missing or not a JSON object', async () => {
      await refused(
        await broken(path => rm(path('config.json'))),
        /config\.json: there is no such file\. Check the path/,
      )
      await refused(await written('config.json', '{"a": 1,'), /config\.json: not JSON \(.*\)\. Fetch or write/)
      await refused(await written('config.json', '[]'), /config\.json: found an array, needed a JSON object/)
    })

    it('asks for another architecture', async () => {
      await refused(
        await edited('config.json', { model_type: 'mamba' }),
        /config\.json: model_type is "mamba", needed .*"qwen2"/,
      )
      await refused(
        await edited('config.json', { model_type: undefined }),
        /config\.json: model_type is missing, needed .*"qwen2"/,
      )
      await refused(
        await edited('config.json', { hidden_act: 'gelu' }),
        /config\.json: hidden_act is "gelu", needed "silu"/,
      )
    })

    it('lacks a field, or has something else there', async () => {
      await refused(
        await edited('config.json', { hidden_size: undefined }),
        /config\.json: hidden_size is missing, needed an integer ≥ 1/,
      )
      await refused(
        await edited('config.json', { num_attention_heads: '4' }),
        /config\.json: num_attention_heads is "4", needed an integer ≥ 1/,
      )
    })
  })

  describe('a tokenizer', () => {
    const messages = [{ role: 'user', content: 'hello' }]

    it('is missing or unusable', async () => {
      await refused(await broken(path => rm(path('tokenizer.json'))), /tokenizer\.json: there is no such file/)
      await refused(await written('tokenizer.json', 'x'), /tokenizer\.json: not JSON/)
      await refused(await written('tokenizer.json', '{}'), /tokenizer\.json: not a tokenizer that can be used/)
    })

    it('has no chat template, or one with a fault', async () => {
      const bare = await loadPolicy(await broken(path => rm(path('chat_template.jinja'))))
      const message = /model-\d+: found no chat template in chat_template\.jinja or tokenizer_config\.json, needed one for messages\. Give the prompt as a string/ // prettier-ignore
      await assert.rejects(bare.sample([messages], { seed: 0, max_completion_length: 4 }), oneLine(message))
      const [data, rewards] = [[{ prompt: messages }], weighted({ format: [answerFormat(), 1] })]
      await assert.rejects(grpo(bare, data, rewards, { max_steps: 1 }).done(), oneLine(message))
      bare.dispose()
      const faulty = await loadPolicy(await written('chat_template.jinja', '{% for m in messages %}'))
      await assert.rejects(
        faulty.sample([messages], { seed: 0, max_completion_length: 4 }),
        oneLine(/model-\d+: the chat template is not one that can be used \(.*Mend or replace chat_template\.jinja/),
      )
      faulty.dispose()
    })

    it('is given something else than messages', async () => {
      const message = { role: 'user', content: 'hello' } as unknown as string
      await assert.rejects(
        policy.sample([message], { seed: 0, max_completion_length: 4 }),
        oneLine(
          /found \{"role":"user","content":"hello"\}, needed messages: \[\{ role: 'user', content: 'text' \}, …\]/,
        ),
      )
    })
  })

  describe('an unknown key', () => {
    const rewards = weighted({ correct: [exactAnswer(), 1] })
    const rows = [{ prompt: 'a', chosen: 'b', rejected: 'c', completion: 'd' }]
    const typo = { lerning_rate: 1 } as object
    const cases: Record<string, [() => unknown, RegExp]> = {
      'of loadPolicy': [() => loadPolicy('x', { adaptor: {} } as object), /^loadPolicy: unknown key "adaptor"\. Did you mean "adapter"\? Known: adapter/],
      'of an adapter': [() => loadPolicy(fixture('qwen2'), { adapter: { rank: 8 } as object }), /^LoraConfig: unknown key "rank"\. .*Known: r, lora_alpha/],
      'of sample': [() => policy.sample(['a'], { seed: 0, top: 3 }), /^sample: unknown key "top"\. Did you mean "top_p"\?/],
      'of GRPO': [() => grpo(policy, rows, rewards, typo), /^GrpoConfig: unknown key "lerning_rate"\. Did you mean "learning_rate"\?/],
      'of SRPO': [() => srpo(policy, rows, rewards, typo), /^SrpoConfig: unknown key "lerning_rate"\./],
      'of DPO': [() => dpo(policy, rows, typo), /^DpoConfig: unknown key "lerning_rate"\./],
      'of SFT': [() => sft(policy, rows, typo), /^SftConfig: unknown key "lerning_rate"\./],
    } // prettier-ignore
    for (const [name, [run, message]] of Object.entries(cases))
      it(name, () => assert.rejects(Promise.resolve().then(run), oneLine(message)))

    it('or a value of the wrong kind', async () => {
      await assert.rejects(
        loadPolicy('x', { dtype: 'fp8' as 'float32' }),
        oneLine(/^loadPolicy: dtype is "fp8", needs one of float32, bfloat16/),
      )
      assert.throws(
        () => grpo(policy, rows, rewards, { beta: '0.1' as unknown as number }),
        oneLine(/^GrpoConfig: beta is "0\.1" \(string\), needs a number such as 0/),
      )
    })
  })

  describe('a data set', () => {
    const rewards = weighted({ correct: [exactAnswer(), 1] })
    const long = 'many words '.repeat(60)

    it('is empty', async () => {
      assert.throws(
        () => grpo(policy, [], rewards),
        oneLine(/^grpo: the data set is empty, needed rows with prompt\. Check/),
      )
      assert.throws(() => srpo(policy, [], rewards), oneLine(/^srpo: the data set is empty, needed rows with prompt\./))
      assert.throws(
        () => dpo(policy, []),
        oneLine(/^dpo: the data set is empty, needed rows with prompt, chosen, rejected\./),
      )
      assert.throws(
        () => sft(policy, []),
        oneLine(/^sft: the data set is empty, needed rows with prompt, completion\./),
      )
      const path = join(dir, 'empty.jsonl')
      await writeFile(path, '')
      assert.deepEqual(readJsonl(path), [])
      assert.throws(() => gsm8k(path), oneLine(/empty\.jsonl is empty, needed lines with question and answer/))
    })

    it('lacks a column', async () => {
      const rows = [{ prompt: 'a', completion: 'b' }]
      assert.throws(
        () => dpo(policy, rows),
        oneLine(/^dpo: row 0 lacks chosen, rejected \(got prompt, completion\)\. .*rename or add/),
      )
      await assert.rejects(
        grpo(policy, rows, rewards, { max_steps: 1, max_completion_length: 4 }).done(),
        oneLine(/exactAnswer: column "answer" is missing \(got .*Add it to the data set's rows/),
      )
    })

    it('has a prompt longer than the context', async () => {
      const rows = [{ prompt: long, chosen: 'b', rejected: 'c', completion: 'd', answer: '1' }]
      const sampled = /prompt 0 has \d+ tokens; with max_completion_length 8 the context of 96 leaves 88\. Shorten/
      const encoded = /row 0 has \d+ tokens, the context takes 96\. Shorten or drop the row/
      const [args, drawn] = [{ max_steps: 1 }, { max_steps: 1, max_completion_length: 8 }]
      await assert.rejects(policy.sample([long], { seed: 0, max_completion_length: 8 }), oneLine(sampled))
      await assert.rejects(grpo(policy, rows, rewards, drawn).done(), oneLine(sampled))
      await assert.rejects(srpo(policy, rows, rewards, drawn).done(), oneLine(sampled))
      await assert.rejects(dpo(policy, rows, args).done(), oneLine(encoded))
      await assert.rejects(sft(policy, rows, args).done(), oneLine(encoded))
    })
  })
}).timeout(60_000)

/** An error whose message matches and is one line. */
const oneLine = (message: RegExp) => (error: Error) => {
  assert.match(error.message, message)
  assert.equal(error.message.includes('\n'), false, error.message)
  return true
}
