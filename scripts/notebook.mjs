/** `npm run notebook -- NAME [--quick] [--output FILE]`: executes notebooks/NAME.ipynb headless.
 * Outputs are left in the notebook itself, also when a cell fails. With --quick, notebooks see REWARDLAB_QUICK=1 and the
 * executed copy goes to runs/notebooks/NAME.ipynb. */
import { becomePython, fail, inRoot, setUp } from './setup.mjs'
import fs from 'fs'
import path from 'path'

const usage = 'Usage: npm run notebook -- NAME [--quick] [--output FILE]'
const { name, quick, output } = readArguments(process.argv.slice(2))
const input = inRoot(`notebooks/${name}.ipynb`)
if (!fs.existsSync(input)) {
  const names = fs.readdirSync(inRoot('notebooks')).filter(file => file.endsWith('.ipynb'))
  fail(`notebooks/${name}.ipynb does not exist. There are: ${names.map(file => path.parse(file).name).join(', ')}.`)
}

setUp()

const target = output || (quick ? inRoot(`runs/notebooks/${name}.ipynb`) : input)
const env = quick ? { ...process.env, REWARDLAB_QUICK: '1' } : process.env
becomePython([inRoot('scripts/execute_notebook.py'), input, target], env)

function readArguments(args) {
  const found = { name: '', quick: false, output: '' }
  while (args.length > 0) {
    const arg = args.shift()
    if (arg === '--quick') found.quick = true
    else if (arg === '--output' && args.length > 0) found.output = path.resolve(args.shift())
    else if (!arg.startsWith('-') && !found.name) found.name = path.basename(arg, '.ipynb')
    else fail(`unexpected argument ${arg}. ${usage}`)
  }
  return found.name ? found : fail(`no notebook was named. ${usage}`)
}
