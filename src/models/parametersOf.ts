import type { Parameter } from '../io/checkpoint.js'

/** Parameters of a part of a model.
 * @param layers what `*` of a name counts
 * @param shapes by names below the part's
 * @param stored the part's name in checkpoints, with its dot
 * @param path the same in the weight tree */
export const parametersOf = (
  layers: number,
  shapes: Record<string, number[]>,
  stored = '',
  path = stored,
): Parameter[] =>
  Object.entries(shapes).map(([name, shape]) => ({
    name: stored + name,
    path: path + name.replace('.*', ''),
    shape,
    ...(name.includes('*') ? { layers } : {}),
  }))
