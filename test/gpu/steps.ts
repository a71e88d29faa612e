/* A few updates by each method on the shipped model, on the backend and device of the environment: prints the rows as JSON. */
import { METHODS, timedRowsOf } from '../acceptance/shortRuns.js'

const [STEPS, SEED] = [4, 7]

const rows: Record<string, unknown> = {}
for (const method of METHODS) rows[method] = await timedRowsOf(method, STEPS, SEED)
console.log(JSON.stringify(rows))
