import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gpuOptions } from '../../src/xla/gpuOptions.js'
import { findPlugins, thisMachine, type Machine } from '../../src/xla/plugins.js'

const CUDA13 = 'jax_plugins/xla_cuda13/xla_cuda_plugin.so'
const CUDA12 = 'jax_plugins/xla_cuda12/xla_cuda_plugin.so'
const CPU = 'xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so'
const TPU = 'libtpu/libtpu.so'

describe('plugins', () => {
  let root: string
  const given = process.env.REWARDLAB_PJRT_PLUGIN
  before(() => delete process.env.REWARDLAB_PJRT_PLUGIN)
  after(() => given !== undefined && (process.env.REWARDLAB_PJRT_PLUGIN = given))
  beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'rewardlab-machine-'))))
  afterEach(() => rmSync(root, { recursive: true }))

  function write(file: string, text = ''): void {
    mkdirSync(dirname(join(root, file)), { recursive: true })
    writeFileSync(join(root, file), text)
  }

  /** What a machine with these files in its site-packages has. */
  function machine(files: string[], has: Partial<Machine> = {}): Machine {
    files.forEach(file => write(file))
    return { nvidiaDriver: null, tpu: false, sitePackages: [root], ...has }
  }

  const missing = (device: string | undefined, m: Machine) =>
    findPlugins(device, m).map(found => ('missing' in found ? found.missing : found.path))[0]
  const file = (device: string | undefined, m: Machine) => missing(device, m)?.replace(`${root}/`, '')

  describe('of what a machine has', () => {
    it('the best comes first, one a device', () => {
      const all = machine([CPU, CUDA12, CUDA13, TPU], { nvidiaDriver: 580.65, tpu: true })
      const found = findPlugins(undefined, all).map(f => ('missing' in f ? '' : `${f.device} ${f.path}`))
      assert.deepEqual(found, [`cuda ${root}/${CUDA13}`, `tpu ${root}/${TPU}`, `cpu ${root}/${CPU}`])
    })

    it('CUDA 13 needs driver 580, CUDA 12 driver 525; a driver of unknown version may try', () => {
      const both = (nvidiaDriver: number) => file('cuda', machine([CUDA12, CUDA13], { nvidiaDriver }))
      assert.deepEqual([NaN, 590.1, 580.65, 579.99, 525.6].map(both), [CUDA13, CUDA13, CUDA13, CUDA12, CUDA12])
    })

    it('a device that is not there is not looked for, unless it is asked for', () => {
      const m = machine([CPU, CUDA13, TPU])
      assert.deepEqual(
        findPlugins(undefined, m).map(f => 'path' in f && f.device),
        ['cpu'],
      )
      assert.equal(file('tpu', { ...m, tpu: true }), TPU)
    })

    it('libraries that are not beside the plugin are named', () => {
      const m = machine([CUDA13, 'nvidia/cudnn/lib/libcudnn.so.9'], { nvidiaDriver: 580 })
      const lacking = () => findPlugins('cuda', m).map(f => ('path' in f ? f.lacking : f.missing))[0]
      assert.match(
        lacking()!,
        /lacks nvidia\/cu13\/lib, nvidia\/nccl\/lib\..* pip install -r requirements-cuda13\.txt$/,
      )
      write('nvidia/cu13/lib/libcublas.so.13')
      write('nvidia/nccl/lib/libnccl.so.2')
      assert.equal(lacking(), undefined)
    })
  })

  describe('say what is missing and what to do', () => {
    it('no driver, no TPU', () => {
      assert.match(missing('cuda', machine([CUDA13]))!, /no NVIDIA driver\. Install 580 or later/)
      assert.equal(missing('tpu', machine([TPU])), 'Device tpu: there is no TPU here.')
    })

    it('a driver too old for any plugin', () =>
      assert.match(
        missing('cuda', machine([CUDA13, CUDA12], { nvidiaDriver: 470.1 }))!,
        /the NVIDIA driver is 470\.1; needed 525 or later \(580 for CUDA 13\)\. Update it\.$/,
      ))

    it('a driver too old for the plugin that is there', () =>
      assert.match(
        missing('cuda', machine([CUDA13], { nvidiaDriver: 550.54 }))!,
        /the plugin here needs NVIDIA driver 580, this one is 550\.54\. Update it, or: pip install -r requirements-cuda12\.txt$/,
      ))

    it('no plugin', () => {
      const there = machine([], { nvidiaDriver: 580, tpu: true })
      assert.match(
        missing('cuda', there)!,
        /no PJRT plugin found in .*machine.* pip install -r requirements-cuda13\.txt$/,
      )
      assert.match(missing('tpu', there)!, /^Device tpu: no PJRT plugin found in .* pip install libtpu$/)
      assert.match(missing('cpu', { ...there, sitePackages: [] })!, /found in any site-packages\..*xla-cpu-pjrt$/)
    })

    it('an unknown device', () =>
      assert.match(missing('abacus', machine([CPU]))!, /"abacus" is not known\. Use cuda, /))

    it('a path without a file', () => {
      process.env.REWARDLAB_PJRT_PLUGIN = join(root, 'none.so')
      try {
        assert.match(missing(undefined, machine([CPU]))!, /REWARDLAB_PJRT_PLUGIN: there is no file .*none\.so/)
        write('own/xla_cuda_plugin.so')
        process.env.REWARDLAB_PJRT_PLUGIN = join(root, 'own', 'xla_cuda_plugin.so')
        assert.deepEqual(findPlugins('cpu'), [{ device: 'cuda', path: process.env.REWARDLAB_PJRT_PLUGIN }])
      } finally {
        delete process.env.REWARDLAB_PJRT_PLUGIN
      }
    })
  })

  describe('see of a machine', () => {
    const driver = () => thisMachine(root).nvidiaDriver

    it('the NVIDIA driver and its version', () => {
      assert.equal(driver(), null)
      write('dev/nvidiactl')
      assert.equal(driver(), NaN, 'there, of unknown version')
      for (const [text, version] of [
        ['NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024', 535.183],
        ['NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build', 580.65],
        ['something else', NaN],
      ] as const) {
        write('proc/driver/nvidia/version', text)
        assert.equal(driver(), version)
      }
    })

    it('TPUs on the PCI bus, not Google’s network cards', () => {
      const tpu = () => thisMachine(root).tpu
      assert.equal(tpu(), false)
      write('sys/bus/pci/devices/0000:00:04.0/vendor', '0x1ae0\n')
      write('sys/bus/pci/devices/0000:00:04.0/device', '0x0042\n')
      assert.equal(tpu(), false)
      write('sys/bus/pci/devices/0000:00:05.0/vendor', '0x1ae0\n')
      write('sys/bus/pci/devices/0000:00:05.0/device', '0x0063\n')
      assert.equal(tpu(), true)
    })
  })

  describe('take options for the GPU’s memory', () => {
    const plain = { platform_name: 'cuda', allocator: 'default', preallocate: false }

    it('nothing is allocated in advance unless asked for', () => {
      assert.deepEqual(gpuOptions({}, {}), plain)
      assert.deepEqual(gpuOptions({ preallocate: true, memory_fraction: 0.5, visible_devices: [1] }, {}), {
        ...plain,
        preallocate: true,
        memory_fraction: 0.5,
        visible_devices: [1n],
      })
    })

    it('from the environment too; the program’s word counts more', () => {
      const environment = {
        REWARDLAB_GPU_PREALLOCATE: '1',
        REWARDLAB_GPU_MEMORY_FRACTION: '0.9',
        REWARDLAB_GPU_ALLOCATOR: 'cuda_async',
        REWARDLAB_GPU_VISIBLE_DEVICES: '0,2',
      }
      const asked = { allocator: 'cuda_async', preallocate: true, memory_fraction: 0.9, visible_devices: [0n, 2n] }
      assert.deepEqual(gpuOptions({}, environment), { ...plain, ...asked })
      assert.deepEqual(gpuOptions({ preallocate: false }, environment), { ...plain, ...asked, preallocate: false })
    })

    it('and refuse what XLA would not take', () => {
      const refused = (name: string, value: string, why: RegExp) =>
        assert.throws(() => gpuOptions({}, { [`REWARDLAB_GPU_${name}`]: value }), why)
      refused('PREALLOCATE', 'yes', /gpu\.preallocate is yes; needed 0 or 1 \(or REWARDLAB_GPU_PREALLOCATE\)/)
      refused('MEMORY_FRACTION', '75', /gpu\.memory_fraction is 75; needed a number above 0, at most 1/)
      refused('MEMORY_FRACTION', 'half', /gpu\.memory_fraction is NaN/)
      refused('ALLOCATOR', 'malloc', /gpu\.allocator is malloc; needed default, platform, bfc, cuda_async/)
      refused('VISIBLE_DEVICES', '0,b', /gpu\.visible_devices is 0,NaN; needed numbers of GPUs/)
    })
  })
})
