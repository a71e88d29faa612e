import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
/** Collects garbage. What was registered for finalisation is told afterwards, in a later turn of the event loop. */
export const collect = runInNewContext('gc') as () => void
