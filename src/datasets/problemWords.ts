import type { Operation } from './arithmeticProblems.js'

/** What word problems and their replies are written in. */
export type Language = 'en' | 'fr'
export const LANGUAGES: readonly Language[] = ['en', 'fr']

/** What the text of a problem is filled with. */
export interface Filling {
  a: number
  b: number
  name: string
  other: string
  items: string
}

export interface ProblemTemplate extends Record<Language, (filling: Filling) => string> {
  operation: Operation
  tempting: Operation
  misleading?: true
}

// prettier-ignore
export const TEMPLATES: readonly ProblemTemplate[] = [
  { operation: 'add', tempting: 'sub',
    en: w => `${w.name} has ${w.a} ${w.items} and gets ${w.b} more. How many ${w.items} does ${w.name} have now?`,
    fr: w => `${w.name} a ${w.a} ${w.items} et en reçoit ${w.b} de plus. Combien de ${w.items} possède maintenant ${w.name} ?` },
  { operation: 'add', tempting: 'sub',
    en: w => `${w.name} has ${w.a} ${w.items} and ${w.other} has ${w.b}. How many ${w.items} do they have together?`,
    fr: w => `${w.name} a ${w.a} ${w.items} et ${w.other} en a ${w.b}. Combien de ${w.items} cela fait-il en tout ?` },
  { operation: 'add', tempting: 'sub', misleading: true,
    en: w => `${w.name} has ${w.a} ${w.items}, which is ${w.b} fewer than ${w.other}. How many ${w.items} does ${w.other} have?`,
    fr: w => `${w.name} a ${w.a} ${w.items}, soit ${w.b} de moins que ${w.other}. Combien de ${w.items} possède ${w.other} ?` },
  { operation: 'add', tempting: 'sub', misleading: true,
    en: w => `${w.name} has ${w.a} ${w.items} left after giving away ${w.b}. How many ${w.items} did ${w.name} have before?`,
    fr: w => `Il reste ${w.a} ${w.items} à ${w.name}, qui en a donné ${w.b}. Combien de ${w.items} possédait ${w.name} au départ ?` },
  { operation: 'sub', tempting: 'add',
    en: w => `${w.name} has ${w.a} ${w.items} and gives ${w.b} to ${w.other}. How many ${w.items} are left?`,
    fr: w => `${w.name} a ${w.a} ${w.items} et en donne ${w.b} à ${w.other}. Combien de ${w.items} reste-t-il à ${w.name} ?` },
  { operation: 'sub', tempting: 'add',
    en: w => `${w.name} needs ${w.a} ${w.items} and has ${w.b}. How many ${w.items} are missing?`,
    fr: w => `${w.name} a besoin de ${w.a} ${w.items} et en a ${w.b}. Combien de ${w.items} manque-t-il à ${w.name} ?` },
  { operation: 'sub', tempting: 'add', misleading: true,
    en: w => `${w.name} has ${w.a} ${w.items}, which is ${w.b} more than ${w.other}. How many ${w.items} does ${w.other} have?`,
    fr: w => `${w.name} a ${w.a} ${w.items}, soit ${w.b} de plus que ${w.other}. Combien de ${w.items} possède ${w.other} ?` },
  { operation: 'sub', tempting: 'add', misleading: true,
    en: w => `${w.name} has ${w.a} ${w.items} after getting ${w.b} more. How many ${w.items} did ${w.name} have before?`,
    fr: w => `${w.name} a ${w.a} ${w.items} après en avoir reçu ${w.b} de plus. Combien de ${w.items} possédait ${w.name} au départ ?` },
  { operation: 'mul', tempting: 'add',
    en: w => `${w.name} has ${w.a} boxes with ${w.b} ${w.items} in each. How many ${w.items} does ${w.name} have?`,
    fr: w => `${w.name} a ${w.a} boîtes de ${w.b} ${w.items} chacune. Combien de ${w.items} possède ${w.name} ?` },
  { operation: 'mul', tempting: 'add',
    en: w => `${w.name} and ${w.other} pack ${w.a} bags with ${w.b} ${w.items} each. How many ${w.items} do they pack?`,
    fr: w => `${w.name} et ${w.other} préparent ${w.a} sacs de ${w.b} ${w.items} chacun. Combien de ${w.items} leur faut-il ?` },
  { operation: 'mul', tempting: 'add', misleading: true,
    en: w => `${w.name} gets ${w.a} more ${w.items} every day. How many ${w.items} does ${w.name} get in ${w.b} days?`,
    fr: w => `${w.name} reçoit ${w.a} ${w.items} de plus chaque jour. Combien de ${w.items} reçoit ${w.name} en ${w.b} jours ?` },
  { operation: 'div', tempting: 'sub',
    en: w => `${w.name} shares ${w.a} ${w.items} equally among ${w.b} friends. How many ${w.items} does each friend get?`,
    fr: w => `${w.name} partage ${w.a} ${w.items} à parts égales entre ${w.b} amis. Combien de ${w.items} reçoit chaque ami ?` },
  { operation: 'div', tempting: 'sub',
    en: w => `${w.name} puts ${w.a} ${w.items} into bags of ${w.b}. How many bags does ${w.name} fill?`,
    fr: w => `${w.name} range ${w.a} ${w.items} dans des sacs de ${w.b}. Combien de sacs remplit ${w.name} ?` },
  { operation: 'div', tempting: 'sub',
    en: w => `${w.name} and ${w.other} sort ${w.a} ${w.items} into ${w.b} equal rows. How many ${w.items} are in a row?`,
    fr: w => `${w.name} et ${w.other} disposent ${w.a} ${w.items} en ${w.b} rangées égales. Combien de ${w.items} y a-t-il par rangée ?` },
]

