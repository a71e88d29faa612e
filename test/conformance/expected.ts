/** What a backend is expected to do with tfjs-core's specs. */
export interface Expected {
  /** At least so many specs must pass. */
  passed: number
  exclusions: readonly Exclusion[]
  /** Kernels that may run on the host for tensors that are neither strings nor complex, each with the reason. */
  onHost: Record<string, string>
}

/** Specs that fail, told by their name (without the environment) or by what they fail with. One that fits no failure is out of
 * date, and an error. */
export type Exclusion = ({ spec: RegExp } | { failure: RegExp }) & { because: string }

// prettier-ignore
export const expected: Record<'xla' | 'cpu' | 'tensorflow', Expected> = {
  xla: {
    passed: 4_000,
    exclusions: [
      { spec: /^avgPool gradient x=\[3,3,1\] f=\[3,3\] s=1 p=explicit$/, because: 'wants shares of 1/9 also at the border, where the forward pass of the same suite divides by fewer values: no gradient of it' },
      { spec: /^conv2dTranspose input=8x8x8,output=4x4x8,f=8,s=1,inDepth=8,p=same vec4$/, because: 'wants 4×4 values from 8×8 at stride 1, which no convolution is the transpose of: TensorFlow, too, refuses the shapes' },
      { spec: /^tan numbers exceed float32 precision$/, because: 'wants 30144.176 within 1e-3, where the next float32 is 2e-3 away: XLA, as TensorFlow, gives that one' },
    ],
    onHost: {
      BroadcastArgs: 'its inputs are shapes, and it throws where they do not broadcast',
      NonMaxSuppressionV3: 'the scores say how many boxes stay',
      NonMaxSuppressionV4: 'the scores say how many boxes stay',
      NonMaxSuppressionV5: 'the scores say how many boxes stay',
      RaggedGather: 'row lengths are values',
      RaggedRange: 'row lengths are values',
      RaggedTensorToTensor: 'row lengths are values',
      SparseFillEmptyRows: 'the indices say how many rows are added',
      SparseReshape: 'the shapes are values',
      SparseSegmentMean: 'the last segment says how many rows there are',
      SparseSegmentSum: 'the last segment says how many rows there are',
      Unique: 'the values say how many are distinct',
    },
  },
  cpu: { passed: 4_000, exclusions: [], onHost: {} },
  tensorflow: {
    passed: 3_878,
    exclusions: [
      { failure: /Kernel '\w+' not registered/, because: 'the binding lacks the kernel' },
      { failure: /supports only 'valid' and 'same' padding/, because: 'the binding has no other padding' },
      { failure: /does not support dataFormat:'NCHW'/, because: 'the binding has no other layout than NHWC' },
      { failure: /Value for attr 'T' of \w+ is not in the list of allowed values/, because: 'TensorFlow lacks the kernel for the type' },
      { failure: /Computed output size would be negative/, because: 'TensorFlow refuses windows larger than the image' },
      { spec: /^conv2dTranspose .* vec4$/, because: 'wants 4×4 values from 8×8 at stride 1, which no convolution is the transpose of' },
      { spec: /^einsum (2d matrix calculate trace|nonexistent dimension)/, because: 'TensorFlow computes it, where tfjs refuses' },
      { spec: /^multinomial creates the same data given the same seed$/, because: "TensorFlow's generator goes on from call to call" },
      { spec: /^scatterND should/, because: 'TensorFlow wants indices [N, K] with K ≤ rank; tfjs takes [N] for [N, 1]' },
      { spec: /^sign (basic|does not propagate NaNs|accepts a tensor-like)/, because: 'the sign of NaN is NaN in TensorFlow, 0 in tfjs' },
      { spec: /^tan numbers exceed float32 precision$/, because: 'wants 30144.176 within 1e-3, where the next float32 is 2e-3 away' },
      { spec: /^unique 1d tensor with NaN/, because: 'TensorFlow counts every NaN as a value of its own' },
    ],
    onHost: {},
  },
}
