/** `npm run kernel:install -- [--user | --prefix DIR] [--uninstall]`: registers this checkout's kernel with a Jupyter of your own. */
import { runNode, setUp } from './setup.mjs'

setUp()
process.exit(runNode('dist/kernels/install.js', process.argv.slice(2)))
