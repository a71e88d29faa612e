import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { treeOf } from '../io/checkpoint.js'
import { encodeTensor, openSafetensors, writeSafetensors, type SafetensorsType, type StoredTensor } from '../io/safetensors.js' // prettier-ignore
import { eachTensor, fromBytes, mapTensors, onXla, tensorsOf, typeOf, type ElementType } from '../xla/index.js'

const FILE = 'train_state.safetensors'
const STORED: Partial<Record<ElementType, SafetensorsType>> = { f32: 'F32', bf16: 'BF16', s32: 'I32', u8: 'U8' }

/** Writes a run's state (`run.state`: weights, moments, random key, position, what a method carries) into a folder, every value with
 * its bits.
 * @throws naming a tensor of a type that is not stored */
export async function saveState(dir: string, state: object): Promise<void> {
  const stored: Record<string, StoredTensor> = {}
  eachTensor(state, (t, path) => {
    stored[path] = { dtype: storedType(t, path), shape: t.shape, data: () => t.data() }
  })
  await writeSafetensors(join(dir, FILE), stored)
}

function storedType(t: tf.Tensor, path: string): SafetensorsType {
  const dtype = STORED[typeOf(t)]
  if (dtype !== undefined) return dtype
  throw new Error(`saveState: ${path} is ${typeOf(t)}, needed ${Object.keys(STORED).join(', ')}. Convert it.`)
}

/** A state in host memory, with its bits: {@link saveState} writes it while training goes on. Who asks disposes it.
 * @throws as saveState */
export async function hostCopy<S extends object>(state: S): Promise<S> {
  const copies = new Map<tf.Tensor, tf.Tensor>()
  const types = new Map<tf.Tensor, SafetensorsType>()
  eachTensor(state, (t, path) => types.set(t, storedType(t, path)))
  for (const t of tensorsOf(state))
    copies.set(t, onXla() ? fromBytes(encodeTensor(await t.data(), types.get(t)!), t.shape, typeOf(t)) : t.clone())
  return mapTensors(state, t => copies.get(t)!)
}

/** What {@link saveState} wrote: `grpo(policy, rows, rewards, args, await loadState(dir))` goes on from there.
 * @throws naming the file that is missing or damaged */
export async function loadState<S extends object>(dir: string): Promise<S> {
  const source = await openSafetensors(join(dir, FILE))
  try {
    const leaves: [string, tf.Tensor][] = []
    for (const [path, { dtype, shape }] of source.tensors) {
      const values = await source.read(path)
      const type = (Object.keys(STORED) as ElementType[]).find(type => STORED[type] === dtype)
      if (type === undefined) throw new Error(`${source.path}: ${path} is ${dtype}, which saveState does not write.`)
      const stock = () => tf.tensor(values, shape, values instanceof Float32Array ? 'float32' : 'int32')
      leaves.push([path, onXla() ? fromBytes(encodeTensor(values, dtype), shape, type) : stock()])
    }
    return { live: {}, ...(treeOf(leaves) as object) } as unknown as S // an empty record leaves no trace in a file
  } finally {
    await source.close()
  }
}
