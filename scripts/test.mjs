/** `npm test`: set-up with type check, lint, then every unit test.
 * `npm test -- FILE… --grep X` skips lint and hands its arguments to mocha; a FILE may be the .ts source. */
import { fail, runNode, setUp } from './setup.mjs'

setUp()

const args = process.argv.slice(2).map(arg => arg.replace(/^(?:\.\/)?(test\/.*)\.ts$/, 'dist/$1.js'))
const steps = [
  ['ESLint', 'node_modules/eslint/bin/eslint.js', ['.', '--max-warnings', '0']],
  ['Prettier', 'node_modules/prettier/bin/prettier.cjs', ['--check', '--log-level', 'warn', '.']],
]
if (args.length === 0) {
  for (const [name, program, options] of steps) {
    console.log(`${name} …`)
    if (runNode(program, options) !== 0) fail(`${name} found problems (above). Correct them, then run again.`)
  }
}
const files = args.some(arg => arg.endsWith('.js')) ? [] : ['dist/test/**/*.test.js']
process.exit(
  runNode('node_modules/mocha/bin/mocha.js', ['--reporter', 'scripts/mocha-reporter.mjs', ...files, ...args]),
)
