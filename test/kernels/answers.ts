import type { Message } from '../../kernels/wire.js'
import type { Answer } from './client.js'

/** The broadcasts of a type. */
export const of = ({ outputs }: Answer, type: string): Message[] =>
  outputs.filter(({ header }) => header.msg_type === type)
/** The printed text. */
export const stream = (answer: Answer, name = 'stdout'): string =>
  of(answer, 'stream')
    .map(({ content }) => (content['name'] === name ? content['text'] : ''))
    .join('')
/** The first output, by MIME type. */
export const data = (answer: Answer, type = 'execute_result'): Record<string, unknown> =>
  of(answer, type)[0]?.content['data'] as Record<string, unknown>
/** The result as text. */
export const value = (answer: Answer): unknown => data(answer)?.['text/plain']
/** Without colours. */
export const traceback = (answer: Answer): string =>
  // eslint-disable-next-line no-control-regex
  (answer.reply['traceback'] as string[]).join('\n').replace(/\u001b\[\d+m/g, '')
