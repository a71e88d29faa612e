#!/usr/bin/env node
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { findPlugins } from '../src/xla/plugins.js'
import { installation } from './installation.js'

// `rewardlab-kernel`, and in a checkout `npm run kernel:install --`: tells a Jupyter where the kernel is.

const help = `Usage: rewardlab-kernel [--user | --prefix DIR] [--name NAME] [--uninstall]

Registers the kernel "TypeScript (rewardlab)" with your own Jupyter: JupyterLab, VS Code, nbconvert.
  --user         for this user, the default: ${userFolder()}
  --prefix DIR   for one Python environment (venv, conda), whose PJRT plugin it then uses
  --name NAME    of the kernel, where several installations shall stand side by side (default: rewardlab)
  --uninstall    removes what the same options registered`

try {
  main(process.argv.slice(2))
} catch (error) {
  console.error(`rewardlab-kernel: ${(error as Error).message}`)
  process.exitCode = 1
}

function main(args: string[]): void {
  const { values } = parseArgs({
    args,
    options: {
      user: { type: 'boolean' },
      prefix: { type: 'string' },
      name: { type: 'string', default: 'rewardlab' },
      uninstall: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  const { user, name, uninstall } = values
  if (values.help) return console.log(help)
  if (user && values.prefix !== undefined) throw new Error('found both --user and --prefix; give one of them.')
  if (!/^[\w.-]+$/.test(name)) throw new Error(`--name is "${name}", needed letters, digits, dots and dashes.`)
  const prefix = values.prefix === undefined ? undefined : resolve(values.prefix)
  if (prefix !== undefined && !existsSync(prefix))
    throw new Error(`--prefix: there is no folder ${prefix}. Give the folder of a Python environment.`)
  const folder = join(prefix === undefined ? userFolder() : join(prefix, 'share/jupyter/kernels'), name)

  if (uninstall) {
    if (!existsSync(folder)) throw new Error(`there is no kernel in ${folder}. See \`jupyter kernelspec list\`.`)
    rmSync(folder, { recursive: true })
    return console.log(`Removed ${folder}.`)
  }
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'kernel.json'), JSON.stringify(kernelSpec(name, prefix), null, 2) + '\n')
  console.log(`Registered ${folder}. In Jupyter the kernel is "TypeScript (${name})".`)
  if (prefix !== undefined) process.env['VIRTUAL_ENV'] = prefix
  const plugins = findPlugins()
  for (const plugin of plugins) if ('missing' in plugin) console.log(plugin.missing)
  if (plugins.every(plugin => 'missing' in plugin)) console.log('Until then tensors run on plain tfjs, slowly.')
}

/** @source https://jupyter-client.readthedocs.io/en/stable/kernels.html#kernel-specs */
function kernelSpec(name: string, prefix: string | undefined) {
  return {
    argv: [process.execPath, join(installation, 'dist/kernels/main.js'), '{connection_file}'],
    display_name: `TypeScript (${name})`,
    language: 'typescript',
    interrupt_mode: 'message',
    env: {
      UV_THREADPOOL_SIZE: '8', // koffi's asynchronous calls wait there
      ...(prefix !== undefined && { VIRTUAL_ENV: prefix }), // also if Jupyter is started without activating it
    },
  }
}

/** @source https://docs.jupyter.org/en/latest/use/jupyter-directories.html */
function userFolder(): string {
  const { JUPYTER_DATA_DIR, XDG_DATA_HOME } = process.env
  const mac = process.platform === 'darwin'
  const data = mac
    ? join(homedir(), 'Library/Jupyter')
    : join(XDG_DATA_HOME || join(homedir(), '.local/share'), 'jupyter')
  return join(JUPYTER_DATA_DIR || data, 'kernels')
}
