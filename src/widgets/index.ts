export { clearOutput } from './clearOutput.js'
export { display, displaySymbol, newDisplay, type Displayable, type DisplayHandle } from './display.js'
export { input } from './input.js'
export { notebook, type Comm, type Notebook } from './notebook.js'
