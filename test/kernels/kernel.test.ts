import assert from 'node:assert/strict'
import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { data, of, stream, traceback, value } from './answers.js'
import { Client } from './client.js'

describe('kernel', function () {
  this.timeout(60_000)
  let kernel: Client
  before(async () => (kernel = await Client.start()))
  after(() => kernel.stop())
  const run = (code: string) => kernel.execute(code)

  describe('replies', () => {
    it('says what it is, on both channels', async () => {
      for (const channel of ['shell', 'control'] as const) {
        const { reply } = await kernel.request('kernel_info_request', {}, channel)
        assert.equal((reply['language_info'] as { name: string }).name, 'typescript')
      }
    })

    it('greets who subscribes to its broadcasts', () => {
      assert.ok(kernel.broadcasts.some(({ header }) => header.msg_type === 'iopub_welcome'))
    })

    it('echoes the code, gives the result, answers, and is idle last', async () => {
      const answer = await run('1 + 1')
      const types = answer.outputs.map(({ header, content }) => content['execution_state'] ?? header.msg_type)
      assert.deepEqual(types, ['busy', 'execute_input', 'execute_result', 'idle'])
      assert.equal(value(answer), '2')
      assert.equal(answer.reply['status'], 'ok')
    })

    it('counts cells, silent ones excepted', async () => {
      const { reply: first } = await run('0')
      const silent = await kernel.execute('5', { silent: true })
      assert.deepEqual(silent.outputs.length, 2, 'only busy and idle')
      const { reply: next } = await run('0')
      assert.equal(next['execution_count'], Number(first['execution_count']) + 1)
    })

    it('evaluates user expressions, each on its own', async () => {
      const { reply } = await kernel.execute('const seven = 7', { user_expressions: { a: 'seven + 1', b: 'missing' } })
      const { a, b } = reply['user_expressions'] as Record<string, Record<string, unknown>>
      assert.deepEqual(a, { status: 'ok', data: { 'text/plain': '8' }, metadata: {} })
      assert.equal(b!['ename'], 'TypeScriptError')
    })

    it('aborts the cells that already wait behind an error, not those sent later', async () => {
      const failing = kernel.execute('await new Promise(r => setTimeout(r, 100)); throw new Error("stop")')
      const waiting = kernel.execute('1')
      assert.equal((await failing).reply['status'], 'error')
      assert.equal((await waiting).reply['status'], 'aborted')
      assert.equal((await run('1')).reply['status'], 'ok')
    })

    it('asks the user', async () => {
      kernel.answerInput = prompt => `${prompt}!`
      assert.equal(value(await run('await input("name")')), 'name!')
      const headless = await kernel.execute('await input("name")', { allow_stdin: false })
      assert.match(String(headless.reply['evalue']), /takes no input/)
    })
  })

  describe('output', () => {
    it('drops no line', async () => {
      const lines = stream(await run('for (let i = 0; i < 20000; i++) console.log(i)'))
        .trimEnd()
        .split('\n')
      assert.deepEqual(
        lines,
        Array.from({ length: 20_000 }, (_, i) => String(i)),
      )
    })

    it('keeps the order of streams and of charts that take time', async () => {
      const answer = await run(`
        console.log('a'); console.error('b')
        display({ [Symbol.for('Jupyter.display')]: async () => (await new Promise(r => setTimeout(r, 50)), { 'text/plain': 'c' }) })
        console.log('d')`)
      const shown = answer.outputs.slice(2, -1).map(({ content }) => content['text'] ?? content['data'])
      assert.deepEqual(shown, ['a\n', 'b\n', { 'text/plain': 'c' }, 'd\n'])
    })

    it('updates an output, and shows no handle as a result', async () => {
      const answer = await run('const shown = display("one"); shown.update("two"); shown')
      assert.equal(of(answer, 'execute_result').length, 0)
      const [first] = of(answer, 'display_data')
      const update = of(answer, 'update_display_data').at(-1)
      assert.deepEqual(update!.content['data'], { 'text/plain': 'two' })
      assert.deepEqual(update!.content['transient'], first!.content['transient'])
    })

    it('skips frames of a display that is updated faster than it renders', async () => {
      const answer = await run(`
        const frame = (i: number) => ({ [Symbol.for('Jupyter.display')]: async () => (await new Promise(r => setTimeout(r, 20)), { i }) })
        const film = display(frame(0))
        for (let i = 1; i < 100; i++) film.update(frame(i))`)
      const updates = of(answer, 'update_display_data').map(({ content }) => content['data'])
      assert.deepEqual(updates, [{ i: 99 }])
    })

    it('clears', async () => {
      assert.deepEqual(of(await run('clearOutput({ wait: true })'), 'clear_output')[0]!.content, { wait: true })
    })

    it('shows a vega-lite chart with its picture', async () => {
      const answer =
        await run(`({ $schema: 'https://vega.github.io/schema/vega-lite/v5.json', title: 'T', mark: 'point',
        data: { values: [{ x: 1 }] }, encoding: { x: { field: 'x' } } })`)
      const bundle = data(answer)
      assert.equal((bundle['application/vnd.vegalite.v5+json'] as { title: string }).title, 'T')
      assert.match(String(bundle['image/svg+xml']), /^<svg/)
      assert.equal(bundle['text/plain'], 'vega-lite chart: T')
    })

    it('shows an arquero table, escaped', async () => {
      const bundle = data(await run(`import { table } from 'arquero'; table({ '<b>': ['<i>'] })`))
      assert.match(String(bundle['text/html']), /&lt;b&gt;.*&lt;i&gt;/)
      assert.match(String(bundle['text/plain']), /<b>/)
    })

    it('shows pixels and image files', async () => {
      const bundle = data(await run('({ data: new Uint8Array(2 * 3 * 4).fill(255), width: 2, height: 3 })'))
      const png = Buffer.from(String(bundle['image/png']), 'base64')
      assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [2, 3])
      const file = data(await run(`Buffer.from('${png.toString('base64')}', 'base64')`))
      assert.equal(file['image/png'], png.toString('base64'))
    })

    it('shows tensors without reading them', async () => {
      const answer = await run(`import * as tf from '@tensorflow/tfjs-core'; import '@tensorflow/tfjs-backend-cpu'
        tf.zeros([2, 3])`)
      assert.equal(value(answer), 'Tensor float32 [2, 3]')
    })

    it("serves tslab's own display", async () => {
      const answer = await run(`import { display as old } from 'tslab'; old.html('<p>')`)
      assert.deepEqual(data(answer, 'display_data'), { 'text/html': '<p>' })
    })
  })

  describe('TypeScript', () => {
    it('awaits in every form', async () => {
      assert.equal(value(await run('await (Promise.resolve(3))')), '3')
      assert.equal(value(await run('let sum = 0; for await (const x of [1, 2]) sum += x; sum')), '3')
      assert.equal(value(await run('const { a, ...rest } = await Promise.resolve({ a: 1, b: 2 }); rest.b')), '2')
    })

    it('reads names of earlier cells in shorthand properties', async () => {
      await run('const shade = 3')
      assert.equal(value(await run('({ shade }).shade + [1].map(shade => ({ shade }))[0]!.shade')), '4')
    })

    it('declares names anew, with other types', async () => {
      await run('const thing = 1')
      await run('function useThing() { return thing }')
      await run('const thing: string = "text"')
      assert.equal(value(await run('useThing() + thing.toUpperCase()')), 'textTEXT')
    })

    it('takes ES modules with top-level await, and CommonJS', async () => {
      assert.match(String(value(await run(`import * as vega from 'vega'; vega.version`))), /^5\./)
      assert.equal(value(await run(`import { readFileSync } from 'node:fs'; typeof readFileSync`)), 'function')
      assert.equal(value(await run(`const path = await import('node:path'); path.basename('a/b')`)), 'b')
    })

    it('resolves rewardlab from any folder, one instance for all', async () => {
      assert.equal(
        value(await run(`import * as widgets from 'rewardlab/widgets'; widgets.display === display`)),
        'true',
      )
      assert.equal(
        value(await run(`const later = await import('rewardlab/widgets'); later.display === display`)),
        'true',
      )
    })

    it("takes the packages beside the notebook, a CommonJS one's properties too", async () => {
      const write = (name: string, files: Record<string, string>) => {
        const folder = join(kernel.folder, 'node_modules', name)
        mkdirSync(folder, { recursive: true })
        for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text)
      }
      write('modern', {
        'package.json': '{ "type": "module", "exports": { "./part": { "types": "./a.d.ts", "import": "./a.js" } } }',
        'a.js': 'export const part = await 3',
        'a.d.ts': 'export declare const part: number',
      })
      write('old', { 'package.json': '{}', 'index.js': 'module.exports = Object.assign(() => 4, { named: 5 })' })
      const code = `import { part } from 'modern/part'; import old, { named } from 'old'; [part, old(), named].join()`
      assert.equal(value(await run(code)), '3,4,5')
    })

    it('takes local files, again after a change, through the files that use them', async () => {
      const write = (name: string, text: string) => writeFileSync(join(kernel.folder, name), text)
      write('inner.ts', 'export const one: number = await Promise.resolve(1)')
      write('outer.ts', `import { one } from './inner.ts'\nexport const two = one + 1`)
      assert.equal(value(await run(`import { two } from './outer.ts'; two`)), '2')
      write('inner.ts', 'export const one: number = await Promise.resolve(10)')
      assert.equal(value(await run(`import { two } from './outer.ts'; two`)), '11')
    })

    it('takes pasted exports', async () => {
      await run('export const pasted = 4\nexport function usePasted() { return pasted }')
      assert.equal(value(await run('usePasted()')), '4')
    })

    it('keeps what a failed cell has declared, and the values of an earlier run', async () => {
      await run('const kept = "first"')
      await run('const model = { loaded: true }; JSON.parse("{"); const kept = "second"')
      assert.equal(value(await run('model.loaded + kept')), 'truefirst')
    })

    it('declares what has a type that cannot be written as any', async () => {
      const text = 'interface Hidden { x: 1 }\nexport const hidden = (): { h: Hidden } => ({ h: { x: 1 } })'
      writeFileSync(join(kernel.folder, 'hidden.ts'), text)
      await run(
        `import { hidden } from './hidden.ts'; const made = hidden(), { h } = made; function make() { return h }`,
      )
      assert.equal(value(await run('[made.h.x, h.x, make().x].join()')), '1,1,1')
    })
  })

  describe('errors', () => {
    it('show where in the cell, and no frame of ours', async () => {
      const answer = await run(
        'interface A { b: number }\n\nfunction fail(a: A): never {\n  throw new RangeError(`bad ${a.b}`)\n}\n\nfail({ b: 1 })',
      )
      assert.deepEqual(of(answer, 'error')[0]!.content['ename'], 'RangeError')
      assert.equal(
        traceback(answer),
        [
          'RangeError: bad 1',
          '4 |   throw new RangeError(`bad ${a.b}`)',
          '            ~',
          '    at fail (CELL:4:9)',
          '    at CELL:7:1',
        ]
          .join('\n')
          .replaceAll('CELL', `cell[${answer.reply['execution_count'] as number}]`),
      )
    })

    it('of types come before anything runs, with their line marked', async () => {
      const answer = await run('console.log("ran")\nconst text: string = 5')
      assert.equal(stream(answer), '')
      assert.equal(
        traceback(answer),
        "cell:2:7 - error TS2322: Type 'number' is not assignable to type 'string'.\n2 | const text: string = 5\n          ~~~~",
      )
    })

    it('name the line of a local file', async () => {
      writeFileSync(
        join(kernel.folder, 'bad.ts'),
        'type T = 1\n\nexport const bad = () => {\n  throw new Error("bad")\n}',
      )
      assert.match(traceback(await run(`import { bad } from './bad.ts'; bad()`)), /bad\.ts:4:9/)
    })

    it('of packages that are missing say what to do', async () => {
      assert.match(
        traceback(await run(`const id: string = 'no-such-thing'; await import(id)`)),
        /npm install no-such-thing/,
      )
    })

    it('outside a cell and values that are no errors are reported too', async () => {
      const late = await run(`setTimeout(() => { throw new Error('late') }); await new Promise(r => setTimeout(r, 30))`)
      assert.match(stream(late, 'stderr'), /Uncaught error in a callback.*late/)
      assert.equal((await run('throw { code: 5 }')).reply['evalue'], '{ code: 5 }')
    })
  })

  describe('introspection', () => {
    it('completes with types, counting code points', async () => {
      await run('/** Doubles. */\nfunction twice(x: number): number { return 2 * x }')
      const { reply } = await kernel.request('complete_request', { code: '"😀"; twi', cursor_pos: 8 })
      assert.deepEqual([reply['matches'], reply['cursor_start'], reply['cursor_end']], [['twice'], 5, 8])
    })

    it('inspects: signature and docstring, also after the name', async () => {
      const { reply } = await kernel.request('inspect_request', { code: 'twice(', cursor_pos: 6, detail_level: 0 })
      const text = (reply['data'] as Record<string, string>)['text/plain']
      assert.match(text!, /function twice\(x: number\): number\s+Doubles\./)
      const { reply: none } = await kernel.request('inspect_request', { code: '   ', cursor_pos: 1, detail_level: 0 })
      assert.equal(none['found'], false)
    })

    it('answers a question about a name', async () => {
      const page = async (code: string) =>
        ((await run(code)).reply['payload'] as { data: Record<string, string> }[])[0]!.data
      assert.match(
        (await page('twice?'))['text/markdown']!,
        /```typescript\nfunction twice\(x: number\): number\n```\n\nDoubles\./,
      )
      assert.equal((await page('nothing ?'))['text/plain'], 'There is no nothing.')
    })

    it('knows code that is complete, incomplete or wrong', async () => {
      const status = async (code: string) => (await kernel.request('is_complete_request', { code })).reply['status']
      assert.deepEqual(
        [await status('await f(1)'), await status('if (x) {'), await status('const t = `a'), await status('const = 1')],
        ['complete', 'incomplete', 'incomplete', 'invalid'],
      )
    })

    it('answers while a cell awaits, and says busy again', async () => {
      const cell = run('await new Promise(r => setTimeout(r, 300))')
      await kernel.request('complete_request', { code: 'twi', cursor_pos: 3 })
      assert.equal(kernel.broadcasts.at(-1)!.content['execution_state'], 'busy')
      assert.equal((await cell).reply['status'], 'ok')
    })

    it('keeps a history', async () => {
      await run('"a unique cell"')
      const history = async (request: object) =>
        (await kernel.request('history_request', { output: false, raw: true, ...request })).reply[
          'history'
        ] as unknown[][]
      assert.equal((await history({ hist_access_type: 'tail', n: 1 }))[0]![2], '"a unique cell"')
      assert.equal((await history({ hist_access_type: 'search', pattern: '*uniq?e*', n: 9 })).length, 1)
      assert.deepEqual((await history({ hist_access_type: 'range', session: 0, start: 1, stop: 2 }))[0]!.slice(1), [
        1,
        '1 + 1',
      ])
    })
  })

  describe('comms', () => {
    it('open to the front end and carry bytes', async () => {
      const opened = await run(`
        import { notebook } from 'rewardlab/widgets'
        const comm = notebook()!.openComm('test', { hello: 1 }, { buffers: [Uint8Array.of(1, 2)] })
        comm.onMessage = (data, buffers) => { console.log(data['x'], buffers[0]![0]); comm.send({ back: true }) }`)
      const [open] = of(opened, 'comm_open')
      assert.deepEqual([...open!.buffers[0]!], [1, 2])
      const comm_id = open!.content['comm_id']
      const { reply } = await kernel.request('comm_info_request', { target_name: 'test' })
      assert.deepEqual(reply['comms'], { [comm_id as string]: { target_name: 'test' } })

      const id = await kernel.send('comm_msg', { comm_id, data: { x: 5 } }, 'shell', [Uint8Array.of(9)])
      await run('0')
      const heard = kernel.broadcasts.filter(({ parent }) => parent.msg_id === id)
      assert.equal(heard.find(({ header }) => header.msg_type === 'stream')?.content['text'], '5 9\n')
      assert.ok(heard.some(({ header }) => header.msg_type === 'comm_msg'))
    })

    it('of an unknown target are closed', async () => {
      const id = await kernel.send('comm_open', { comm_id: 'theirs', target_name: 'unknown', data: {} })
      await run('0')
      assert.ok(
        kernel.broadcasts.some(({ parent, header }) => parent.msg_id === id && header.msg_type === 'comm_close'),
      )
    })
  })

  describe('interrupt', () => {
    /** Runs code, interrupts it, and returns the milliseconds the interrupt took. */
    async function interrupted(code: string): Promise<number> {
      const heard = kernel.broadcasts.length
      const cell = run(`console.log('started'); ${code}`)
      while (!kernel.broadcasts.slice(heard).some(({ content }) => content['text'] === 'started\n')) await setTimeout(5)
      await setTimeout(50)
      const start = performance.now()
      await kernel.interrupt()
      assert.equal((await cell).reply['ename'], 'KeyboardInterrupt')
      return performance.now() - start
    }

    for (const code of [
      'while (true) {}',
      'await 0; while (true) {}',
      'for (;;) await 0',
      'await new Promise(() => {})',
    ])
      it(`ends \`${code}\` and leaves a kernel that works`, async () => {
        const took = await interrupted(code)
        assert.ok(took < 500, `${took} ms`)
        assert.equal(value(await run('await Promise.resolve(6)')), '6')
      })

    it('keeps a cell that is still compiled from starting', async () => {
      const cell = run(`import { compile } from 'vega-lite'; (globalThis as any).started = true; typeof compile`)
      await setTimeout(20)
      await kernel.interrupt()
      assert.equal((await cell).reply['ename'], 'KeyboardInterrupt')
      assert.equal(
        value(await run('await new Promise(r => setTimeout(r, 200)); (globalThis as any).started === undefined')),
        'true',
      )
    })

    it('ends a cell that was sent just before, while the kernel still sets itself up', async () => {
      const fresh = await Client.start()
      try {
        const cell = fresh.execute('for (;;) ;')
        await fresh.interrupt()
        assert.equal((await cell).reply['ename'], 'KeyboardInterrupt')
        assert.equal(value(await fresh.execute('6')), '6')
      } finally {
        fresh.stop()
      }
    })

    it('leaves the next cell alone when none runs', async () => {
      await kernel.interrupt()
      assert.equal(value(await run('await new Promise(r => setTimeout(r, 100)); 6')), '6')
    })

    it('aborts the signal of the cell, and aborts the queue', async () => {
      const waiting = setTimeout(50).then(() => run('1'))
      await interrupted(`
        const signal: AbortSignal = (globalThis as any)[Symbol.for('rewardlab.signal')]()
        await new Promise(() => {})`)
      assert.equal((await waiting).reply['status'], 'aborted')
      assert.equal(value(await run('signal.aborted')), 'true')
    })

    it('leaves no scope or tape of tfjs behind, and not its tensors', async () => {
      await run(`import * as tf from '@tensorflow/tfjs-core'; import { start } from 'rewardlab/xla'
        await start({ backend: 'cpu' }) // which also registers gradients
        const one = tf.ones([2])`)
      const depths = `const { state } = tf.engine() as any;
        [state.scopeStack.length, state.gradientDepth, state.kernelDepth, state.activeTape?.length].join()`
      const tensors = async () => Number(value(await run('tf.memory().numTensors')))
      const before = await tensors()
      await interrupted('tf.tidy(() => { for (let x = tf.mul(one, 2); ; ) x = tf.mul(x, 2) })')
      await interrupted('tf.grad((x: tf.Tensor) => { for (;;) x = tf.mul(x, 2) })(one)')
      assert.equal(value(await run(depths)), '0,0,0,')
      const untracked = 4 // the loops make thousands; the end may fall between making one and tracking it
      assert.ok((await tensors()) <= before + untracked)
    })

    it('lets modules repair their state', async () => {
      await run(`const repairs: Set<() => void> = (globalThis as any)[Symbol.for('rewardlab.interrupted')]
        let repaired = 0; repairs.add(() => repaired++)`)
      await interrupted('for (;;) ;')
      assert.equal(value(await run('repaired')), '1')
    })
  })
})

