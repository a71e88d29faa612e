import type { RgbImage } from '../io/images.js'
import type { Message } from '../io/tokenizer.js'
import { FIGURES, PALETTE, paint, plain, type Rgb } from './paint.js'
import { rng, type Rng } from './rng.js'
import { drawSplits, type Splits } from './splits.js'

export const CHART_TASKS = ['height', 'taller', 'tallest', 'count', 'area', 'perimeter'] as const

/** A question about a drawn picture, with MathVista's fields. */
export interface ChartQuestion {
  /** What a policy that sees takes: the query and the picture. */
  prompt: { prompt: Message[]; images: RgbImage[] }
  /** The right reply: `<think>red 3, blue 7</think>`, and the answer. */
  completion: string
  image: RgbImage
  /** As MathVista asks: a hint about the form of the answer, the question, and the choices. */
  query: string
  question: string
  answer: string
  question_type: 'multi_choice' | 'free_form'
  answer_type: 'text' | 'integer'
  choices: string[] | null
  precision: null
  task: (typeof CHART_TASKS)[number]
  /** What is to be seen: `red 3, blue 7`, `circle 2, square 3` or `width 4, height 6`. */
  seen: string
  /** What a careless reader would answer. */
  tempting: string
}

export const CHART_SIDE = 48

/** Questions on pictures of 48 × 48 pixels: bars of two to four colours, one to nine units high (how high is one, how much taller is one than
 * another, which is the tallest), figures to count, and the area and perimeter of a rectangle on a grid. The split is a hash of picture and question, the same for every seed and size.
 * @param options.size questions in all; a tenth each go to dev and test
 * @throws if `size` is not a whole number of at least 10 */
export function chartQuestions({ seed, size }: { seed: number; size: number }): Splits<ChartQuestion> {
  const random = rng(seed)
  return drawSplits('chartQuestions', size, () => {
    const task = random.pick(CHART_TASKS)
    if (task === 'count') {
      const counted = drawFigures(random)
      return counted && { row: () => countQuestion(counted), text: JSON.stringify(counted) }
    }
    if (task === 'area' || task === 'perimeter') {
      const rectangle = drawRectangle(random)
      return { row: () => rectangleQuestion(task, rectangle), text: JSON.stringify([task, rectangle]) }
    }
    const bars = drawBars(random)
    return { row: () => barQuestion(task, bars), text: JSON.stringify([task, bars]) }
  })
}

type Colour = keyof typeof PALETTE
type Bar = { colour: Colour; height: number }

const GROUND: Rgb = [235, 235, 235]
const UNIT = 5 // pixels of a unit of height
const TOP = 9 // units of the highest bar
const WIDTH = 8 // pixels of a bar; as much as a patch

function drawBars(random: Rng): Bar[] {
  const heights = random.shuffle(Array.from({ length: TOP }, (_, i) => i + 1)) // all different
  const colours = random.shuffle(Object.keys(PALETTE) as Colour[])
  return colours.slice(0, 2 + random.int(3)).map((colour, i) => ({ colour, height: heights[i]! }))
}

function barQuestion(task: 'height' | 'taller' | 'tallest', bars: readonly Bar[]): ChartQuestion {
  const image = plain(CHART_SIDE, CHART_SIDE, GROUND)
  bars.forEach(({ colour, height }, i) => {
    const high = height * UNIT
    fill(image, { left: 4 + i * (WIDTH + 3), top: CHART_SIDE - 1 - high, width: WIDTH, height: high }, PALETTE[colour])
  })
  const seen = bars.map(({ colour, height }) => `${colour} ${height}`).join(', ')
  const [first, second] = bars as [Bar, Bar]
  const higher = first.height > second.height ? [first, second] as const : [second, first] as const // prettier-ignore
  const tallest = bars.reduce((a, b) => (b.height > a.height ? b : a))
  switch (task) {
    case 'height':
      return asked({ image, task, seen, question: `How tall is the ${second.colour} bar?`, answer: `${second.height}`, tempting: `${first.height}` }) // prettier-ignore
    case 'taller': {
      const question = `How much taller is the ${higher[0].colour} bar than the ${higher[1].colour} bar?`
      return asked({ image, task, seen, question, answer: `${higher[0].height - higher[1].height}`, tempting: `${higher[0].height}` }) // prettier-ignore
    }
    case 'tallest': {
      const choices = bars.map(({ colour }) => colour).sort()
      return asked({ image, task, seen, question: 'Which bar is the tallest?', answer: tallest.colour, choices, tempting: choices[0]! }) // prettier-ignore
    }
  }
}

type Box = Record<'left' | 'top' | 'width' | 'height', number>

