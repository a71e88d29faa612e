/** `npm run bench`: our figures and the peers', measured in one run on this machine; see test/bench/main.ts for its arguments.
 * The peers (PyTorch, JAX) run in an environment of their own, .bench, made here; REWARDLAB_REFERENCE_PYTHON names another Python
 * that has them. */
import { failInstall, findPython, hash, inRoot, logged, once, read, runNode, setUp } from './setup.mjs'

setUp()
const args = process.argv.slice(2)
if (!process.env.REWARDLAB_REFERENCE_PYTHON && !args.includes('--ours')) {
  installPeers()
  process.env.REWARDLAB_REFERENCE_PYTHON = inRoot('.bench/bin/python')
}
process.exit(runNode('dist/test/bench/main.js', args))

function installPeers() {
  const requirements = 'test/bench/requirements.txt'
  once('.bench/.rewardlab', hash(read(requirements)), () => {
    console.log('Installing PyTorch and JAX into .bench (several GB) …')
    const python = inRoot('.bench/bin/python')
    const options = ['--no-input', '--disable-pip-version-check', '--only-binary=:all:']
    const steps = [
      [findPython(), ['-m', 'venv', '--clear', inRoot('.bench')]],
      [python, ['-m', 'pip', 'install', ...options, '-r', inRoot(requirements)]],
    ]
    for (const [command, args] of steps)
      if (logged(command, args).status !== 0)
        failInstall('the installation of the peers', 'Python package index', /^ERROR: (.+)$/m)
  })
}
