/** Okabe and Ito's palette without its yellow, which is invisible as a thin line on white; the optimizers have a colour each.
 * @source Okabe & Ito, Color Universal Design, 2008 */
const optimizers: Record<string, string> = { dpo: '#E69F00', grpo: '#0072B2', sft: '#000000', srpo: '#009E73' }
const base = '#666666'
/** The rest of it, and five that a search found farthest from it under simulated colour blindness. */
const others = ['#D55E00', '#CC79A7', '#56B4E9', '#772200', '#442255', '#0000CC', '#995544', '#3388FF']

/** A Vega-Lite colour scale in which a series has one colour in every figure: the optimizers and `base` have their own, other names
 * take what is left in alphabetical order, so pass all names of a study where a figure shows only some of them. Twelve series and
 * `base` are told apart, by colour-blind readers too (CIEDE2000 of any two at least 12 under protanopia and deuteranopia, 9.5 under
 * tritanopia); with more, colours repeat.
 * @param names series shown, in the order of the legend
 * @param study names that must keep their colours although this figure may lack them */
export function seriesColors(
  names: Iterable<string>,
  study: Iterable<string> = [],
): { domain: string[]; range: string[] } {
  const shown = [...new Set(names)]
  const all = [...new Set([...shown, ...study])]
  const taken = new Set(all.map(fixed))
  const cycle = [...others, ...Object.values(optimizers).filter(color => !taken.has(color))]
  const free = all.filter(name => fixed(name) === undefined).sort()
  return { domain: shown, range: shown.map(name => fixed(name) ?? cycle[free.indexOf(name) % cycle.length]!) }
}

function fixed(name: string): string | undefined {
  const key = name.toLowerCase()
  return key === 'base' ? base : Object.hasOwn(optimizers, key) ? optimizers[key] : undefined
}
