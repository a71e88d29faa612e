// Writing
export { createRun, type CreateRunOptions, type RunWriter } from './createRun.js'

// Reading
export { listRuns, type RunEntry } from './listRuns.js'
export { openRun, type StoredRun } from './openRun.js'
