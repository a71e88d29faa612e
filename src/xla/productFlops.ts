const PARTS =
  /(%\d+) = "stablehlo\.constant"\(\) \{value = dense<(-?\d+)> : tensor<i32>\}|"stablehlo\.while"\((%\d+)|"stablehlo\.dot_general"\(.*|\(\{|\}\)/g

/** Floating-point operations of the matrix products in a program's text, those in loops as often as these run. A loop counts whose first value and
 * bound are constants, as {@link import('./scan.js').scan}'s are; of others one step is counted. */
export function productFlops(text: string): number {
  const constants = new Map<string, number>()
  const regions: { times: number; from?: number | undefined }[] = [{ times: 1 }] // the operations that are open
  let from: number | undefined // of the loop that begins
  let flops = 0
  for (const [part, name, value, first] of text.matchAll(PARTS)) {
    const region = regions.at(-1)!
    if (name !== undefined) {
      constants.set(name, Number(value))
      if (region.from === undefined) continue
      region.times *= Math.abs(Number(value) - region.from) + 1 // the first constant in a loop is the bound in its test
      region.from = undefined
    } else if (first !== undefined) from = constants.get(first)
    else if (part === '({') {
      regions.push({ times: region.times, from })
      from = undefined
    } else if (part === '})') regions.pop()
    else flops += region.times * flopsOf(part)
  }
  return flops
}

function flopsOf(product: string): number {
  const [left, , out] = [...product.matchAll(/tensor<((?:\d+x)*)/g)].map(([, shape]) => shape!.split('x').slice(0, -1).map(Number)) // prettier-ignore
  const contracted = /lhs_contracting_dimensions = \[([\d, ]*)\]/.exec(product)![1]!.split(', ').filter(Boolean)
  return 2 * [...out!, ...contracted.map(axis => left![Number(axis)]!)].reduce((all, n) => all * n, 1)
}
