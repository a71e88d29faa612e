import { sampleFrames, type FrameSampling } from './qwen2VlProcessor.js'

/** How many frames of a video are taken, and from where. */
export interface VideoSampling extends FrameSampling {
  /** Lengths of its segments, one after another, in frames of whatever rate: only what share each is of their sum counts. */
  frame_cnts?: readonly number[]
  /** True: `fps` frames a second, at least min_frames and at most max_frames. False: max_frames, however long it is. Default true. */
  dynamic_sample?: boolean
}

/** Frames of a video as {@link sampleFrames} takes them, n of N:
 * - `dynamic_sample`: n = clamp(N / rate · fps, min_frames, max_frames); false: n = min(max_frames, N); each rounded down to an even number;
 * - `frame_cnts` c₁ … c_S: segment s is the frames from N·Σ_{i<s}cᵢ/Σc to N·Σ_{i≤s}cᵢ/Σc; of it n_s are taken, evenly spread from its first, where
 *   n_s is n·c_s/Σc rounded so that they sum to n (largest remainders), but at least 1 where n ≥ S and the segment has a frame.
 * @returns indices in their order, from 0
 * @throws Error for segments that are no whole numbers above 0, or where {@link sampleFrames} does */
export function sampleVideo(
  total: number,
  rate: number,
  { frame_cnts, dynamic_sample = true, ...sampling }: VideoSampling,
): number[] {
  const { min_frames, max_frames } = sampling
  if (min_frames !== undefined && max_frames !== undefined && min_frames > max_frames)
    throw new Error(`sampleVideo: min_frames is ${min_frames}, max_frames ${max_frames}. Needed min ≤ max.`)
  if (!dynamic_sample && max_frames === undefined)
    throw new Error('sampleVideo: dynamic_sample is false without max_frames, which then is the number of frames. Add it.') // prettier-ignore
  const evenly = sampleFrames(total, rate, dynamic_sample ? sampling : { num_frames: Math.min(max_frames!, evened(total)) }) // prettier-ignore
  if (frame_cnts === undefined) return evenly
  if (frame_cnts.length === 0 || !frame_cnts.every(count => Number.isInteger(count) && count > 0))
    throw new Error(`sampleVideo: frame_cnts is ${JSON.stringify(frame_cnts)}, needed whole numbers above 0.`)
  const sum = frame_cnts.reduce((a, b) => a + b)
  let counted = 0
  const ends = frame_cnts.map(count => Math.round((total * (counted += count)) / sum))
  const lengths = ends.map((end, s) => end - (ends[s - 1] ?? 0))
  return dealt(evenly.length, lengths).flatMap((n, s) =>
    Array.from({ length: n }, (_, i) => (ends[s - 1] ?? 0) + Math.floor((i * lengths[s]!) / n)),
  )
}

const evened = (count: number): number => Math.floor(count / 2) * 2

/** n dealt out in proportion to lengths, none more than its length. */
function dealt(n: number, lengths: readonly number[]): number[] {
  const total = lengths.reduce((a, b) => a + b)
  const least = n >= lengths.length ? 1 : 0
  const shares = lengths.map(length => Math.min(length, Math.max(least, Math.floor((n * length) / total))))
  const missing = (s: number) => (n * lengths[s]!) / total - shares[s]!
  for (let left = n - shares.reduce((a, b) => a + b); left !== 0; left -= Math.sign(left)) {
    const free = shares.flatMap((share, s) => ((left > 0 ? share < lengths[s]! : share > least) ? [s] : []))
    const most = free.reduce((a, b) => (Math.sign(left) * (missing(b) - missing(a)) > 0 ? b : a))
    shares[most]! += Math.sign(left)
  }
  return shares
}
