import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { dpo, sft, type CompletionRow, type Run, type SftConfig } from '../../src/optimizers/index.js'
import { loadPolicy, type LanguagePolicy, type Message } from '../../src/policies/index.js'
import { disposeTree } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'
import { picture } from '../models/pictures.js'

type Text = string | Message[]

interface Case {
  name: string
  rows: CompletionRow<Text, Text>[]
  options: Partial<SftConfig>
  expected: { input_ids: number[]; labels: number[] }[]
}

describe('rows as TRL cuts and masks them', function () {
  this.timeout(60_000)
  let policy: LanguagePolicy
  let cases: Case[]
  before(async () => {
    policy = await loadPolicy(fixture('qwen2'))
    cases = (JSON.parse(await readFile(fixture('optimizers/trl_rows.json'), 'utf8')) as { cases: Case[] }).cases
  })
  after(() => policy.dispose())

  /** Tokens of each row, and labels as TRL has them but for the first, which nothing foretells. */
  async function encoded(from: LanguagePolicy, { rows, options }: Case) {
    const batch = from.encode(rows.map(row => row.prompt ?? []), rows.map(row => row.completion ?? row.messages), options) // prettier-ignore
    const lists = async (key: 'prompt_ids' | 'prompt_mask' | 'completion_ids' | 'completion_mask' | 'loss_mask') =>
      (await (batch[key] ?? batch.completion_mask).array()) as number[][]
    const [prompts, there, completions, mask, counts] = [await lists('prompt_ids'), await lists('prompt_mask'), await lists('completion_ids'), await lists('completion_mask'), await lists('loss_mask')] // prettier-ignore
    disposeTree(batch)
    return rows.map((_, b) => {
      const before = prompts[b]!.filter((_, i) => there[b]![i])
      const after = completions[b]!.filter((_, i) => mask[b]![i])
      const labels = [...before.map(() => -100), ...after.map((id, i) => (counts[b]![i] ? id : -100))]
      return { input_ids: [...before, ...after], labels: labels.slice(1) }
    })
  }

  it('has the tokens and labels of SFTTrainer', async () => {
    for (const given of cases) {
      const wanted = given.expected.map(({ input_ids, labels }) => ({ input_ids, labels: labels.slice(1) }))
      const learnt = (await encoded(policy, given)).filter(({ labels }) => labels.some(label => label >= 0)) // TRL drops the others
      assert.deepEqual(learnt, wanted, given.name)
    }
  })

  it('takes templates that mark what the assistant says, and refuses those that write it otherwise once more is said', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'encode-'))
    await cp(fixture('qwen2'), dir, { recursive: true })
    const marked = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{%- generation %}{{ m.content + '<|im_end|>\n' }}{% endgeneration -%}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}" // prettier-ignore
    await writeFile(join(dir, 'chat_template.jinja'), marked)
    const other = await loadPolicy(dir)
    const given = cases.find(({ name }) => name === 'assistant')!
    assert.deepEqual(await encoded(other, given), await encoded(policy, given))
    other.dispose()
    await writeFile(
      join(dir, 'chat_template.jinja'),
      '{{ messages|length }}{% for m in messages %}{{ m.content }}{% endfor %}',
    )
    const third = await loadPolicy(dir)
    await assert.rejects(encoded(third, given), /the chat template writes the prompt as "2/)
    third.dispose()
    await rm(dir, { recursive: true })
  })

  it('takes the template of LLaVA-OneVision, which puts a space before a reply that the prompt has not, from the file of its processor', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'encode-'))
    await cp(fixture('llava_onevision'), dir, { recursive: true })
    const path = join(dir, 'chat_template.jinja')
    const spaced = await readFile(path, 'utf8')
    await rm(path)
    const given = spaced.replace('<|im_start|>assistant \n', '<|im_start|>assistant\n') // as in transformers' tests of its processor
    assert.notEqual(given, spaced)
    await writeFile(join(dir, 'chat_template.json'), JSON.stringify({ chat_template: given }))
    const seeing = await loadPolicy(dir, { tune_mm_vision: true }) // which keeps pictures with the rows
    const prompt = { prompt: [{ role: 'user', content: 'What is here?' }], images: [picture(0, 16, 16)] }
    for (const options of [{}, { assistant_only_loss: true }]) {
      const rows = seeing.encode([prompt], [[{ role: 'assistant', content: 'It is.' }]], options)
      const [ids, mask] = [await rows.completion_ids.data(), await (rows.loss_mask ?? rows.completion_mask).data()]
      const learnt = Array.from(ids).filter((_, i) => mask[i])
      assert.equal(seeing.tokenizer.decode(learnt, { specials: true }), ' \nIt is.<|im_end|>')
      disposeTree(rows)
    }
    seeing.dispose()
    await rm(dir, { recursive: true })
  })

  it('refuses texts under assistant_only_loss, fields out of range and rows of another kind', () => {
    const { rows } = cases.find(({ name }) => name === 'text')!
    assert.throws(() => policy.encode([rows[0]!.prompt!], [rows[0]!.completion!], { assistant_only_loss: true }), /assistant_only_loss needs messages, found the text "Ann has 12/) // prettier-ignore
    assert.throws(() => sft(policy, rows, { truncation_mode: 'middle' as 'keep_end' }), /truncation_mode is "middle"/)
    assert.throws(() => sft(policy, rows, { max_length: 0 }), /SftConfig: max_length is 0/)
    assert.throws(() => sft(policy, [...rows, { messages: [] }]), /row 2 lacks prompt, completion/)
  })

  it('trains all turns of conversations at once, and pairs that are cut', async () => {
    const { rows, expected } = cases.find(({ name }) => name === 'assistant')!
    const options = { max_steps: 1, per_device_train_batch_size: 2, shuffle: false }
    const tokens = async (run: Run) => {
      for await (const row of run) return row['num_tokens']
    }
    const counted = expected.flatMap(({ labels }) => labels.filter(label => label >= 0)).length
    assert.equal(await tokens(sft(policy.fork(), rows, { ...options, assistant_only_loss: true })), counted)
    const pair = { prompt: 'Ann has 12 apples.', chosen: ' add: 12+7=19', rejected: ' add: 12+7=18' }
    const cut = policy.encode([pair.prompt], [pair.chosen], { max_length: 12 })
    const [kept] = await tf.sum(cut.completion_mask).data()
    assert.equal(await tokens(dpo(policy.fork(), [pair, pair], { ...options, max_length: 12 })), 4 * kept!)
  })
})
