// Classes
export { accuracy } from './accuracy.js'
export { classScores, type ClassOptions, type ClassScore, type Label } from './classScores.js'
export { confusionMatrix, type Confusion } from './confusionMatrix.js'
export { f1 } from './f1.js'
export { precision } from './precision.js'
export { recall } from './recall.js'
export type { AverageOptions } from './averaged.js'

// Items with any number of labels
export { compareFlagging, type FlaggingRow, type FlaggingSeed } from './compareFlagging.js'
export { labelScores, type Labels, type LabelScore } from './labelScores.js'
export { flagsAtFalsePositiveRate, recallAtFalsePositiveRate, thresholdSweep } from './thresholdSweep.js'
export type { ThresholdPoint } from './thresholdSweep.js'

// Visual mathematics
export { mathVistaAccuracy, type MathVistaAccuracy } from './mathVistaAccuracy.js'

// Preferences
export { preferenceAccuracy } from './preferenceAccuracy.js'

// Pictures
export { peakSignalToNoise } from './peakSignalToNoise.js'
export { pictureMeasures } from './pictureMeasures.js'
export { structuralSimilarity, type SimilarityOptions } from './structuralSimilarity.js'

// Ranks
export { rankCorrelation } from './rankCorrelation.js'

// How sure
export {
  bootstrapInterval,
  bootstrapRatio,
  type BootstrapOptions,
  type Interval,
  type Sample,
} from './bootstrapInterval.js'
export { pairedDifference } from './pairedDifference.js'
export type { Values } from './values.js'
