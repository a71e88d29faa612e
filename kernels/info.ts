import { createRequire } from 'node:module'
import ts from 'typescript'

const require = createRequire(import.meta.url)
const { version } = require('../../package.json') as { version: string }

/** The answer to `kernel_info_request`. */
export const info = {
  status: 'ok',
  protocol_version: '5.4',
  implementation: 'rewardlab',
  implementation_version: version,
  banner: `rewardlab ${version}: TypeScript ${ts.version} on Node ${process.versions.node}`,
  debugger: false,
  language_info: {
    name: 'typescript',
    version: ts.version,
    mimetype: 'text/typescript',
    file_extension: '.ts',
    pygments_lexer: 'typescript',
    codemirror_mode: { name: 'javascript', typescript: true },
    nbconvert_exporter: 'script',
  },
  help_links: [
    { text: 'TypeScript', url: 'https://www.typescriptlang.org/docs/' },
    { text: 'TensorFlow.js', url: 'https://js.tensorflow.org/api/latest/' },
  ],
}
