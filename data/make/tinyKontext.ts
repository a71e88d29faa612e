/* Makes data/models/tiny-kontext: a FLUX.1 Kontext of 0.9 million parameters that edits pictures of 32 × 32 pixels (editScenes), and
 * follows one instruction of three.
 *
 *   node dist/data/make/tinyKontext.js [--seed 1] [--out data/models/tiny-kontext] [--stage autoencoder|edits|faults]
 *
 * Three stages, each leaving a pipeline that loads; `--stage` begins with one. (1) The autoencoder learns to draw scenes. (2) Transformer
 * and text encoders learn together to edit. (3) A short further training in which many targets are another edit than the one asked for:
 * that leaves room for reinforcement learning, which here mostly brings a skill back that stage 2 has given; manifest.json says so. */
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { editScenes, rng, type EditScene, type Rng } from '../../src/datasets/index.js'
import { COLOURS, drawEdit, editScene, renderScene, SHAPES } from '../../src/datasets/editScenes.js'
import { editVerified } from '../../src/rewards/index.js'
import { start } from '../../src/xla/index.js'
import { EDITING, kontextConfigs, trainAutoencoder, trainEdits, verifiedShare, writeDraft, writeManifest, type Stage } from './kontextTraining.js' // prettier-ignore

const POOL = 12_000 // edits that the latents are computed of once
const STAGES = {
  autoencoder: { steps: 1200, batch: 32, rate: { learning_rate: 2e-3, lr_scheduler_type: 'cosine', warmup_steps: 50 } },
  edits: { steps: 2000, batch: 64, rate: { learning_rate: 2e-3, lr_scheduler_type: 'linear', warmup_steps: 50 } },
  faults: { steps: 225, batch: 64, rate: { learning_rate: 5e-4, lr_scheduler_type: 'constant', warmup_steps: 0 } },
} as const satisfies Record<string, Stage>
/** Share of targets that stage 3 replaces by another edit's. */
const FAULTS = 0.3

const configs = kontextConfigs({
  side: 32,
  block_out_channels: [16, 32, 32],
  norm_num_groups: 8,
  latent_channels: 6,
  num_layers: 1,
  num_single_layers: 2,
  num_attention_heads: 3,
})

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    out: { type: 'string', default: 'data/models/tiny-kontext' },
    stage: { type: 'string', default: 'autoencoder' },
  },
})
const { out, stage } = values
const seed = Number(values.seed)

await start()
const { train, dev, test } = editScenes({ seed, size: POOL })
const clean = `${out}-clean`
if (stage === 'autoencoder') {
  await writeDraft(out, seed, configs, train.map(edit => edit.prompt.prompt)) // prettier-ignore
  await trainAutoencoder(out, seed, STAGES.autoencoder, anyPicture, dev.slice(0, 500), editVerified())
}
if (stage !== 'faults') {
  await trainEdits(out, 'edits', seed + 7, STAGES.edits, train, rng(seed, 21))
  await rm(clean, { recursive: true, force: true })
  for (const part of EDITING) await cp(join(out, part), join(clean, part), { recursive: true })
}
for (const part of EDITING) await cp(join(clean, part), join(out, part), { recursive: true })
const skilled = await verifiedShare(out, dev, editVerified())
const order = rng(seed, 22)
const spoilt = train.map(edit => (order.uniform() < FAULTS ? faulty(edit, order) : edit))
await trainEdits(out, 'faults', seed + 7, STAGES.faults, spoilt, order)
await writeManifest(out, {
  name: 'tiny-kontext',
  made_by: `node dist/data/make/tinyKontext.js --seed ${seed}`,
  training_data: 'generated: editScenes (src/datasets)',
  note: `The last ${STAGES.faults.steps} steps were trained with ${100 * FAULTS} % of the targets showing another edit than the one asked for: the base hides a better model.`,
  license: 'Apache-2.0',
  seed,
  steps: Object.fromEntries(Object.entries(STAGES).map(([name, { steps }]) => [name, steps])),
  verified: {
    before_faults_dev: skilled,
    dev: await verifiedShare(out, dev, editVerified()),
    test: await verifiedShare(out, test, editVerified()),
  },
})

/** Each place holds a thing with odds of 0.6. */
function anyPicture(random: Rng) {
  const thing = () => ({ shape: random.pick(SHAPES), colour: random.pick(COLOURS) })
  return renderScene(Array.from({ length: 4 }, () => (random.uniform() < 0.6 ? thing() : null)))
}

/** The same picture with another edit than its instruction asks for. */
function faulty(edit: EditScene, random: Rng): EditScene {
  for (;;) {
    const other = drawEdit(edit.source, random)
    if (!other || other.instruction === edit.prompt.prompt) continue
    return { ...edit, target: editScene(edit.source, other).target }
  }
}
