import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { trainBpe } from '../../../data/make/trainBpe.js'
import { arithmeticProblems, rng } from '../../../src/datasets/index.js'
import { loadTokenizer, type Tokenizer } from '../../../src/io/tokenizer.js'

const SPECIALS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
const corpus = arithmeticProblems({ seed: 2, size: 200 }).train.map(
  ({ question, completion }) => `${question}\n${completion}`,
)

describe('trainBpe', () => {
  let dir: string
  let tokenizer: Tokenizer
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'bpe-'))
    await writeFile(join(dir, 'tokenizer.json'), JSON.stringify(trainBpe(corpus, 400, SPECIALS)))
    tokenizer = await loadTokenizer(dir)
  })
  after(() => rm(dir, { recursive: true }))

  const tokens = (text: string) => tokenizer.encode(text).map(id => tokenizer.decode([id], { specials: true }))

  it('merges what is frequent, and words no further than the vocabulary goes', () => {
    assert.deepEqual(tokens('How many are left?'), ['How', ' many', ' are', ' left', '?'])
    assert.ok(tokenizer.encode('unheard-of').length > 5)
    const ids = corpus.flatMap(text => tokenizer.encode(text))
    assert.ok(Math.max(...ids) < 400 - SPECIALS.length)
    assert.ok(ids.length < 0.5 * corpus.join('').length)
  })

  it('keeps frequent numbers whole, and never joins them with what stands beside them', () => {
    assert.deepEqual(tokens('add: 12+7x12'), ['add', ':', ' ', '12', '+', '7', 'x', '12'])
  })

  it('gives special tokens the last ids', () => {
    assert.deepEqual(tokenizer.encode(SPECIALS.join('')), [397, 398, 399])
  })

  it('gives back any text, composed', () => {
    const random = rng(4)
    /** Any code point but the halves of surrogate pairs, most of them low. */
    const codePoint = () => {
      const code = random.int(0x110000 >> random.int(14))
      return code >= 0xd800 && code < 0xe000 ? 0x1f642 : code
    }
    for (let i = 0; i < 500; i++) {
      const text = Array.from({ length: 1 + random.int(30) }, () => String.fromCodePoint(codePoint())).join('')
      assert.equal(tokenizer.decode(tokenizer.encode(text)), text.normalize('NFC'), JSON.stringify(text))
    }
  })

  it('depends on the corpus alone', () => {
    assert.deepEqual(trainBpe(corpus, 300, SPECIALS), trainBpe([...corpus].reverse(), 300, SPECIALS))
  })
})
