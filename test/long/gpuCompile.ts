/* The programs of the engine's and the layers' tests and of each method's updates, compiled for an H100 by the CUDA plugin on a machine without a
 * GPU. Nothing runs there: it tells that no operation, type or shape is refused. */
import { PjrtApi } from '../../src/xla/pjrt/api.js'
import { PjrtClient, namedValue } from '../../src/xla/pjrt/client.js'
import { struct, text, words } from '../../src/xla/pjrt/memory.js'
import { compileOptions } from '../../src/xla/pjrt/spmd.js'
import { findPlugins, sitePackages } from '../../src/xla/plugins.js'
import { METHODS, rowsOf } from '../acceptance/shortRuns.js'
import { runTests } from '../gpu/runTests.js'

/** XLA's GpuTargetConfigProto of an NVIDIA H100 SXM. */
const H100 = `
  platform_name: "CUDA"
  device_description_str: "NVIDIA H100 80GB HBM3"
  dnn_version_info { major: 9 minor: 12 }
  runtime_version { major: 13 }
  gpu_device_info {
    cuda_compute_capability { major: 9 }
    core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
    device_memory_size: 84942979072 memory_bandwidth: 3352320000000 l2_cache_size: 52428800
    threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
    block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
    registers_per_block_limit: 65536 registers_per_core_limit: 65536
    shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  }`

const H100_OPTIONS = { target_config: H100, topology: '1x1x1' } // one host, one process, one GPU

const [plugin] = findPlugins('cuda', { nvidiaDriver: NaN, tpu: false, sitePackages: sitePackages() })
if (!plugin || 'missing' in plugin) {
  console.error(`gpuCompile: not run. ${plugin?.missing} (with --target DIR, and DIR in PYTHONPATH).`)
  process.exit(1)
}

const programs = recordPrograms()
await runTests(async () => {
  for (const test of ['xla/kernels', 'xla/random', 'xla/precision', 'xla/nf4', 'nn/layers', 'nn/attention'])
    await import(`../${test}.test.js`)
})
for (const method of METHODS) await rowsOf(method, 1, 0)

const api = new PjrtApi(plugin.path)
api.call('Plugin_Initialize', struct())
const described = struct(0, 0, words(Object.entries(H100_OPTIONS).flatMap(namedValue)), 2, 0)
const topology = api.call('TopologyDescription_Create', described).get(6)
const options = compileOptions('cuda', null)
const failures: string[] = []
const began = performance.now()
for (const program of programs)
  try {
    const code = text(program)
    const args = struct(topology, struct(code, code.bytes.length, text('mlir'), 4), text(options), options.length, 0, 0)
    api.call('Executable_Destroy', struct(api.call('Compile', args).get(7)))
  } catch (error) {
    failures.push(`${(error as Error).message}\n${program.slice(0, 2000)}`)
  }
failures.forEach(failure => console.error(failure))
const seconds = ((performance.now() - began) / 1000).toFixed(0)
console.log(`gpuCompile: ${programs.size} programs, ${failures.length} failures, ${seconds} s by ${plugin.path}`)
process.exit(failures.length === 0 ? 0 : 1)

/** The texts of all programs that this process compiles for one device from now on. */
function recordPrograms(): Set<string> {
  process.env.REWARDLAB_CACHE = 'off'
  const texts = new Set<string>()
  const { compile, compileAsync } = PjrtClient.prototype
  PjrtClient.prototype.compile = function (text, mesh) {
    if (mesh === null) texts.add(text)
    return compile.call(this, text, mesh)
  }
  PjrtClient.prototype.compileAsync = function (text, mesh) {
    if (mesh === null) texts.add(text)
    return compileAsync.call(this, text, mesh)
  }
  return texts
}
