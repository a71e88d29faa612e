import { cpSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { problemOf } from './attempt.js'

/** A parser of files from elsewhere. */
export interface Target {
  /** What the input is called on disk, in a folder of its own. */
  file: string
  /** Files of fixtures to begin with. */
  seeds?: readonly string[]
  /** Texts to begin with. */
  texts?: readonly string[]
  /** Words of the format. */
  words?: readonly string[]
  /** What messages may begin with that name no file. */
  where?: RegExp
  /** Files of fixtures that stand beside the input. */
  beside?: readonly string[]
  /** Reads the file with all that is in it. */
  parse(path: string): Promise<unknown>
  /** What runs out of memory or time here runs in a thread of its own where it is used: this reads the file there. */
  isolated?(path: string): Promise<unknown>
}

const qwen2 = 'test/fixtures/qwen2'
const rows = 'test/fixtures/rows'
const videos = 'test/fixtures/videos'
const images = 'test/fixtures/images'
const all = async (source: AsyncIterable<unknown>) => {
  for await (const part of source) void part
}
/** As the thread does; whatever it throws becomes a message of columnarRows. */
const decodeAll = async (path: string) => {
  process.removeAllListeners('unhandledRejection').on('unhandledRejection', () => undefined)
  await all((await import('../../src/datasets/decodeColumns.js')).decodeColumns(path)).catch((error: Error) => {
    throw new Error(`${path}: ${error.message}`, { cause: error })
  })
}

/** A safetensors file with some bytes of data. */
const safetensors = (header: object, bytes: number): string => {
  const text = JSON.stringify(header)
  return `${String.fromCharCode(text.length & 255, text.length >> 8)}${'\0'.repeat(6)}${text}${'\0'.repeat(bytes)}`
}
const tensors = safetensors({ __metadata__: { format: 'pt' }, a: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] }, 'b.c': { dtype: 'BF16', shape: [4], data_offsets: [24, 32] }, d: { dtype: 'I64', shape: [1], data_offsets: [32, 40] }, e: { dtype: 'F16', shape: [], data_offsets: [40, 42] } }, 42) // prettier-ignore

const jsonLines = '{"prompt": "Combien ?", "completion": "4", "n": 1.5e3, "tags": ["a", null, true]}\r\n\n{"prompt": [{"role": "user", "content": "é"}], "chosen": "x", "rejected": "y"}\n' // prettier-ignore

