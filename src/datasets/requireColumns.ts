import { fieldNames } from '../io/excerpt.js'

/** Checks a data set before it is used: rows are there, and each has the columns a method reads.
 * @throws if there is no row, or naming the first row that lacks a column */
export function requireColumns(rows: readonly object[], columns: readonly string[], where: string): void {
  if (rows.length === 0)
    throw new Error(
      `${where}: the data set is empty, needed rows with ${columns.join(', ')}. Check the file or filter.`,
    )
  rows.forEach((row, i) => {
    const missing = columns.filter(column => !(column in row))
    if (missing.length > 0)
      throw new Error(
        `${where}: row ${i} lacks ${missing.join(', ')} (got ${fieldNames(row, 'no column')}). ` +
          `Needed ${columns.join(', ')}: rename or add them.`,
      )
  })
}
