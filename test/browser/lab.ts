import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { chromium, type Browser, type Locator, type Page } from 'playwright-core'
import { packageRoot } from '../../src/xla/index.js'

/** A cell of a notebook file. */
export interface Cell {
  id: string
  cell_type: 'code' | 'markdown'
  source: string[] | string
  outputs?: unknown[]
  execution_count?: number | null
  metadata: object
}

/** Milliseconds that anything may take: all of it takes a minute on an idle machine, but a test machine may be busy. */
const PATIENCE = 120_000

/** JupyterLab on loopback with one notebook in a folder of its own, and a browser that shows it. */
export class Lab {
  readonly page: Page
  readonly #folder: string
  readonly #server: ChildProcess
  readonly #browser: Browser

  private constructor(folder: string, server: ChildProcess, browser: Browser, page: Page) {
    this.#folder = folder
    this.#server = server
    this.#browser = browser
    this.page = page
  }

  /** @param cells of the notebook, whose folder has the repository's data beside it
   * @throws if JupyterLab does not answer within two minutes */
  static async open(cells: readonly Cell[]): Promise<Lab> {
    const root = packageRoot()
    const folder = mkdtempSync(join(tmpdir(), 'rewardlab-browser-'))
    for (const name of ['notebooks', 'runs', 'settings']) mkdirSync(join(folder, name))
    symlinkSync(join(root, 'data'), join(folder, 'data'))
    writeFileSync(join(folder, 'notebooks/test.ipynb'), JSON.stringify(notebook(cells)))
    setting(folder, 'notebook-extension/tracker', { windowingMode: 'none' }) // all cells in the document
    setting(folder, 'apputils-extension/notification', { fetchNews: 'false', checkForUpdates: false })

    const [port, token] = [await freePort(), randomUUID()]
    const address = `http://127.0.0.1:${port}`
    const server = spawn(join(root, '.venv/bin/python'), labArguments(folder, port), {
      cwd: folder,
      env: { ...process.env, ...labEnvironment(folder), JUPYTER_TOKEN: token, REWARDLAB_QUICK: '1' },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let log = ''
    server.stderr.on('data', chunk => (log = (log + String(chunk)).slice(-4000)))
    const launching = chromium.launch({ executablePath: process.env['CHROMIUM']!, args: ['--no-sandbox'] }) // loopback only
    for (let waited = 0; !(await answers(`${address}/api?token=${token}`)); waited += 200) {
      if (waited > PATIENCE || server.exitCode !== null) throw new Error(`JupyterLab does not answer. ${log}`)
      await setTimeout(200)
    }
    const browser = await launching
    const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } })
    page.setDefaultTimeout(PATIENCE)
    await page.goto(`${address}/lab/tree/notebooks/test.ipynb?token=${token}`)
    const lab = new Lab(folder, server, browser, page)
    await lab.idle()
    return lab
  }

  /** A cell of the notebook, from 0. */
  cell(index: number): Locator {
    return this.page.locator('.jp-Notebook > .jp-WindowedPanel-outer .jp-Cell').nth(index)
  }

  /** Chooses from the menu bar. */
  async menu(menu: string, item: string): Promise<void> {
    await this.page.getByRole('menuitem', { name: menu, exact: true }).click()
    await this.page.getByRole('menuitem', { name: item }).first().click()
  }

  /** Resolves when the kernel has nothing to do. */
  async idle(): Promise<void> {
    await this.page.getByText('TypeScript (rewardlab) | Idle').waitFor()
  }

  /** Waits until a cell's output shows a text.
   * @throws what a cell threw before that */
  async shows(cell: number, text: string | RegExp): Promise<void> {
    const found = this.cell(cell).locator('.jp-OutputArea-output').getByText(text).first()
    const failed = this.page.locator('[data-mime-type="application/vnd.jupyter.error"]').first()
    await found.or(failed).first().waitFor()
    if (!(await found.isVisible())) throw new Error(await failed.innerText())
  }

  /** Runs a cell without waiting for it. */
  async run(cell: number): Promise<void> {
    await this.cell(cell).locator('.jp-InputArea-editor').click()
    await this.page.keyboard.press('Control+Enter')
  }

  /** Keeps a picture of the window in screenshots/.
   * @param at what to scroll to first */
  async screenshot(name: string, at?: Locator): Promise<void> {
    await at?.evaluate(element => element.scrollIntoView())
    await this.page.screenshot({ path: join(packageRoot(), 'screenshots', `${name}.png`) })
  }

  async save(): Promise<void> {
    await this.menu('File', 'Save Notebook')
    await this.page.locator('.lm-DockPanel-tabBar .jp-mod-dirty').waitFor({ state: 'detached' })
  }

  /** The notebook as it was saved last. */
  saved(): { cells: Cell[]; metadata: Record<string, unknown> } {
    return JSON.parse(readFileSync(join(this.#folder, 'notebooks/test.ipynb'), 'utf8')) as ReturnType<Lab['saved']>
  }

  async close(): Promise<void> {
    await this.#browser.close()
    this.#server.kill('SIGTERM') // it ends its kernels
    await new Promise(resolve => this.#server.once('exit', resolve))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

function labArguments(folder: string, port: number): string[] {
  const options = {
    'ServerApp.ip': '127.0.0.1',
    'ServerApp.port': port,
    'ServerApp.port_retries': 0,
    'ServerApp.root_dir': folder,
    'ServerApp.open_browser': 'False',
    'ServerApp.allow_root': 'True',
  }
  return ['-m', 'jupyterlab', ...Object.entries(options).map(([name, value]) => `--${name}=${value}`)]
}

/** Nothing of the user's own JupyterLab is read or written. */
function labEnvironment(folder: string): Record<string, string> {
  return {
    JUPYTER_CONFIG_DIR: join(folder, '.config'),
    JUPYTER_DATA_DIR: join(folder, '.data'),
    JUPYTER_RUNTIME_DIR: join(folder, '.runtime'),
    JUPYTERLAB_SETTINGS_DIR: join(folder, 'settings'),
    JUPYTERLAB_WORKSPACES_DIR: join(folder, '.workspaces'),
    REWARDLAB_HISTORY: join(folder, 'history.jsonl'),
  }
}

function setting(folder: string, plugin: string, value: object): void {
  const file = join(folder, 'settings/@jupyterlab', `${plugin}.jupyterlab-settings`)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, JSON.stringify(value))
}

function notebook(cells: readonly Cell[]): object {
  const kernelspec = { name: 'rewardlab', display_name: 'TypeScript (rewardlab)', language: 'typescript' }
  return { cells, metadata: { kernelspec }, nbformat: 4, nbformat_minor: 5 }
}

const answers = (address: string): Promise<boolean> =>
  fetch(address).then(
    response => response.ok,
    () => false,
  )

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}
