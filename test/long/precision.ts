/* The values of every kernel and its gradient in half precision; test/xla/precision.test.ts takes one of each family. */
import { start } from '../../src/xla/index.js'
import { floatKernels, wrongValues, type Half } from '../xla/precision.js'

const TYPES: Half[] = ['bf16', 'f16']
const SEEDS = [0, 1, 2]

await start({ backend: 'xla' })
const began = performance.now()
const names = floatKernels()
const problems: string[] = []
for (const type of TYPES)
  for (const seed of SEEDS)
    problems.push(...(await wrongValues(names, type, seed)).map(p => `${type}, shapes ${seed}: ${p}`))
problems.forEach(p => console.error(p))
const seconds = ((performance.now() - began) / 1000).toFixed(0)
console.log(
  `precision: ${names.length} kernels in ${TYPES.join(' and ')} on ${SEEDS.length} shapes each, ${problems.length} differences, ${seconds} s`,
)
process.exitCode = problems.length === 0 ? 0 : 1
