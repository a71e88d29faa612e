import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasChatTemplate, loadTokenizer, paddedIds, type Message, type Tokenizer } from '../../src/io/tokenizer.js'
import { fixture } from '../models/fixture.js'

interface Expected {
  messages: Message[]
  chat: string
  chat_ids: number[]
  texts: { text: string; ids: number[] }[]
}

interface PromptIds extends Record<'clip' | 't5' | 't5_normalized', number[][]> {
  texts: string[]
}

describe('tokenizer', () => {
  let tokenizer: Tokenizer
  let expected: Expected
  before(async () => {
    tokenizer = await loadTokenizer(fixture('qwen2'))
    expected = JSON.parse(await readFile(fixture('qwen2_expected.json'), 'utf8')) as Expected
  })

  it('gives the ids that transformers gives, and the text back', () => {
    for (const { text, ids } of expected.texts) {
      assert.deepEqual(tokenizer.encode(text), ids, text)
      assert.equal(tokenizer.decode(ids, { specials: true }), text)
    }
  })

  it('keeps the spaces of a text', () => {
    const text = "7 + 5 = ? I do n't know ."
    assert.equal(tokenizer.decode(tokenizer.encode(text)), text)
  })

  it('drops special tokens when it decodes', () => {
    assert.equal(tokenizer.decode(tokenizer.encode('<|im_start|>hi<|im_end|>')), 'hi')
    assert.equal(tokenizer.decode([]), '')
  })

  it('knows its special tokens', () => {
    assert.equal(tokenizer.eos_token, '<|im_end|>')
    assert.equal(tokenizer.eos_token_id, 2)
    assert.equal(tokenizer.pad_token_id, 0)
  })

  it('renders messages as transformers does', () => {
    const text = tokenizer.chat(expected.messages)
    assert.equal(text, expected.chat)
    assert.deepEqual(tokenizer.encode(text, { specials: false }), expected.chat_ids)
    assert.ok(!tokenizer.chat(expected.messages, { add_generation_prompt: false }).endsWith('assistant\n'))
  })

  it('says when there is no chat template, and takes one from the config', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'tokenizer-'))
    await cp(fixture('qwen2'), dir, { recursive: true })
    const template = await readFile(join(dir, 'chat_template.jinja'), 'utf8')
    assert.deepEqual(await Promise.all([dir, fixture('blip2')].map(hasChatTemplate)), [true, false])
    await rm(join(dir, 'chat_template.jinja'))
    const bare = await loadTokenizer(dir)
    assert.throws(
      () => bare.chat(expected.messages),
      /found no chat template in chat_template\.jinja or tokenizer_config/,
    )

    const path = join(dir, 'tokenizer_config.json')
    const config = JSON.parse(await readFile(path, 'utf8')) as object
    await writeFile(path, JSON.stringify({ ...config, chat_template: [{ name: 'default', template }] }))
    assert.equal((await loadTokenizer(dir)).chat(expected.messages), expected.chat)
    await writeFile(
      path,
      JSON.stringify({ ...config, chat_template: template, eos_token: { content: '<|endoftext|>' } }),
    )
    const other = await loadTokenizer(dir)
    assert.equal(other.chat(expected.messages), expected.chat)
    assert.equal(other.eos_token_id, 0)
    await rm(dir, { recursive: true })
  })

  it('names a missing or broken tokenizer.json', async () => {
    await assert.rejects(loadTokenizer(fixture('qwen2_untied')), /tokenizer\.json: there is no such file/)
    const dir = await mkdtemp(join(tmpdir(), 'tokenizer-'))
    await writeFile(join(dir, 'tokenizer.json'), '{"model":{"type":"Unknown"}}')
    await assert.rejects(loadTokenizer(dir), /tokenizer\.json: not a tokenizer that can be used/)
    await rm(dir, { recursive: true })
  })

  it("gives the padded ids of CLIP's and T5's tokenizers, from the files that FLUX has", async () => {
    const { texts, ...ids } = JSON.parse(await readFile(fixture('kontext_tokens.json'), 'utf8')) as PromptIds
    const dirs = { clip: 'kontext/tokenizer', t5: 'kontext/tokenizer_2', t5_normalized: 't5_tokenizer' } as const
    for (const kind of ['clip', 't5', 't5_normalized'] as const) {
      const tokenizer = await loadTokenizer(fixture(dirs[kind]))
      for (const [i, text] of texts.entries()) {
        const wanted = ids[kind][i]!
        assert.deepEqual(paddedIds(tokenizer, text, wanted.length), wanted, `${kind}: ${text}`)
      }
    }
  })

  it('names what a CLIP tokenizer of several files lacks', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'tokenizer-'))
    await cp(fixture('kontext/tokenizer'), dir, { recursive: true })
    await rm(join(dir, 'merges.txt'))
    await assert.rejects(loadTokenizer(dir), /merges\.txt: .*no such file/)
    await writeFile(join(dir, 'merges.txt'), '')
    await writeFile(join(dir, 'vocab.json'), '{"<|startoftext|>": 0}')
    await assert.rejects(loadTokenizer(dir), /vocab\.json lacks <\|endoftext\|>, the eos_token/)
    await rm(dir, { recursive: true })
  })
})
