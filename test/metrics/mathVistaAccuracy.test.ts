import assert from 'node:assert/strict'
import { bootstrapInterval, mathVistaAccuracy } from '../../src/metrics/index.js'

describe('mathVistaAccuracy', () => {
  const row = (question_type: 'multi_choice' | 'free_form', task: string, skills: string[]) =>
    ({ question_type, answer_type: 'text', metadata: { task, skills } }) as const
  const rows = [
    row('multi_choice', 'geometry', ['algebra', 'geometry']),
    row('free_form', 'chart', ['statistics']),
    row('multi_choice', 'chart', ['algebra']),
  ]

  it('counts all, each type, each task, and a problem for each of its skills', () => {
    const table = mathVistaAccuracy(rows, [1, 0, 0])
    const { low, high } = bootstrapInterval([1, 0, 0])
    assert.deepEqual(table[0], { field: 'all', value: '', accuracy: 1 / 3, accuracy_low: low, accuracy_high: high, correct: 1, total: 3 }) // prettier-ignore
    assert.deepEqual(
      table.slice(1).map(({ field, value, correct, total }) => `${field} ${value} ${correct}/${total}`),
      [
        'question_type multi_choice 1/2',
        'question_type free_form 0/1',
        'answer_type text 1/3',
        'task geometry 1/1',
        'task chart 0/2',
        'skills geometry 1/1',
        'skills algebra 1/2',
        'skills statistics 0/1',
      ],
    )
  })

  it('names what does not fit', () => {
    assert.throws(() => mathVistaAccuracy(rows, [1]), /got 3 values and 1/)
    assert.throws(() => mathVistaAccuracy(rows, [1, null, 0]), /row 1: the score is null, needed 0 or 1/)
  })
})
