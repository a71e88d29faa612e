/** `npm start`: JupyterLab at the comparison notebook, on loopback, with a token.
 * Options go to JupyterLab: `-- --no-browser` prints the address, `-- --port N`. */
import { becomePython, root, setUp } from './setup.mjs'

setUp()

becomePython([
  '-m',
  'jupyterlab',
  '--log-level=WARN', // the address is printed all the same
  '--ServerApp.ip=localhost',
  `--ServerApp.root_dir=${root}`,
  '--LabApp.default_url=/lab/tree/notebooks/grpo_dpo_srpo_comparison.ipynb',
  ...(process.getuid() === 0 ? ['--allow-root'] : []), // containers run as root
  ...process.argv.slice(2),
])
