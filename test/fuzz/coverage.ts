import { Session, type Profiler } from 'node:inspector'

/** Which parts of the parsers have run, as V8 counts them: ours, and those of the packages that are JavaScript. */
export class Coverage {
  readonly #session = new Session()
  readonly #seen = { alone: new Set<string>(), together: new Set<string>() }

  constructor() {
    this.#session.connect()
    this.#session.post('Profiler.enable')
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  get size(): number {
    return this.#seen.alone.size
  }

  /** How many parts ran since the last call that never ran so often before, by powers of 4: in an input alone, or in many together. The two are told
   * apart, since what ran for the first time among many is still new in the one input that reached it. */
  take(of: 'alone' | 'together'): number {
    const seen = this.#seen[of]
    let fresh = 0
    this.#session.post('Profiler.takePreciseCoverage', (error, { result }: Profiler.TakePreciseCoverageReturnType) => {
      if (error) throw error
      for (const { url, scriptId, functions } of result) {
        if (!/\/(dist\/src|node_modules)\//.test(url)) continue
        for (const { ranges } of functions)
          for (const { startOffset, endOffset, count } of ranges) {
            if (count === 0) continue
            const key = `${scriptId}:${startOffset}:${endOffset}:${Math.floor(Math.log2(count) / 2)}`
            if (!seen.has(key)) fresh++
            seen.add(key)
          }
      }
    })
    return fresh
  }
}
