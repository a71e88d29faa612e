import assert from 'node:assert/strict'
import path from 'node:path'
import { ESLint } from 'eslint'

const rules = ['rewardlab/import-zones', 'no-restricted-syntax', '@typescript-eslint/no-explicit-any']
const eslint = new ESLint({
  cwd: path.resolve(import.meta.dirname, '../../..'),
  ruleFilter: ({ ruleId }) => rules.includes(ruleId),
  overrideConfig: { languageOptions: { parserOptions: { projectService: false } } }, // snippets are in no project
})

/** The rules that a snippet breaks as a file of the given name. */
async function broken(file: string, code: string) {
  const results = await eslint.lintText(code, { filePath: file })
  return results.flatMap(result => result.messages.map(message => message.ruleId ?? message.message))
}

describe('lint', () => {
  const forbidden = [
    ['src/optimizers/x.ts', "import { qwen2 } from '../models/index.js'"],
    ['src/optimizers/x.ts', "import { readSafetensors } from '../io/index.js'"],
    ['src/optimizers/deep/x.ts', "import { qwen2 } from '../../models/qwen2.js'"],
    ['src/policies/x.ts', "import { grpo } from '../optimizers/grpo.js'"],
    ['src/sampling/x.ts', "import { grpo } from '../optimizers/index.js'"],
    ['src/models/x.ts', "import type { Policy } from '../policies/index.js'"],
    ['src/nn/x.ts', "export { qwen2 } from '../models/qwen2.js'"],
    ['src/xla/x.ts', "export * from '../nn/index.js'"],
    ['src/xla/lowering/x.ts', "const nn = await import('../../nn/index.js')"],
    ['src/rewards/x.ts', "import { grpo } from '../optimizers/index.js'"],
    ['src/rewards/x.ts', "let policy: import('../policies/policy.js').Policy"],
    ['src/metrics/x.ts', "import { qwen2 } from '../models/qwen2.js'"],
    ['src/plots/x.ts', "import { qwen2 } from 'rewardlab/models'"],
    ['src/runs/x.ts', "import '../../kernels/display.js'"],
    ['src/unlisted/x.ts', "import { qwen2 } from '../models/qwen2.js'"],
    ['kernels/x.ts', "import { grpo } from '../src/optimizers/index.js'"],
  ] as const
  for (const [file, code] of forbidden) {
    it(`forbids in ${file}: ${code}`, async () =>
      assert.deepEqual(await broken(file, code), ['rewardlab/import-zones']))
  }

  const allowed = [
    ['src/optimizers/x.ts', "import type { Policy } from '../policies/index.js'"],
    ['src/optimizers/x.ts', "import { models } from './models.js'"],
    ['src/policies/x.ts', "import { qwen2 } from '../models/qwen2.js'"],
    ['src/models/x.ts', "import { linear } from '../nn/linear.js'"],
    ['src/nn/x.ts', "import * as tf from '@tensorflow/tfjs-core'"],
    ['src/xla/lowering/x.ts', "import { compile } from '../pjrt/client.js'"],
    ['kernels/x.ts', "import { slider } from '../src/widgets/index.js'"],
    ['test/optimizers/x.test.ts', "import { qwen2 } from '../../src/models/qwen2.js'"],
  ] as const
  for (const [file, code] of allowed) {
    it(`allows in ${file}: ${code}`, async () => assert.deepEqual(await broken(file, code), []))
  }

  it('lets only start-up code choose a backend', async () => {
    const call = "await tf.setBackend('cpu')"
    assert.deepEqual(await broken('src/policies/x.ts', call), ['no-restricted-syntax'])
    assert.deepEqual(await broken('src/xla/jit.ts', "import { setBackend as s } from '@tensorflow/tfjs-core'"), [
      'no-restricted-syntax',
    ])
    for (const file of ['src/xla/start.ts', 'src/cli/x.ts', 'kernels/x.ts'])
      assert.deepEqual(await broken(file, call), [])
  })

  it('forbids any', async () => {
    assert.deepEqual(await broken('test/x.test.ts', 'let x: any'), ['@typescript-eslint/no-explicit-any'])
  })
})
