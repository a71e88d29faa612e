import { Control } from './control.js'

/** A number between `min` and `max` (0 and 1), a multiple of `step` (a hundredth of the range) above `min`: the browser rounds others. */
export function slider({
  label = '',
  min = 0,
  max = 1,
  step = (max - min) / 100,
  value = min,
  labelWidth,
}: {
  readonly label?: string
  readonly min?: number
  readonly max?: number
  readonly step?: number
  readonly value?: number
  /** CSS width of the label, to align several sliders. */
  readonly labelWidth?: string
}): Control<number> {
  return new Control('FloatSlider', {
    description: label,
    labelWidth,
    min,
    max,
    step,
    value,
    orientation: 'horizontal',
    behavior: 'drag-tap',
    continuous_update: true,
    readout: true,
    readout_format: Number.isInteger(step) ? 'd' : `.${Math.max(2, Math.ceil(-Math.log10(step)))}f`,
  })
}
