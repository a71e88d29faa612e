import assert from 'node:assert/strict'
import type { Content } from '../../kernels/wire.js'
import { Notebook } from './notebook.js'

describe('cells', function () {
  this.timeout(60_000)
  let notebook: Notebook
  before(() => {
    notebook = new Notebook()
  })
  after(() => notebook.close())
  const run = (code: string) => notebook.run(code)
  const fails = (code: string, message: RegExp) => assert.rejects(run(code), { message })

  describe('names belong to the notebook', () => {
    for (const [how, again, expected] of [
      ['assigned', 'a = 2', 2],
      ['counted', 'a++; a += 2', 4],
      ['assigned by a pattern', '[a] = [5]', 5],
      ['assigned by a shorthand property with a default', '({ a = 6 } = {} as { a?: number })', 6],
      ['assigned by a loop', 'for (a of [7, 8]);', 8],
      ['declared anew', 'let a = 9', 9],
      ['declared anew as another kind', 'const a = "text"', 'text'],
      ['declared anew by a pattern', 'const { a } = { a: true }', true],
      ['declared anew as a function', 'function a() {}', 'function'],
      ['imported', 'import { sep as a } from "node:path"', '/'],
    ] as const)
      it(`a function sees what is ${how} later`, async () => {
        await run('let a = 1; function read() { return typeof a === "function" ? typeof a : a }')
        await run(again)
        assert.equal(await run('read()'), expected)
      })

    it('so do arrow functions, methods, generators, templates, namespaces, and functions declared below', async () => {
      await run(`let a = 1
        const arrow = () => a
        class Reader { field = () => a; get value() { return a }; static read() { return a } }
        function* each() { yield a }
        const tag = (parts: TemplateStringsArray, ...values: unknown[]) => values[0]
        const tagged = () => tag\`\${a}\`
        namespace Space { export const read = () => a }
        const short = () => ({ a }).a
        const below = () => [a].map(hoisted)[0]
        function hoisted(x: number) { return x * a }
        function type() { return typeof a }`)
      const all = `[arrow(), new Reader().field(), new Reader().value, Reader.read(), ...each(), tagged(), Space.read(),
        short(), below(), type()]`
      assert.deepEqual(await run(all), [1, 1, 1, 1, 1, 1, 1, 1, 1, 'number'])
      await run('a = 3')
      assert.deepEqual(await run(all), [3, 3, 3, 3, 3, 3, 3, 3, 9, 'number'])
    })

    it('functions and classes declared anew are called by those of the same cell', async () => {
      await run(
        'function step() { return 1 } class Model { size = 1 } function twice() { return step() + new Model().size }',
      )
      await run('function step() { return 10 }')
      await run('class Model { size = 20 }')
      assert.equal(await run('twice()'), 30)
    })

    it('a name that a function or block declares for itself is its own', async () => {
      await run('let a = 1, e = 2')
      assert.deepEqual(
        await run(`
          const own = [(a: number) => a, ({ a }: { a: number }) => a].map(f => f({ a: 5 } as never))
          let caught; try { throw 6 } catch (a) { caught = a }
          let looped = 0; for (let a = 0; a < 3; a++) looped += a
          { const a = 7, e = a; looped += e }
          const named = (function a(): string { return typeof a })()
          const labelled = (() => { a: for (;;) break a; return 8 })()
          const { e: renamed } = { e: 9 }
          class Member { a = 10; e() { return this.a } }
          ;[own, caught, looped, named, labelled, renamed, new Member().e(), a, e]`),
        [[{ a: 5 }, 5], 6, 10, 'function', 8, 9, 10, 1, 2],
      )
    })

    it('a class means itself in its body, a pattern its own names in its defaults', async () => {
      const code =
        'class Self { static one = 1; static two = Self.one + 1 } const { p = 3, q = p } = {} as any; [Self.two, p, q]'
      assert.deepEqual(await run(code), [2, 3, 3])
      assert.deepEqual(await run(code), [2, 3, 3], 'again, with what the first run has left')
    })

    it('functions keep their names, and no `this` of ours', async () => {
      const code = `const arrow = () => 1, wrapped = (async () => 1)
        function self(this: unknown) { return this }
        class Named {}
        ;[arrow.name, wrapped.name, self.name, Named.name, (self as any)(), (self as any)?.()]`
      assert.deepEqual(await run(code), ['arrow', 'wrapped', 'self', 'Named', undefined, undefined])
      assert.deepEqual(await run('[(self as any)(), self.call(1)]'), [undefined, 1])
    })

    it('properties of what they name can be assigned', async () => {
      await run('const settings = { rate: 1 }; function counted() {}; const make = () => ({ settings })')
      await run('settings.rate = 2; (counted as any).calls = 3; make().settings.rate++')
      assert.deepEqual(await run('[settings.rate, (counted as any).calls]'), [3, 3])
    })

    it('patterns take any iterable', async () => {
      assert.deepEqual(await run('let [first, ...others] = new Set([1, 2, 3]); [first, others]'), [1, [2, 3]])
      assert.deepEqual(await run('[first] = new Map([[4, 5]]).keys(); first'), 4)
    })

    it('a variable without a value has none again', async () => {
      await run('let later: number | undefined')
      assert.equal(await run('later = 5; later'), 5)
      assert.equal(await run('let later: number | undefined; later'), undefined)
    })

    it('an enum declared anew has no members of the old one', async () => {
      await run('enum Color { Red, Green }')
      assert.deepEqual(await run('enum Color { Blue }; Object.keys(Color)'), ['0', 'Blue'])
    })

    it('of a pasted module belong to it, too, whatever it exports', async () => {
      await run(`export const pasted = 1; export default function made() { return pasted }
        const inner = 2; type Inner = number
        export { inner, made as other }; export type { Inner }
        export { basename } from 'node:path'; export * as whole from 'node:path'`)
      assert.deepEqual(await run("[pasted, made(), inner, basename('a/b'), whole.sep]"), [1, 1, 2, 'b', '/'])
    })

    it('types may share their names', async () => {
      await run('type Row = { row: number }; interface Column { of: Row }; const Row = { row: 1 }')
      assert.equal(await run('const column: Column = { of: Row }; column.of.row'), 1)
    })

    it('may be declared for the compiler only', async () => {
      await run('declare const promised: number; const f = () => promised')
      await fails('f()', /^ReferenceError: promised is not defined/)
    })

    it('may be those of Node', async () => {
      await run(`import { createRequire } from 'node:module'
        const require = createRequire(import.meta.url), exports = 1, module = 2, process = 3, __dirname = import.meta.dirname`)
      assert.deepEqual(await run('[typeof require, exports, module, process, __dirname]'), [
        'function',
        1,
        2,
        3,
        notebook.folder,
      ])
    })

    it('errors call them by the names that the user wrote', async () => {
      await run('const nothing: any = undefined')
      await fails('nothing()', /^TypeError: nothing is not a function\n1 \| nothing\(\)\n {4}~\n {4}at cell\[\d+\]:1:1/)
      await fails(
        'const { x } = nothing',
        /^TypeError: Cannot destructure property 'x' of 'nothing' as it is undefined/,
      )
      await fails(
        'const outer = () => inner()\nconst inner = () => nothing.field\nouter()',
        /at inner \(cell\[\d+\]:2:29\)\n {4}at outer \(cell\[\d+\]:1:21\)\n {4}at cell\[\d+\]:3:1/,
      )
    })
  })

  describe('await', () => {
    for (const [code, expected] of [
      ['await Promise.resolve(1)', 1],
      ['await (Promise.resolve(1))', 1],
      ['const x = await 1, y = await 2; x + y', 3],
      ['const [p, { q }, ...r] = await Promise.resolve([1, { q: 2 }, 3] as const); [p, q, r]', [1, 2, [3]]],
      ['const { d = await 4 } = {} as { d?: number }; d', 4],
      ['let s = 0; for await (const x of [Promise.resolve(1), 2]) s += x; s', 3],
      ['let t = 0; for (const x of await Promise.resolve([1, 2])) t += x; t', 3],
      ['`a${await Promise.resolve("b")}`', 'ab'],
      ['(await Promise.resolve(true)) ? await 1 : await 2', 1],
      ['let f; try { await Promise.reject(1) } catch (e) { f = await e } finally { await 0 }; f', 1],
      ['class Sub extends (await Promise.resolve(Array)) {}; new Sub(3).length', 3],
      ['if (await Promise.resolve(1)) { await 2 }; 3', 3],
      ['let w = 0; while (await Promise.resolve(w < 2)) w++; w', 2],
      ['let v; switch (await Promise.resolve(1)) { case await 1: v = "one" }; v', 'one'],
      ['({ ...(await Promise.resolve({ a: 1 })), b: [...(await Promise.resolve([2]))] })', { a: 1, b: [2] }],
      ['(await Promise.resolve(null)) ?? -(await Promise.resolve(1))', -1],
      ['const go = async () => (await Promise.resolve(1)) + 1; await go()', 2],
      ['(await import("node:path")).basename("a/b")', 'b'],
      ['export default await Promise.resolve(1)', 1],
      ['Promise.resolve(1)', 1],
    ] as const)
      it(code, async () => assert.deepEqual(await run(code), expected))

    for (const code of ['function f() { await 1 }', 'const f = () => await 1', 'class S { static { await 1 } }'])
      it(`not: ${code}`, () => fails(code, /error TS(1308|18037): 'await' expression/))
  })

  describe('using', () => {
    before(() =>
      run(`const log: string[] = []
        const open = (name: string) => ({ name, [Symbol.dispose]: () => void log.push(name) })
        const openAsync = (name: string) => ({ name, [Symbol.asyncDispose]: async () => void log.push(await name) })`),
    )

    it('closes at the end of the cell, after its value is known, or of the block', async () => {
      assert.equal(
        await run('using a = open("a"); await using b = openAsync("b"); { using c = open("c") }; log.join()'),
        'c',
      )
      assert.equal(await run('log.splice(0).join()'), 'c,b,a')
    })

    it('closes when the cell fails', async () => {
      await fails('using a = open("failing"); throw new RangeError("no")', /^RangeError: no\n1 \| .*\n *~\n {4}at cell/)
      assert.equal(await run('log.splice(0).join()'), 'failing')
    })

    it('leaves the names of its cell to later ones', async () => {
      await run(
        'using a = open("kept"); const size = 4; class Sized { size = size }; function sized() { return new Sized().size + size }',
      )
      await run('size')
      assert.deepEqual(await run('[a.name, sized()]'), ['kept', 8])
    })

    it('takes only what can be closed', () => fails('using a = { name: 1 }', /error TS2850.*\[Symbol\.dispose\]/))
  })

  describe('import', () => {
    before(() => {
      const types = (text: string) => ({ 'package.json': '{ "types": "a.d.ts", "main": "index.js" }', 'a.d.ts': text })
      const packages: Record<string, Record<string, string>> = {
        modern: {
          'package.json': '{ "type": "module", "exports": { "./part": { "types": "./a.d.ts", "import": "./a.js" } } }',
          'a.js': 'export const part = await 3; export default "modern"; export { part as "odd name" }',
          'a.d.ts':
            'export declare const part: number; declare const name: string; export default name; export { part as "odd name" }',
        },
        callable: {
          ...types('declare function f(): number; declare namespace f { const named: number } export = f'),
          'index.js': 'module.exports = Object.assign(() => 4, { named: 5 })',
        },
        transpiled: {
          ...types('declare const d: string; export default d; export const named: number'),
          'index.js':
            'Object.defineProperty(exports, "__esModule", { value: true }); exports.default = "d"; exports.named = 6',
        },
        untyped: { 'package.json': '{}', 'index.js': 'exports.x = 7' },
        broken: { ...types('export const x: number'), 'index.js': 'throw new RangeError("broken inside")' },
      }
      for (const [name, files] of Object.entries(packages))
        for (const [file, text] of Object.entries(files)) notebook.write(`node_modules/${name}/${file}`, text)
      notebook.write('numbers.json', '{ "x": [1, 2] }')
      notebook.write(
        'lib/inner.ts',
        'export const one: number = await Promise.resolve(1); export type One = typeof one',
      )
      notebook.write(
        'lib/outer.ts',
        `import { one } from './inner.ts'\nexport const two = () => one + 1; export default class { two = two() }`,
      )
      notebook.write(
        'lib/index.ts',
        `export * from './outer.ts'; export * as inner from './inner.ts'; export { default as Two } from './outer.ts'`,
      )
      notebook.write('effect.ts', '(globalThis as { effects?: number }).effects = 1')
      notebook.write('wrong.ts', 'export const wrong: string = 5')
      notebook.write('throws.ts', '\nthrow new RangeError("at load")')
    })

    for (const [code, expected] of [
      ["import d, { part, 'odd name' as odd } from 'modern/part'; [d, part, odd]", ['modern', 3, 3]],
      ["import f, { named } from 'callable'; [f(), named]", [4, 5]],
      ["import * as ns from 'callable'; ns.named", 5],
      ["import d, { named as n } from 'transpiled'; [d, n]", ['d', 6]],
      ["import { x } from 'untyped'; x", 7],
      ["import { type Table, table as make } from 'arquero'; const t: Table = make({ a: [8] }); t.get('a', 0)", 8],
      ["import type { Table as T } from 'arquero'; let none: T | undefined; none", undefined],
      ["import * as vega from 'vega'; vega.version.slice(0, 2)", '5.'],
      ["import numbers from './numbers.json'; numbers.x", [1, 2]],
      ["import numbers from './numbers.json' with { type: 'json' }; numbers.x", [1, 2]],
      ["(await import('./numbers.json')).default.x", [1, 2]],
      ["import { two, inner, Two } from './lib'; [two(), inner.one, new Two().two]", [2, 1, 2]],
      ["import { two } from './lib/outer'; two()", 2],
      ["import { two } from './lib/outer.ts'; import type { One } from './lib/inner.ts'; const o: One = two(); o", 2],
      ["(await import('./lib/outer.ts')).two()", 2],
      ["import './effect.ts'; (globalThis as { effects?: number }).effects", 1],
      ["import fs, { existsSync } from 'node:fs'; [existsSync('/'), fs.existsSync === existsSync]", [true, true]],
    ] as const)
      it(code, async () => assert.deepEqual(await run(code), expected))

    it('again in a later cell', async () => {
      await run("import { two } from './lib/outer.ts'; const three = () => two() + 1")
      await run("import { two } from './lib/outer.ts'")
      assert.equal(await run('three()'), 3)
    })

    it('takes what a changed file is now, through the files that use it, for the functions of earlier cells, too', async () => {
      await run("import { two } from './lib/outer.ts'; const three = () => two() + 1")
      notebook.write('lib/inner.ts', 'export const one: number = 10; export type One = number')
      assert.equal(await run('three()'), 3, 'not without being asked')
      assert.equal(await run("import { two } from './lib/outer.ts'; three()"), 12)
      notebook.write('effect.ts', '(globalThis as { effects?: number }).effects = 2')
      assert.equal(await run("import './effect.ts'; (globalThis as { effects?: number }).effects"), 2)
    })

    for (const [code, message] of [
      [
        "import x from 'no-such-thing'",
        /^cell:1:15 - error TS2307: Cannot find module 'no-such-thing'.*`npm install no-such-thing`/,
      ],
      [
        "await import('no-such-' + 'thing')",
        /^Error: import 'no-such-thing': no such package.*`npm install no-such-thing`/,
      ],
      ["import { nope } from 'node:fs'", /error TS2305: .* has no exported member 'nope'/],
      ["import { nope } from './lib/outer.ts'", /error TS2614: .* has no exported member 'nope'/],
      ["import x from './missing.ts'", /^cell:1:15 - error TS2307: Cannot find module '.\/missing.ts'(?!.*npm)/],
      ["import { wrong } from './wrong.ts'", /^wrong\.ts:1:14 - error TS2322/],
      ["import './throws.ts'", /^RangeError: at load\n {4}at .*throws\.ts:2:7/],
      ["import { x } from 'broken'", /^RangeError: broken inside\n {4}at .*broken\/index\.js:1:7/],
      ["import fs = require('node:fs')", /error TS1202: .*Consider using 'import \* as ns/],
    ] as const)
      it(`fails with one clear error: ${code}`, () => fails(code, message))
  })

  describe('errors of syntax', () => {
    it('are none in a cell that begins with the name of a keyword', async () => {
      await run('const from = (x: number[]) => x.length')
      assert.equal(await run('from(\n  [1, 2],\n)'), 2)
    })

    for (const [code, message] of [
      ["const f = (x: number) => x\nf('a'", "cell:2:6 - error TS1005: ')' expected.\n2 | f('a'\n         ~"],
      ['function open() {\n', "cell:2:1 - error TS1005: '}' expected.\n2 | \n    ~"],
      [
        'const x = ; undeclared',
        'cell:1:11 - error TS1109: Expression expected.\n1 | const x = ; undeclared\n              ~',
      ],
    ] as const)
      it(`stand where they are, alone: ${code.replaceAll('\n', '⏎')}`, () => assert.rejects(run(code), { message }))
  })

  describe('completion', () => {
    /** The matches at `|`, and what they take the place of. */
    const complete = async (marked: string) => {
      const code = marked.replace('|', '')
      const reply = (await notebook.ask('complete', { code, cursor_pos: marked.indexOf('|') })) as Content
      return {
        matches: reply['matches'] as string[],
        replaced: code.slice(Number(reply['cursor_start']), Number(reply['cursor_end'])),
      }
    }
    before(async () => {
      await run(`import { grpo } from 'rewardlab/optimizers'; import { loadPolicy } from 'rewardlab/policies'
        declare const policy: Awaited<ReturnType<typeof loadPolicy>>; declare const rewards: any`)
      notebook.write('steps/first.ts', 'export const firstStep = 1')
    })

    for (const [code, matches, replaced] of [
      ["import { sft } from 'rewardlab/opt|'", ['optimizers'], 'opt'],
      ["import { sft } from 'reward|", ['rewardlab/xla', 'rewardlab/optimizers', 'rewardlab/plots'], 'reward'],
      ["import f from 'call|ab'", ['callable'], 'callab'],
      ["import fs from 'node:f|'", ['node:fs', 'node:fs/promises'], 'node:f'],
      ["import { } from './st|'", ['steps'], 'st'],
      ["await import('./steps/|')", ['first'], ''],
      ["import { firs| } from './steps/first.ts'", ['firstStep'], 'firs'],
      ["import { grpoL| } from 'rewardlab/optimizers'", ['grpoLoss', 'GrpoLossConfig'], 'grpoL'],
      ['grpo(policy, [], rewards, { lear|', ['learning_rate'], 'lear'],
      ['grpo(policy, [], rewards, {\n  max_steps: 3,\n  lear|\n})', ['learning_rate'], 'lear'],
      ["await loadPolicy('x', { ada| })", ['adapter'], 'ada'],
      ['policy.sco|', ['score'], 'sco'],
    ] as const)
      it(code.replace('\n', ' '), async () => {
        const found = await complete(code)
        assert.deepEqual(
          matches.filter(name => !found.matches.includes(name)),
          [],
          found.matches.slice(0, 20).join(),
        )
        assert.equal(found.replaced, replaced)
      })

    it('shows the docstring of a key, a function and an import', async () => {
      const inspect = async (marked: string) => {
        const request = { code: marked.replace('|', ''), cursor_pos: marked.indexOf('|') }
        const reply = (await notebook.ask('inspect', request)) as { data: Record<string, string> }
        return reply.data['text/plain']
      }
      assert.match(
        (await inspect('grpo(policy, [], rewards, { learning_r|ate'))!,
        /^\(property\) learning_rate\?: number\n\nPeak rate\./,
      )
      assert.match(
        (await inspect("import { gr|po } from 'rewardlab/optimizers'"))!,
        /^function grpo.*\n\nTrains a policy/,
      )
      assert.match(
        (await inspect('await loadPol|icy("x")'))!,
        /loadPolicy\(name: string.*\n\nLoads a model in Hugging Face's layout/,
      )
      assert.equal(await inspect('// not|hing'), undefined)
    })
  })
})
