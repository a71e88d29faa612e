import { readFile } from 'node:fs/promises'
import { openSafetensors, type TensorSource } from '../../src/io/safetensors.js'
import { loadKontext, type Kontext } from '../../src/models/index.js'
import { start } from '../../src/xla/index.js'
import { fixture } from './fixture.js'

/** The small pipeline of the fixtures, what diffusers makes with it, and its prompts; there while the tests of a `describe` run. */
export function kontextFixture() {
  const given = {} as { expected: TensorSource; kontext: Kontext; prompts: string[] }
  before(async () => {
    await start()
    given.expected = await openSafetensors(fixture('kontext_expected.safetensors'))
    given.prompts = (JSON.parse(await readFile(fixture('kontext_tokens.json'), 'utf8')) as { texts: string[] }).texts
    given.kontext = await loadKontext(fixture('kontext'))
  })
  after(async () => {
    await given.expected.close()
    given.kontext.dispose()
  })
  return given
}
