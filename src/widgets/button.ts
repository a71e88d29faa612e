import { controls, fields } from './control.js'
import { Widget } from './widget.js'

/** Calls `onClick` at each click; what that prints goes to the cell that ran last, so show results in an own display.
 * `button.set({ disabled: true })` takes it out of use. */
export function button(label: string, onClick: () => void): Widget {
  const widget = new Widget({
    ...fields(controls, 'ButtonModel', 'ButtonView'),
    description: label,
    button_style: '',
    icon: '',
    disabled: false,
  })
  widget.onMessage(({ event }) => {
    if (event === 'click') onClick()
  })
  return widget
}
