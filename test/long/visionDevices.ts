/* Models that see, training on several of the CPU's virtual devices, tower and all: the numbers of one device. Names of models and methods after
 * the check's are those that it runs. */
import assert from 'node:assert/strict'
import { grpo, sft, type Row } from '../../src/optimizers/index.js'
import { loadPolicy, type PolicyOptions, type VisionPrompt } from '../../src/policies/index.js'
import { weighted } from '../../src/rewards/index.js'
import { start } from '../../src/xla/index.js'
import { fixture } from '../models/fixture.js'
import { picture } from '../models/pictures.js'

/** Devices add the parts of a sum in another order than one does, which moves its last bits (float32: 1e-7); AdamW's first steps have the
 * size of the learning rate whatever the gradient's size. Relative, from 1 up. */
const REORDERED = 1e-4

const MODELS = ['qwen25vl', 'gemma3_vl', 'llava', 'llava_onevision', 'blip2']
const WITH_VIDEOS = ['qwen25vl', 'llava_onevision']
const METHODS = ['sft', 'grpo'] as const
const LAYOUTS: PolicyOptions[] = [
  { mesh: { data: 2 }, sharding: 'fsdp' },
  { mesh: { data: 2, model: 2 }, sharding: 'fsdp' },
]
const COMPARED = ['loss', 'grad_norm', 'reward', 'kl', 'entropy', 'num_tokens']
const ARGS = { learning_rate: 1e-3, per_device_train_batch_size: 4, max_steps: 2 } as const

await start({ backend: 'xla' })
const began = performance.now()
const models = named(MODELS)
const methods = named(METHODS)
let worst = 0
for (const model of models)
  for (const method of methods) {
    const alone = await rowsOf(model, method, {})
    for (const layout of LAYOUTS) {
      const rows = await rowsOf(model, method, layout)
      const apart = rows.flatMap((row, i) =>
        COMPARED.filter(name => typeof row[name] === 'number').map(name => {
          const [found, wanted] = [row[name] as number, alone[i]![name] as number]
          return Math.abs(found - wanted) / Math.max(1, Math.abs(wanted))
        }),
      )
      worst = Math.max(worst, ...apart)
      assert.ok(worst < REORDERED, `${model}, ${method}, ${JSON.stringify(layout)}: numbers differ by ${worst}`)
    }
  }
console.log(
  `visionDevices: losses, gradient norms and rewards of ${methods.join(' and ')} of ${models.join(', ')}, whose towers learn, on ` +
    `${LAYOUTS.map(layout => JSON.stringify(layout)).join(', ')} within ${worst.toExponential(1)} of one device's; ${((performance.now() - began) / 1000).toFixed(0)} s`,
)

/** Those that are named behind the check's name, or all. */
function named<T extends string>(all: readonly T[]): readonly T[] {
  const some = all.filter(name => process.argv.includes(name, 2))
  return some.length > 0 ? some : all
}

/** Two steps on prompts with a picture each, one with a video where the model takes it. */
async function rowsOf(
  model: string,
  method: (typeof METHODS)[number],
  options: PolicyOptions,
): Promise<readonly Row[]> {
  const policy = await loadPolicy(fixture(model), { ...options, tune_mm_vision: true })
  const text = 'What is here?'
  const prompts = [1, 2, 3, 4].map((n): VisionPrompt => {
    const prompt = model === 'blip2' ? text : [{ role: 'user', content: text }]
    if (n === 4 && WITH_VIDEOS.includes(model))
      return { prompt, videos: [{ frames: [10, 11, 12, 13].map(f => picture(f, 16, 24)), fps: 2 }] }
    return { prompt, images: [picture(n, 16, 8 * n)] }
  })
  const odd = ({ completions }: { completions: readonly unknown[] }) => completions.map((_, i) => i % 2)
  const run =
    method === 'sft'
      ? sft(policy, prompts.map((prompt, i) => ({ prompt, completion: ['One.', 'Two of it.', 'A', 'No.'][i]! })), ARGS) // prettier-ignore
      : grpo(policy, prompts.map(prompt => ({ prompt })), weighted({ odd: [odd, 1] }), { ...ARGS, num_generations: 2, max_completion_length: 6, beta: 0.1 }) // prettier-ignore
  await run.done()
  const { rows } = run
  run.dispose()
  policy.dispose()
  return rows
}