export const TARGETS: Readonly<Record<string, Target>> = {
  safetensors: {
    file: 'model.safetensors',
    texts: [tensors],
    words: ['"dtype":"F32"', '"I64"', '"BOOL"', '"shape":[1]', '"data_offsets":[0,4]', '"__metadata__":{}'],
    async parse(path) {
      const source = await (await import('../../src/io/safetensors.js')).openSafetensors(path)
      try {
        for (const name of source.tensors.keys()) await source.read(name)
      } finally {
        await source.close()
      }
    },
  },
  shards: {
    file: 'model.safetensors.index.json',
    texts: ['{"metadata": {"total_size": 1}, "weight_map": {"a": "x.safetensors", "b": "y.safetensors"}}'],
    async parse(path) {
      await (await import('../../src/io/checkpoint.js')).openCheckpoint(dirname(path))
    },
  },
  config: {
    file: 'config.json',
    seeds: ['qwen2', 'llama', 'gemma3_vl', 'qwen25vl', 'mistral', 'qwen3', 'opt', 'blip2', 'llava', 'llava_onevision', 'clip_model', 'clip_text', 'flux', 't5', 'autoencoder_kl'].map(model => `test/fixtures/${model}/config.json`), // prettier-ignore
    words: ['"rope_scaling": {"rope_type": "yarn", "factor": 2}', '"layer_types": ["full_attention"]', '"rope_type": "llama3"'], // prettier-ignore
    async parse(path) {
      const { readFields } = await import('../../src/io/json.js')
      const { causalModel } = await import('../../src/models/loadCausalModel.js')
      const { forwardModel } = await import('../../src/models/forwardModel.js')
      const fields = await readFields(path)
      if (!forwardModel(fields)) causalModel(fields)
    },
  },
  processor: {
    file: 'preprocessor_config.json',
    seeds: ['qwen25vl_hub/preprocessor', 'gemma3_vision/preprocessor', 'clip_model/preprocessor', 'llava_onevision/processor'].map(file => `test/fixtures/${file}_config.json`), // prettier-ignore
    async parse(path) {
      const { loadLlavaOnevisionProcessor } = await import('../../src/io/llavaOnevisionProcessor.js')
      const readers: ((dir: string) => Promise<unknown>)[] = [
        (await import('../../src/io/imageProcessor.js')).loadImageProcessor,
        (await import('../../src/io/qwen2VlProcessor.js')).loadQwen2VlProcessor,
        (await import('../../src/io/gemma3Processor.js')).loadGemma3Processor,
        dir => loadLlavaOnevisionProcessor(dir, [[16, 16], [16, 32], [32, 16], [32, 32], [48, 16], [48, 32]]), // prettier-ignore
      ]
      cpSync(path, join(dirname(path), 'processor_config.json')) // newer models have it there
      const done = await Promise.allSettled(readers.map(read => read(dirname(path))))
      const reasons: unknown[] = done.flatMap(result =>
        result.status === 'rejected' ? [result.reason as unknown] : [],
      )
      if (reasons.length > 0) throw reasons.find(reason => problemOf(reason, path) !== null) ?? reasons[0]
    },
  },
  tokenizer: {
    file: 'tokenizer.json',
    seeds: [`${qwen2}/tokenizer.json`, 'test/fixtures/gemma3/tokenizer.json', 'test/fixtures/t5_tokenizer/tokenizer.json'], // prettier-ignore
    words: ['"Regex": "(a+)+$"', '"type": "Split"', '"type": "Replace"', '"behavior": "Isolated"', '"type": "Metaspace"', '"type": "Strip"', '"type": "Digits"', '"type": "Precompiled"', '"type": "Unigram"', '"type": "WordPiece"'], // prettier-ignore
    async parse(path) {
      const tokenizer = await (await import('../../src/io/tokenizer.js')).loadTokenizer(dirname(path))
      tokenizer.decode(tokenizer.encode(`aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa! 12 é \u{1F600}\n<|im_end|>`), { specials: true }) // prettier-ignore
    },
  },
  tokenizerConfig: {
    file: 'tokenizer_config.json',
    seeds: [`${qwen2}/tokenizer_config.json`, 'test/fixtures/clip_model/tokenizer_config.json'],
    texts: [
      '{"chat_template": [{"name": "default", "template": "{{ messages[0].content }}"}], "eos_token": {"content": "a"}}',
    ],
    beside: [`${qwen2}/tokenizer.json`],
    async parse(path) {
      const tokenizer = await (await import('../../src/io/tokenizer.js')).loadTokenizer(dirname(path))
      tokenizer.decode(tokenizer.encode('a 12 é <|im_end|>'))
      tokenizer.chat([{ role: 'user', content: 'é' }])
    },
  },
  vocab: {
    file: 'vocab.json',
    seeds: ['test/fixtures/clip_model/vocab.json'],
    beside: ['test/fixtures/clip_model/merges.txt', 'test/fixtures/clip_model/tokenizer_config.json'],
    async parse(path) {
      const tokenizer = await (await import('../../src/io/tokenizer.js')).loadTokenizer(dirname(path))
      tokenizer.decode(tokenizer.encode('a 12 é <|endoftext|>'))
    },
  },
  merges: {
    file: 'merges.txt',
    seeds: ['test/fixtures/clip_model/merges.txt'],
    beside: ['test/fixtures/clip_model/vocab.json', 'test/fixtures/clip_model/tokenizer_config.json'],
    async parse(path) {
      const tokenizer = await (await import('../../src/io/tokenizer.js')).loadTokenizer(dirname(path))
      tokenizer.decode(tokenizer.encode('a 12 é <|endoftext|>'))
    },
  },
  template: {
    file: 'chat_template.jinja',
    seeds: [`${qwen2}/chat_template.jinja`, 'test/fixtures/gemma3/chat_template.jinja', 'test/fixtures/qwen25vl/chat_template.jinja'], // prettier-ignore
    words: ['{% for i in range(99999) %}', '{% endfor %}', '{% set x = x + x %}', '{% if true %}', '{% endif %}', '{% macro f(x) %}', '{{ f(x) }}', '|tojson', '|replace("", "b")', '.split("a")', '{% set ns = namespace(x=[]) %}', '[::-1]', '|indent(9999999)'], // prettier-ignore
    beside: [`${qwen2}/tokenizer.json`],
    async parse(path) {
      const tokenizer = await (await import('../../src/io/tokenizer.js')).loadTokenizer(dirname(path))
      tokenizer.chat([{ role: 'system', content: 'a\nb' }, { role: 'user', content: 'aaaa' }, { role: 'assistant', content: 'ok' }, { role: 'user', content: 'é' }]) // prettier-ignore
    },
  },
  image: {
    file: 'picture',
    seeds: ['cmyk.jpg', 'grey-alpha.png', 'lossless.webp', 'palette.gif', 'palette.png', 'picture.tiff', 'sixteen-bit.png', 'turned.jpg'].map(name => `${images}/${name}`), // prettier-ignore
    words: [
      'IHDR',
      'iCCP',
      'zTXt',
      'tRNS',
      'PLTE',
      'VP8X',
      'ANMF',
      'ICCP',
      '<svg xmlns="http://www.w3.org/2000/svg"/>',
    ],
    async parse(path) {
      await (await import('../../src/io/images.js')).readImage(path, { maxPixels: 1e6 })
    },
  },
  animation: {
    file: 'animation.gif',
    seeds: [`${videos}/delays.gif`, `${images}/palette.gif`],
    async parse(path) {
      await (await import('../../src/io/video.js')).readVideo(path, { maxPixels: 1e6 })
    },
  },
  video: {
    file: 'video.mp4',
    seeds: ['h264.mp4', 'fragments.mp4', 'turned.mp4', 'vp9.webm'].map(name => `${videos}/${name}`),
    words: ['moov', 'trak', 'mdia', 'stbl', 'stts', 'ctts', 'stsz', 'stco', 'stsc', 'moof', 'traf', 'trun', 'elst'],
    async parse(path) {
      await (await import('../../src/io/video.js')).readVideo(path, { maxPixels: 1e6 })
    },
  },
  container: {
    file: 'video.mp4',
    seeds: ['h264.mp4', 'fragments.mp4', 'turned.mp4', 'vp9.webm'].map(name => `${videos}/${name}`),
    words: ['moov', 'trak', 'tkhd', 'mdia', 'hdlr', 'vide', 'ftyp', '\0\0\0\x08free'],
    async parse(path) {
      const { reader, readContainer } = await import('../../src/io/videoContainer.js')
      const bytes = (await import('node:fs')).readFileSync(path)
      await readContainer(reader(bytes), bytes.length)
    },
  },
  jsonl: {
    file: 'rows.jsonl',
    texts: [jsonLines],
    async parse(path) {
      const { readJsonl } = await import('../../src/datasets/jsonl.js')
      const { readRows } = await import('../../src/datasets/readRows.js')
      await readRows(path)
      readJsonl(path)
    },
  },
  gzip: {
    file: 'rows.jsonl.gz',
    seeds: ['test/fuzz/corpus/gzip/rows.jsonl.gz'],
    async parse(path) {
      const { readJsonl } = await import('../../src/datasets/jsonl.js')
      const { readRows } = await import('../../src/datasets/readRows.js')
      await readRows(path)
      readJsonl(path)
    },
  },
  json: {
    file: 'rows.json',
    texts: [`[${jsonLines.trim().replace(/\r?\n\n/, ',')}]`, jsonLines],
    async parse(path) {
      await (await import('../../src/datasets/readRows.js')).readRows(path)
    },
  },
  csv: {
    file: 'rows.csv',
    texts: ['prompt,completion\n"a, ""b""\nc",é\n1,\n'],
    async parse(path) {
      await (await import('../../src/datasets/readRows.js')).readRows(path)
    },
  },
  parquet: {
    file: 'rows.parquet',
    seeds: ['snappy.parquet', 'zstd.parquet', 'mathvista.parquet'].map(name => `${rows}/${name}`),
    words: ['PAR1'],
    async parse(path) {
      await decodeAll(path)
    },
    async isolated(path) {
      await all((await import('../../src/datasets/readRows.js')).streamRows(path))
    },
  },
  arrow: {
    file: 'rows.arrow',
    seeds: ['stream.arrow', 'types.arrow', 'types_file.arrow'].map(name => `${rows}/${name}`),
    words: ['ARROW1', '\xff\xff\xff\xff'],
    async parse(path) {
      await decodeAll(path)
    },
    async isolated(path) {
      await all((await import('../../src/datasets/readRows.js')).streamRows(path))
    },
  },
  columns: {
    file: 'rows.jsonl',
    texts: [
      '{"id": 1, "conversations": [{"from": "human", "value": "<image> a <video>"}, {"from": "gpt", "value": "b"}], "image": "rgb.png", "video": ["rgb.png", "rgb.png"], "meta": {"frame_cnts": [2, 1], "min_frames": 2, "max_frames": 4, "dynamic_sample": true}}\n', // prettier-ignore
      '{"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a"}]}, {"role": "assistant", "content": "b"}], "images": [{"path": "rgb.png"}]}\n', // prettier-ignore
    ],
    beside: [`${images}/rgb.png`],
    async parse(path) {
      for (const row of await (await import('../../src/datasets/visionRows.js')).visionRows(path))
        await row.prompt.open()
    },
  },
  pairs: {
    file: 'rows.jsonl',
    texts: ['{"prompt": "a ", "chosen": [{"role": "user", "content": [{"type": "text", "text": "b"}]}], "rejected": "c", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "completion": "d"}\n'], // prettier-ignore
    where: /^\w+Rows: row \d+: /,
    async parse(path) {
      const { completionRows, preferenceRows, promptRows } = await import('../../src/datasets/trlRows.js')
      const { readRows } = await import('../../src/datasets/readRows.js')
      const read = await readRows(path)
      preferenceRows(read)
      completionRows(read)
      promptRows(read)
    },
  },
  gsm8k: {
    file: 'rows.jsonl',
    texts: ['{"question": "q", "answer": "May: 48/2 = <<48/2=24>>24 clips.\\n#### 1,250"}\n'],
    words: ['####', '<<', '>>'],
    async parse(path) {
      ;(await import('../../src/datasets/gsm8k.js')).gsm8k(path)
    },
  },
  edits: {
    file: 'rows.jsonl',
    texts: ['{"source": "rgb.png", "instruction": "a", "target": "rgb.png", "mask": "rgb.png"}\n'],
    beside: [`${images}/rgb.png`],
    async parse(path) {
      await (await import('../../src/datasets/imageEdits.js')).imageEdits(path, { maxPixels: 1e6 }).read()
    },
  },
  mathVista: {
    file: 'testmini.json',
    texts: ['{"1": {"question": "q", "image": "a.png", "answer": "4", "question_type": "free_form", "answer_type": "integer", "choices": ["a"], "precision": 1, "metadata": {}}}'], // prettier-ignore
    async parse(path) {
      await (await import('../../src/datasets/mathVista.js')).mathVista(path)
    },
  },
  experiment: {
    file: 'config.yaml',
    seeds: ['configs/arithmetic_grpo.yaml', 'configs/preference_dpo.yaml', 'configs/gsm8k_grpo.yaml'],
    texts: ['a: &a [x, x]\nb: &b [*a, *a]\n<<: {optimizer: sft}\n'],
    words: [
      '&a',
      '*a',
      '<<:',
      '!!js/function',
      '!x',
      '? ',
      '|\n',
      '- ',
      '%YAML 1.1\n---\n',
      '\n---\n',
      'rewards:',
      'args:',
    ],
    where: /^\w+Config: /,
    async parse(path) {
      await (await import('../../src/cli/experiment.js')).readExperiment(path)
    },
  },
  hub: {
    file: 'answer.json',
    texts: [`{"sha": "${'0'.repeat(40)}", "siblings": [{"rfilename": "config.json", "size": 1, "blobId": "${'0'.repeat(40)}"}, {"rfilename": "model.safetensors", "size": 5, "blobId": "x", "lfs": {"sha256": "${'0'.repeat(64)}"}}]}`], // prettier-ignore
    where: /^(org\/tiny|http:\/\/hub.invalid\/\S+|\S*cache): /,
    words: ['../', '"rfilename": "/etc/config.json"', '"rfilename": "a/../../config.json"', '"size": -1'],
    async parse(path) {
      const { modelDirectory } = await import('../../src/io/hub.js')
      const answer = (await import('node:fs')).readFileSync(path)
      Object.assign(process.env, { HF_ENDPOINT: 'http://hub.invalid', HF_HUB_CACHE: join(dirname(path), 'cache'), HF_HUB_OFFLINE: '' }) // prettier-ignore
      const own = globalThis.fetch
      globalThis.fetch = url => Promise.resolve(String(url as string).includes('/api/') ? new Response(answer) : new Response(null, { status: 404 })) // prettier-ignore
      try {
        await modelDirectory('org/tiny', () => {})
      } finally {
        globalThis.fetch = own
      }
    },
  },
  checkpoint: {
    file: 'checkpoint-1/checkpoint.json',
    texts: [`{"step": 1, "logs": {"metrics": 1, "samples": 2}, "files": {"a": {"bytes": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}}`], // prettier-ignore
    async parse(path) {
      await (await import('../../src/runs/checkpoints.js')).latestCheckpoint(dirname(dirname(path)))
    },
  },
  state: {
    file: 'train_state.safetensors',
    texts: [tensors],
    words: ['"__proto__.x"', '"constructor.prototype.x"', '"a.b"', '"a"'],
    async parse(path) {
      const tf = await import('@tensorflow/tfjs-core')
      await import('@tensorflow/tfjs-backend-cpu')
      tf.engine().startScope()
      try {
        await (await import('../../src/runs/storedState.js')).loadState(dirname(path))
      } finally {
        tf.engine().endScope()
      }
    },
  },
  run: {
    file: 'metrics.jsonl',
    texts: ['{"step": 1, "loss": "NaN", "reward": 0.5}\n{"step": 2, "__proto__": 1}\n{"st'],
    beside: ['configs/arithmetic_sft.yaml'],
    async parse(path) {
      const folder = dirname(path)
      cpSync(join(folder, 'arithmetic_sft.yaml'), join(folder, 'config.yaml'))
      ;(await import('../../src/runs/openRun.js')).openRun(folder).metrics.objects()
    },
  },
  adapter: {
    file: 'adapter_config.json',
    seeds: ['test/fixtures/qwen2_adapter/adapter_config.json'],
    beside: ['test/fixtures/qwen2_adapter/adapter_model.safetensors', `${qwen2}/config.json`],
    words: ['"target_modules": "(a+)+"', '"modules_to_save": ["x"]', '"use_dora": true'],
    async parse(path) {
      const tf = await import('@tensorflow/tfjs-core')
      await import('@tensorflow/tfjs-backend-cpu')
      const { readFields } = await import('../../src/io/json.js')
      const { causalModel, loadAdapter } = await import('../../src/models/index.js').then(async models => ({ ...models, causalModel: (await import('../../src/models/loadCausalModel.js')).causalModel })) // prettier-ignore
      const model = causalModel(await readFields(join(dirname(path), 'config.json')))
      tf.engine().startScope()
      try {
        await loadAdapter(model, dirname(path))
      } finally {
        tf.engine().endScope()
      }
    },
  },
}

/** The folder of a target's inputs, with what stands beside them.
 * @returns the input's path */
export function prepare({ file, beside = [] }: Target, folder: string): string {
  const path = join(folder, file)
  mkdirSync(dirname(path), { recursive: true })
  for (const source of beside) cpSync(source, join(dirname(path), source.split('/').at(-1)!))
  return path
}
