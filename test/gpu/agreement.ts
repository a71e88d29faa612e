import { METHODS, type Method } from '../acceptance/shortRuns.js'
import type { Row } from '../../src/optimizers/index.js'

export type Rows = Record<Method, Row[]>

/** Of a first update's loss and gradient norm, relative: float32 sums in another order. */
const FIRST = 1e-5
/** Of later losses: AdamW's first updates have the size of the learning rate whatever the gradient's, so that they carry the
 * difference of a gradient near zero into the weights in full. */
const LATER = 1e-3

/** How the same updates differ between two devices or backends; nothing if they agree.
 * @returns a sentence for each number that is out of tolerance */
export function differences(rows: Rows, reference: Rows): string[] {
  return METHODS.flatMap(method =>
    reference[method].flatMap((expected, i) => {
      const found = rows[method][i]
      const checked = i === 0 ? ['loss', 'grad_norm'] : ['loss']
      return checked.flatMap(name => {
        const [x, y] = [Number(found?.[name]), Number(expected[name])]
        const close = Math.abs(x - y) <= (i === 0 ? FIRST : LATER) * Math.abs(y)
        return close ? [] : [`${method}, step ${i + 1}: ${name} is ${x}, reference ${y}`]
      })
    }),
  )
}

/** Milliseconds of the fastest update of each method, the first left out, which compiles. */
export function stepTimes(rows: Rows): Record<Method, number> {
  const fastest = (method: Method) => Math.min(...rows[method].slice(1).map(row => 1000 * Number(row['step_time'])))
  return Object.fromEntries(METHODS.map(method => [method, fastest(method)])) as Record<Method, number>
}
