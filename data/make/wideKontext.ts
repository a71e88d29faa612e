/* Makes a FLUX.1 Kontext that edits pictures of 64 × 64 pixels with things placed anywhere (freeScenes) in eleven ways: data/models/wide-kontext.
 *
 *   node dist/data/make/wideKontext.js [--seed 1] [--out data/models/wide-kontext] [--stage autoencoder|edits]
 *
 * Two stages, each leaving a pipeline that loads; `--stage` begins with one. (1) The autoencoder learns to draw scenes. (2) Transformer
 * and text encoders learn together to edit, at a constant rate: where training is stopped is how skilled the base is. */
import { parseArgs } from 'node:util'
import { freeScenes, type RgbImage, type Rng } from '../../src/datasets/index.js'
import { drawThings, LIGHTS, renderFreeScene, type Light } from '../../src/datasets/freeScenes.js'
import { rng } from '../../src/datasets/rng.js'
import { freeEditVerified } from '../../src/rewards/index.js'
import { start } from '../../src/xla/index.js'
import { kontextConfigs, trainAutoencoder, trainEdits, verifiedShare, writeDraft, writeManifest, type Stage } from './kontextTraining.js' // prettier-ignore

const POOL = 5_000 // edits that the latents are computed of once
const STAGES = {
  autoencoder: { steps: 1500, batch: 16, rate: { learning_rate: 2e-3, lr_scheduler_type: 'cosine', warmup_steps: 50 } },
  edits: { steps: 3000, batch: 64, rate: { learning_rate: 1.5e-3, lr_scheduler_type: 'constant_with_warmup', warmup_steps: 100 } }, // prettier-ignore
} as const satisfies Record<string, Stage>

const configs = kontextConfigs({
  side: 64,
  block_out_channels: [16, 32, 32],
  norm_num_groups: 2, // as many as channels would take the light from a picture
  latent_channels: 6,
  num_layers: 1,
  num_single_layers: 2,
  num_attention_heads: 3,
})

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    out: { type: 'string', default: 'data/models/wide-kontext' },
    stage: { type: 'string', default: 'autoencoder' },
  },
})
const { out, stage } = values
const seed = Number(values.seed)

await start()
const { train, dev, test } = freeScenes({ seed, size: POOL })
if (stage === 'autoencoder') {
  await writeDraft(out, seed, configs, train.map(edit => edit.prompt.prompt)) // prettier-ignore
  await trainAutoencoder(out, seed, STAGES.autoencoder, anyPiece, dev.slice(0, 500), freeEditVerified())
}
await trainEdits(out, 'edits', seed + 7, STAGES.edits, train, rng(seed, 21))
await writeManifest(out, {
  name: 'wide-kontext',
  made_by: `node dist/data/make/wideKontext.js --seed ${seed}`,
  training_data: 'generated: freeScenes (src/datasets)',
  license: 'Apache-2.0',
  seed,
  steps: { autoencoder: STAGES.autoencoder.steps, edits: STAGES.edits.steps },
  verified: {
    dev: await verifiedShare(out, dev, freeEditVerified()),
    test: await verifiedShare(out, test, freeEditVerified()),
  },
})

/** A piece of 32 × 32 pixels, a quarter of the work, of a picture of any light, or sometimes with a fault, as those before an edit. */
function anyPiece(random: Rng): RgbImage {
  const light = random.pick(Object.keys(LIGHTS) as Light[])
  const fault = random.pick([null, null, null, null, 'blur', 'noise'] as const)
  const { width, data } = renderFreeScene({ things: drawThings(random), light: fault ? 'normal' : light, fault })
  const [left, top, side] = [random.int(33), random.int(33), 32]
  const row = (y: number) => data.subarray(3 * ((top + y) * width + left), 3 * ((top + y) * width + left + side))
  const piece = new Uint8ClampedArray(3 * side * side)
  for (let y = 0; y < side; y++) piece.set(row(y), 3 * y * side)
  return { width: side, height: side, data: piece }
}
