/** A table of a FlatBuffer: its fields by their numbers; one that is left out has the value given.
 * Each method throws a RangeError where the table points beyond the buffer.
 * @source flatbuffers.dev/internals */
export class FlatTable {
  constructor(
    readonly view: DataView,
    readonly start: number,
  ) {}

  /** Where a field stands; 0: nowhere. */
  place(field: number): number {
    const vtable = this.start - this.view.getInt32(this.start, true)
    const entry = 4 + 2 * field
    const offset = entry < this.view.getUint16(vtable, true) ? this.view.getUint16(vtable + entry, true) : 0
    return offset && this.start + offset
  }
  byte(field: number, missing = 0): number {
    return this.place(field) ? this.view.getUint8(this.place(field)) : missing
  }
  short(field: number, missing = 0): number {
    return this.place(field) ? this.view.getInt16(this.place(field), true) : missing
  }
  int(field: number, missing = 0): number {
    return this.place(field) ? this.view.getInt32(this.place(field), true) : missing
  }
  long(field: number): number {
    return this.place(field) ? Number(this.view.getBigInt64(this.place(field), true)) : 0
  }
  table(field: number): FlatTable {
    if (this.place(field) === 0) throw new RangeError(`a table without its field ${field}`)
    return this.#at(this.place(field))
  }
  tables(field: number): FlatTable[] {
    return this.#entries(field, 4).map(at => this.#at(at))
  }
  /** Entries of so many integers of 64 bits. */
  longs(field: number, width: number): number[][] {
    return this.#entries(field, 8 * width).map(at =>
      Array.from({ length: width }, (_, i) => Number(this.view.getBigInt64(at + 8 * i, true))),
    )
  }
  text(field: number): string {
    if (!this.place(field)) return ''
    const at = this.place(field) + this.view.getUint32(this.place(field), true)
    return Buffer.from(this.view.buffer as ArrayBuffer, at + 4, this.view.getUint32(at, true)).toString()
  }

  #at(place: number): FlatTable {
    return new FlatTable(this.view, place + this.view.getUint32(place, true))
  }
  #entries(field: number, bytes: number): number[] {
    if (!this.place(field)) return []
    const at = this.place(field) + this.view.getUint32(this.place(field), true)
    const length = this.view.getUint32(at, true)
    if (at + 4 + length * bytes > this.view.byteLength) throw new RangeError(`a list of ${length} in ${this.view.byteLength} bytes`) // prettier-ignore
    return Array.from({ length }, (_, i) => at + 4 + i * bytes)
  }
}
