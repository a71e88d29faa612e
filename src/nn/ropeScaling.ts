/** How a rotary embedding reaches past the length that it was trained on, under Hugging Face's names. */
export type RopeScaling =
  | { rope_type: 'linear'; factor: number }
  | {
      rope_type: 'llama3'
      factor: number
      low_freq_factor: number
      high_freq_factor: number
      original_max_position_embeddings: number
    }
  | {
      rope_type: 'yarn'
      factor: number
      original_max_position_embeddings: number
      beta_fast: number
      beta_slow: number
      /** Cosines and sines are multiplied by it. */
      attention_factor: number
      /** Whether the ends of the ramp are whole numbers. */
      truncate: boolean
    }

/** Frequencies of a rotary embedding in radians a position, theta^(−2i/D) for i in 0 … D/2−1, or what a scaling makes of them; and
 * what its cosines and sines are multiplied by.
 * @param size D
 * @source transformers 5.23, modeling_rope_utils.py; yarn arXiv 2309.00071 */
export function ropeFrequencies(
  size: number,
  theta: number,
  scaling?: RopeScaling,
): { frequencies: Float32Array; amplitude: number } {
  const plain = Array.from({ length: size / 2 }, (_, i) => 1 / theta ** ((2 * i) / size))
  if (!scaling) return { frequencies: Float32Array.from(plain), amplitude: 1 }
  const share = interpolated(scaling, size, theta)
  const scaled = plain.map((f, i) => (1 - share(f, i)) * f + (share(f, i) * f) / scaling.factor)
  const amplitude = scaling.rope_type === 'yarn' ? scaling.attention_factor : 1
  return { frequencies: Float32Array.from(scaled), amplitude }
}

/** How far a frequency f, the i-th, is on its way to f / factor, from 0 to 1. */
function interpolated(scaling: RopeScaling, size: number, theta: number): (f: number, i: number) => number {
  const clamped = (x: number) => Math.min(Math.max(x, 0), 1)
  switch (scaling.rope_type) {
    case 'linear':
      return () => 1
    case 'llama3': {
      const { low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: length } = scaling
      return f => clamped((high - (length * f) / (2 * Math.PI)) / (high - low)) // by turns within the length
    }
    case 'yarn': {
      const { beta_fast, beta_slow, original_max_position_embeddings: length, truncate } = scaling
      const indexOf = (turns: number) => (size * Math.log(length / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
      const [low, high] = [indexOf(beta_fast), indexOf(beta_slow)]
      const from = Math.max(truncate ? Math.floor(low) : low, 0)
      const to = Math.min(truncate ? Math.ceil(high) : high, size - 1)
      return (_, i) => clamped((i - from) / (to === from ? 0.001 : to - from))
    }
  }
}
