import assert from 'node:assert/strict'
import { Fields, readJson } from '../../src/io/json.js'
import { bestResolution } from '../../src/io/llavaOnevisionProcessor.js'
import { llavaConfig } from '../../src/models/llava.js'
import { imageUnits, llavaOnevisionConfig, videoUnits } from '../../src/models/llavaOnevision.js'
import { fixture } from './fixture.js'

describe('LLaVA', () => {
  it('takes layers of its tower by their number, and refuses what is unsound by its name', async () => {
    const json = await readJson(fixture('llava/config.json'))
    const read = (change: object) => llavaConfig(new Fields({ ...json, ...change }, 'config.json'))
    assert.deepEqual(read({}).depths, [2]) // of three
    assert.deepEqual(read({ vision_feature_layer: [-1, 0, 1, -4] }).depths, [3, 0, 1, 0])
    const cases: [change: object, message: RegExp][] = [
      [{ vision_feature_layer: 4 }, /vision_feature_layer is 4, needed integers from -4 to 3/],
      [{ vision_feature_layer: [] }, /vision_feature_layer is \[\], needed integers/],
      [
        { vision_feature_select_strategy: 'cls' },
        /vision_feature_select_strategy is "cls", needed "default" or "full"/,
      ],
      [{ projector_hidden_act: 'relu' }, /projector_hidden_act is "relu", needed "gelu" or/],
      [{ text_config: { model_type: 'opt' } }, /text_config: model_type is "opt", needed "llama" or "qwen2"/],
      [
        { vision_config: { model_type: 'dinov2' } },
        /vision_config: model_type is "dinov2", needed "clip_vision_model" or/,
      ],
    ]
    for (const [change, message] of cases) assert.throws(() => read(change), message)
  })
})

describe('LLaVA-OneVision', () => {
  /** Tiles of patches × patches. */
  async function config(patches: number, change: object = {}) {
    const json = await readJson(fixture('llava_onevision/config.json'))
    const vision_config = { ...(json['vision_config'] as object), patch_size: 16 / patches }
    return llavaOnevisionConfig(new Fields({ ...json, vision_config, ...change }, 'config.json'))
  }
  const places = (units: ReturnType<typeof videoUnits>) => units.map(unit => unit.map(([place]) => place).join(' '))

  it('picks the grid that keeps most of a picture, and of several such the smallest', () => {
    const sizes = [[16, 16], [16, 32], [32, 16], [32, 32]] as const // prettier-ignore
    assert.deepEqual(bestResolution([10, 12], sizes), [16, 16])
    assert.deepEqual(bestResolution([15, 40], sizes), [16, 32])
    assert.deepEqual(bestResolution([90, 100], sizes), [32, 32])
  })

  it('reads a grid row by row across its tiles, behind the whole, without the rows that pad it', async () => {
    const two = await config(2, { image_grid_pinpoints: [[16, 32]], vision_aspect_ratio: 'anyres_max_9' })
    assert.deepEqual(places(imageUnits(two, 1, 3, [16, 32])), ['1', '2', '3', '4', '5', '6', '9', '10', '0', '7', '8', '11', '12', '0']) // prettier-ignore
    assert.deepEqual(places(imageUnits(two, 1, 1, [16, 32])), ['1', '2', '3', '4', '0'])
    const four = await config(2, { image_grid_pinpoints: [[32, 32]], vision_aspect_ratio: 'anyres_max_9' })
    assert.deepEqual(places(imageUnits(four, 0, 5, [8, 32]).slice(4)), ['6', '7', '10', '11', '0', '12', '13', '16', '17', '0']) // prettier-ignore
  })

  it('interpolates where there are too many, and frames to half their side', async () => {
    const one = await config(2, { image_grid_pinpoints: [[32, 32]], vision_aspect_ratio: 'anyres_max_1' })
    const quarter = (...places: number[]) => places.map(place => [place, 0.25])
    assert.deepEqual(imageUnits(one, 0, 5, [32, 32]).slice(4, 6), [quarter(4, 5, 6, 7), quarter(8, 9, 10, 11)])
    assert.deepEqual(videoUnits(await config(2), 1, 2), [quarter(1, 2, 3, 4), quarter(5, 6, 7, 8), [[0, 1]]])
    const [first] = videoUnits(await config(3.2), 1, 1) // three patches a side and a rest: 3 → 2, each 1.5 wide
    assert.deepEqual(first, [[1, 0.5625], [2, 0.1875], [4, 0.1875], [5, 0.0625]]) // prettier-ignore
  })

  it('refuses grids that are not made of tiles', async () => {
    await assert.rejects(config(2, { image_grid_pinpoints: [[16, 20]] }), /image_grid_pinpoints is \[\[16,20\]\], needed heights and widths that are multiples of 16/) // prettier-ignore
    await assert.rejects(
      config(2, { vision_aspect_ratio: 'pad' }),
      /vision_aspect_ratio is "pad", needed "anyres_max_" and/,
    )
    await assert.rejects(config(2, { vision_feature_select_strategy: 'default' }), /vision_feature_select_strategy is "default", needed one/) // prettier-ignore
  })
})
