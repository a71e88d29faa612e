import assert from 'node:assert/strict'
import { CHART_SIDE, CHART_TASKS, chartQuestions } from '../../src/datasets/index.js'
import { mathVistaAnswer } from '../../src/rewards/index.js'

describe('chartQuestions', () => {
  const { train, dev, test } = chartQuestions({ seed: 1, size: 400 })
  const all = [...train, ...dev, ...test]

  it('asks what the picture answers', () => {
    const told = (seen: string) => new Map(seen.split(', ').map(part => part.split(' ') as [string, string]))
    for (const { task, question, answer, seen, image, choices } of all) {
      const values = told(seen)
      const named = [...question.matchAll(/red|green|blue|yellow|circle|square/g)].map(([name]) => Number(values.get(name))) // prettier-ignore
      const wanted = {
        height: () => `${named[0]!}`,
        count: () => `${named[0]!}`,
        taller: () => `${named[0]! - named[1]!}`,
        tallest: () => [...values].reduce((a, b) => (Number(b[1]) > Number(a[1]) ? b : a))[0],
        area: () => `${Number(values.get('width')) * Number(values.get('height'))}`,
        perimeter: () => `${2 * (Number(values.get('width')) + Number(values.get('height')))}`,
      }
      assert.equal(answer, wanted[task](), question)
      if (choices) assert.deepEqual([...choices].sort(), [...values.keys()].sort())
      if (task === 'count') continue
      if (task === 'area' || task === 'perimeter') {
        const cells = Number(values.get('width')) * Number(values.get('height'))
        assert.equal(pixels(image.data, /red|green|blue|yellow/.exec(question)![0]), cells * 5 * 5, question) // of 6 × 6 two lines
        continue
      }
      for (const [colour, height] of values) assert.equal(pixels(image.data, colour), Number(height) * 5 * 8, colour)
    }
    assert.deepEqual([...new Set(all.map(({ task }) => task))].sort(), [...CHART_TASKS].sort())
  })

  it('has the fields that the reward for MathVista reads', async () => {
    const column = <K extends keyof (typeof all)[number]>(name: K) => all.map(row => row[name])
    const columns = { answer: column('answer'), question_type: column('question_type'), answer_type: column('answer_type'), choices: column('choices'), precision: all.map(() => null) } // prettier-ignore
    const right = all.map(({ answer }) => `<answer>${answer}</answer>`)
    const scores = await mathVistaAnswer()({ prompts: column('query'), completions: right, ...columns })
    assert.ok(scores.every(score => score === 1))
  })

  it('has splits that share no question on the same picture', () => {
    const text = ({ question, image }: (typeof all)[number]) => question + Buffer.from(image.data).toString('base64')
    const trained = new Set(chartQuestions({ seed: 9, size: 400 }).train.map(text))
    assert.ok([...dev, ...test].every(row => !trained.has(text(row))))
    assert.equal(train[0]!.image.data.length, CHART_SIDE * CHART_SIDE * 3)
  })
})

/** Pixels of a bar's colour. */
function pixels(data: Uint8ClampedArray, colour: string): number {
  const paint = { red: [215, 50, 45], green: [50, 160, 70], blue: [45, 90, 210], yellow: [225, 185, 40] }[colour]!
  let found = 0
  for (let i = 0; i < data.length; i += 3) if (paint.every((value, c) => data[i + c] === value)) found++
  return found
}
