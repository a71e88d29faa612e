import { Control } from './control.js'

/** How far something is, from 0 to `max`. Its `label` can tell the rate and the time left. */
export function progressBar({
  label = '',
  max = 1,
  value = 0,
}: {
  readonly label?: string
  readonly max?: number
  readonly value?: number
}): Control<number> {
  const state = { description: label, min: 0, max, value, bar_style: '', orientation: 'horizontal' }
  return new Control('FloatProgress', state, 'Progress')
}
