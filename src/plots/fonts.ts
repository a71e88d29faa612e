import { createRequire } from 'node:module'
import PDFDocument from 'pdfkit'

const require = createRequire(import.meta.url)
const file = (style: string) => require.resolve(`@expo-google-fonts/arimo/${style}/Arimo_${style}.ttf`)

/** Arimo (SIL Open Font License), which has the widths of Arial and Helvetica: the layout of an exported figure is that of the
 * notebook's. Keys are the names under which PDF files refer to the styles. */
export const fontFiles = {
  Arimo: file('400Regular'),
  'Arimo-Bold': file('700Bold'),
  'Arimo-Italic': file('400Regular_Italic'),
  'Arimo-BoldItalic': file('700Bold_Italic'),
}

export type FontStyle = keyof typeof fontFiles

export function fontStyle(bold: boolean, italic: boolean): FontStyle {
  return bold ? (italic ? 'Arimo-BoldItalic' : 'Arimo-Bold') : italic ? 'Arimo-Italic' : 'Arimo'
}

/** Makes the four styles known to a PDF document. */
export function registerFonts(pdf: PDFKit.PDFDocument): void {
  for (const [name, path] of Object.entries(fontFiles)) pdf.registerFont(name, path)
}

const widths = new Map<string, number>()
let ruler: PDFKit.PDFDocument | undefined

/** Width of a text set in Arimo.
 * @param size font size
 * @returns in the unit of the size */
export function textWidth(text: string, size: number, style: FontStyle): number {
  const key = `${style} ${text}`
  let width = widths.get(key)
  if (width === undefined) {
    if (!ruler) registerFonts((ruler = new PDFDocument({ autoFirstPage: false })))
    width = ruler.font(style).fontSize(1000).widthOfString(text) / 1000
    widths.set(key, width)
  }
  return width * size
}
