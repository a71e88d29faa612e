import type { RgbImage } from '../io/images.js'
import { imageRows, type ImageRows, type ImageRowsOptions } from './imageRows.js'

/** An edit to learn or to be judged by. */
export interface ImageEdit {
  /** What an image policy takes: the picture to edit, and the instruction. */
  prompt: { image: RgbImage; prompt: string }
  /** The same picture, as rewards read it. */
  image: RgbImage
  /** The edited picture, where there is a true one. */
  target?: RgbImage
  /** 1 for each pixel that the edit may change, where the file says. */
  mask?: Uint8Array
}

/** Reads edits from JSON lines: `{"source": "a.png", "instruction": "make it red", "target": "b.png", "mask": "m.png"}`, plain or
 * gzip-compressed; `image` and `prompt` serve as names too, target and mask may be left out. White pixels of a mask may change.
 * @throws naming the file, the line and the field that is missing or no text; of pictures, when they are read */
export function imageEdits(path: string, options: ImageRowsOptions = {}): ImageRows<ImageEdit> {
  return imageRows(
    'imageEdits',
    path,
    {
      prompt: { kind: 'text', fields: ['prompt', 'instruction'] },
      image: { kind: 'picture', fields: ['image', 'source'] },
      target: { kind: 'picture', fields: ['target'], optional: true },
      mask: { kind: 'mask', fields: ['mask'], optional: true },
    },
    ({ prompt, image, ...rest }) => ({ prompt: { image, prompt }, image, ...rest }),
    options,
  )
}
