/** What stands in the last complete `<answer>…</answer>` of a text, trimmed; null if there is none. */
export function answerText(text: string): string | null {
  const open = text.lastIndexOf('<answer>', text.lastIndexOf('</answer>'))
  const close = text.indexOf('</answer>', open)
  return close === -1 || open === -1 ? null : text.slice(open + '<answer>'.length, close).trim()
}
