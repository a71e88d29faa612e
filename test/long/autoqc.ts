/* The quality model trained seven times, each time without one kind of fault: how it ranks that kind, which it has never seen, and
 * how the shipped model ranks all of them. Pictures and strengths are those of no training. */
import assert from 'node:assert/strict'
import { QUALITY_FAULTS, type QualityFault } from '../../src/datasets/index.js'
import { qualityNet } from '../../src/models/qualityNet.js'
import { autoQC } from '../../src/rewards/index.js'
import { disposeTree, start } from '../../src/xla/index.js'
import { config, faultRanking, gradedPictures, qualityOf, trainQualityNet } from '../../data/make/trainQualityNet.js'

const STEPS = 250
const UNSEEN_STRENGTHS = 0.9
const UNSEEN_KINDS = { mean: 0.8, least: 0.5 }

await start()
const test = await gradedPictures('test', { sizes: [32, 48, 64], count: 60, seed: 1 })
const train = await gradedPictures('train', { sizes: [32, 48, 64], count: 600, seed: 2 })
const told = (ranking: Partial<Record<QualityFault, number>>) =>
  Object.entries(ranking).map(([fault, rho]) => `${fault} ${rho.toFixed(2)}`).join(', ') // prettier-ignore

const shipped = await faultRanking(async images => (await autoQC().parts(images)).map(row => row.learned), test)
const without: Partial<Record<QualityFault, number>> = {}
for (const fault of QUALITY_FAULTS) {
  const weights = await trainQualityNet(train.filter(g => g.fault !== fault), { steps: STEPS, seed: 1 }) // prettier-ignore
  Object.assign(without, await faultRanking(qualityOf(qualityNet(config), weights), test, [fault]))
  disposeTree(weights)
  if (process.stderr.isTTY) console.error(`without ${fault}: ${without[fault]!.toFixed(3)}`)
}
const numbers = Object.values(without)
const mean = numbers.reduce((sum, rho) => sum + rho, 0) / numbers.length
console.log(
  `autoqc: Spearman, shipped model on unseen strengths: ${told(shipped)}; trained without the kind: ${told(without)} (mean ${mean.toFixed(2)})`,
)
assert.ok(
  Object.values(shipped).every(rho => rho >= UNSEEN_STRENGTHS),
  told(shipped),
)
assert.ok(mean >= UNSEEN_KINDS.mean && Math.min(...numbers) >= UNSEEN_KINDS.least, told(without))
