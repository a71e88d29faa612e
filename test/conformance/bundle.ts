import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** The specs must be read after the environment they are to run in is set: require, not import, keeps that order. */
const ENTRY = `
  import '@tensorflow/tfjs-core/dist/index'
  import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops'
  import '@tensorflow/tfjs-core/dist/register_all_gradients'
  import { setTestEnvs } from '@tensorflow/tfjs-core/dist/jasmine_util'
  setTestEnvs([globalThis.conformanceEnvironment])
  require('@tensorflow/tfjs-core/dist/tests')`

/** Bundles tfjs-core's own specs, which are written for bundlers, into one file that Node can load. They read the environment
 * to test from the global `conformanceEnvironment`. */
export async function bundleSpecs(file: string): Promise<void> {
  await build({
    stdin: { contents: ENTRY, resolveDir: fileURLToPath(new URL('.', import.meta.url)) },
    outfile: file,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    mainFields: ['module', 'main'],
    ignoreAnnotations: true, // packages marked free of side effects register what the specs test
    logLevel: 'error',
    plugins: [
      {
        // tfjs-core asks jasmine-core for an instance of its own, to set a time limit that the runner sets anyway.
        name: 'no second jasmine',
        setup(bundler) {
          bundler.onLoad({ filter: /jasmine-core\/jasmine\.js$/ }, () => ({ contents: 'exports.core = () => ({})' }))
        },
      },
    ],
  })
}
