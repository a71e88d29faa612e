import { nameOf, PLACES, readScene, type Scene } from '../datasets/editScenes.js'
import { isRgbImage } from '../io/images.js'
import { readColumn, type Reward, type RewardBatch, type Score } from './reward.js'

/** Whether an edit of a data set of editScenes was done: 1 if each place shows what the column `expected` says, clearly enough to be
 * nearer to its drawing than 0.1 (root mean square, of values in 0 … 1), and nothing else; else 0.
 * @param options.partial this part of the score is not all or nothing: the share of the places that the edit should change which
 *   show what they should. Default 0
 * @throws naming the row whose completion is no picture of editScenes' size, or a missing column */
export function editVerified({ partial = 0 }: { partial?: number } = {}): Reward {
  if (!(partial >= 0 && partial <= 1)) throw new Error(`editVerified: partial is ${partial}, needed 0 … 1.`)
  return sceneReward('editVerified', ['source', 'expected'], (found, [source, expected], distances) => {
    const right = PLACES.map((_, at) => nameOf(found[at]!) === nameOf(expected![at]!) && distances[at]! < CLEAR)
    const changed = PLACES.flatMap((_, at) => (nameOf(source![at]!) === nameOf(expected![at]!) ? [] : [at]))
    const share = changed.filter(at => right[at]).length / Math.max(1, changed.length)
    return (1 - partial) * Number(right.every(Boolean)) + partial * share
  })
}

const CLEAR = 0.1

/** How well a picture of editScenes shows the things that the column `expected` lists, place by place.
 * @param options.measure `precision`: of the places that show a thing, how many rightly; `recall`: of those that should; `f1`, their
 *   harmonic mean. Default f1
 * @param options.attribute what of a thing must be right. Default all
 * @throws naming the row whose completion is no picture of editScenes' size, or a missing column */
export function sceneMatch({
  measure = 'f1',
  attribute = 'all',
}: { measure?: 'precision' | 'recall' | 'f1'; attribute?: 'shape' | 'colour' | 'all' } = {}): Reward {
  return sceneReward('sceneMatch', ['expected'], (found, [expected]) => {
    const listed = (scene: Scene): Set<string> =>
      new Set(
        scene.flatMap((thing, at) =>
          thing ? [`${at} ${attribute === 'all' ? nameOf(thing) : thing[attribute]}`] : [],
        ),
      )
    const [shown, asked] = [listed(found), listed(expected!)]
    const hits = [...shown].filter(item => asked.has(item)).length
    const share = (of: number) => (of === 0 ? Number(shown.size === asked.size) : hits / of)
    switch (measure) {
      case 'precision':
        return share(shown.size)
      case 'recall':
        return share(asked.size)
      case 'f1':
        return share((shown.size + asked.size) / 2)
    }
  })
}

function sceneReward(
  name: string,
  columns: readonly string[],
  score: (found: Scene, values: readonly Scene[], distances: readonly number[]) => number,
): (batch: RewardBatch) => Score[] {
  return batch => {
    const read = columns.map(column => readColumn(name, batch, column))
    return batch.completions.map((completion, row) => {
      if (!isRgbImage(completion)) throw new Error(`${name}, row ${row}: the completion is text, needed a picture.`)
      const { scene, distances } = readScene(completion)
      return score(
        scene,
        read.map(values => values[row] as Scene),
        distances,
      )
    })
  }
}
