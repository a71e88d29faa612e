import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { basename, delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Best first. */
const DEVICES = ['cuda', 'tpu', 'cpu'] as const
export type Device = (typeof DEVICES)[number]

interface Kind {
  device: Device
  /** Place in site-packages. */
  file: string
  /** Folders of site-packages whose libraries it loads. */
  libraries: readonly string[]
  /** What pip installs. */
  install: string
  /** The oldest NVIDIA driver that it runs under. */
  driver?: number
}

/** Best first. */
const KINDS: readonly Kind[] = [
  {
    device: 'cuda',
    file: 'jax_plugins/xla_cuda13/xla_cuda_plugin.so',
    libraries: ['nvidia/cu13/lib', 'nvidia/cudnn/lib', 'nvidia/nccl/lib'],
    install: '-r requirements-cuda13.txt',
    driver: 580,
  },
  {
    device: 'cuda',
    file: 'jax_plugins/xla_cuda12/xla_cuda_plugin.so',
    libraries: ['nvidia/cublas/lib', 'nvidia/cudnn/lib', 'nvidia/nccl/lib'],
    install: '-r requirements-cuda12.txt',
    driver: 525,
  },
  { device: 'tpu', file: 'libtpu/libtpu.so', libraries: [], install: 'libtpu' },
  { device: 'cpu', file: 'xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so', libraries: [], install: 'xla-cpu-pjrt' },
]

/** What a machine has, as far as plugins go. */
export interface Machine {
  /** The NVIDIA driver's version; NaN where the kernel does not tell it (some containers, WSL), null without a driver. */
  nvidiaDriver: number | null
  tpu: boolean
  /** Folders that may hold plugins. */
  sitePackages: readonly string[]
}

export interface Plugin {
  device: Device | 'custom'
  path: string
  /** What is not where it looks first, and what to do unless the system has it elsewhere. */
  lacking?: string
}

/** Why there is none, and what to do. */
interface Missing {
  missing: string
}

/** The PJRT plugins that may serve, best first: the one of REWARDLAB_PJRT_PLUGIN alone, that of the device, or that of each device
 * which the machine has.
 * @param device only this one */
export function findPlugins(device?: string, machine: Machine = thisMachine()): (Plugin | Missing)[] {
  const path = process.env.REWARDLAB_PJRT_PLUGIN
  if (path) return [given(path)]
  if (device && !isDevice(device))
    return [{ missing: `Device "${device}" is not known. Use ${DEVICES.join(', ')} (REWARDLAB_DEVICE).` }]
  const { nvidiaDriver, tpu } = machine
  const present = { cuda: nvidiaDriver !== null, tpu, cpu: true }
  return DEVICES.filter(d => (device ? d === device : present[d])).map(d => pluginOf(d, machine))
}

function isDevice(name: string): name is Device {
  return (DEVICES as readonly string[]).includes(name)
}

function given(path: string): Plugin | Missing {
  if (!existsSync(path)) return { missing: `REWARDLAB_PJRT_PLUGIN: there is no file ${path}.` }
  const known = KINDS.find(plugin => basename(plugin.file) === basename(path))
  return { device: known?.device ?? 'custom', path }
}

function pluginOf(device: Device, { nvidiaDriver, tpu, sitePackages }: Machine): Plugin | Missing {
  if (device === 'cuda' && nvidiaDriver === null)
    return { missing: 'Device cuda: there is no NVIDIA driver. Install 580 or later (or 525 or later, for CUDA 12).' }
  if (device === 'tpu' && !tpu) return { missing: 'Device tpu: there is no TPU here.' } // libtpu would search for minutes
  const kinds = KINDS.filter(kind => kind.device === device)
  const runs = ({ driver }: Kind) => !(driver !== undefined && Number(nvidiaDriver) < driver) // an unknown version may try
  const first = kinds.find(runs)
  if (!first)
    return {
      missing: `Device ${device}: the NVIDIA driver is ${nvidiaDriver}; needed 525 or later (580 for CUDA 13). Update it.`,
    }
  const installed = kinds.flatMap(kind =>
    sitePackages.filter(place => existsSync(join(place, kind.file))).map(place => ({ kind, place })),
  )
  const usable = installed.find(({ kind }) => runs(kind))
  if (usable) {
    const { kind, place } = usable
    const absent = kind.libraries.filter(folder => !existsSync(join(place, folder)))
    const lacking = `Device ${device}: ${place} lacks ${absent.join(', ')}. Unless the system has these libraries: pip install ${located(kind.install)}`
    return { device, path: join(place, kind.file), ...(absent.length > 0 && { lacking }) }
  }
  const [newer] = installed
  const what = newer
    ? `the plugin here needs NVIDIA driver ${newer.kind.driver}, this one is ${nvidiaDriver}. Update it`
    : `no PJRT plugin found in ${sitePackages.join(', ') || 'any site-packages'}. ${
        isCheckout() ? 'Run "npm test" or "npm start" once' : 'Activate the Python environment that has it'
      }`
  return { missing: `Device ${device}: ${what}, or: pip install ${located(first.install)}` }
}

/** Whether this is the repository, whose scripts install plugins, and not a package that npm installed. */
const isCheckout = (): boolean => existsSync(join(packageRoot(), 'scripts', 'setup.mjs'))

/** What pip installs, with the place of a requirements file. */
const located = (install: string): string =>
  isCheckout() ? install : install.replace(/^-r /, `-r ${join(packageRoot(), '/')}`)

/** The machine that runs this. @param root of its file system */
export function thisMachine(root = '/'): Machine {
  return { nvidiaDriver: nvidiaDriver(root), tpu: hasTpu(root), sitePackages: sitePackages() }
}

function nvidiaDriver(root: string): number | null {
  const file = join(root, 'proc/driver/nvidia/version')
  if (existsSync(file)) return Number(/Kernel Module.*?\s(\d+\.\d+)/.exec(readFileSync(file, 'utf8'))?.[1])
  return ['nvidiactl', 'nvidia0', 'dxg'].some(name => existsSync(join(root, 'dev', name))) ? NaN : null
}

/** By vendor and device on the PCI bus, as JAX does. */
function hasTpu(root: string): boolean {
  const bus = join(root, 'sys/bus/pci/devices')
  if (!existsSync(bus)) return false
  const read = (...path: string[]) => readFileSync(join(bus, ...path), 'utf8').trim()
  return readdirSync(bus).some(at => read(at, 'vendor') === '0x1ae0' && TPU_IDS.has(read(at, 'device')))
}
const TPU_IDS = new Set(['0x0027', '0x0056', '0x005e', '0x0062', '0x0063', '0x006f', '0x0076'])

/** The site-packages of the project's .venv, of the active virtual environment, and of PYTHONPATH. */
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
