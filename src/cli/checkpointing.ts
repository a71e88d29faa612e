import type { TrainState } from '../optimizers/index.js'
import { hostCopy, saveState, type Measured, type RunWriter } from '../runs/index.js'
import { disposeTree, tensorsOf } from '../xla/index.js'
import type { StoredPolicy } from './openPolicy.js'

/** Writes a run's checkpoints beside its training, one at a time. */
export interface Checkpointing {
  /** Starts a checkpoint: waits for the one before and until the state is copied to host memory, not until it is written.
   * @throws what the one before failed by */
  save(step: number, state: TrainState, measured: Measured | undefined): Promise<void>
  /** Waits until all is written.
   * @throws what the last one failed by, once */
  settled(): Promise<void>
  /** @throws what a checkpoint failed by meanwhile, once */
  check(): void
  /** The last step on the disk. */
  readonly written: number
}

/** @param from the step that is on the disk
 * @param limit of checkpoints to keep
 * @param before called with the bytes of a checkpoint, before it is written */
export function checkpointing(
  folder: RunWriter,
  policy: StoredPolicy,
  from: number,
  limit: number | null,
  before: (bytes: number) => void,
): Checkpointing {
  let written = from
  let writing: Promise<void> = Promise.resolve()
  let failure: { reason: unknown } | undefined
  const check = (): void => {
    const failed = failure
    failure = undefined
    if (failed) throw failed.reason
  }
  const settled = async (): Promise<void> => {
    await writing
    check()
  }
  const write = async (step: number, copy: TrainState, measured: Measured | undefined): Promise<void> => {
    try {
      const fill = async (dir: string) => {
        await policy.save(dir, { trainable: copy.trainable })
        await saveState(dir, copy)
      }
      await folder.checkpoint(step, fill, limit, measured)
      written = step
    } catch (reason) {
      failure = { reason }
    } finally {
      disposeTree(copy)
    }
  }
  return {
    async save(step, state, measured) {
      await settled()
      const copy = await hostCopy(state)
      before(bytesOf(copy) + bytesOf(copy.trainable)) // weights lie in a checkpoint twice
      writing = write(step, copy, measured)
    },
    settled,
    check,
    get written() {
      return written
    },
  }
}

const bytesOf = (tree: unknown): number => tensorsOf(tree).reduce((sum, t) => sum + 4 * t.size, 0)
