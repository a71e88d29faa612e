/* Makes data/models/autoqc: a quality model of 27 thousand parameters that tells how strong a fault of a picture is.
 *
 *   node dist/data/make/autoQc.js [--steps 1400] [--pictures 2400] [--seed 1] [--out data/models/autoqc]
 *
 * Trained on generated scenes and pieces of data/pictures under graded faults (src/datasets/qualityFaults.ts): blur, noise, blocking,
 * banding, ringing, exposure, colour. `npm run check:long -- autoqc` trains it without each of them in turn. */
import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { saveWeights } from '../../src/io/checkpoint.js'
import { qualityNet } from '../../src/models/qualityNet.js'
import { start } from '../../src/xla/index.js'
import { config, gradedPictures, trainQualityNet } from './trainQualityNet.js'

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '1400' },
    pictures: { type: 'string', default: '2400' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string', default: 'data/models/autoqc' },
  },
})
await make(values.out, Number(values.steps), Number(values.pictures), Number(values.seed))

async function make(out: string, steps: number, count: number, seed: number): Promise<void> {
  await start()
  const graded = await gradedPictures('train', { sizes: [32, 48, 64], count, seed, edits: 0.08 })
  const began = performance.now()
  const seconds = () => Math.round((performance.now() - began) / 1000)
  const weights = await trainQualityNet(graded, {
    ...{ steps, seed },
    report: (step, loss) => console.log(`step ${step}/${steps}  loss ${loss.toFixed(4)}  ${seconds()} s`),
  })
  await mkdir(out, { recursive: true })
  const file = join(out, 'model.safetensors')
  await saveWeights(file, weights, qualityNet(config).parameters, {})
  const write = (name: string, content: object) => writeFile(join(out, name), JSON.stringify(content, null, 2) + '\n')
  await write('config.json', { architectures: ['QualityNet'], ...config })
  const bytes = await readFile(file)
  await write('manifest.json', {
    name: 'autoqc',
    made_by: `node dist/data/make/autoQc.js --steps ${steps} --pictures ${count} --seed ${seed}`,
    training_data: 'generated: data/make/qualityScenes.ts; pieces of public-domain pictures: data/pictures',
    license: 'Apache-2.0',
    seed,
    steps,
    training_seconds: seconds(),
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  })
}