function fill({ width, data }: RgbImage, box: Box, colour: Rgb): void {
  for (let y = box.top; y < box.top + box.height; y++)
    for (let x = box.left; x < box.left + box.width; x++) data.set(colour, 3 * (y * width + x))
}

const CELL = 6 // pixels of a cell of the grid
const CELLS = CHART_SIDE / CELL
const LINE: Rgb = [205, 205, 205]

/** In cells of the grid: one to six wide and high. */
function drawRectangle(random: Rng): Box & { colour: Colour } {
  const [width, height] = [1 + random.int(6), 1 + random.int(6)]
  const [left, top] = [random.int(CELLS - width + 1), random.int(CELLS - height + 1)]
  return { left, top, width, height, colour: random.pick(Object.keys(PALETTE) as Colour[]) }
}

function rectangleQuestion(task: 'area' | 'perimeter', { colour, ...box }: Box & { colour: Colour }): ChartQuestion {
  const image = plain(CHART_SIDE, CHART_SIDE, GROUND)
  const { left, top, width, height } = box
  fill(image, { left: left * CELL, top: top * CELL, width: width * CELL, height: height * CELL }, PALETTE[colour])
  for (let i = 0; i < CELLS; i++) {
    fill(image, { left: i * CELL, top: 0, width: 1, height: CHART_SIDE }, LINE)
    fill(image, { left: 0, top: i * CELL, width: CHART_SIDE, height: 1 }, LINE)
  }
  const question = `Each cell is one unit wide and high. What is the ${task} of the ${colour} rectangle?`
  const answer = task === 'area' ? width * height : 2 * (width + height)
  return asked({ image, task, seen: `width ${width}, height ${height}`, question, answer: `${answer}`, tempting: `${width + height}` }) // prettier-ignore
}

const COUNTED = ['circle', 'square'] as const
type Placed = { name: (typeof COUNTED)[number]; colour: Colour; x: number; y: number }
const HALF = 4 // of a counted figure's side, in pixels

/** On a grid of 4 × 4 places, so that none hides another; the first kind is asked for. */
function drawFigures(random: Rng): { placed: Placed[]; wanted: Placed['name'] } | null {
  const places = random.shuffle(Array.from({ length: 16 }, (_, i) => i)).slice(0, 2 + random.int(6))
  const placed = places.map(at => ({
    name: random.pick(COUNTED),
    colour: random.pick(Object.keys(PALETTE) as Colour[]),
    x: (at % 4) * 12 + 6 + random.int(3) - 1,
    y: Math.floor(at / 4) * 12 + 6 + random.int(3) - 1,
  }))
  const wanted = random.pick(COUNTED)
  return placed.some(({ name }) => name === wanted) ? { placed, wanted } : null
}

function countQuestion({ placed, wanted }: NonNullable<ReturnType<typeof drawFigures>>): ChartQuestion {
  const image = plain(CHART_SIDE, CHART_SIDE, GROUND)
  for (const { name, colour, x, y } of placed) paint(image, { covers: FIGURES[name], x, y, half: HALF }, PALETTE[colour]) // prettier-ignore
  const count = (kind: string) => placed.filter(({ name }) => name === kind).length
  const seen = COUNTED.map(kind => `${kind} ${count(kind)}`).join(', ')
  return asked({ image, task: 'count', seen, question: `How many ${wanted}s are there?`, answer: `${count(wanted)}`, tempting: `${placed.length}` }) // prettier-ignore
}

function asked(
  of: Pick<ChartQuestion, 'image' | 'task' | 'seen' | 'question' | 'answer' | 'tempting'> & { choices?: string[] },
): ChartQuestion {
  // prettier-ignore
  const { choices = null, question } = of
  const query = choices
    ? `Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.\nQuestion: ${question}\nChoices:\n${choices.map((choice, i) => `(${'ABCD'[i]}) ${choice}`).join('\n')}` // prettier-ignore
    : `Hint: Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, at the end.\nQuestion: ${question}` // prettier-ignore
  const form = choices
    ? { question_type: 'multi_choice' as const, answer_type: 'text' as const }
    : { question_type: 'free_form' as const, answer_type: 'integer' as const }
  return {
    prompt: { prompt: [{ role: 'user', content: query }], images: [of.image] },
    completion: chartReply(of.seen, of.answer, choices),
    ...of,
    ...form,
    choices,
    precision: null,
    query,
  }
}

/** What was seen, and the answer; of a multiple choice with its letter. */
export const chartReply = (seen: string, answer: string, choices: readonly string[] | null): string =>
  `<think>${seen}</think>
<answer>${choices ? `(${'ABCD'[choices.indexOf(answer)]}) ${answer}` : answer}</answer>`
