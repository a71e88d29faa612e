export { editImage, type EditOptions } from './editImage.js'
export { eulerStep, flowMatchSigmas } from './flowMatchEuler.js'
export { generate, positionsOf, type Draw, type Drawn, type Plan, type Prompts } from './generate.js'
export { keepLikely } from './keepLikely.js'
