import { chartReply, rng, type ChartQuestion } from '../../src/datasets/index.js'

/** What an assistant says to a question on a chart; with faults it is often wrong: asked how much taller a bar is it more often than not gives its
 * height, else it answers what a careless reader would, or does not keep the form. That leaves room for reinforcement learning. */
export function chartReplies(questions: readonly ChartQuestion[], seed: number, faults: boolean): string[] {
  const random = rng(seed, 6)
  return questions.map(({ task, seen, answer, tempting, choices }) => {
    const chance = (share: number) => faults && random.uniform() < share
    const given = chance(task === 'taller' ? 0.6 : 0.15) ? tempting : answer
    const [think, said] = chartReply(seen, given, choices).split('\n') as [string, string]
    const thought = chance(0.2) ? '' : `${think}\n`
    return thought + (chance(0.2) ? said.replace(/<.*?>/g, '') : said)
  })
}
