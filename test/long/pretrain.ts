/* Two short pre-trainings of tiny-qwen2 from the shipped model's seed: its tokenizer and config come out as shipped, losses and
 * weights of both are the same, bit for bit. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packageRoot } from '../../src/xla/index.js'
import { node } from '../cli/rewardlab.js'

const STEPS = 51 // losses of steps 1, 26 and 51 are printed

const root = packageRoot()
const dir = await mkdtemp(join(tmpdir(), 'pretrain-'))
const text = (...path: string[]) => readFile(join(...path), 'utf8')

async function pretrain(name: string): Promise<{ losses: string[]; sha256: string }> {
  const out = join(dir, name)
  const make = join(root, 'dist/data/make/tinyLanguageModel.js')
  const { code, stdout, stderr } = await node([
    make,
    'tiny-qwen2',
    '--steps',
    String(STEPS),
    '--seed',
    '1',
    '--out',
    out,
  ])
  assert.equal(code, 0, stderr)
  const { sha256 } = JSON.parse(await text(out, 'manifest.json')) as { sha256: string }
  return { losses: [...stdout.matchAll(/loss ([\d.]+)/g)].map(match => match[1]!), sha256 }
}

try {
  const [first, second] = [await pretrain('first'), await pretrain('second')]
  assert.deepEqual(second, first)
  assert.equal(first.losses.length, 3)
  for (const file of ['tokenizer.json', 'tokenizer_config.json', 'config.json'])
    assert.equal(await text(dir, 'first', file), await text(root, 'data/models/tiny-qwen2', file), file)
  console.log(`pretrain: ${STEPS} steps twice: losses ${first.losses.join(', ')}, weights ${first.sha256.slice(0, 12)}`)
} finally {
  await rm(dir, { recursive: true })
}
