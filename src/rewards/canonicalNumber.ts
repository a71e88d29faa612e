/** A decimal number in one spelling, so that numbers compare as text and lose no digits: `1,250.0`, `$1250` → `1250`.
 * @returns null if the text is not a single number */
export function canonicalNumber(text: string): string | null {
  const parts = /^\s*(-?)\s*\$?(\d{1,3}(?:,\d{3})+|\d*)(?:\.(\d*))?\s*$/.exec(text)
  if (parts === null) return null
  const [, sign = '', grouped = '', decimals = ''] = parts
  if (grouped + decimals === '') return null
  const whole = grouped.replaceAll(',', '').replace(/^0+/, '') || '0'
  const fraction = decimals.replace(/0+$/, '')
  const magnitude = fraction === '' ? whole : `${whole}.${fraction}`
  return magnitude === '0' ? '0' : sign + magnitude
}
