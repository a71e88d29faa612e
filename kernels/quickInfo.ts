import ts from 'typescript'

/** What the language service uses for the same purpose; the published types leave it out. */
interface Internals {
  getTouchingPropertyName(file: ts.SourceFile, position: number): ts.Node
  getContainingObjectLiteralElement(node: ts.Node): ts.ObjectLiteralElementLike | undefined
  getPropertySymbolsFromContextualType(
    element: ts.ObjectLiteralElementLike,
    checker: ts.TypeChecker,
    type: ts.Type,
    unionSymbolOk: boolean,
  ): readonly ts.Symbol[]
  getContainerNode(node: ts.Node): ts.Node | undefined
  readonly SymbolDisplay: {
    getSymbolDisplayPartsDocumentationAndSymbolKind(
      checker: ts.TypeChecker,
      symbol: ts.Symbol,
      file: ts.SourceFile,
      container: ts.Node | undefined,
      node: ts.Node,
    ): Pick<ts.QuickInfo, 'displayParts' | 'documentation' | 'tags'> & { readonly symbolKind: ts.ScriptElementKind }
  }
}
const internals = ts as unknown as Internals

/** The signature and docstring of the name at a position, as the language service gives them, without its own program.
 * A key of an object literal is described by the type that the literal must have. */
export function quickInfo(
  file: ts.SourceFile,
  checker: ts.TypeChecker,
  _token: unknown,
  position: number,
): ts.QuickInfo | undefined {
  const touched = internals.getTouchingPropertyName(file, position)
  if (touched === file) return undefined
  const node =
    ts.isNewExpression(touched.parent) && touched.pos === touched.parent.pos ? touched.parent.expression : touched
  const symbol = propertyOfContext(node, checker) ?? checker.getSymbolAtLocation(node)
  if (!symbol) return undefined
  const { symbolKind, ...described } = internals.SymbolDisplay.getSymbolDisplayPartsDocumentationAndSymbolKind(
    checker,
    symbol,
    file,
    internals.getContainerNode(node),
    node,
  )
  const textSpan = ts.createTextSpanFromBounds(node.getStart(file), node.end)
  return { kind: symbolKind, kindModifiers: '', textSpan, ...described }
}

function propertyOfContext(node: ts.Node, checker: ts.TypeChecker): ts.Symbol | undefined {
  const element = internals.getContainingObjectLiteralElement(node)
  const context = element && ts.isObjectLiteralExpression(element.parent) && checker.getContextualType(element.parent)
  if (!context) return undefined
  const symbols = internals.getPropertySymbolsFromContextualType(element, checker, context, false)
  return symbols.length === 1 ? symbols[0] : undefined
}