/** French names and things begin with consonants: no elision (d', qu') has to be minded. */
export const NAMES: Record<Language, readonly string[]> = {
  en: ['Ann', 'Ben', 'Mia', 'Tom', 'Eva', 'Leo', 'Zoe', 'Sam', 'Ida', 'Max', 'Amy', 'Dan'],
  fr: ['Léa', 'Louis', 'Zoé', 'Paul', 'Jules', 'Chloé', 'Noé', 'Marc', 'Manon', 'Jeanne', 'Rose', 'Théo'],
}
export const ITEMS: Record<Language, readonly string[]> = {
  en: ['apples', 'books', 'coins', 'pens', 'cards', 'cakes', 'stamps', 'shells', 'eggs', 'toys'],
  fr: ['pommes', 'livres', 'pièces', 'stylos', 'cartes', 'gâteaux', 'timbres', 'coquillages', 'billes', 'jouets'],
}

/** What stands before an equation. */
export const LABELS: Record<Language, Record<Operation, string>> = {
  en: { add: 'add:', sub: 'sub:', mul: 'mul:', div: 'div:' },
  fr: { add: 'addition :', sub: 'soustraction :', mul: 'multiplication :', div: 'division :' },
}

/** Sentences that say nothing. */
export const FILLERS: Record<Language, readonly string[]> = {
  en: ['Let me think about this.', 'This is a nice question.', 'We look at the numbers first.'],
  fr: ['Voyons cela ensemble.', 'Voilà une belle question.', 'On regarde d’abord les nombres.'],
}

/** Last lines that give the number in another form than asked for. */
export const WRONG_ENDINGS: Record<Language, readonly ((result: number) => string)[]> = {
  en: [
    result => `The answer is ${result}.`,
    result => `<answer>${result}`,
    result => `answer: ${result}`,
    result => `<answer>The answer is ${result}</answer>`,
  ],
  fr: [
    result => `La réponse est ${result}.`,
    result => `<answer>${result}`,
    result => `réponse : ${result}`,
    result => `<answer>La réponse est ${result}</answer>`,
  ],
}
