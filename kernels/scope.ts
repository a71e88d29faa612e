import ts from 'typescript'

/** What lowered code calls the object that holds the values of all names declared by the cells of a notebook. */
export const SCOPE = '__scope'

const { factory } = ts

/** Makes the top-level names of a cell those of the notebook: its code reads and writes them as properties of one object.
 * So a function sees what a later cell assigns or declares anew, as in Python.
 *
 * Declarations stay, so that functions keep their names and patterns their meaning; what they bind is copied to the
 * object at once, and every other reference goes there:
 *
 *     import { read } from './file.ts'       __scope.read = require("./file.ts").read;
 *     const { a, b = a } = read()            const { a, b = a } = (0, __scope.read)(); __scope.a = a, __scope.b = b;
 *     const sum = () => a + b                const sum = () => __scope.a + __scope.b; __scope.sum = sum;
 *
 * @param file JavaScript that ends with `export { … }`, the names it declares
 * @param earlier the names that cells before it have declared
 * @returns the names it declares, and what rewrites it */
export function shareNames(
  file: ts.SourceFile,
  checker: ts.TypeChecker,
  earlier: ReadonlySet<string>,
): { readonly names: readonly string[]; readonly transform: ts.TransformerFactory<ts.SourceFile> } {
  const declared = file.statements.flatMap(statement =>
    ts.isExportDeclaration(statement) && statement.exportClause && ts.isNamedExports(statement.exportClause)
      ? statement.exportClause.elements.flatMap(name => checker.getExportSpecifierLocalTargetSymbol(name) ?? []) // `declare`
      : [],
  )
  const shared = new Set(declared.filter(symbol => isOuter(symbol, file)))
  const names = [...shared].map(ts.symbolName)
  const isShared = (name: ts.Identifier): boolean => {
    const { parent } = name
    const symbol = ts.isShorthandPropertyAssignment(parent)
      ? checker.getShorthandAssignmentValueSymbol(parent)
      : checker.getSymbolAtLocation(name)
    return symbol?.declarations ? shared.has(symbol) : earlier.has(name.text)
  }

  const transform: ts.TransformerFactory<ts.SourceFile> = context => () => {
    const visit = <T extends ts.Node>(node: T): T => ts.visitNode(node, rewrite) as unknown as T
    const rewrite = (node: ts.Node): ts.Node => {
      if (ts.isIdentifier(node)) return isReference(node) && isShared(node) ? inScope(node) : node
      if (ts.isShorthandPropertyAssignment(node)) {
        const { name, objectAssignmentInitializer: initial } = node
        if (isShared(name))
          return factory.createPropertyAssignment(
            name.text,
            initial ? factory.createAssignment(inScope(name), visit(initial)) : inScope(name),
          )
      }
      const visited = ts.visitEachChild(node, rewrite, context)
      // The scope is not `this` of a function called by its name.
      if (ts.isCallExpression(node) && ts.isIdentifier(node.expression) && isShared(node.expression)) {
        const { expression, arguments: values } = visited as ts.CallExpression
        return factory.updateCallExpression(visited as ts.CallExpression, detached(expression), undefined, values)
      }
      if (ts.isTaggedTemplateExpression(node) && ts.isIdentifier(node.tag) && isShared(node.tag)) {
        const { tag, template } = visited as ts.TaggedTemplateExpression
        return factory.updateTaggedTemplateExpression(
          visited as ts.TaggedTemplateExpression,
          detached(tag),
          undefined,
          template,
        )
      }
      return visited
    }
    /** Visits what means the given names by itself: a class in its own body, a pattern in its own defaults. */
    const visitWith = <T extends ts.Node>(names: readonly ts.Identifier[], node: T): T => {
      const own = names.flatMap(name => checker.getSymbolAtLocation(name) ?? []).filter(symbol => shared.delete(symbol))
      const visited = visit(node)
      for (const symbol of own) shared.add(symbol)
      return visited
    }

    const first: ts.Statement[] = []
    const hoisted: ts.Statement[] = []
    const convert = (statement: ts.Statement): ts.Statement[] => {
      if (ts.isImportDeclaration(statement)) {
        first.push(...bindings(statement).map(([name, value]) => copy(name, value)))
        return []
      }
      if (ts.isExportDeclaration(statement)) return []
      if (ts.isFunctionDeclaration(statement)) {
        if (!statement.name) return [] // `export default`, which nothing can refer to
        hoisted.push(copy(statement.name))
        return [visit(statement)]
      }
      if (ts.isClassDeclaration(statement))
        return statement.name ? [visitWith([statement.name], statement), copy(statement.name)] : []
      if (!ts.isVariableStatement(statement)) return [visit(statement)]
      // One statement a variable, as later ones may read earlier ones.
      return statement.declarationList.declarations.flatMap(declaration => {
        const { name, initializer } = declaration
        const names = boundNames(name)
        const updated = factory.updateVariableDeclaration(
          declaration,
          visitWith(names, name),
          undefined,
          undefined,
          initializer && visit(initializer),
        )
        const list = factory.createVariableDeclarationList([updated], statement.declarationList.flags)
        const kept = ts.setTextRange(factory.createVariableStatement(undefined, list), declaration)
        return [kept, ...names.filter(name => isShared(name)).map(name => copy(name))]
      })
    }
    const statements = file.statements.flatMap(convert)
    // In a block: a cell may declare `require`, a parameter of the function around it.
    return factory.updateSourceFile(file, [...first, factory.createBlock([...hoisted, ...statements], true)])
  }
  return { names, transform }
}

