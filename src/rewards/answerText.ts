/** What stands in the last complete `<answer>…</answer>` of a text, trimmed; null if there is none. */
export function answerText(text: string): string | null {
  const close = text.lastIndexOf('</answer>')
  const open = text.lastIndexOf('<answer>', close)
  return close === -1 || open === -1 ? null : text.slice(open + '<answer>'.length, close).trim()
}
