import { createRequire } from 'node:module'
import type * as TypeScript from '@tslab/typescript-for-tslab'

const require = createRequire(import.meta.url)

/** The compiler inside tslab, as it was before `compiler.ts` hands tslab an altered copy. */
export const ts = require('@tslab/typescript-for-tslab') as typeof TypeScript
