// What a reward is
export { completionText, textReward } from './reward.js'
export type { Completion, Reward, RewardBatch, Score } from './reward.js'

// Numbers and classes
export { answerFormat } from './answerFormat.js'
export { editVerified, sceneMatch } from './editVerified.js'
export { freeEditVerified } from './freeEditVerified.js'
export { exactAnswer } from './exactAnswer.js'
export { namedOperation, operationClass } from './operationClass.js'

// Form
export { completionLength, type CompletionLengthOptions } from './completionLength.js'
export { textHeuristic, type TextHeuristicOptions } from './textHeuristic.js'
export { thinkAnswerFormat } from './thinkAnswerFormat.js'

// Seeing and judging
export { actionIou, actions } from './actionIou.js'
export { answerText } from './answerText.js'
export { extractMathVista, mathVistaAnswer, normalizeMathVista } from './mathVistaAnswer.js'
export type { MathVistaForm, MathVistaOptions } from './mathVistaAnswer.js'
export { flaggedLabels, moderation, type ModerationOptions } from './moderation.js'

// Pictures
export { aesthetic } from './aesthetic.js'
export { autoQC, type AutoQc, type QualityPart, type QualityRow } from './autoQc.js'
export { clipSimilarity } from './clipSimilarity.js'
export { pickScore } from './pickScore.js'
export { preservation } from './preservation.js'
export { psnr } from './psnr.js'
export { ssim } from './ssim.js'

// Several rewards
export { advantageShares } from './advantageShares.js'
export { checkedScores, REWARD_TIMEOUT } from './checkedScores.js'
export { checkRewards, type RewardSummary } from './checkRewards.js'
export { scalarize } from './scalarize.js'
export type { RunningStatistics, Scalarized, ScalarizeOptions } from './scalarize.js'
export { weighted, type Scored, type WeightedReward, type WeightedRewards, type Weights } from './weighted.js'
