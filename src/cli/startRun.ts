import {
  dpo,
  grpo,
  sft,
  srpo,
  type CompletionRow,
  type PromptRow,
  type Run,
  type TrainState,
} from '../optimizers/index.js'
import type { Policy } from '../policies/index.js'
import { ownArgs, type Experiment } from './experiment.js'
import type { DataRow } from './namedDatasets.js'

/** The run of a config, before its first update. */
export function startRun(
  policy: Policy,
  rows: readonly DataRow[],
  { config: { optimizer, args }, rewards }: Experiment,
  state: TrainState | undefined,
): Run {
  const own = ownArgs(args)
  const prompts = rows as unknown as readonly PromptRow[]
  switch (optimizer) {
    case 'sft':
      return sft(policy, rows as unknown as readonly CompletionRow[], own, state)
    case 'grpo':
      return grpo(policy, prompts, rewards!, own, state)
    case 'dpo':
      return dpo(policy, prompts, { ...own, rewards }, state)
    case 'srpo':
      return srpo(policy, prompts, rewards!, own, state)
  }
}
