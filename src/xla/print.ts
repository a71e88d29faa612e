import type { Node, Region, ValueType } from './graph.js'
import { tensorType } from './types.js'

export interface Argument {
  node: Node
  /** The program consumes it: its memory may become an output. */
  donated?: boolean
}

/** The nodes that `results` need, operands first, down to those for which `stop` holds. */
export function ancestors(results: readonly Node[], stop: (node: Node) => boolean, visit: (node: Node) => void): void {
  const seen = new Set<Node>()
  // A node is pushed twice: to visit its operands, and then itself.
  const stack: (Node | { done: Node })[] = [...results].reverse()
  for (let top = stack.pop(); top; top = stack.pop()) {
    if ('done' in top) {
      visit(top.done)
      continue
    }
    if (seen.has(top)) continue
    seen.add(top)
    if (stop(top)) continue
    stack.push({ done: top })
    for (let i = top.operands.length - 1; i >= 0; i--) if (!seen.has(top.operands[i]!)) stack.push(top.operands[i]!)
  }
}

/** The program's text: canonical names, so that equal graphs print equally and the text is the key of the compile cache. */
export function printProgram(name: string, args: readonly Argument[], results: readonly Node[]): string {
  const printer = new Printer()
  const inputs = args.map(({ node, donated }) => {
    const type = typeOf(node)
    return `${printer.bind(node)}: ${type}${donated ? ' {jax.buffer_donor = true}' : ''}`
  })
  printer.block(results, 'func.return')
  const types = results.map(typeOf).join(', ')
  return (
    `module @${name} {\nfunc.func public @main(${inputs.join(', ')}) -> (${types}) {\n` +
    `${printer.lines.join('\n')}\n}\n}\n`
  )
}

const typeOf = (v: ValueType): string => tensorType(v.shape, v.type)
/** The operation of {@link import('./control.js').cond}. */
export const IF = 'stablehlo.if'
const OPS: Record<string, string> = { constant: 'stablehlo.constant', iota: 'stablehlo.iota' }

class Printer {
  readonly lines: string[] = []
  private names = new Map<Node, string>()
  private next = 0

  bind(node: Node): string {
    const name = `%${this.next++}`
    this.names.set(node, name)
    return name
  }

  /** The statements that compute `results`, and the terminator that returns them. */
  block(results: readonly Node[], terminator: string): void {
    ancestors(
      results,
      node => this.names.has(node),
      node => this.statement(node),
    )
    const operands = results.map(r => this.name(r)).join(', ')
    this.lines.push(`"${terminator}"(${operands}) : (${results.map(typeOf).join(', ')}) -> ()`)
  }

  private name(node: Node): string {
    const name = this.names.get(node)
    if (name === undefined) throw new Error(`xla: internal: ${node.op} used before it is printed`)
    return name
  }

  private statement(node: Node): void {
    if (node.op === 'result') {
      this.names.set(node, `${this.name(node.operands[0]!)}#${node.index}`)
      return
    }
    if (node.op === 'parameter')
      throw new Error(
        'xla: a tensor made inside a jitted function or a loop body is used outside of it. Return it from there instead.',
      )
    const names = node.operands.map(o => this.name(o))
    const branches = node.op === IF // its regions take no arguments: they read the operands after the condition by name
    const shown = branches ? 1 : names.length
    const operands = names.slice(0, shown).join(', ')
    const types = node.operands.slice(0, shown).map(typeOf).join(', ')
    const name = this.bind(node)
    const regions = node.regions.map(r =>
      typeof r === 'string' ? r : this.region(r, branches ? names.slice(1) : undefined),
    )
    const code = regions.length ? ` ({ ${regions.join(' }, { ')} })` : ''
    const attributes = node.attributes ? ` {${node.attributes}}` : ''
    const results = node.results ? `(${node.results.map(typeOf).join(', ')})` : typeOf(node)
    const count = node.results ? `:${node.results.length}` : ''
    this.lines.push(
      `${name}${count} = "${OPS[node.op] ?? node.op}"(${operands})${code}${attributes} : (${types}) -> ${results}`,
    )
  }

  /** A region sees only its parameters; captured values stand among them. They are block arguments, or `outer` names. */
  private region(region: Region, outer?: readonly string[]): string {
    const inner = new Printer()
    inner.next = this.next
    if (outer) {
      region.parameters.forEach((p, i) => inner.names.set(p, outer[i]!))
      inner.block(region.results, 'stablehlo.return')
      this.next = inner.next
      return inner.lines.join('\n')
    }
    const parameters = region.parameters.map(p => `${inner.bind(p)}: ${typeOf(p)}`)
    inner.block(region.results, 'stablehlo.return')
    this.next = inner.next
    return `^bb0(${parameters.join(', ')}):\n${inner.lines.join('\n')}`
  }
}
