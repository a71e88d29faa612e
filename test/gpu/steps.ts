/* A few updates by each method on the shipped model, on the device and backend of the environment: prints the rows as JSON. */
import { METHODS, timedRowsOf } from '../acceptance/shortRuns.js'

const [steps, seed] = process.argv.slice(2).map(Number) as [number, number]
const rows: Record<string, unknown> = {}
for (const method of METHODS) rows[method] = await timedRowsOf(method, steps, seed)
console.log(JSON.stringify(rows))
