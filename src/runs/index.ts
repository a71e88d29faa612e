// Writing
export { createRun, type CreateRunOptions, type ReportTo, type RunWriter } from './createRun.js'

// Checkpoints
export { latestCheckpoint, type StoredCheckpoint } from './checkpoints.js'
export { loadState, saveState } from './storedState.js'

// Reading
export { listRuns, type RunEntry } from './listRuns.js'
export { openRun, type StoredRun } from './openRun.js'
