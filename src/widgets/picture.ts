import { base, Control, fields } from './control.js'
import { Widget } from './widget.js'

/** An SVG drawing, in its own size where there is room. A new one takes the place of the old without a flicker. */
export function picture(svg: string): Control<Uint8Array> {
  const layout = new Widget({
    ...fields(base, 'LayoutModel', 'LayoutView'),
    align_self: 'flex-start',
    max_width: '100%',
  })
  return new Control('Image', { format: 'svg+xml', value: Buffer.from(svg), width: '', height: '', layout })
}
