import type { RgbImage } from '../io/images.js'
import { imageRows, type ImageRows, type ImageRowsOptions } from './imageRows.js'

/** Two pictures made for one prompt, of which people or a reward preferred one. */
export interface ImagePreference {
  /** What an image policy takes: the picture to edit, and the instruction; the text alone where no picture was edited. */
  prompt: { image: RgbImage; prompt: string } | string
  chosen: RgbImage
  rejected: RgbImage
}

/** Reads preference pairs from JSON lines, `{"prompt": "make it red", "image": "a.png", "chosen": "b.png", "rejected": "c.png"}`, plain
 * or gzip-compressed; `image` may be left out, `instruction` and `source` serve as names of prompt and image too.
 * @throws naming the file, the line and the field that is missing or no text; of pictures, when they are read */
export function imagePreferences(path: string, options: ImageRowsOptions = {}): ImageRows<ImagePreference> {
  return imageRows(
    'imagePreferences',
    path,
    {
      prompt: { kind: 'text', fields: ['prompt', 'instruction'] },
      image: { kind: 'picture', fields: ['image', 'source'], optional: true },
      chosen: { kind: 'picture', fields: ['chosen'] },
      rejected: { kind: 'picture', fields: ['rejected'] },
    },
    ({ prompt, image, ...pair }) => ({ prompt: image ? { image, prompt } : prompt, ...pair }),
    options,
  )
}
