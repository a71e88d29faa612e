declare module 'svg-to-pdfkit' {
  /** Draws an SVG document on the current page of a PDF document. */
  export default function SVGtoPDF(
    pdf: PDFKit.PDFDocument,
    svg: string,
    x: number,
    y: number,
    options: {
      width: number
      height: number
      fontCallback: (family: string, bold: boolean, italic: boolean) => string
      imageCallback: (href: string) => string
      warningCallback: (message: string) => void
    },
  ): void
}
