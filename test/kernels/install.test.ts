import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packageRoot } from '../../src/xla/index.js'

const program = join(packageRoot(), 'dist/kernels/install.js')

describe('rewardlab-kernel', () => {
  let dir: string
  before(() => (dir = realpathSync(mkdtempSync(join(tmpdir(), 'rewardlab-install-')))))
  after(() => rmSync(dir, { recursive: true }))

  const run = (...args: string[]) =>
    spawnSync(process.execPath, [program, ...args], {
      encoding: 'utf8',
      env: { ...process.env, JUPYTER_DATA_DIR: dir },
    })
  const spec = (folder: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(folder, 'kernel.json'), 'utf8')) as Record<string, unknown>

  it('registers the kernel for the user, under another name too, and takes it away again', () => {
    for (const [name, args] of [
      ['rewardlab', []],
      ['other', ['--user', '--name', 'other']],
    ] as const) {
      const folder = join(dir, 'kernels', name)
      assert.match(
        run(...args).stdout,
        new RegExp(`^Registered ${folder}\\. In Jupyter the kernel is "TypeScript \\(${name}\\)"`),
      )
      assert.deepEqual(spec(folder)['argv'], [
        process.execPath,
        join(packageRoot(), 'dist/kernels/main.js'),
        '{connection_file}',
      ])
      assert.equal(run(...args, '--uninstall').stdout, `Removed ${folder}.\n`)
      assert.ok(!existsSync(folder))
    }
  })

  it('registers it for a Python environment, as set-up does for the own one', () => {
    run('--prefix', dir)
    const { argv, env, ...rest } = spec(join(dir, 'share/jupyter/kernels/rewardlab'))
    const own = spec(join(packageRoot(), '.venv/share/jupyter/kernels/rewardlab'))
    assert.deepEqual(
      { ...rest, argv: own['argv'], env },
      { ...own, env: { ...(own['env'] as object), VIRTUAL_ENV: dir } },
    )
    assert.equal((argv as string[]).length, 3)
  })

  it('refuses what it does not know, in one line', () => {
    for (const [args, message] of [
      [['--system'], /Unknown option '--system'/],
      [['--user', '--prefix', dir], /found both --user and --prefix/],
      [['--prefix', join(dir, 'none')], /there is no folder/],
      [['--name', 'a b'], /--name is "a b"/],
      [['--uninstall', '--name', 'none'], /there is no kernel in/],
    ] as const) {
      const { status, stderr } = run(...args)
      assert.equal(status, 1)
      assert.match(stderr, /^rewardlab-kernel: [^\n]+\n$/)
      assert.match(stderr, message)
    }
    assert.match(run('--help').stdout, /^Usage: rewardlab-kernel .*--uninstall/s)
  })
})
