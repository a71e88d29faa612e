import assert from 'node:assert/strict'
import { arithmeticProblems, corruptedReplies, explainedReplies, packedEquations } from '../../src/datasets/index.js'

const problems = arithmeticProblems({ seed: 1, size: 4000 }).train
const share = (flags: boolean[]): number => flags.filter(Boolean).length / flags.length
const none = { format: 0, operation: 0, misled: 0, result: 0, filler: 0 }

describe('corruptedReplies', () => {
  it('gives the right replies when every rate is 0', () => {
    assert.deepEqual(
      corruptedReplies(problems, { seed: 1, ...none }).map(row => row.completion),
      problems.map(row => row.completion),
    )
  })

  it('plants each fault at its default rate', () => {
    const rows = corruptedReplies(problems, { seed: 1 })
    const operation = rows.map(row => /^(\w+): /m.exec(row.completion)![1])
    const wrong = problems.map((problem, i) => operation[i] !== problem.operation)
    const near = (got: number, want: number): void => assert.ok(Math.abs(got - want) < 0.04, `${got}, not ${want}`)
    near(share(wrong.filter((_, i) => problems[i]!.misleading)), 0.55)
    near(share(wrong.filter((_, i) => !problems[i]!.misleading)), 0.1)
    near(share(rows.map(row => !/\n<answer>\d+<\/answer>$/.test(row.completion))), 0.2)
    near(share(rows.map(row => !/^\w+: \d/.test(row.completion))), 0.2)
    near(share(rows.map((row, i) => row.completion.endsWith(problems[i]!.completion))), 0.55)
  })

  it('plants wrong results that are wrong', () => {
    for (const row of corruptedReplies(problems, { seed: 1, ...none, result: 1 })) {
      const [, a, sign, b, result] = /: (\d+)([-+*/])(\d+)=(\d+)\n/.exec(row.completion)!
      const right = { '+': +a! + +b!, '-': +a! - +b!, '*': +a! * +b!, '/': +a! / +b! }[sign!]
      assert.notEqual(Number(result), right)
    }
  })

  it('refuses a rate that is no share', () => {
    assert.throws(() => corruptedReplies(problems, { seed: 1, filler: 20 }), /filler is 20, needed a share/)
    assert.throws(() => corruptedReplies(problems, { seed: 1, result: NaN }), /result is NaN/)
  })
})

describe('corruptedReplies in French', () => {
  it('has French words and no English ones', () => {
    const { train } = arithmeticProblems({ seed: 1, size: 1000, language: 'fr' })
    const text = corruptedReplies(train, { seed: 1, format: 0.5, filler: 0.5 }).map(row => row.completion).join('\n') // prettier-ignore
    assert.match(text, /La réponse est \d+\./)
    assert.match(text, /Voyons cela ensemble\.\n(addition|soustraction|multiplication|division) : /)
    assert.doesNotMatch(text, /The answer|Let me|\b(add|sub|mul|div):/)
  })
})

describe('explainedReplies', () => {
  const words = (text: string) => text.split(/\s+/).length
  const meanWords = (rows: { completion: string }[]) => rows.reduce((sum, row) => sum + words(row.completion), 0) / rows.length // prettier-ignore

  it('ends in the right answer when every rate is 0, after sentences', () => {
    const rows = explainedReplies(problems, { seed: 1, ...none })
    rows.forEach(({ completion }, i) => {
      const [text, last] = completion.split('\n')
      assert.equal(last, problems[i]!.completion.split('\n')[1])
      for (const sentence of text!.split(/(?<=\.) /)) assert.match(sentence, /^[A-Z\d].*\.$/)
    })
  })

  it('is as wordy as asked, right or wrong', () => {
    const [short, long] = [0, 1].map(wordiness => explainedReplies(problems, { seed: 1, ...none, wordiness }))
    assert.ok(
      short!.every(row => words(row.completion) <= 4),
      'two sentences and the answer',
    )
    assert.ok(meanWords(long!) > 18)
    const rows = explainedReplies(problems, { seed: 1, format: 0 })
    const right = rows.filter((row, i) => row.completion.endsWith(problems[i]!.completion.split('\n')[1]!))
    const wrong = rows.filter(row => !right.includes(row))
    assert.ok(Math.abs(meanWords(right) - meanWords(wrong)) < 1)
    assert.throws(() => explainedReplies(problems, { seed: 1, wordiness: 2 }), /wordiness is 2/)
  })
})

describe('packedEquations', () => {
  it('writes true equations, several a row', () => {
    const rows = packedEquations({ seed: 1, size: 200, equations: 6 })
    assert.equal(rows.length, 200)
    for (const { text } of rows) {
      const lines = text.split('\n')
      assert.equal(lines.length, 6)
      for (const line of lines) {
        const [, operation, a, sign, b, result] = /^(\w+): (\d+)([-+*/])(\d+)=(\d+)$/.exec(line)!
        assert.equal(sign, { add: '+', sub: '-', mul: '*', div: '/' }[operation!])
        assert.equal({ add: +a! + +b!, sub: +a! - +b!, mul: +a! * +b!, div: +a! / +b! }[operation!], Number(result))
      }
    }
  })
})
