import { existsSync, readdirSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

interface PluginKind {
  device: 'cuda' | 'tpu' | 'cpu'
  /** Places in site-packages. */
  files: readonly string[]
  /** The Python package that ships it. */
  install: string
  /** Whether the machine has the device. */
  present: () => boolean
}

/** Best first. */
const KINDS: readonly PluginKind[] = [
  {
    device: 'cuda',
    files: ['jax_plugins/xla_cuda13/xla_cuda_plugin.so', 'jax_plugins/xla_cuda12/xla_cuda_plugin.so'],
    install: 'jax-cuda13-pjrt (or jax-cuda12-pjrt) with its nvidia-* libraries',
    present: () => existsSync('/proc/driver/nvidia/version') || existsSync('/dev/nvidiactl'),
  },
  { device: 'tpu', files: ['libtpu/libtpu.so'], install: 'libtpu', present: () => existsSync('/dev/accel0') },
  { device: 'cpu', files: ['xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so'], install: 'xla-cpu-pjrt', present: () => true },
]

export type Found = { device: string; path: string } | { missing: string }

/** Finds a PJRT plugin: REWARDLAB_PJRT_PLUGIN, or in the site-packages of the project's .venv, of the active virtual
 * environment, and of PYTHONPATH.
 * @param device only this kind; default: the best that the machine has */
export function findPlugin(device?: string): Found {
  const path = process.env.REWARDLAB_PJRT_PLUGIN
  if (path)
    return existsSync(path)
      ? { device: device ?? 'custom', path }
      : { missing: `REWARDLAB_PJRT_PLUGIN: there is no file ${path}.` }
  const kinds = device ? KINDS.filter(k => k.device === device) : KINDS.filter(k => k.present())
  if (kinds.length === 0)
    return {
      missing: `Device "${device}" is not known. Use ${KINDS.map(k => k.device).join(', ')} (REWARDLAB_DEVICE).`,
    }
  const places = sitePackages()
  for (const kind of kinds)
    for (const place of places)
      for (const file of kind.files)
        if (existsSync(join(place, file))) return { device: kind.device, path: join(place, file) }
  const { install } = kinds[kinds.length - 1]!
  return {
    missing: `No PJRT plugin found (${install}; looked in ${places.join(', ') || 'no site-packages'}). Run "npm test" or "npm start" once, or: pip install ${install}.`,
  }
}

/** Kinds of devices that the machine has, best first, whether or not there is a plugin for them. */
export function presentDevices(): string[] {
  return KINDS.filter(kind => kind.present()).map(kind => kind.device)
}

/** Folders that may hold plugins. */
export function sitePackages(): string[] {
  const root = packageRoot()
  const environments = [join(root, '.venv'), process.env.VIRTUAL_ENV, process.env.CONDA_PREFIX].filter(
    e => e !== undefined,
  )
  const libraries = environments.flatMap(e => {
    const lib = join(e, 'lib')
    if (!existsSync(lib)) return []
    return readdirSync(lib)
      .filter(name => name.startsWith('python3'))
      .map(name => join(lib, name, 'site-packages'))
  })
  const path = (process.env.PYTHONPATH ?? '').split(delimiter).filter(p => p !== '')
  return [...libraries, ...path].filter(p => existsSync(p))
}

/** The folder with package.json, wherever the compiled files lie below it. */
export function packageRoot(): string {
  let dir = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(dir, 'package.json')) && dirname(dir) !== dir) dir = dirname(dir)
  return dir
}
