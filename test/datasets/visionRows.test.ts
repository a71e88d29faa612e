import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readVideo, visionRows, writeJsonl, type VisionRowsOptions } from '../../src/datasets/index.js'
import { fixture } from '../models/fixture.js'

const VIDEO = 'videos/h264.mp4' // 12 frames, 8 a second
const ask = { from: 'human', value: '<video>\nWhich actions?' }
const reply = { from: 'gpt', value: '<answer>(1) lift (2) turn</answer>' }
const good = { id: 0, conversations: [ask, reply], video: VIDEO }

describe('visionRows', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'rewardlab-rows-'))))
  after(() => rmSync(dir, { recursive: true }))

  function read(rows: readonly object[], options: VisionRowsOptions = {}) {
    const path = join(dir, 'rows.jsonl')
    writeJsonl(path, rows)
    return visionRows(path, { root: fixture('.'), ...options })
  }

  it('reads conversations with a video, and decodes it when the prompt is opened', async () => {
    const meta = { frame_cnts: [8, 4], min_frames: 4, max_frames: 6, dynamic_sample: false }
    const [row] = await read([{ ...good, meta }])
    const content = [{ type: 'video' }, { type: 'text', text: '\nWhich actions?' }]
    assert.deepEqual(row!.prompt.prompt, [{ role: 'user', content }])
    assert.deepEqual([row!.completion, row!.answer, row!['id']], [reply.value, reply.value, 0])
    const { videos, images } = await row!.prompt.open()
    const whole = await readVideo(fixture(VIDEO))
    assert.deepEqual(
      videos[0]!.frames,
      [0, 2, 4, 6, 8, 10].map(i => whole.frames[i]),
    ) // 6: 4 of 8, 2 of 4
    assert.deepEqual([videos[0]!.fps, images], [4, []])
  })

  it('takes two frames a second where nothing else is said', async () => {
    const [row] = await read([good])
    const [video] = (await row!.prompt.open()).videos
    assert.deepEqual(video!.timestamps, [0, 0.375, 0.75, 1.125]) // 1.5 s: at least min_frames, 4
  })

  it("reads TRL's messages and prompts, pictures as paths or bytes, each turn of the assistant a row", async () => {
    const user = (text: string) => ({ role: 'user', content: [{ type: 'image' }, { type: 'text', text }] })
    const says = (content: string) => ({ role: 'assistant', content })
    const images = ['images/rgb.png', { path: 'images/grey.png' }]
    const rows = await read([
      { messages: [user('This?'), says('Red.'), user('And this?'), says('Grey.')], images },
      { prompt: [{ role: 'user', content: 'What?' }], images, answer: 7 },
      { prompt: '<|image_pad|>?', completion: 'Red.', images: images.slice(0, 1) },
    ])
    assert.deepEqual(rows.map(({ completion, answer }) => [completion, answer]), [['Red.', 'Red.'], ['Grey.', 'Grey.'], [undefined, 7], ['Red.', 'Red.']]) // prettier-ignore
    const opened = await Promise.all(rows.map(row => row.prompt.open()))
    assert.deepEqual(opened.map(found => found.images.length), [1, 2, 2, 1]) // prettier-ignore
    assert.ok(rows.every(row => !('images' in row) && !('messages' in row)))
  })

  it('names the row that does not fit, or leaves it out and says so', async () => {
    const bad: [object, RegExp][] = [
      [{ ...good, conversations: [{ from: 'human', value: 'Which?' }, reply] }, /rows\.jsonl, row 1: 0 marks <video> for 1 video/],
      [{ ...good, conversations: [{ from: 'human', value: '<video><video>' }, reply] }, /row 1: 2 marks <video> for 1/],
      [{ ...good, conversations: [{ from: 'human', value: '<image><video>' }, reply] }, /row 1: 1 marks <image> for 0/],
      [{ ...good, video: 'none.mp4' }, /row 1: video 0: there is no file .*none\.mp4/],
      [{ ...good, video: 7 }, /row 1: video 0 is 7, needed a path or bytes/],
      [{ ...good, conversations: [{ from: 'robot', value: '' }] }, /row 1: turn 0 is .*needed \{ from: 'human' or 'gpt'/],
      [{ ...good, meta: { frame_cnts: 'many' } }, /row 1: meta\.frame_cnts is "many", needed whole numbers/],
      [{ id: 3 }, /row 1: found id, needed conversations, messages or prompt/],
    ] // prettier-ignore
    for (const [row, message] of bad) await assert.rejects(read([good, row]), message)
    const rows = await read([good, ...bad.map(([row]) => row), good], { bad_rows: 'skip' })
    assert.equal(rows.length, 2)
    assert.deepEqual(rows.skipped.map(({ row }) => row), bad.map((_, i) => i + 1)) // prettier-ignore
    await assert.rejects(read([bad[0]![0]], { bad_rows: 'skip' }), /holds no row that can be used/)
  })

  it('names row and file of a video that cannot be decoded', async () => {
    writeFileSync(join(dir, 'broken.mp4'), 'broken')
    const [row] = await read([{ ...good, video: join(dir, 'broken.mp4') }])
    await assert.rejects(row!.prompt.open(), /rows\.jsonl, row 0: video 0: readVideo: .*broken\.mp4/)
  })
})
