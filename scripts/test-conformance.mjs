/** `npm run test:conformance`: tfjs-core's own specs on a backend, by default ours. `-- --backend cpu` runs them on another. */
import { runNode, setUp } from './setup.mjs'

setUp()
process.exit(runNode('dist/test/conformance/main.js', process.argv.slice(2)))
