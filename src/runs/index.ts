// Writing
export { createRun, type CreateRunOptions, type ReportTo, type RunWriter } from './createRun.js'

// Checkpoints
export { bestCheckpoint, latestCheckpoint, type Measured, type StoredCheckpoint } from './checkpoints.js'
export { hostCopy, loadState, saveState } from './storedState.js'

// Reading
export { listRuns, type RunEntry } from './listRuns.js'
export { openRun, type StoredRun } from './openRun.js'
export { openSweep, type StoredSweep, type StoredTrial, type SweepFile, type Trial } from './openSweep.js'
