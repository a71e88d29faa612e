import { requireOneOf, resolveConfig } from '../config.js'

export type LearningRateSchedule = keyof typeof schedules

export interface LearningRateConfig {
  /** Peak rate. */
  learning_rate: number
  lr_scheduler_type: LearningRateSchedule
  /** Steps of linear warm-up from 0; a value below 1 is a share of all steps. */
  warmup_steps: number
  /** Options of the schedule, as `{ num_cycles: 2 }`; names and defaults are transformers'. */
  lr_scheduler_kwargs?: Readonly<Record<string, number | string | null>> | null
}

interface Moment {
  step: number
  steps: number
  warmup: number
  /** 0…1, after the warm-up. */
  progress: number
  /** Peak rate. */
  peak: number
}

type Options = Record<string, number | string | null>
interface Schedule {
  options: Options
  /** Fraction of the peak rate, after the warm-up. */
  fraction: (moment: Moment, given: Options) => number
}

const schedule = <O extends Options>(options: O, fraction: (moment: Moment, options: O) => number): Schedule => ({
  options,
  fraction: (moment, given) => fraction(moment, { ...options, ...given }),
})

/** From 1 at 0 to 0 at a half, as a cosine, and back. */
const wave = (cycles: number): number => (1 + Math.cos(2 * Math.PI * cycles)) / 2

const schedules = {
  constant: schedule({}, () => 1),
  constant_with_warmup: schedule({}, () => 1),
  linear: schedule({}, ({ progress }) => 1 - progress),
  cosine: schedule({ num_cycles: 0.5 }, ({ progress }, { num_cycles }) => wave(num_cycles * progress)),
  cosine_with_restarts: schedule({ num_cycles: 1 }, ({ progress }, { num_cycles }) =>
    progress < 1 ? wave(((num_cycles * progress) % 1) / 2) : 0,
  ),
  cosine_with_min_lr: schedule(
    { num_cycles: 0.5, min_lr_rate: 0, min_lr: null as number | null },
    ({ progress, peak }, { num_cycles, min_lr_rate, min_lr }) =>
      above(min_lr === null ? min_lr_rate : min_lr / peak, wave(num_cycles * progress)),
  ),
  polynomial: schedule({ lr_end: 1e-7, power: 1 }, ({ progress, peak }, { lr_end, power }) =>
    above(lr_end / peak, (1 - progress) ** power),
  ),
  inverse_sqrt: schedule({ timescale: null as number | null }, ({ step, warmup }, { timescale }) => {
    const scale = timescale ?? (warmup || 10_000)
    return Math.sqrt(scale / (step - warmup + scale))
  }),
  warmup_stable_decay: schedule(
    { num_decay_steps: 0, decay_type: 'cosine', min_lr_ratio: 0, num_cycles: 0.5 },
    ({ step, steps }, { num_decay_steps, decay_type, min_lr_ratio, num_cycles }) => {
      const left = (steps - step) / Math.max(1, num_decay_steps) // above 1 on the plateau
      return left > 1 ? 1 : above(min_lr_ratio, decays[decay_type]!(1 - left, num_cycles))
    },
  ),
} satisfies Record<string, Schedule>

const decays: Record<string, (progress: number, cycles: number) => number> = {
  linear: progress => 1 - progress,
  cosine: (progress, cycles) => wave(cycles * progress),
  '1-sqrt': progress => 1 - Math.sqrt(progress),
}

const above = (least: number, fraction: number): number => least + (1 - least) * fraction

/** Learning rate of a step.
 * @param step from 0
 * @param steps of the whole run
 * @source transformers, get_scheduler: `constant` has no warm-up, unlike `constant_with_warmup` */
export function learningRate(step: number, steps: number, config: LearningRateConfig): number {
  const { learning_rate: peak, lr_scheduler_type, warmup_steps } = config
  if (lr_scheduler_type === 'constant') return peak
  const options = config.lr_scheduler_kwargs ?? {}
  const warmup = warmup_steps >= 1 ? Math.floor(warmup_steps) : Math.ceil(steps * warmup_steps)
  if (step < warmup) return peak * above(Number(options['min_lr_ratio'] ?? 0), step / warmup)
  const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup))
  const { fraction } = schedules[lr_scheduler_type]
  return peak * Math.max(0, fraction({ step, steps, warmup, progress, peak }, options))
}

/** @throws naming what is unknown or out of range */
export function checkLearningRateConfig(where: string, config: LearningRateConfig): void {
  const { lr_scheduler_type, lr_scheduler_kwargs } = config
  requireOneOf(where, 'lr_scheduler_type', lr_scheduler_type, Object.keys(schedules))
  const { options }: Schedule = schedules[lr_scheduler_type]
  const { decay_type } = resolveConfig(`${where}: lr_scheduler_kwargs`, options, lr_scheduler_kwargs ?? {})
  if (decay_type !== undefined) requireOneOf(where, 'decay_type', String(decay_type), Object.keys(decays))
  if (!(config.learning_rate >= 0))
    throw new Error(`${where}: learning_rate is ${config.learning_rate}, needs 0 or more.`)
  if (!(config.warmup_steps >= 0)) throw new Error(`${where}: warmup_steps is ${config.warmup_steps}, needs 0 or more.`)
}
