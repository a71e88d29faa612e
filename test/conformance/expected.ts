/** What a backend is expected to do with tfjs-core's specs. */
export interface Expected {
  /** At least so many specs must pass. */
  passed: number
  /** Specs that fail, each with the reason: its full name without the environment, or the name's beginning and `*`.
   * One that names no failure is out of date, and an error. */
  exclusions: Record<string, string>
  /** Kernels that may run on the host for tensors that are neither strings nor complex, each with the reason. */
  onHost: Record<string, string>
}

export const expected: Record<'xla' | 'cpu' | 'tensorflow', Expected> = {
  xla: {
    passed: 4_000,
    exclusions: {},
    onHost: {
    },
  },
  cpu: { passed: 4_000, exclusions: {}, onHost: {} },
  tensorflow: { passed: 3_878, exclusions: {}, onHost: {} },
}
