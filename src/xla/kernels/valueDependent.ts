import * as tf from '@tensorflow/tfjs-core'
import { hostKernels } from './register.js'

/* Kernels whose results depend in shape on the values of their inputs, and those of strings. */

hostKernels(
  tf.BroadcastArgs,
  tf.NonMaxSuppressionV3,
  tf.NonMaxSuppressionV4,
  tf.NonMaxSuppressionV5,
  tf.RaggedGather,
  tf.RaggedRange,
  tf.RaggedTensorToTensor,
  tf.SparseFillEmptyRows,
  tf.SparseReshape,
  tf.SparseSegmentMean,
  tf.SparseSegmentSum,
  tf.StaticRegexReplace,
  tf.StringNGrams,
  tf.StringSplit,
  tf.StringToHashBucketFast,
  tf.Unique,
)
