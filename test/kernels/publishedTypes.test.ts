import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join, relative } from 'node:path'
import ts from 'typescript'

const sources = fileURLToPath(new URL('../../src', import.meta.url))

describe('published types', function () {
  this.timeout(60_000)

  it("are understood by the kernel's compiler", () => {
    const modules = readdirSync(sources).map(name => join(sources, name, 'index.d.ts'))
    const program = ts.createProgram(
      modules.filter(path => ts.sys.fileExists(path)),
      {
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.ESNext,
        moduleResolution: ts.ModuleResolutionKind.Bundler,
        lib: ['lib.esnext.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
        types: ['node'],
        strict: true,
        noEmit: true,
      },
    )
    const ours = program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(sources))
    assert.ok(ours.length > 10)
    const found = ours.flatMap(file => [
      ...program.getSyntacticDiagnostics(file),
      ...program.getSemanticDiagnostics(file),
    ])
    const lines = found.map(({ file, messageText }) =>
      `${relative(sources, file!.fileName)}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`) // prettier-ignore
    assert.deepEqual(lines, [])
  })
})
