import { Control } from './control.js'

/** HTML whose text can change. It is shown as it is: escape what comes from outside. */
export function html(value: string): Control<string> {
  return new Control('HTML', { value, description: '', placeholder: '' })
}
