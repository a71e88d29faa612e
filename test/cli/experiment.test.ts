import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readExperiment } from '../../src/cli/experiment.js'
import { readDataset } from '../../src/cli/namedDatasets.js'
import { checkRewards, weighted, type Reward } from '../../src/rewards/index.js'
import { passAtK } from '../../src/cli/evaluate.js'
import { rewardlab } from './rewardlab.js'

const minimal = `
optimizer: grpo
model: somewhere
rewards: { correct: { use: exactAnswer } }
dataset: { name: arithmetic, size: 40 }
`

describe('training configs', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'configs-'))))
  after(() => rmSync(dir, { recursive: true }))
  const file = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text)
    return join(dir, name)
  }

  for (const name of readdirSync('configs'))
    it(`configs/${name} is one, and its data have rows`, async () => {
      const { config } = await readExperiment(`configs/${name}`, ['dataset.size=40', 'eval_dataset.size=20'])
      assert.ok((await readDataset(config.dataset!)).length > 0)
      assert.ok((await readDataset(config.eval_dataset!)).length > 0)
      assert.equal(config.eval_dataset!['split'], 'test')
    })

  it('fills in what is not given, and can be read again', async () => {
    const { config, rewards } = await readExperiment(file('minimal.yaml', minimal), [
      'args.max_steps=3',
      'args.beta=1e-2',
    ])
    assert.deepEqual(config.dataset, {
      name: 'arithmetic',
      limit: null,
      size: 40,
      seed: 1,
      language: 'en',
      split: 'train',
    })
    assert.deepEqual(config.rewards, { correct: { use: 'exactAnswer', weight: 1, timeout: 600, score: 2 } })
    assert.deepEqual([config.args['max_steps'], config.args['beta'], config.args['epsilon']], [3, 0.01, 0.2])
    assert.deepEqual(rewards!.names, ['correct'])
    const again = await readExperiment(file('again.yaml', JSON.stringify({ ...config, versions: { node: '20' } })))
    assert.deepEqual(again.config, config)
  })

  it('refuses what is unknown, does not fit or contradicts itself', async () => {
    const path = file('refused.yaml', minimal)
    const cases: [sets: string[], message: RegExp][] = [
      [['optimzer=grpo'], /unknown key "optimzer". Did you mean "optimizer"/],
      [['optimizer=ppo'], /optimizer is "ppo", needs one of sft, grpo, dpo, srpo/],
      [['model='], /model is null, needs a text/],
      [['args.learning_rat=1'], /args: unknown key "learning_rat". Did you mean "learning_rate"/],
      [['args.learning_rate=fast'], /learning_rate is "fast" \(string\), needs a number/],
      [['args.temperature=0'], /GrpoConfig: temperature is 0, needs a number in \(0, ∞\)/],
      [['args.top_p=2'], /top_p is 2, needs a number in \(0, 1\]/],
      [['args.max_completion_length=0'], /max_completion_length is 0, needs a whole number/],
      [['args.beta=-1'], /beta is -1/],
      [['args.adam_beta1=1'], /adam_beta1 is 1, needs a number in \[0, 1\)/],
      [['args.max_grad_norm=-1'], /max_grad_norm is -1/],
      [['args.num_train_epochs=0'], /num_train_epochs is 0/],
      [['args.num_generations=3'], /batch \(8\) must be divisible by num_generations \(3\)/],
      [['args.eval_steps=5'], /args.eval_steps is 5 without eval_dataset/],
      [['args.per_device_eval_batch_size=0'], /per_device_eval_batch_size is 0, needs a whole number/],
      [['args.report_to=wandb'], /report_to is "wandb", needs one of none, tensorboard/],
      [['adapter.rank=4'], /adapter: unknown key "rank"/],
      [['quantization=nf4'], /quantization is nf4 without an adapter/],
      [['quantization=int8', 'adapter.r=4'], /quantization is "int8", needs one of nf4/],
      [['tune_mm_vision=1'], /tune_mm_vision is 1, needs true, false or null/],
      [['dtype=f16'], /dtype is "f16"/],
      [['rewards={}'], /optimizer is grpo without rewards/],
      [['optimizer=sft'], /rewards are given but optimizer is sft/],
      [['optimizer=dpo'], /rewards are given but pairs is "dataset"/],
      [['optimizer=dpo', 'args.pairs=on_policy', 'rewards={}'], /pairs is "on_policy" without rewards/],
      [['args.rewards=x'], /rewards stand beside args/],
      [['rewards.correct.use=exactAnswr'], /rewards.correct: use is "exactAnswr".*Did you mean "exactAnswer"/],
      [
        ['rewards.correct={use: exactAnswer, scores: 1}'],
        /rewards.correct: unknown key "scores". Did you mean "score"/,
      ],
      [['rewards.correct={use: exactAnswer, weight: much}'], /rewards.correct: weight is "much"/],
      [['rewards.correct={use: exactAnswer, timeout: 0}'], /rewards.correct: timeout is 0, needs seconds/],
      [['rewards.length={use: completionLength, full: 9, none: 3}'], /rewards.length: completionLength: full is 9/],
      [['rewards.correct={use: answerFormat, score: 1}'], /rewards.correct: unknown key "score". It takes none/],
      [['rewards.mine.use=./none.js'], /rewards.mine: .*none\.js/],
      [['dataset.name=gsm9k'], /dataset: name is "gsm9k".*Did you mean "gsm8k"/],
      [['dataset={ name: gsm8k }'], /dataset: path is "", needs a text/],
      [['dataset.split=all'], /dataset: split is "all"/],
      [['dataset.limit=0'], /dataset: limit is 0/],
      [['dataset=5'], /dataset is 5, needs a mapping/],
      [['novalue'], /--set novalue: needs FIELD=VALUE/],
    ]
    for (const [sets, message] of cases) await assert.rejects(readExperiment(path, sets), message, sets.join(' '))
    await assert.rejects(readExperiment(file('broken.yaml', 'a: [1\nb: 2')), /broken\.yaml: no YAML: .*line/)
    await assert.rejects(readExperiment(join(dir, 'none.yaml')), /none\.yaml: cannot be read/)
  })

  it('names the row of a file that does not fit', async () => {
    const cases: [rows: object[], message: RegExp][] = [
      [[{ prompt: 'a' }, { prompt: 7 }], /promptRows: row 1: column prompt is 7, needed a text/],
      [[{ prompt: 'a', completion: 'b' }, { prompt: 'a' }], /completionRows: row 1: column completion is missing/],
      [
        [{ prompt: 'a', completion: [{ role: 'assistant', content: 'b' }] }],
        /prompt is a text, completion is messages/,
      ],
      [[{ messages: [{ role: 'user', content: 'a' }] }], /no message of the assistant answers another/],
      [[{ prompt: 'a', chosen: 'b', rejected: 'b' }], /chosen and rejected are the same/],
    ]
    for (const [rows, message] of cases) {
      const path = file('rows.jsonl', rows.map(row => JSON.stringify(row)).join('\n'))
      const read = readDataset({ name: 'file', limit: null, path })
      await assert.rejects(read, message)
      await assert.rejects(read, /rows\.jsonl/)
    }
  })

  it('takes rewards of modules, JavaScript or TypeScript', async () => {
    const reward = (type: string) => `export default ({ completions }${type}) => completions.map(text => text.length)`
    for (const path of [file('r.mjs', reward('')), file('r.ts', reward(': { completions: string[] }'))]) {
      const { rewards } = await readExperiment(file('module.yaml', minimal), [`rewards={ mine: ${path} }`])
      assert.deepEqual(await rewards!.score({ prompts: [1, 2], completions: ['a', 'abc'] }), [[1, 3]])
    }
    assert.deepEqual(readdirSync(dir).filter(name => name.startsWith('.')), []) // prettier-ignore
    const none = file('none.mjs', 'export const x = 1')
    await assert.rejects(readExperiment(file('module.yaml', minimal), [`rewards={ mine: ${none} }`]), /exports undefined by default/) // prettier-ignore
  })

  it('pass@k is the chance of a right one among k drawn without putting back', () => {
    assert.equal(passAtK(4, 0, 2), 0)
    assert.equal(passAtK(4, 3, 2), 1)
    assert.ok(Math.abs(passAtK(4, 1, 2) - 1 / 2) < 1e-12) // 1 − C(3,2)/C(4,2)
    assert.ok(Math.abs(passAtK(5, 2, 3) - 9 / 10) < 1e-12) // 1 − C(3,3)/C(5,3)
  })
})

