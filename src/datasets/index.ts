// Generated problems
export { arithmeticProblems, OPERATIONS } from './arithmeticProblems.js'
export type { ArithmeticOptions, ArithmeticProblem, Operation } from './arithmeticProblems.js'
export { arithmeticPairs, type ArithmeticPair } from './arithmeticPairs.js'
export { corruptedReplies, type CorruptionRates, type Reply } from './corruptedReplies.js'
export { explainedReplies } from './explainedReplies.js'
export { packedEquations } from './packedEquations.js'
export { LANGUAGES, type Language } from './problemWords.js'
export { editScenes, readScene, type EditScene, type Scene, type Thing } from './editScenes.js'
export { freeScenes, type FreeEdit, type FreeScene, type FreeThing } from './freeScenes.js'
export { readFreeScene, type FoundScene, type FoundThing } from './readFreeScene.js'
export { ACTION_QUESTION, actionReply, CLIP_RATE, CLIP_SIDE, movingShapes, numbered, SHAPE_ACTIONS, type ShapeAction, type ShapeClip } from './movingShapes.js' // prettier-ignore
export { CHART_SIDE, CHART_TASKS, chartQuestions, chartReply, type ChartQuestion } from './chartQuestions.js'
export { clutteredSymbols, MODERATION_QUESTION, moderationReply, SYMBOL_LABELS, SYMBOL_SIDE, type SymbolLabel, type SymbolPicture } from './clutteredSymbols.js' // prettier-ignore
export type { Splits } from './splits.js'

// Files
export { gsm8k, type Gsm8kOptions, type Gsm8kRow } from './gsm8k.js'
export { imageEdits, type ImageEdit } from './imageEdits.js'
export { imagePreferences, type ImagePreference } from './imagePreferences.js'
export type { ImageRows, ImageRowsOptions } from './imageRows.js'
export { readJsonl, writeJsonl, type Row } from './jsonl.js'
export { readRows, streamRows } from './readRows.js'
export { transcriptPreferences } from './transcriptPreferences.js'
export { visionRows, type SkippedRow, type StoredPrompt, type VisionRow, type VisionRowsOptions } from './visionRows.js'
export { mathVista, mathVistaPrompts, type MathVistaRow } from './mathVista.js'
export { completionRows, preferenceRows, promptRows } from './trlRows.js'
export type { PreferenceRow, PromptCompletionRow, TextOrMessages } from './trlRows.js'

// Pictures and videos
export { sampleVideo, type VideoSampling } from '../io/sampleVideo.js'
export { readVideo, type DecodedVideo, type VideoOptions } from '../io/video.js'
export { sampleFrames, type FrameSampling } from '../io/qwen2VlProcessor.js'
export type { Video } from '../io/visionProcessor.js'
export { imagesToTensor, readImage, tensorToImages, writePng, type RgbImage } from '../io/images.js'
export { writeAnimation } from '../io/writeAnimation.js'
export { resize, type Filter } from '../io/resize.js'

export { addFault, QUALITY_FAULTS, type QualityFault } from './qualityFaults.js'

// What every data set shares
export type { Message } from '../io/tokenizer.js'
export { requireColumns } from './requireColumns.js'
export { rng, type Rng } from './rng.js'
