import { readdirSync, readFileSync } from 'node:fs'
import ts from 'typescript'
import { loopDefaults, experimentDefaults, METHODS } from '../../src/cli/experiment.js'
import { DATASETS } from '../../src/cli/namedDatasets.js'
import { REWARDS } from '../../src/cli/namedRewards.js'
import { loraDefaults } from '../../src/models/index.js'

type Fields = Readonly<Record<string, unknown>>

/** The tables of docs/cli.md, by the name in its markers: fields, their defaults, and the first sentences of their docstrings. */
export function fieldTables(): Record<string, string> {
  const experiment = docstrings(['src/cli/experiment.ts'], ['ExperimentConfig', 'LoopConfig'])
  const optimizers = docstrings(
    readdirSync('src/optimizers')
      .filter(file => file.endsWith('.ts'))
      .map(file => `src/optimizers/${file}`),
    ['TrainingConfig', 'GrpoConfig', 'DpoConfig', 'SrpoConfig'],
  )
  const lora = docstrings(['src/models/lora.ts'], ['LoraConfig'])
  const methods = Object.entries(METHODS).map(([name, { defaults }]) => [name, defaults as Fields] as const)
  const fields = [...new Set(methods.flatMap(([, defaults]) => Object.keys(defaults)))]
  return {
    fields: table(
      ['field', 'default', 'meaning'],
      Object.entries(experimentDefaults).map(([field, value]) => [code(field), shown(value), experiment[field]!]),
    ),
    adapter: table(
      ['field', 'default', 'meaning'],
      Object.entries(loraDefaults()).map(([field, value]) => [code(field), shown(value), lora[field] ?? '']),
    ),
    args: table(
      ['field', ...methods.map(([name]) => name), 'meaning'],
      fields.map(field => [
        code(field),
        ...methods.map(([, defaults]) => (field in defaults ? shown(defaults[field]) : '')),
        optimizers[field] ?? '',
      ]),
    ),
    loop: table(
      ['field', 'default', 'meaning'],
      Object.entries(loopDefaults).map(([field, value]) => [code(field), shown(value), experiment[field]!]),
    ),
    datasets: options(DATASETS),
    rewards: options(REWARDS),
  }
}

const options = (named: Readonly<Record<string, { defaults: object }>>): string =>
  table(
    ['name', 'options with defaults'],
    Object.entries(named).map(([name, { defaults }]) => [
      code(name),
      Object.entries(defaults).map(([option, value]) => `${code(option)}: ${shown(value)}`).join(', '), // prettier-ignore
    ]),
  )

/** What docstrings say of a config's fields, by name, of some interfaces and those that they extend; several of a field one after the other. */
function docstrings(files: readonly string[], interfaces: readonly string[]): Record<string, string> {
  const declared = new Map<string, ts.InterfaceDeclaration>()
  for (const file of files)
    ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2022, true).forEachChild(node => {
      if (ts.isInterfaceDeclaration(node)) declared.set(node.name.text, node)
    })
  const found = new Map<string, Set<string>>()
  const visit = (name: string): void => {
    const node = declared.get(name)
    if (node === undefined) return // a utility of TypeScript
    for (const base of node.heritageClauses?.flatMap(clause => clause.types) ?? []) visit(base.expression.getText())
    for (const member of node.members) {
      const doc = ts.getJSDocCommentsAndTags(member).find(ts.isJSDoc)
      const text = doc && ts.getTextOfJSDocComment(doc.comment)
      if (!text || !member.name) continue
      const field = member.name.getText()
      found.set(field, (found.get(field) ?? new Set()).add(plain(text)))
    }
  }
  interfaces.forEach(visit)
  return Object.fromEntries([...found].map(([field, texts]) => [field, [...texts].join(' ')]))
}

const plain = (text: string): string => text.replace(/\{@link (\w+)\}/g, '`$1`').replace(/\s+/g, ' ').replaceAll('|', '\\|').trim() // prettier-ignore
const code = (text: string): string => `\`${text}\``
const shown = (value: unknown): string => (typeof value === 'string' ? (value === '' ? 'needed' : code(value)) : code(JSON.stringify(value))) // prettier-ignore

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
