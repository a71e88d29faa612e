import type { Node, Region, ValueType } from './graph.js'
import { Mesh } from './sharding.js'
import type { Sharding } from './sharding.js'
import { tensorType } from './types.js'

export interface Argument {
  node: Node
  /** The program consumes it: its memory may become an output. */
  donated?: boolean
  /** Where its values lie. */
  sharding?: Sharding | null
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

/** The program's text: canonical names, so that equal graphs print equally and the text is the key of the compile cache.
 *
 * A program runs on a mesh if an argument is divided over one, or a value inside is constrained to one; its other arguments are
 * whole on every device.
 * @param kept shardings that results shall have; where there is none, the compiler chooses
 * @throws Error if two meshes meet */
export function printProgram(
  name: string,
  args: readonly Argument[],
  results: readonly Node[],
  kept: readonly (Sharding | null)[] = [],
): string {
  const printer = new Printer()
  const names = args.map(({ node }) => printer.bind(node))
  printer.block(results, 'func.return')
  const code = printer.lines.join('\n')
  const mesh = Mesh.inUse ? commonMesh(name, args, code) : null
  const inputs = args.map(({ node, donated, sharding }, i) => {
    const lies = mesh && (sharding?.mesh === mesh ? sharding : mesh.whole(node.shape.length))
    return `${names[i]}: ${typeOf(node)}${attributes(donated && 'jax.buffer_donor = true', shardingText(lies))}`
  })
  const outputs = results.map((node, i) => `${typeOf(node)}${attributes(shardingText(mesh && kept[i]))}`)
  return (
    `module @${name}${mesh ? ` attributes {mhlo.num_partitions = ${mesh.size} : i32, mhlo.num_replicas = 1 : i32}` : ''} {\n` +
    `${mesh ? `${mesh.text}\n` : ''}func.func public @main(${inputs.join(', ')}) -> (${outputs.join(', ')}) {\n` +
    `${code}\n}\n}\n`
  )
}

/** The text of a program that leaves its arguments as they are. */
export const withoutDonation = (text: string): string => text.replaceAll(/jax\.buffer_donor = true(, )?/g, '')

/** The name in a program's text. */
export const programName = (text: string): string => /^module @(\w+)/.exec(text)?.[1] ?? 'unnamed'

/** The mesh that a program runs on; null: one device. */
export function meshOf(text: string): Mesh | null {
  const name = Mesh.inUse && /^module .*\nsdy\.mesh @(\w+)/.exec(text)?.[1]
  return name ? Mesh.named(name) : null
}

function commonMesh(name: string, args: readonly Argument[], code: string): Mesh | null {
  const given = args.flatMap(({ sharding }) => sharding ?? [])
  const constrained = [...code.matchAll(/#sdy\.sharding<@(\w+)/g)].map(([, mesh]) => Mesh.named(mesh!))
  const meshes = new Set([...given.filter(s => !s.whole).map(s => s.mesh), ...constrained])
  if (meshes.size > 1)
    throw new Error(
      `xla: "${name}" reads tensors that are divided over different meshes: ${[...meshes].join(' and ')}; needed one mesh. ` +
        'Move some: xla.shard(tensors, mesh, spec).',
    )
  return [...meshes][0] ?? given[0]?.mesh ?? null // what is whole on every device can go anywhere
}

const shardingText = (sharding: Sharding | null | undefined) => sharding && `sdy.sharding = ${sharding.placeText}`

function attributes(...texts: (string | false | null | undefined)[]): string {
  const present = texts.filter(text => text)
  return present.length > 0 ? ` {${present.join(', ')}}` : ''
}

const typeOf = (v: ValueType): string => tensorType(v.shape, v.type)
/** The operation of {@link import('./cond.js').cond}. */
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
