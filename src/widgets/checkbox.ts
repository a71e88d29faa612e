import { Control } from './control.js'

/** Yes or no. */
export function checkbox({
  label = '',
  value = false,
}: {
  readonly label?: string
  readonly value?: boolean
}): Control<boolean> {
  return new Control('Checkbox', { description: label, value, indent: false })
}
