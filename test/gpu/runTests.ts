import Mocha from 'mocha'

const TIMEOUT = 600_000 // ms a test: programs are compiled for the device

/** Runs the tests that `load` defines, and prints what came of them as one line of JSON. */
export async function runTests(load: () => Promise<void>): Promise<void> {
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
  console.log(JSON.stringify({ passes, failures }))
  process.exitCode = failures.length === 0 ? 0 : 1
}
