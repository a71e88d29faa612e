import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { extractMathVista, mathVistaAnswer, normalizeMathVista, type MathVistaForm } from '../../src/rewards/index.js'
import { batchOf, scoreOf } from './samples.js'

/** Answers as MathVista's own evaluation normalises them, made by test/fixtures/generate/mathvista.py. */
const reference = JSON.parse(
  readFileSync(new URL('../../../test/fixtures/metrics/mathvista.json', import.meta.url), 'utf8'),
) as { cases: (MathVistaForm & { extraction: string; normalized: string | null })[] }

const choice = (...choices: string[]): MathVistaForm => ({ question_type: 'multi_choice', answer_type: 'text', choices, precision: null }) // prettier-ignore
const free = (answer_type: MathVistaForm['answer_type'], precision: number | null = null): MathVistaForm => ({ question_type: 'free_form', answer_type, choices: null, precision }) // prettier-ignore
const cities = choice('hong kong', 'osaka', 'shanghai', 'tokyo')

describe('normalizeMathVista', () => {
  it("equals MathVista's normalize_extracted_answer", () => {
    assert.ok(reference.cases.length > 100)
    for (const { extraction, normalized, ...form } of reference.cases)
      assert.equal(normalizeMathVista(extraction, form), normalized, JSON.stringify({ extraction, ...form }))
  })

  it('gives a garbled choice no chance where told', () => {
    assert.equal(normalizeMathVista('tokio', cities), 'tokyo')
    assert.equal(normalizeMathVista('tokio', cities, { nearest: false }), null)
    assert.equal(normalizeMathVista('(D)', cities, { nearest: false }), 'tokyo')
  })
})

describe('extractMathVista', () => {
  const cases: [MathVistaForm, string, string][] = [
    [cities, 'B', 'B'],
    [cities, 'B. osaka', 'B'],
    [cities, 'Let us see.\n<answer>(b)</answer>', 'B'],
    [cities, 'It is in Japan.\nThe answer is "tokyo".', 'tokyo'],
    [cities, 'Answer: option C', 'C'],
    [cities, 'Either (A) or (D).\nJapan, so (D).', 'D'],
    [cities, 'The plane comes from Japan,\nwhose largest city is Tokyo.', 'tokyo'],
    [cities, 'tokio', 'tokio'],
    [cities, 'osaka and tokyo\nare both in Japan', ''],
    [cities, 'so \\boxed{\\text{D}}', 'D'],
    [choice('3', '4'), 'The angle is\n4', '4'],
    [choice('3', '13'), 'There are 13 of them', '13'],
    [free('integer'), 'There are 3 rows of 4, so 3 × 4 = 12 pens', '12'],
    [free('integer'), '<answer>1,250 $</answer>', '1250'],
    [free('integer'), 'The answer is 7 (of 9).', '7'],
    [free('integer'), 'No number', ''],
    [free('float', 1), 'answer: −2.5 cm', '-2.5'],
    [free('float', 1), 'x = .5', '.5'],
    [free('float', 1), '\\boxed{1e-3}', '1e-3'],
    [free('list'), 'They were [1,2] before.\nNow [3, 4 ]', '[3, 4]'],
    [free('list'), '<answer>3,4</answer>', '[3, 4]'],
    [free('list'), 'three', ''],
  ]
  for (const [form, reply, expected] of cases)
    it(`${JSON.stringify(reply)} → ${JSON.stringify(expected)}`, () =>
      assert.equal(extractMathVista(reply, form), expected))
})

describe('mathVistaAnswer', () => {
  const score = (reply: string, answer: string, form: MathVistaForm, options = {}) =>
    scoreOf(mathVistaAnswer(options), reply, { answer, ...form })

  it('compares as the types of question and answer ask', async () => {
    assert.equal(await score('<answer>(D)</answer>', 'tokyo', cities), 1)
    assert.equal(await score('<answer>(A)</answer>', 'tokyo', cities), 0)
    assert.equal(await score('It is 12.9.', '12', free('integer')), 1) // MathVista cuts the fraction off
    assert.equal(await score('<answer>3.14159</answer>', '3.14', free('float', 2)), 1)
    assert.equal(await score('<answer>3.2</answer>', '3.14', free('float', 2)), 0)
    assert.equal(await score('It is 3 m', '3', free('float', 1)), 1) // a gold answer in another spelling
    assert.equal(await score('[1,2]', '[1, 2]', free('list')), 1)
    assert.equal(await score('<answer>Yes</answer>', 'yes', free('text')), 1)
  })

  it('pays nothing for an empty reply, and for garble where told', async () => {
    for (const form of [choice('a b', 'c'), free('integer'), free('float', 1), free('list')])
      assert.equal(await score('', form.choices?.[1] ?? '[]', form), 0)
    assert.equal(await score('tokio', 'tokyo', cities), 1)
    assert.equal(await score('tokio', 'tokyo', cities, { nearest: false }), 0)
  })

  it('does not apply where the answer is not published; names the row that lacks what its type needs', async () => {
    assert.equal(await score('B', '', cities), null)
    const run = (form: MathVistaForm) => () => mathVistaAnswer()(batchOf([''], { answer: ['1'], ...Object.fromEntries(Object.entries(form).map(([key, value]) => [key, [value]])) })) // prettier-ignore
    assert.throws(run(choice()), /mathVistaAnswer, row 0: choices is \[\]/)
    assert.throws(run(free('float')), /row 0: precision is null/)
    assert.throws(() => mathVistaAnswer()(batchOf(['x'], { answer: ['1'] })), /column "question_type" is missing/)
  })

  it('gives any reply 0 or 1', () => {
    const forms = [cities, choice('3', '4', '4.5', '(B)'), free('integer'), free('float', 2), free('list')]
    const piece = fc.oneof(fc.constantFrom('<answer>', '</answer>', '\\boxed{', '}', '(B)', '[', ']', ',', '-', '1', '.', 'e', '9'.repeat(400), 'answer is', '\n'), fc.string()) // prettier-ignore
    const reply = fc.array(piece).map(parts => parts.join(''))
    const check = async (text: string, form: MathVistaForm) => assert.match(String(await score(text, '3', form)), /^[01]$/) // prettier-ignore
    return fc.assert(fc.asyncProperty(reply, fc.constantFrom(...forms), check), { seed: 1, numRuns: 500 })
  })
})
