import Mocha from 'mocha'

const TIMEOUT = 600_000 // ms a test: programs are compiled for the device

/** What came of tests: how many passed, and the titles and messages of those that did not. */
export interface TestResults {
  passes: number
  failures: string[]
}

/** Runs the tests that `load` defines. */
export async function runTests(load: () => Promise<void>): Promise<TestResults> {
  const mocha = new Mocha({ timeout: TIMEOUT, reporter: class {} as never })
  mocha.suite.emit('pre-require', globalThis, '', mocha)
  await load()
  const failures: string[] = []
  let passes = 0
  await new Promise(ended => {
    const runner = mocha.run(ended)
    runner.on('pass', () => passes++)
    runner.on('fail', (test, error: Error) => failures.push(`${test.fullTitle()}: ${error.message}`))
  })
  return { passes, failures }
}
