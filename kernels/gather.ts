import type { Print } from './threads.js'

/** Milliseconds and characters that printed text is gathered for: 100,000 lines become a few hundred messages. */
const TIME = 25
const LENGTH = 1 << 15

/** Gathers what cells print. It runs in the main thread: a loop that never yields would run no timer in its own.
 * @returns `print` takes text; `flush` sends what is there, before any other message */
export function gather(send: (print: Print) => void): { print(print: Print): void; flush(): void } {
  let gathered: Print | undefined
  let timer: NodeJS.Timeout | undefined
  const flush = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (gathered) send(gathered)
    gathered = undefined
  }
  const print = (next: Print): void => {
    if (gathered && (gathered.name !== next.name || gathered.parent?.msg_id !== next.parent?.msg_id)) flush()
    gathered = { ...next, text: (gathered?.text ?? '') + next.text }
    timer ??= setTimeout(flush, TIME)
    if (gathered.text.length > LENGTH) flush()
  }
  return { print, flush }
}
