import type { Locator, Page } from 'playwright-core'

const MOVES = 7
const ROUNDS = 3

/** Drags the first slider of a weights panel to and fro.
 * @returns the median time in ms from a movement of the mouse to the redrawn chart, of the first round within the limit, or of the
 * quickest (the machine may be busy); and the slider's readout at the end */
export async function slides(page: Page, panel: Locator, limit: number): Promise<{ median: number; weight: string }> {
  const handle = panel.locator('.noUi-handle').first()
  const picture = panel.locator('.widget-image').first()
  await handle.scrollIntoViewIfNeeded()
  const box = (await handle.boundingBox())!
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]
  await picture.evaluate(watch)
  await page.mouse.move(x, y)
  await page.mouse.down()
  const medians: number[] = []
  while (medians.length < ROUNDS && !(Math.min(...medians) < limit)) {
    const times: number[] = []
    for (let move = 1; move <= MOVES; move++) {
      await page.mouse.move(x + 8 * (medians.length % 2 === 0 ? move : MOVES - move), y)
      await page.waitForFunction(() => (globalThis as unknown as Watched).redrawn > 0)
      times.push(await page.evaluate(() => (globalThis as unknown as Watched).redrawn))
    }
    medians.push(Math.round(times.sort((a, b) => a - b)[Math.floor(MOVES / 2)]!))
  }
  await page.mouse.up()
  return { median: Math.min(...medians), weight: await panel.locator('.widget-readout').first().innerText() }
}

/** What the page notes: when the mouse moved, and how long after it the picture was redrawn (0: not yet). */
interface Watched {
  moved: number
  redrawn: number
}

/** Runs in the page. */
function watch(picture: Element): void {
  const watched = globalThis as unknown as Watched
  const moved = () => {
    watched.moved = performance.now()
    watched.redrawn = 0
  }
  addEventListener('pointermove', moved, true)
  picture.addEventListener('load', () => (watched.redrawn ||= performance.now() - watched.moved))
}
