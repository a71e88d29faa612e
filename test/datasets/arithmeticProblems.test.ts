import assert from 'node:assert/strict'
import { arithmeticPairs, arithmeticProblems, OPERATIONS, type ArithmeticProblem } from '../../src/datasets/index.js'
import { answerFormat, exactAnswer } from '../../src/rewards/index.js'

describe('arithmeticProblems', () => {
  const data = arithmeticProblems({ seed: 1, size: 1000 })
  const all = [...data.train, ...data.dev, ...data.test]

  it('splits 8 : 1 : 1 without repeating a question', () => {
    assert.deepEqual([data.train.length, data.dev.length, data.test.length], [800, 100, 100])
    assert.equal(new Set(all.map(row => row.question)).size, 1000)
  })

  it('keeps a held-out question out of the training data of every seed and size', () => {
    const other = arithmeticProblems({ seed: 2, size: 3000 })
    const questions = (rows: ArithmeticProblem[]): Set<string> => new Set(rows.map(row => row.question))
    const train = questions([...data.train, ...other.train])
    const heldOut = questions([...data.dev, ...data.test, ...other.dev, ...other.test])
    assert.deepEqual(
      [...heldOut].filter(question => train.has(question)),
      [],
    )
  })

  it('writes answers that an independent reading of the working confirms', () => {
    const signs: Record<string, (a: number, b: number) => number> = {
      '+': (a, b) => a + b,
      '-': (a, b) => a - b,
      '*': (a, b) => a * b,
      '/': (a, b) => a / b,
    }
    for (const row of all) {
      const [, a, sign, b, result] = /^\w+: (\d+)([-+*/])(\d+)=(\d+)\n<answer>\4<\/answer>$/.exec(row.completion)!
      assert.equal(signs[sign!]!(Number(a), Number(b)), Number(result), row.completion)
      assert.ok(row.answer.endsWith(`=${result}>>${result}\n#### ${result}`), row.answer)
      assert.ok(row.question.includes(a!) && row.question.includes(b!), row.question)
      assert.ok(row.completion.startsWith(`${row.operation}: `))
      assert.deepEqual(row.prompt, [{ role: 'user', content: row.question }])
      assert.notEqual(row.tempting, row.operation)
    }
  })

  it('covers 4 operations and 14 templates, 5 of them misleading', () => {
    assert.deepEqual(new Set(all.map(row => row.operation)), new Set(OPERATIONS))
    const template = (row: ArithmeticProblem): string =>
      row.question
        .replace(/\b(apples|books|coins|pens|cards|cakes|stamps|shells|eggs|toys)\b/g, 'I')
        .replace(/\d+/g, 'N')
    const shape = (row: ArithmeticProblem): string =>
      template(row).replace(/\b(Ann|Ben|Mia|Tom|Eva|Leo|Zoe|Sam|Ida|Max|Amy|Dan)\b/g, 'P')
    assert.equal(new Set(all.map(shape)).size, 14)
    assert.equal(new Set(all.filter(row => row.misleading).map(shape)).size, 5)
  })

  it('repeats a seed exactly', () => {
    assert.deepEqual(arithmeticProblems({ seed: 1, size: 1000 }), data)
    assert.notDeepEqual(arithmeticProblems({ seed: 2, size: 1000 }).train[0], data.train[0])
  })

  it('refuses a size it cannot fill', () => {
    assert.throws(() => arithmeticProblems({ seed: 1, size: 0 }), /size is 0, needed a whole number of at least 10/)
    assert.throws(() => arithmeticProblems({ seed: 1, size: 12.5 }), /size is 12\.5/)
  })

  it('says the same in French', () => {
    const french = arithmeticProblems({ seed: 1, size: 1000, language: 'fr' }).train
    const shape = (row: ArithmeticProblem): string =>
      row.question.replace(/\d+/g, 'N').replace(/\b(pommes|livres|pièces|stylos|cartes|gâteaux|timbres|coquillages|billes|jouets)\b/g, 'I').replace(/(Léa|Louis|Zoé|Paul|Jules|Chloé|Noé|Marc|Manon|Jeanne|Rose|Théo)/g, 'P') // prettier-ignore
    assert.equal(new Set(french.map(shape)).size, 14)
    assert.equal(new Set(french.filter(row => row.misleading).map(shape)).size, 5)
    for (const row of french) {
      assert.match(row.question, / \?$/)
      const [, name, a, sign, b, result] = /^(\w+) : (\d+)([-+*/])(\d+)=(\d+)\n<answer>\5<\/answer>$/.exec(
        row.completion,
      )!
      assert.equal(
        name,
        { add: 'addition', sub: 'soustraction', mul: 'multiplication', div: 'division' }[row.operation],
      )
      const value = { '+': +a! + +b!, '-': +a! - +b!, '*': +a! * +b!, '/': +a! / +b! }[sign!]
      assert.equal(value, Number(result))
    }
    assert.throws(() => arithmeticProblems({ seed: 1, size: 20, language: 'de' as never }), /language is "?de/)
  })
})

describe('arithmeticPairs', () => {
  it('prefers right replies to wrong ones', async () => {
    const { train } = arithmeticPairs({ seed: 2, size: 1000 })
    const scored = async (completions: string[]) => {
      const batch = { prompts: completions, completions, answer: train.map(row => row.answer) }
      const [format, correct] = [await answerFormat()(batch), await exactAnswer()(batch)]
      return format.map((score, i) => score! + correct[i]!)
    }
    assert.ok((await scored(train.map(row => row.chosen))).every(total => total === 3))
    const rejected = await scored(train.map(row => row.rejected))
    assert.ok(rejected.filter(total => total === 3).length < 0.02 * train.length) // 2·2 is 2+2
    const broken = rejected.filter(total => total === 0).length / train.length
    assert.ok(broken > 0.1 && broken < 0.3, `${broken}`)
  })
})
