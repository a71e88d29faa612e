import { controls, fields } from './control.js'
import { Widget } from './widget.js'

/** Widgets side by side. */
export const hbox = (...children: Widget[]): Widget => box('HBox', children)

/** Widgets below each other. */
export const vbox = (...children: Widget[]): Widget => box('VBox', children)

/** Widgets of which one is seen, by the titles of their tabs. */
export function tabs(pages: Readonly<Record<string, Widget>>): Widget {
  return box('Tab', Object.values(pages), { titles: Object.keys(pages), selected_index: 0 })
}

function box(name: string, children: readonly Widget[], more: Record<string, unknown> = {}): Widget {
  return new Widget({ ...fields(controls, `${name}Model`, `${name}View`), box_style: '', children, ...more })
}
