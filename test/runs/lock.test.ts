import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { lock } from '../../src/runs/lock.js'
import { temporaryFolder } from './temporary.js'

describe('lock', () => {
  const dir = temporaryFolder()
  const owned = (owner: unknown): void => writeFileSync(join(dir(), 'lock'), JSON.stringify(owner))
  const exited = spawnSync(process.execPath, ['-e', '']).pid

  it('keeps a second writer out until the first is done, in this process too', () => {
    const unlock = lock(dir())
    assert.throws(() => lock(dir()), new RegExp(`process ${process.pid} on .* writes this run`))
    unlock()
    unlock()
    assert.equal(existsSync(join(dir(), 'lock')), false)
    lock(dir())()
  })

  it('keeps out while another process lives', () => {
    const other = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 10000)'])
    owned({ pid: other.pid, host: hostname() })
    assert.throws(() => lock(dir()), new RegExp(`process ${other.pid} on `))
    other.kill()
  })

  it('takes over what a dead process left, even one of the same id', () => {
    owned({ pid: exited, host: hostname() })
    lock(dir())()
    owned({ pid: process.pid, host: hostname() })
    lock(dir())()
  })

  it('cannot tell about another machine, or a lock it cannot read', () => {
    owned({ pid: exited, host: 'elsewhere' })
    assert.throws(() => lock(dir()), /on elsewhere writes this run.*if that process is gone, delete .*lock/)
    writeFileSync(join(dir(), 'lock'), '')
    assert.throws(() => lock(dir()), /process unknown on an unknown machine/)
  })
})
