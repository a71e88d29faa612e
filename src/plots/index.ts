/** Figures: pure functions from the rows of runs to Vega-Lite charts, and their export for papers. */
export { learningCurves, type LearningCurvesOptions } from './learningCurves.js'
export { rewardContributions, type RewardContributionsOptions } from './rewardContributions.js'
export { proxyAgainstHeldOut, type ProxyAgainstHeldOutOptions } from './proxyAgainstHeldOut.js'
export { weightSweep, paretoFront, type WeightSweepOptions } from './weightSweep.js'
export { rewardDistribution, type RewardDistributionOptions } from './rewardDistribution.js'
export { confusionMatrix, type Confusion } from './confusionMatrix.js'
export { pairedDifferences, type PairedDifferencesOptions } from './pairedDifferences.js'
export { comparisonTable, type ComparisonTableOptions } from './comparisonTable.js'
export { sampleGallery, type Display, type Sample, type SampleGalleryOptions } from './sampleGallery.js'

export { exportFigure, type FigureFormat } from './exportFigure.js'
export { exportTable, formatTable, type ExportTableOptions, type TableFormat, type TableLike } from './exportTable.js'
export { renderPdf, renderPng, renderSvg } from './render.js'

export { themed, type Chart, type ChartOptions, type PlotRun, type Rows } from './chart.js'
export { type Theme } from './themes.js'
export { seriesColors } from './seriesColors.js'
export { meanInterval, type MeanInterval } from './meanInterval.js'
