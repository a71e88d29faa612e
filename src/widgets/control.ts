import { Widget, type WidgetState } from './widget.js'

/** A widget with a value that the user or the program sets. */
export class Control<T> extends Widget {
  /** @param name a control of ipywidgets 8, without "Model"
   * @param state.labelWidth CSS width of the label; by default as wide as it is (ipywidgets would cut it)
   * @param view without "View"; mostly the same name */
  constructor(name: string, { labelWidth = 'initial', ...state }: WidgetState, view = name) {
    super({ ...fields(controls, `${name}Model`, `${view}View`), style: style(labelWidth), disabled: false, ...state })
  }

  get value(): T {
    return this.get('value') as T
  }
  set value(value: T) {
    this.set({ value })
  }

  get label(): string {
    return String(this.get('description'))
  }
  set label(description: string) {
    this.set({ description })
  }

  /** Calls `listener` with each new value, whoever sets it.
   * @returns a function that ends it */
  onChange(listener: (value: T) => void): () => void {
    return this.on('value', value => listener(value as T))
  }
}

export const base = { module: '@jupyter-widgets/base', version: '2.0.0' }
export const controls = { module: '@jupyter-widgets/controls', version: '2.0.0' }

/** The fields by which the browser finds a widget's model and view. */
export function fields(from: { module: string; version: string }, model: string, view: string): WidgetState {
  return {
    _model_module: from.module,
    _model_module_version: from.version,
    _model_name: model,
    _view_module: from.module,
    _view_module_version: from.version,
    _view_name: view,
    _view_count: null,
    _dom_classes: [],
    tabbable: null,
    tooltip: null,
  }
}

function style(description_width: unknown): Widget {
  const found = fields(controls, 'DescriptionStyleModel', 'StyleView')
  const view = { _view_module: base.module, _view_module_version: base.version }
  return new Widget({ ...found, ...view, description_width })
}
