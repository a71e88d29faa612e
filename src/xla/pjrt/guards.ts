interface Slot<T> {
  held: T | null
}

/** Referenced by nothing but the object that it guards. */
export interface Guard<T> {
  readonly slot: Slot<T>
}

/** Return what objects hold outside of V8's heap when they are garbage-collected without having been disposed.
 *
 * A guard is registered once and serves one object after another. To register each object would cost a microsecond and leave
 * garbage in V8's old space, which is collected rarely: the process of a train step grew by 20 KB a step. */
export class Guards<T extends object> {
  private readonly free: Guard<T>[] = []
  private readonly slots = new Set<Slot<T>>()
  private readonly registry: FinalizationRegistry<Slot<T>>

  /** @param release is called with what a collected object held */
  constructor(release: (held: T) => void) {
    this.registry = new FinalizationRegistry(slot => {
      this.slots.delete(slot)
      release(slot.held!)
    })
  }

  /** A guard for the object that holds this. */
  take(held: T): Guard<T> {
    const reused = this.free.pop()
    if (reused) {
      reused.slot.held = held
      return reused
    }
    const slot = { held }
    const guard = { slot }
    this.slots.add(slot)
    this.registry.register(guard, slot)
    return guard
  }

  /** The object is disposed: its guard may serve another. */
  give(guard: Guard<T>): void {
    guard.slot.held = null
    this.free.push(guard)
  }

  /** What is held now, by objects in use and by those not collected yet. */
  *held(): Iterable<T> {
    for (const { held } of this.slots) if (held) yield held
  }
}