describe('rewardlab score', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'score-'))))
  after(() => rmSync(dir, { recursive: true }))
  const rows = [
    { prompt: 'a', completion: '<answer>3</answer>', answer: '#### 3' },
    { prompt: 'b', completion: '<answer>4</answer>', answer: '#### 5' },
    { prompt: 'c', completion: 'no', answer: null },
  ]

  it('summarises each reward, and shows the rows of the extremes', async () => {
    const path = join(dir, 'samples.jsonl')
    writeFileSync(path, rows.map(row => JSON.stringify(row)).join('\n'))
    const { code, stdout, stderr } = await rewardlab(['score', path, '--rewards', 'exactAnswer,answerFormat', '--json'])
    assert.equal(code, 0, stderr + stdout)
    const exact = { reward: 'exactAnswer', mean: 1, std: Math.SQRT2, min: 0, max: 2, min_row: 2, max_row: 1 }
    const result = JSON.parse(stdout) as { rows: number; summaries: unknown[]; scores: Record<string, unknown> }
    assert.deepEqual(result.summaries[0], { ...exact, nulls: 1 / 3 })
    assert.deepEqual(result.scores, { exactAnswer: [2, 0, null], answerFormat: [1, 1, 0] })
    const text = await rewardlab(['score', path, '--rewards', 'exactAnswer'])
    assert.match(text.stdout, /exactAnswer: least 0 \(row 2: "<answer>4<\/answer>"\), greatest 2 \(row 1: "<answer>3/)
  })

  it('names the reward and the row that fails', async () => {
    const bad = ({ completions }: { completions: readonly unknown[] }) => completions.map((_, i) => (i === 1 ? NaN : 0))
    const check = (reward: Reward) => checkRewards(weighted({ [reward.name]: [reward, 1] }), rows)
    await assert.rejects(check(bad), /reward "bad", row 1: the score is NaN/)
    const throws = () => {
      throw new Error('row 2: no colour')
    }
    await assert.rejects(check(throws), /reward "throws" failed on a batch of 3: row 2: no colour/)
    const one = weighted({ bad: [bad, 1] })
    await assert.rejects(checkRewards(one, [{ prompt: 'a' }]), /row 1 has no completion/)
    await assert.rejects(checkRewards(one, []), /found no rows/)
  })
}).timeout(60_000)
