/** The part of tfjs-core's engine that a terminated cell leaves open: no `finally` runs then, and `tidy` has none. */
interface Engine {
  readonly state: State & { readonly scopeStack: readonly unknown[] }
  endScope(): void
}
interface State {
  gradientDepth: number
  kernelDepth: number
  activeTape: readonly { readonly saved?: readonly { dispose(): void }[] | null }[] | null | undefined
  numDataMovesStack: number[]
}

/** tfjs keeps its engine on the global object; the kernel itself loads no tfjs. */
const engine = () => (globalThis as { _tfengine?: Engine })._tfengine

/** Remembers how deep tfjs is in scopes and gradients.
 * @returns closes what has been opened since, and disposes the tensors of those scopes */
export function rememberScopes(): () => void {
  const state = engine()?.state
  const depth = state?.scopeStack.length ?? 0
  const { gradientDepth = 0, kernelDepth = 0, activeTape = null, numDataMovesStack = [] } = state ?? {}
  const saved: State = { gradientDepth, kernelDepth, activeTape, numDataMovesStack: [...numDataMovesStack] }
  return () => {
    const now = engine()
    if (!now) return
    const tape = now.state.activeTape === activeTape ? [] : (now.state.activeTape ?? [])
    for (const { saved } of tape) for (const tensor of saved ?? []) tensor.dispose() // kept for the backward pass
    while (now.state.scopeStack.length > depth) now.endScope()
    Object.assign(now.state, saved)
  }
}
