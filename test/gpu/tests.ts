/* The unit tests of optimizers and layers, in one process on the device of the environment: prints what came of them as JSON. */
import { readdirSync } from 'node:fs'
import { runTests } from './runTests.js'

const results = await runTests(async () => {
  for (const folder of ['nn', 'optimizers']) {
    const url = new URL(`../${folder}/`, import.meta.url)
    for (const file of readdirSync(url)) if (file.endsWith('.test.js')) await import(new URL(file, url).href)
  }
})
console.log(JSON.stringify(results))
