import { fields } from './control.js'
import { Widget, type WidgetState } from './widget.js'

/** A view of your own: an ES module for the browser, `export default { render({ model, el }) { … } }`, whose model has
 * `state`.
 * @source https://anywidget.dev */
export function anywidget({
  esm,
  css = '',
  state = {},
}: {
  readonly esm: string
  readonly css?: string
  readonly state?: WidgetState
}): Widget {
  const from = { module: 'anywidget', version: '~0.11.*' }
  return new Widget({
    ...fields(from, 'AnyModel', 'AnyView'),
    _esm: esm,
    _css: css,
    _anywidget_id: 'rewardlab',
    ...state,
  })
}
