import { Control } from './control.js'

/** A line of text. */
export function textField({
  label = '',
  value = '',
  placeholder = '',
}: {
  readonly label?: string
  readonly value?: string
  readonly placeholder?: string
}): Control<string> {
  return new Control('Text', { description: label, value, placeholder, continuous_update: false })
}
