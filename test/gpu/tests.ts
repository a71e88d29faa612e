/* The unit tests of optimizers and layers, in one process on the device of the environment. */
import { readdirSync } from 'node:fs'
import { runTests } from './runTests.js'

await runTests(async () => {
  for (const folder of ['nn', 'optimizers']) {
    const url = new URL(`../${folder}/`, import.meta.url)
    for (const file of readdirSync(url)) if (file.endsWith('.test.js')) await import(new URL(file, url).href)
  }
})
