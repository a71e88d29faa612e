import { bootstrapRatio, type BootstrapOptions } from './bootstrapInterval.js'
import { ratio } from './classScores.js'
import { bounds, checkLabels, countsOf, indicator, ratesOf, sum, type Labels } from './labelScores.js'
import { flagsAtFalsePositiveRate } from './thresholdSweep.js'
import { pairOf } from './values.js'

/** One seed's judgements of the held-out items. */
export interface FlaggingSeed {
  /** [N] the labels that the trained policy gives each item. */
  trained: readonly Labels[]
  /** [N] those of the policy that training started from. */
  start: readonly Labels[]
  /** By label [N]: how strongly the start holds that an item has it, as its probability of saying so. */
  scores: Readonly<Record<string, readonly number[]>>
}

export interface FlaggingRow {
  /** `all`: the labels together, from their summed counts. */
  label: string
  policy: 'trained' | 'start' | 'start, threshold shifted' | 'always flag'
  recall: number
  recall_low: number
  recall_high: number
  precision: number
  precision_low: number
  precision_high: number
  f1: number
  falsePositiveRate: number
  /** By how much the trained policy's recall is above this row's, paired by item and seed; null in its own row. */
  gain: number | null
  gain_low: number | null
  gain_high: number | null
}

/** Whether training taught to tell labels apart, or just to flag more: the trained policy beside its start, beside the start with the
 * threshold on its scores shifted until each label's false-positive rate is the trained policy's, and beside flagging everything.
 *
 * The shifted threshold is chosen on the same items, which favours it; items at the threshold count by the share that gives the exact rate.
 * @param truth [N] the labels of each item
 * @param seeds one entry a seed, all judged on the same items; intervals resample seeds and items
 * @returns for each label, then for `all`: four rows
 * @throws if there is no seed, lists differ in length; naming a label that all items or none have, that has no scores, or the row of an unknown one */
export function compareFlagging(
  truth: readonly Labels[],
  seeds: readonly FlaggingSeed[],
  labels: Labels,
  options: BootstrapOptions = {},
): FlaggingRow[] {
  checkLabels(truth, labels, 'compareFlagging')
  if (seeds.length === 0) throw new Error('compareFlagging: got no seed, needed at least one.')
  const judged = labels.map(label => judge(truth, seeds, label))
  const pooled = labels.length > 1 ? [{ label: 'all', of: judged }] : []
  return [...judged.map(one => ({ label: one.label, of: [one] })), ...pooled].flatMap(({ label, of }) =>
    POLICIES.map(policy => ({ label, policy, ...scores(of, policy, options) })),
  )
}

const POLICIES = ['trained', 'start', 'start, threshold shifted', 'always flag'] as const

/** What the policies say of one label. */
interface Judged {
  label: string
  /** [N] 1 where an item has it. */
  actual: number[]
  /** [S][N] whether it is flagged; at a threshold the probability. */
  flags: Record<FlaggingRow['policy'], number[][]>
}

function judge(truth: readonly Labels[], seeds: readonly FlaggingSeed[], label: string): Judged {
  const actual = indicator(truth, label)
  const positives = sum(actual)
  if (positives === 0 || positives === actual.length)
    throw new Error(
      `compareFlagging: ${positives} of ${actual.length} items have the label ${label}, needed some that do and some that do not.`,
    )
  const read = (items: readonly Labels[]): number[] =>
    indicator(pairOf(truth, items, `compareFlagging, ${label}`)[1], label)
  const trained = seeds.map(seed => read(seed.trained))
  const shifted = seeds.map((seed, s) => {
    const given = seed.scores[label]
    if (given === undefined)
      throw new Error(`compareFlagging: seed ${s} has no scores of ${label} (got ${Object.keys(seed.scores).join(', ')}).`) // prettier-ignore
    const { falsePositiveRate } = ratesOf(countsOf(actual, trained[s]!))
    return flagsAtFalsePositiveRate(actual.map(Boolean), given, falsePositiveRate)
  })
  return {
    label,
    actual,
    flags: {
      trained,
      start: seeds.map(seed => read(seed.start)),
      'start, threshold shifted': shifted,
      'always flag': seeds.map(() => actual.map(() => 1)),
    },
  }
}

/** A policy's figures over one label or several. */
function scores(of: readonly Judged[], policy: FlaggingRow['policy'], options: BootstrapOptions) {
  /** [S][N] a value of each item's flag, added up over the labels. */
  const over = (value: (actual: number, flag: number, trained: number) => number): number[][] =>
    of[0]!.flags[policy].map((seed, s) =>
      seed.map((_, i) =>
        sum(of.map(({ actual, flags }) => value(actual[i]!, flags[policy][s]![i]!, flags.trained[s]![i]!))),
      ),
    )
  const hits = over((actual, flag) => actual * flag)
  const positives = over(actual => actual)
  const total = (value: (actual: number, flag: number) => number): number => sum(over(value).map(sum))
  const recall = bootstrapRatio(hits, positives, options)
  const precision = bootstrapRatio(hits, over((_, flag) => flag), options) // prettier-ignore
  const gain = bootstrapRatio(over((actual, flag, trained) => actual * (trained - flag)), positives, options) // prettier-ignore
  const { mean, low, high } = policy === 'trained' ? { mean: null, low: null, high: null } : gain
  return {
    recall: recall.mean,
    ...bounds('recall', recall),
    precision: precision.mean,
    ...bounds('precision', precision),
    f1: ratio(2 * total((actual, flag) => actual * flag), total((actual, flag) => actual + flag)), // prettier-ignore
    falsePositiveRate: ratio(total((actual, flag) => (1 - actual) * flag), total(actual => 1 - actual)), // prettier-ignore
    gain: mean,
    gain_low: low,
    gain_high: high,
  }
}