/** Is it declared by a statement of its own at the top level, and not by a `var` inside another? */
const isOuter = ({ declarations = [] }: ts.Symbol, file: ts.SourceFile): boolean =>
  declarations.every(declaration => {
    const statement = ts.findAncestor(declaration, ({ parent }) => parent === file)!
    return !ts.isVariableDeclaration(declaration) || ts.isVariableStatement(statement)
  })

/** Not the name of a declaration, property or label. */
function isReference(name: ts.Identifier): boolean {
  const { name: own, propertyName, label } = name.parent as Partial<Record<'name' | 'propertyName' | 'label', ts.Node>>
  return own !== name && propertyName !== name && label !== name
}

/** `__scope.name`, at the place of `name`. */
const inScope = (name: ts.Identifier): ts.Expression =>
  placed(factory.createPropertyAccessExpression(factory.createIdentifier(SCOPE), name.text), name)

/** `(0, callee)` */
const detached = (callee: ts.Expression): ts.Expression =>
  placed(factory.createParenthesizedExpression(factory.createComma(factory.createNumericLiteral(0), callee)), callee)

/** Maps a node, and the parenthesis of a call behind it, to where the user's expression starts. */
const placed = <T extends ts.Node>(node: T, at: ts.Node): T =>
  ts.setEmitFlags(ts.setTextRange(node, at), ts.EmitFlags.NoTrailingSourceMap)

/** `__scope.name = value` */
const copy = (name: ts.Identifier, value: ts.Expression = factory.createIdentifier(name.text)): ts.Statement =>
  factory.createExpressionStatement(
    factory.createAssignment(factory.createPropertyAccessExpression(factory.createIdentifier(SCOPE), name.text), value),
  )

function boundNames(name: ts.BindingName): ts.Identifier[] {
  if (ts.isIdentifier(name)) return [name]
  return name.elements.flatMap(element => (ts.isBindingElement(element) ? boundNames(element.name) : []))
}

/** The names an import binds, each with the expression for its value. */
function bindings({ importClause, moduleSpecifier }: ts.ImportDeclaration): [ts.Identifier, ts.Expression][] {
  const required = () => factory.createCallExpression(factory.createIdentifier('require'), undefined, [moduleSpecifier])
  const member = (name: string) => factory.createElementAccessExpression(required(), factory.createStringLiteral(name))
  const { name, namedBindings } = importClause ?? {}
  const found: [ts.Identifier, ts.Expression][] = name ? [[name, member('default')]] : []
  if (namedBindings && ts.isNamespaceImport(namedBindings)) found.push([namedBindings.name, required()])
  else
    for (const { name, propertyName } of namedBindings?.elements ?? [])
      found.push([name, member((propertyName ?? name).text)])
  return found
}
