// Classes
export { accuracy } from './accuracy.js'
export { classScores, type ClassOptions, type ClassScore, type Label } from './classScores.js'
export { confusionMatrix, type Confusion } from './confusionMatrix.js'
export { f1 } from './f1.js'
export { precision } from './precision.js'
export { recall } from './recall.js'
export type { AverageOptions } from './averaged.js'

// Preferences
export { preferenceAccuracy } from './preferenceAccuracy.js'

// Pictures
export { peakSignalToNoise } from './peakSignalToNoise.js'
export { pictureMeasures } from './pictureMeasures.js'
export { structuralSimilarity, type SimilarityOptions } from './structuralSimilarity.js'

// Ranks
export { rankCorrelation } from './rankCorrelation.js'

// How sure
export { bootstrapInterval, type BootstrapOptions, type Interval, type Sample } from './bootstrapInterval.js'
export { pairedDifference } from './pairedDifference.js'
export type { Values } from './values.js'
