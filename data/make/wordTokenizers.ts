/* Tokenizers that know the words of some texts, in the files that FLUX's two text encoders have. */

/** CLIP's: byte pairs whose merges make each word one token. Written as vocab.json and merges.txt. */
export function clipTokenizer(texts: readonly string[]) {
  const merges = new Set<string>()
  const tokens = new Set<string>()
  const letters = 'abcdefghijklmnopqrstuvwxyz'.split('')
  for (const letter of letters) tokens.add(letter).add(`${letter}</w>`)
  for (const word of wordsOf(texts)) {
    const parts = [...word.slice(0, -1), `${word.at(-1)}</w>`]
    let first = parts[0]!
    for (const next of parts.slice(1)) {
      merges.add(`${first} ${next}`)
      first += next
      tokens.add(first)
    }
  }
  const vocabulary = [...tokens, '<|startoftext|>', '<|endoftext|>']
  return {
    vocabulary: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
    merges: ['#version: 0.2', ...merges].join('\n') + '\n',
    config: {
      tokenizer_class: 'CLIPTokenizer',
      bos_token: '<|startoftext|>',
      eos_token: '<|endoftext|>',
      pad_token: '<|endoftext|>',
      unk_token: '<|endoftext|>',
      errors: 'replace',
      do_lower_case: true,
    },
  }
}

/** T5's: a unigram model with a token a word. Written as tokenizer.json. */
export function t5Tokenizer(texts: readonly string[], model_max_length: number) {
  const specials = ['<pad>', '</s>', '<unk>']
  const words = wordsOf(texts).map((word, i): [string, number] => [`▁${word}`, -3 - i / 100])
  const vocab: [string, number][] = [...specials.map((token): [string, number] => [token, 0]), ...words, ['▁', -20]]
  return {
    size: vocab.length,
    json: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: specials.map((content, id) => ({
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      })),
      normalizer: { type: 'Lowercase' },
      pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
        pair: [
          { Sequence: { id: 'A', type_id: 0 } },
          { SpecialToken: { id: '</s>', type_id: 0 } },
          { Sequence: { id: 'B', type_id: 0 } },
          { SpecialToken: { id: '</s>', type_id: 0 } },
        ],
        special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
      },
      decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
      model: { type: 'Unigram', unk_id: 2, vocab, byte_fallback: false },
    },
    config: {
      tokenizer_class: 'T5TokenizerFast',
      eos_token: '</s>',
      pad_token: '<pad>',
      unk_token: '<unk>',
      extra_ids: 0,
      additional_special_tokens: [],
      model_max_length,
    },
  }
}

const wordsOf = (texts: readonly string[]): string[] => [...new Set(texts.flatMap(text => text.split(' ')))].sort()
