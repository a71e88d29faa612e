import assert from 'node:assert/strict'
import type { LanguagePolicy, Prompt, TokenRows, Trajectories } from '../../src/policies/index.js'

/** Draws greedily, and checks each row's tokens up to its end against those of transformers.
 * @param wanted [prompts, T]
 * @returns the trajectories, and how many tokens were drawn in all */
export async function drawnGreedily(
  policy: LanguagePolicy,
  prompts: readonly Prompt[],
  wanted: ArrayLike<number>,
  what = 'greedy',
): Promise<{ trajectories: Trajectories; drawn: number }> {
  const T = wanted.length / prompts.length
  const { trajectories } = await policy.sample(prompts, { greedy: true, max_completion_length: T, seed: 0 })
  const outputs = trajectories.outputs as TokenRows
  const [tokens, mask] = [await outputs.completion_ids.data(), await trajectories.mask.data()]
  const columns = outputs.completion_ids.shape[1]!
  let drawn = 0
  for (let b = 0; b < prompts.length; b++)
    for (let t = 0; t < columns && mask[b * columns + t]; t++, drawn++)
      assert.equal(tokens[b * columns + t], wanted[b * T + t], `${what}: row ${b}, token ${t}`)
  return { trajectories, drawn }
}
