import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { readExperiment } from '../../src/cli/experiment.js'
import { readRows } from '../../src/datasets/index.js'
import { openCheckpoint, treeOf } from '../../src/io/checkpoint.js'
import { readImage } from '../../src/io/images.js'
import { readFields } from '../../src/io/json.js'
import { parsedBytes, requireRoom } from '../../src/io/requireRoom.js'
import { openSafetensors } from '../../src/io/safetensors.js'
import { loadTokenizer } from '../../src/io/tokenizer.js'
import { readVideo } from '../../src/io/video.js'
import { readContainer, reader } from '../../src/io/videoContainer.js'
import { latestCheckpoint } from '../../src/runs/index.js'
import { fixture } from '../models/fixture.js'

/** Files that were made to do harm: each is answered with an Error that says what is wrong. */
describe('hostile files', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'hostile-'))))
  after(() => rmSync(dir, { recursive: true }))
  const file = (name: string, content: string | Buffer): string => {
    const path = join(dir, name)
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, content)
    return path
  }

  describe('safetensors', () => {
    const stored = (header: string, bytes = 0): string => {
      const length = Buffer.alloc(8)
      length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)))
      return file('a.safetensors', Buffer.concat([length, Buffer.from(header), Buffer.alloc(bytes)]))
    }
    const one = (fields: string) => `{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], ${fields}}}`
    const cases: [what: string, header: string, message: RegExp][] = [
      ['a name that comes twice', '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {"dtype": "I32", "shape": [1], "data_offsets": [0, 4]}}', /a name comes twice/], // prettier-ignore
      ['a field that comes twice', one('"dtype": "I32"'), /a name comes twice/],
      ['a type that every object has', '{"a": {"dtype": "constructor", "shape": [1], "data_offsets": [0, 4]}}', /dtype "constructor"\. Supported are F32/], // prettier-ignore
      ['sizes whose product overflows', '{"a": {"dtype": "F32", "shape": [9007199254740991, 9007199254740991], "data_offsets": [0, 4]}}', /has 4 bytes in data_offsets, needed 3\.2\d+e\+32/], // prettier-ignore
      ['a size that is no whole number', '{"a": {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 4]}}', /lacks a sound shape/], // prettier-ignore
      ['offsets that run backwards', '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}}', /has -4 bytes/],
      ['metadata that are no texts', '{"__metadata__": {"a": 1}}', /__metadata__ is not an object of texts/],
      ['nesting', `${'['.repeat(1e5)}${']'.repeat(1e5)}`, /JSON nested more than 100 deep/],
      ['a long name', `{"${'x'.repeat(1e5)}": 1}`, /^Error: .{0,300}lacks a sound shape.{0,200}$/],
    ]
    for (const [what, header, message] of cases)
      it(`refuses ${what}`, () => assert.rejects(openSafetensors(stored(header, 4)), message))

    it('refuses a header of 2⁶⁴ − 1 bytes', () =>
      assert.rejects(openSafetensors(file('b.safetensors', Buffer.alloc(64, 0xff))), /a header of 1844\d+ bytes/))

    it('keeps shards in their folder', async () => {
      for (const shard of ['../x.safetensors', '/x.safetensors', '..\\x.safetensors', 'x.bin', 5]) {
        file('shards/model.safetensors.index.json', JSON.stringify({ weight_map: { a: shard } }))
        await assert.rejects(openCheckpoint(join(dir, 'shards')), /weight_map names .*needed names of safetensors files beside it/) // prettier-ignore
      }
    })

    it('says how to convert pickles, and reads none', async () => {
      for (const name of [
        'pytorch_model.bin',
        'adapter_model.bin',
        'model.pt',
        'model.ckpt',
        'pytorch_model.bin.index.json',
      ]) {
        file(`pickle/${name}/${name}`, 'x')
        await assert.rejects(openCheckpoint(join(dir, 'pickle', name)), /found ".*", needed model\.safetensors\. Pickles may run any code .* save_file\(torch\.load\(FILE, weights_only=True\)/) // prettier-ignore
      }
      for (const start of ['504b030414000808', '80028a0a6cfc9c46'])
        await assert.rejects(openSafetensors(file('c.safetensors', Buffer.from(start.repeat(8), 'hex'))), /found a pickle of Python\. Pickles may run/) // prettier-ignore
    })

    it('builds no tree that reaches into what all objects inherit', () => {
      for (const path of ['__proto__.polluted', 'constructor.prototype.polluted', 'a.__proto__']) {
        try {
          treeOf([[path, tf.scalar(1)]])
        } catch (error) {
          assert.match((error as Error).message, /has no place beside the other leaves/)
        }
        assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
      }
      const leaf = tf.scalar(1)
      assert.throws(() => treeOf([['a', leaf], ['a.b', leaf]]), /"a\.b" has no place/) // prettier-ignore
    })
  })

  describe('JSON', () => {
    it('refuses what is no file, or larger than any', async () => {
      symlinkSync('/dev/zero', join(dir, 'zero.json'))
      await assert.rejects(readFields(join(dir, 'zero.json')), /zero\.json: not a plain file/)
      await assert.rejects(readFields(dir), /a folder, needed a file/)
      truncateSync(file('large.json', '{}'), 100e6 + 1)
      await assert.rejects(readFields(join(dir, 'large.json')), /100000001 bytes, needed at most 100000000/)
    })

    it('takes no size beyond any model’s', async () => {
      const fields = await readFields(file('sizes.json', '{"layers": 1e9, "theta": 1e999}'))
      assert.throws(() => fields.count('layers'), /layers is 1000000000, needed an integer ≥ 1, at most 16777216/)
      assert.throws(() => fields.number('theta'), /theta is null, needed a number > 0/)
    })
  })

  describe('rows', () => {
    it('ends a line that does not', async () => {
      const path = file('line.jsonl', '{')
      truncateSync(path, 101e6)
      await assert.rejects(readRows(path), /line 1: more than 100000000 bytes, needed a JSON object a line/)
    })

    it('counts what JSON or a table would take, before it is parsed', () => {
      assert.equal(parsedBytes(Buffer.from('[{"a":1},[2]]')), 13 + 64 * 4)
      assert.throws(() => requireRoom(1e12, 'a.json', 'Split it.'), /a\.json: takes about 931\.3 GB of memory, and this process has \d+\.\d GB for it\. Split it\./) // prettier-ignore
    })

    it('refuses a column that no table can hold', async () => {
      await assert.rejects(readRows(file('a.csv', 'a,__proto__\n1,2\n')), /a\.csv: a column is called __proto__/)
    })

    it('decodes Parquet in a thread of its own, whatever lengths it declares', async () => {
      const bytes = readFileSync(fixture('rows/snappy.parquet'))
      for (let at = 4; at < bytes.length; at += 1499) {
        const broken = Buffer.from(bytes)
        broken.fill(0xff, at, at + 8)
        await readRows(file('broken.parquet', broken)).catch((error: Error) => assert.match(error.message, /^readRows: .*broken\.parquet: /)) // prettier-ignore
      }
    })
  })

  it('YAML: bombs of aliases, tags, doubled keys, and names that all objects have', async () => {
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x, x]', ...'bcdefgh'.split('').map((key, i) => `${key}: &${key} [${`*${'abcdefgh'[i]},`.repeat(10)}]`)].join('\n') // prettier-ignore
    const cases: [text: string, message: RegExp][] = [
      [bomb, /no YAML: Excessive alias count/],
      ['optimizer: !!js/function "function () {}"', /no YAML: Unresolved tag/],
      ['optimizer: sft\noptimizer: dpo', /no YAML: Map keys must be unique/],
      ['__proto__: {polluted: 1}', /unknown key "__proto__"/],
      ['optimizer: constructor', /optimizer is "constructor", needs one of/],
      [`a: ${'['.repeat(1e5)}`, /no YAML: nested more than 200 deep/],
      [`a:\n  ${'- '.repeat(1e5)}`, /no YAML: nested more than 200 deep/],
      [`a: ${'x'.repeat(2 ** 20)}`, /needed at most 1048576/],
    ]
    for (const [text, message] of cases) await assert.rejects(readExperiment(file('a.yaml', text)), message)
    await assert.rejects(readExperiment(file('a.yaml', 'optimizer: sft'), ['__proto__.polluted=1']), /unknown field/)
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
  })

  describe('tokenizers and chat templates', () => {
    const folder = (name: string, template: string): string => {
      file(`${name}/tokenizer.json`, JSON.stringify({ model: { type: 'WordLevel', vocab: { a: 0, '[UNK]': 1 }, unk_token: '[UNK]' }, added_tokens: [], pre_tokenizer: { type: 'Split', pattern: { Regex: '(a+)+$' }, behavior: 'Isolated', invert: false }, normalizer: null, post_processor: null, decoder: null })) // prettier-ignore
      file(`${name}/chat_template.jinja`, template)
      return join(dir, name)
    }

    it('ends a regular expression that does not', async function () {
      const tokenizer = await loadTokenizer(folder('pattern', ''))
      assert.throws(() => tokenizer.encode(`${'a'.repeat(40)}b`), /tokenizer\.json: a text of 41 characters \(a regular expression in the file\?\): not done after 2\.\d+ s, and was stopped/) // prettier-ignore
    })

    const ends = /the chat template refused the messages: .*(does not end|at most a million|stopped|not a function)/
    const loop = (n: number) => '{% for i in range(999999) %}'.repeat(n) + '{% endfor %}'.repeat(n)
    const doubled = (what: string) => `{% set ns = namespace(x=${what}) %}{% for i in range(64) %}{% set ns.x = ns.x + ns.x %}{% endfor %}` // prettier-ignore
    for (const template of [
      loop(3),
      doubled('"ab"'),
      doubled('[1]'),
      '{%- macro f(x) -%}{{ f(x|replace("a", "b")) }}{%- endmacro -%}{{ f("a") }}',
      '{{ range(10**12) }}',
      '{{ "a\nb"|indent(300000000) }}',
    ])
      // prettier-ignore
      it(`ends ${JSON.stringify(template).slice(0, 70)}`, async () => {
        const tokenizer = await loadTokenizer(folder('template', template))
        assert.throws(() => tokenizer.chat([{ role: 'user', content: 'x' }]), ends)
      })

    it('gives a template nothing but the messages', async () => {
      for (const reach of ['messages.constructor', '"".constructor', 'messages.__proto__', 'globalThis', 'process']) {
        const tokenizer = await loadTokenizer(folder('reach', `{{ ${reach} is defined }}`))
        assert.equal(tokenizer.chat([{ role: 'user', content: 'x' }]), 'false', reach)
      }
    })
  })

  describe('pictures and videos', () => {
    it('refuses pictures that would be too large, and kinds that read other files', async () => {
      const png = Buffer.from('89504e470d0a1a0a0000000d494844520000ffff0000ffff0806000000', 'hex')
      await assert.rejects(readImage(file('bomb.png', Buffer.concat([png, Buffer.alloc(64)]))), /bomb\.png: /)
      const svg = '<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>'
      for (const name of ['a.svg', 'a.png']) await assert.rejects(readImage(file(name, svg)), /another kind of file/)
    })

    it('passes over boxes of an mp4 that are larger than it, and too many', async () => {
      const box = (size: bigint, type: string) => {
        const head = Buffer.alloc(16)
        head.writeUInt32BE(1)
        head.write(type, 4)
        head.writeBigUInt64BE(size, 8)
        return head
      }
      const of = (bytes: Buffer) => readContainer(reader(bytes), bytes.length)
      assert.ok((await of(box(2n ** 64n - 1n, 'moov'))).bytes! > 1e19)
      assert.ok((await of(Buffer.concat([box(2n ** 28n, 'moov'), box(16n, 'free')]))).bytes! >= 2 ** 28)
      const many = Buffer.alloc(8 * 200_000)
      for (let at = 0; at < many.length; at += 8) many.write('\0\0\0\x08free', at, 'latin1')
      assert.equal((await of(many)).bytes, 8 * 100_001)
    })

    it('refuses an animation of more frames than are counted', async () => {
      const frame = Buffer.from('2c00000000010001000002024401003b', 'hex').subarray(0, 15)
      const gif = Buffer.concat([Buffer.from('GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff', 'latin1'), ...Array<Buffer>(20_000).fill(frame), Buffer.from(';')]) // prettier-ignore
      await assert.rejects(readVideo(gif), /20000 frames, needed at most 10000/)
    })
  })

  it('checkpoints: a manifest that is none, or names files elsewhere, is passed over', async () => {
    const manifests = ['null', '[]', '{"files": null, "logs": null}', '{"files": {"a": null}, "logs": {"metrics": 1, "samples": 1}}', '{"files": {"../../secret": {"bytes": 1, "sha256": ""}}, "logs": {"metrics": 1, "samples": 1}}', '{"files": {}, "logs": {"metrics": -1, "samples": 1e999}}'] // prettier-ignore
    for (const manifest of manifests) {
      file('run/checkpoint-1/checkpoint.json', manifest)
      const notes: string[] = []
      assert.equal(await latestCheckpoint(join(dir, 'run'), note => notes.push(note)), null)
      assert.match(notes.join(), /checkpoint\.json is damaged/, manifest)
    }
    assert.ok(existsSync(join(dir, 'run')))
  })
})
