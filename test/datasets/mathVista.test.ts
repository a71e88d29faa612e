import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mathVista, mathVistaPrompts, readImage } from '../../src/datasets/index.js'
import { fixture } from '../models/fixture.js'

describe('mathVista', () => {
  let dir: string
  before(() => (dir = mkdtempSync(join(tmpdir(), 'rewardlab-'))))
  after(() => rmSync(dir, { recursive: true }))
  const file = (name: string, content: unknown): string => {
    const path = join(dir, name)
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
    return path
  }
  const problem = {
    question: 'How long is AB?',
    query: 'Hint: Please answer with a number.\nQuestion: How long is AB?',
    image: 'images/7.png',
    choices: null,
    unit: 'cm',
    precision: 1,
    answer: '2.5',
    question_type: 'free_form',
    answer_type: 'float',
    metadata: { grade: 'high school' },
  }

  it('reads problems by number, their pictures beside the file', async () => {
    const choices = { ...problem, choices: ['1', '2'], answer: '2', question_type: 'multi_choice', answer_type: 'text' }
    const rows = await mathVista(file('testmini.json', { 7: problem, 8: { ...choices, precision: null, unit: null } }))
    const { query, image, choices: free, unit, precision, answer, question_type, answer_type, metadata } = problem
    const kept = { choices: free, unit, precision, answer, question_type, answer_type, metadata }
    assert.deepEqual(rows[0], { ...kept, pid: '7', prompt: query, image: join(dir, image) })
    assert.deepEqual([rows[1]!.pid, rows[1]!.choices, rows[1]!.answer], ['8', ['1', '2'], '2'])
  })

  it('reads the Parquet that holds the pictures', async () => {
    const rows = await mathVista(fixture('rows/mathvista.parquet'))
    assert.deepEqual(
      rows.map(({ pid, answer, choices }) => [pid, answer, choices]),
      [
        ['1', '1.2', null],
        ['2', 'Yes', ['Yes', 'No']],
      ],
    )
    const picture = { width: 2, height: 1, data: Uint8ClampedArray.of(255, 0, 0, 0, 0, 255) }
    assert.deepEqual(await readImage(rows[1]!.image as Buffer), picture)
    const { prompt, answer } = mathVistaPrompts(rows)[1]!
    assert.deepEqual(prompt.prompt, [{ role: 'user', content: rows[1]!.prompt }])
    assert.deepEqual([answer, prompt.where, await prompt.open()], ['Yes', 'mathVista, problem 2', { images: [picture], videos: [] }]) // prettier-ignore
  })

  it('names the problem and the field', async () => {
    const cases: [content: unknown, message: RegExp][] = [
      [
        { 7: { ...problem, question_type: 'essay' } },
        /problem 7: field "question_type" is "essay", needed multi_choice or free_form/,
      ],
      [{ 7: { ...problem, image: undefined } }, /problem 7: field "image" is missing, needed a text/],
      [{ 7: { ...problem, choices: [1] } }, /problem 7: field "choices" is 1, needed a text/],
      [{}, /holds no problem/],
      ['{', /a\.json: .*JSON/],
    ]
    for (const [content, message] of cases) await assert.rejects(mathVista(file('a.json', content)), { message })
  })
})
