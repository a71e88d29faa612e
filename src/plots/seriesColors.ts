/** Okabe and Ito's palette, told apart by colour-blind readers: the first four are this project's optimizers'.
 * @source Okabe & Ito, Color Universal Design, 2008 */
const optimizers: Record<string, string> = { dpo: '#E69F00', grpo: '#0072B2', sft: '#000000', srpo: '#009E73' }
const others = ['#D55E00', '#CC79A7', '#56B4E9', '#F0E442']
const base = '#777777'

/** A Vega-Lite colour scale in which a series has one colour in every figure: the optimizers and the base have their own, other names
 * take the rest in alphabetical order. Pass all names of a study where a figure shows only some of them.
 * @param names series shown, in any order
 * @param study names that must keep their colours although this figure may lack them */
export function seriesColors(
  names: Iterable<string>,
  study: Iterable<string> = [],
): { domain: string[]; range: string[] } {
  const shown = [...new Set(names)].sort()
  const free = [...new Set([...shown, ...study])].filter(name => fixed(name) === undefined).sort()
  const cycle = [...others, ...Object.values(optimizers)]
  return { domain: shown, range: shown.map(name => fixed(name) ?? cycle[free.indexOf(name) % cycle.length]!) }
}

function fixed(name: string): string | undefined {
  const key = name.toLowerCase()
  return key === 'base' ? base : Object.hasOwn(optimizers, key) ? optimizers[key] : undefined
}
