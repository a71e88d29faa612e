import * as tf from '@tensorflow/tfjs-core'
import { backend, onXla } from './backend.js'
import { astype } from './slices.js'
import type { ElementType } from './types.js'

/** What tfjs records of an operation for its gradient. */
interface TapeNode {
  inputs: tf.NamedTensorMap
  gradient?: (dys: tf.Tensor[]) => Record<string, () => tf.Tensor>
}

interface Taping {
  state: { activeTape: TapeNode[] }
  addTapeNode(kernelName: string, inputs: tf.NamedTensorMap, ...rest: unknown[]): void
}

/** Gives each gradient the element type of the tensor it belongs to, operation by operation. tfjs's own gradient functions
 * know one float type: an f32 factor in one of them would widen every gradient before it.
 *
 * tfjs has no place for this, so that the method which records an operation is wrapped. */
export function keepGradientTypes(): void {
  const engine = tf.engine() as unknown as Taping
  if (Object.hasOwn(engine, 'addTapeNode')) return
  const { addTapeNode } = engine
  engine.addTapeNode = function (kernelName, inputs, ...rest) {
    addTapeNode.call(this, kernelName, inputs, ...rest)
    if (!onXla()) return
    const node = this.state.activeTape.at(-1)!
    const { gradient } = node
    if (!gradient) return
    const types = new Map(Object.entries(inputs).map(([name, x]) => [name, floatType(x)]))
    node.gradient = dys => {
      const gradients = Object.entries(gradient(dys)).map(([name, dx]) => {
        const type = types.get(name)
        return [name, type ? () => astype(dx(), type) : dx] as const
      })
      return Object.fromEntries(gradients)
    }
  }
}

const floatType = (x: tf.Tensor): ElementType | null => (x.dtype === 'float32' ? backend().storage(x).type : null)
