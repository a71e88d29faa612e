import type { Locator, Page } from 'playwright-core'

const MOVES = 7
const ROUNDS = 3
/** Of the weights. */
const MAX = 2

/** Drags the first slider of a weights panel to and fro.
 * @param panel whose chart names the first weight in its title, so that a picture tells which weight it was drawn for
 * @returns the median time in ms from a movement of the mouse to the chart of that weight, of the first round within the limit, or of
 * the quickest (the machine may be busy); and the slider's readout at the end */
export async function slides(page: Page, panel: Locator, limit: number): Promise<{ median: number; weight: string }> {
  const handle = panel.locator('.noUi-handle').first()
  const picture = panel.locator('.widget-image').first()
  const readout = panel.locator('.widget-readout').first()
  await handle.scrollIntoViewIfNeeded()
  const box = (await handle.boundingBox())!
  const apart = Number(await readout.innerText()) > MAX / 2 ? -8 : 8 // pixels, away from the end
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]
  await picture.evaluate(watch, await readout.elementHandle())
  await page.mouse.move(x, y)
  await page.mouse.down()
  const medians: number[] = []
  while (medians.length < ROUNDS && !(Math.min(...medians) < limit)) {
    const times: number[] = []
    for (let move = 1; move <= MOVES; move++) {
      await page.mouse.move(x + apart * (medians.length % 2 === 0 ? move : MOVES - move), y)
      await page.waitForFunction(() => (globalThis as unknown as Watched).redrawn > 0)
      times.push(await page.evaluate(() => (globalThis as unknown as Watched).redrawn))
    }
    medians.push(Math.round(times.sort((a, b) => a - b)[Math.floor(MOVES / 2)]!))
  }
  await page.mouse.up()
  return { median: Math.min(...medians), weight: await readout.innerText() }
}

/** What the page notes: when the mouse moved, and how long after it the picture of that weight was there (0: not yet). */
interface Watched {
  moved: number
  redrawn: number
}

/** Runs in the page. */
function watch(picture: Element, readout: unknown): void {
  const watched = globalThis as unknown as Watched
  const moved = () => {
    watched.moved = performance.now()
    watched.redrawn = 0
  }
  const loaded = async () => {
    const now = performance.now()
    const svg = await (await fetch((picture as HTMLImageElement).src)).text()
    const shown = (readout as Element).textContent
    if (now > watched.moved && svg.includes(`weight ${shown}`)) watched.redrawn ||= now - watched.moved
  }
  addEventListener('pointermove', moved, true)
  picture.addEventListener('load', () => void loaded())
}