describe('a kernel that ends', function () {
  this.timeout(60_000)

  it('says so when a cell calls process.exit, after all it printed', async () => {
    const kernel = await Client.start()
    const answer = await kernel.execute('console.log("last words"); process.exit(3)')
    assert.equal(stream(answer), 'last words\n')
    assert.match(String(answer.reply['evalue']), /process\.exit\(3\) was called.*variables are lost/)
    assert.equal(await exitCode(kernel), 3)
    kernel.stop()
  })

  it('says so when the heap is full', async () => {
    const kernel = await Client.start({ NODE_OPTIONS: '--max-old-space-size=200' })
    const answer = await kernel.execute('const hoard: number[][] = []; for (;;) hoard.push(new Array(1e5).fill(0.5))')
    assert.match(String(answer.reply['evalue']), /heap is full/)
    kernel.stop()
  })

  it('shuts down when asked, and keeps its history on disk', async () => {
    const kernel = await Client.start()
    await kernel.execute('"remember"')
    const { reply } = await kernel.request('shutdown_request', { restart: true }, 'control')
    assert.deepEqual(reply, { status: 'ok', restart: true })
    assert.ok(kernel.broadcasts.some(({ header }) => header.msg_type === 'shutdown_reply'))
    assert.equal(await exitCode(kernel), 0)
    const next = await Client.start({ REWARDLAB_HISTORY: join(kernel.folder, 'history.jsonl') })
    const { reply: kept } = await next.request('history_request', { hist_access_type: 'tail', n: 5, output: false })
    assert.deepEqual(kept['history'], [[1, 1, '"remember"']])
    kernel.stop()
    next.stop()
  })

  it('does so when the server that started it is gone', async () => {
    const server = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    const kernel = await Client.start({ JPY_PARENT_PID: String(server.pid) })
    server.kill('SIGKILL')
    await exitCode(kernel)
    kernel.stop()
  })
})

async function exitCode({ process: child }: Client): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.exitCode
}
