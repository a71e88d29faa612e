import { classScores, labelled, labelsOf, ratio, tally, type ClassOptions, type Label } from './classScores.js'
import type { Values } from './values.js'

export interface AverageOptions extends ClassOptions {
  /** How classes become one number. `macro` (default): their mean; `weighted`: their mean weighted by support; `micro`: from
   * their summed counts. */
  average?: 'macro' | 'micro' | 'weighted'
  /** Report this class alone instead of an average. */
  positive?: Label
}

/** One of a class's scores, over the classes as the options say. */
export function averaged(
  metric: 'precision' | 'recall' | 'f1',
  truth: Values<Label>,
  predicted: Values<Label | null>,
  { average = 'macro', positive, ...options }: AverageOptions,
): number {
  if (positive !== undefined) return classScores(truth, predicted, { labels: [positive] })[0]![metric]
  if (average === 'micro') return micro(metric, truth, predicted, options)
  const scores = classScores(truth, predicted, options)
  const weights = scores.map(score => (average === 'macro' ? 1 : score.support))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return ratio(
    scores.reduce((sum, score, i) => sum + weights[i]! * score[metric], 0),
    total,
  )
}

function micro(
  metric: 'precision' | 'recall' | 'f1',
  truth: Values<Label>,
  predicted: Values<Label | null>,
  options: ClassOptions,
): number {
  const [actual, guessed] = labelled(truth, predicted, metric)
  const counts = labelsOf(actual, guessed, options).map(label => tally(actual, guessed, label))
  const sum = (key: 'hits' | 'named' | 'support'): number => counts.reduce((total, count) => total + count[key], 0)
  switch (metric) {
    case 'precision':
      return ratio(sum('hits'), sum('named'))
    case 'recall':
      return ratio(sum('hits'), sum('support'))
    case 'f1':
      return ratio(2 * sum('hits'), sum('named') + sum('support'))
  }
}
