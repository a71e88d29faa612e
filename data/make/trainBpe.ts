/** How text is cut before merging, as in Qwen2's tokenizer but with numbers of up to three digits whole. */
const PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
/** The same for Node 20, which knows no (?i:…). */
const SPLIT = new RegExp(
  PATTERN.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"),
  'gu',
)

/** Trains a byte-level BPE tokenizer.
 * @param texts the corpus
 * @param vocabulary tokens in all: 256 bytes, the special tokens, and merges
 * @param specials tokens that text never merges into; they take the last ids
 * @returns the content of a Hugging Face tokenizer.json; tokens of several digits stand among the added tokens, too
 * @source Sennrich et al., arXiv 1508.07909; byte alphabet of GPT-2 */
export function trainBpe(texts: readonly string[], vocabulary: number, specials: readonly string[]): object {
  const bytes = byteAlphabet()
  const vocab = new Map([...bytes].sort().map((symbol, id) => [symbol, id]))
  const words = countWords(texts, bytes)
  const merges: [string, string][] = []
  while (vocab.size < vocabulary - specials.length) {
    const best = mostFrequentPair(words)
    if (!best) throw new Error(`trainBpe: the texts have no more than ${vocab.size + specials.length} tokens, needed ${vocabulary}. Ask for fewer.`) // prettier-ignore
    const [left, right] = best
    merges.push([left, right])
    vocab.set(left + right, vocab.size)
    for (const word of words) word.symbols = merged(word.symbols, left, right)
  }
  // Matched before the text is cut: transformers' Qwen2Tokenizer cuts by a pattern of its own, every digit alone.
  const numbers = [...vocab].filter(([token]) => /^\d{2,}$/.test(token)).map(([content, id]) => ({ id, content }))
  const special = specials.map((content, i) => ({ id: vocab.size + i, content }))
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...numbers, ...special].map(token => ({
      ...token,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: token.id >= vocab.size,
    })),
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: PATTERN }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
      ],
    },
    post_processor: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocab),
      merges,
    },
  }
}

interface Word {
  symbols: string[]
  count: number
}

function countWords(texts: readonly string[], bytes: readonly string[]): Word[] {
  const counts = new Map<string, number>()
  for (const text of texts)
    for (const [word] of text.normalize('NFC').matchAll(SPLIT)) counts.set(word, (counts.get(word) ?? 0) + 1)
  const encoder = new TextEncoder()
  return [...counts].map(([word, count]) => ({ symbols: Array.from(encoder.encode(word), b => bytes[b]!), count }))
}

/** Ties go to the pair that sorts first, so that the result depends on the corpus only. */
function mostFrequentPair(words: readonly Word[]): [string, string] | undefined {
  const counts = new Map<string, number>()
  for (const { symbols, count } of words)
    for (let i = 0; i + 1 < symbols.length; i++) {
      const pair = `${symbols[i]} ${symbols[i + 1]}`
      counts.set(pair, (counts.get(pair) ?? 0) + count)
    }
  let best: [string, number] | undefined
  for (const [pair, count] of counts)
    if (!best || count > best[1] || (count === best[1] && pair < best[0])) best = [pair, count]
  return best && best[1] > 1 ? (best[0].split(' ') as [string, string]) : undefined
}

function merged(symbols: readonly string[], left: string, right: string): string[] {
  const result: string[] = []
  for (let i = 0; i < symbols.length; i++)
    if (symbols[i] === left && symbols[i + 1] === right) result.push(left + symbols[++i]!)
    else result.push(symbols[i]!)
  return result
}

/** GPT-2's printable stand-in for each byte, by byte. */
function byteAlphabet(): string[] {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174
  let next = 256
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++))
}
