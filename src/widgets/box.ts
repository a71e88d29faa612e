import { controls, fields } from './control.js'
import { Widget, type WidgetState } from './widget.js'

/** Widgets side by side. */
export const hbox = (...children: Widget[]): Widget => new Widget(boxState('HBox', children))

/** Widgets below each other. */
export const vbox = (...children: Widget[]): Widget => new Widget(boxState('VBox', children))

/** Widgets of which one is seen, by the titles of their tabs. */
export function tabs(pages: Readonly<Record<string, Widget>>): Widget {
  return new Widget({ ...boxState('Tab', Object.values(pages)), titles: Object.keys(pages), selected_index: 0 })
}

export function boxState(name: string, children: readonly Widget[]): WidgetState {
  return { ...fields(controls, `${name}Model`, `${name}View`), box_style: '', children }
}
