import { Node, Trace } from './graph.js'
import type { ValueType } from './graph.js'
import * as hlo from './hlo.js'
import { IF, ancestors } from './print.js'
import { tensorType } from './types.js'

/* Control flow between nodes. What a body reads from outside becomes an operand of the loop. */

/** Nodes from outside `trace` that `results` read, in order of first use. Literals are repeated inside instead.
 * @throws if one belongs to a trace that is closed */
export function captured(trace: Trace, results: readonly Node[]): Node[] {
  const found: Node[] = []
  ancestors(
    results,
    node => {
      if (node.trace === trace || node.literal) return false
      if (!trace.sees(node.trace))
        throw new Error(
          `xla: "${trace.name}" uses a tensor made inside "${node.trace?.name}", which has ended. Return it from there.`,
        )
      found.push(node)
      return true
    },
    () => undefined,
  )
  return found
}

/** Runs `body` while `test` holds. Both get the state's nodes and are recorded once. */
export function whileNodes(
  name: string,
  init: readonly Node[],
  test: (state: Node[]) => Node,
  body: (state: Node[]) => Node[],
): Node[] {
  const trace = new Trace(name)
  const { parameters, proceed, next } = trace.run(() => {
    const parameters = init.map(hlo.parameter)
    return { parameters, proceed: test(parameters), next: body(parameters) }
  })
  next.forEach((node, i) => checkSame(`${name}: entry ${i} of the state`, init[i]!, node))
  const outside = captured(trace, [proceed, ...next])
  const all = [...parameters, ...outside]
  const regions = [
    { parameters: all, results: [proceed] },
    { parameters: all, results: [...next, ...outside] },
  ]
  const results = hlo.several('stablehlo.while', [...init, ...outside], '', all, regions)
  trace.close()
  return results.slice(0, init.length)
}

/** The values of one of two branches, chosen on the device. */
export function ifNodes(name: string, predicate: Node, onTrue: () => Node[], onFalse: () => Node[]): Node[] {
  const branches = [onTrue, onFalse].map(branch => {
    const trace = new Trace(name)
    const results = trace.run(branch)
    return { trace, results, outside: captured(trace, results) }
  }) as [Branch, Branch]
  const [yes, no] = branches
  if (yes.results.length !== no.results.length)
    throw new Error(
      `${name}: the branches return ${yes.results.length} and ${no.results.length} tensors; needed the same`,
    )
  no.results.forEach((node, i) => checkSame(`${name}: result ${i} of the second branch`, yes.results[i]!, node))
  const outside = [...new Set([...yes.outside, ...no.outside])]
  const regions = branches.map(({ results }) => ({ parameters: outside, results }))
  const results = hlo.several(IF, [predicate, ...outside], '', yes.results, regions)
  branches.forEach(b => b.trace.close())
  return results
}

interface Branch {
  trace: Trace
  results: Node[]
  outside: Node[]
}

/** The same computation with some nodes replaced, recorded in the current trace. */
export function substitute(results: readonly Node[], replacements: ReadonlyMap<Node, Node>, trace: Trace): Node[] {
  const map = new Map(replacements)
  ancestors(
    results,
    node => map.has(node) || node.trace !== trace,
    node => {
      const operands = node.operands.map(o => map.get(o) ?? o)
      map.set(
        node,
        new Node(node.op, operands, node.attributes, node.shape, node.type, node.regions, node.results, node.index),
      )
    },
  )
  return results.map(r => map.get(r) ?? r)
}

function checkSame(what: string, wanted: ValueType, got: ValueType): void {
  const [w, g] = [wanted, got].map(v => tensorType(v.shape, v.type))
  if (w !== g)
    throw new Error(`${what}: got ${g}, needed ${w}, as it was at the start. Shapes and types may not change.`)
}
