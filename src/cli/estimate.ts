import { requireOneOf } from '../config.js'
import type { WeightType } from '../io/checkpoint.js'
import { kontextConfigs, kontextPlans, type EstimateOptions } from '../models/index.js'
import { memory, start } from '../xla/index.js'
import { numberOf, parse, type Command } from './command.js'

const GIB = 2 ** 30

export const estimateCommand: Command = {
  summary: 'memory that editing with a pipeline, and training an adapter of it, would take',
  help: `Usage: rewardlab estimate PIPELINE_DIR [options]

Computes from the configurations of a FluxKontextPipeline what its weights, an adapter with AdamW, gradients with checkpointing and the
autoencoder take on a device, as it stands and with text features cached, tiles, and 4-bit blocks. The weights need not be there.
  --memory GIB          of the device; default what it reports
  --dtype T             float32 or bfloat16; default bfloat16
  --r N                 rank of the adapter; default 64
  --batch_size N        rows at a time; default 1
  --width N --height N  of target and reference; default 1024
  --max_sequence_length N  tokens of the prompt; default 512
  --json                print all parts, in bytes`,
  async run(args, print) {
    const text = { type: 'string' } as const
    const { values, positionals } = parse(args, ['PIPELINE_DIR'], {
      memory: text,
      dtype: text,
      r: text,
      batch_size: text,
      width: text,
      height: text,
      max_sequence_length: text,
    })
    const options: Partial<EstimateOptions> = {}
    for (const name of ['batch_size', 'width', 'height', 'max_sequence_length'] as const)
      if (values[name] !== undefined) options[name] = numberOf(name, values[name])
    if (values.r !== undefined) options.adapter = { r: numberOf('r', values.r) }
    if (values.dtype !== undefined) {
      requireOneOf('estimate', 'dtype', values.dtype, ['float32', 'bfloat16'])
      options.dtype = values.dtype as WeightType
    }
    const plans = kontextPlans(await kontextConfigs(positionals[0]!), options)
    const room = values.memory === undefined ? await deviceMemory() : numberOf('memory', values.memory) * GIB
    const cell = (bytes: number) => {
      const fits = room === null ? '' : bytes <= room ? ' fits' : ' too large'
      return `${(bytes / GIB).toFixed(1)} GiB${fits}`.padEnd(20)
    }
    const rows = plans.map(
      ({ plan, estimate }) => `${plan.padEnd(50)}${cell(estimate.editing)}${cell(estimate.training)}`,
    )
    const head = `${''.padEnd(50)}${'editing'.padEnd(20)}training an adapter`
    const on = room === null ? '' : `\nThe device has ${(room / GIB).toFixed(1)} GiB.`
    print([head, ...rows].map(row => row.trimEnd()).join('\n') + on, { memory: room, plans })
  },
}

/** Bytes of the first device; null where it does not say. */
async function deviceMemory(): Promise<number | null> {
  await start()
  return memory()?.reported[0]?.limit ?? null
}
