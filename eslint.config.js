import path from 'node:path'
import eslint from '@eslint/js'
import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

/** Imports flow one way: a folder of src/, or kernels/, may import from itself and from the folders named here. Tests are free. */
const mayImport = {
  xla: [],
  nn: ['xla'],
  io: ['xla'],
  models: ['nn', 'io', 'xla'],
  sampling: ['policies', 'models', 'nn', 'io', 'xla'],
  policies: ['sampling', 'models', 'nn', 'io', 'xla'],
  datasets: ['io', 'xla'],
  metrics: ['datasets', 'xla'],
  rewards: ['models', 'nn', 'metrics', 'datasets', 'io', 'xla'],
  runs: ['datasets', 'metrics', 'plots', 'io', 'xla'],
  plots: ['metrics', 'runs', 'io'],
  widgets: ['plots', 'runs'],
  optimizers: ['policies', 'sampling', 'rewards', 'metrics', 'datasets', 'runs', 'plots', 'widgets', 'xla'],
  cli: ['optimizers', 'policies', 'sampling', 'models', 'datasets', 'rewards', 'metrics', 'plots', 'runs', 'io', 'xla'],
  kernels: ['plots', 'widgets', 'xla'],
}

const importZones = {
  meta: {
    type: 'problem',
    schema: [],
    messages: { zone: '{{from}} may not import {{to}}: see mayImport in eslint.config.js.' },
  },
  create(context) {
    const from = zoneOf(context.filename)
    function check(node) {
      const source = node.source?.value
      if (!from || typeof source !== 'string' || !/^(\.|rewardlab\/)/.test(source)) return
      const to = zoneOf(
        source.startsWith('.')
          ? path.resolve(path.dirname(context.filename), source)
          : path.join(import.meta.dirname, source.replace('rewardlab', 'src')),
      )
      if (to && to !== from && !mayImport[from]?.includes(to))
        context.report({ node, messageId: 'zone', data: { from, to } })
    }
    return {
      ImportDeclaration: check,
      ImportExpression: check,
      TSImportType: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
    }
  },
}

/** 'kernels', or the name of a folder of src/; undefined elsewhere, as for src/config.ts, which all may use. */
function zoneOf(file) {
  const [top, folder] = path.relative(import.meta.dirname, file).split(path.sep)
  return top === 'src' && folder && !path.extname(folder) ? folder : top === 'kernels' ? top : undefined
}

export default defineConfig(
  globalIgnores([
    'dist/',
    '.venv/',
    '.tensorflow/',
    '.bench/',
    'data/models/',
    'runs/',
    'figures/',
    'test/fixtures/',
    'test/fuzz/corpus/',
  ]),
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/unbound-method': 'off', // objects of functions here, no `this`
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    },
  },
  {
    files: ['src/**/*.ts', 'kernels/**/*.ts'],
    plugins: { rewardlab: { rules: { 'import-zones': importZones } } },
    rules: { 'rewardlab/import-zones': 'error' },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/xla/start.ts', 'src/cli/**'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector:
            ':matches(MemberExpression > Identifier.property, ImportSpecifier > Identifier.imported)[name="setBackend"]',
          message: 'Only start-up code chooses a backend: src/xla/start.ts, src/cli, kernels.',
        },
      ],
    },
  },
  {
    files: ['**/*.{js,cjs,mjs}'],
    languageOptions: { globals: { process: 'readonly', console: 'readonly' } },
  },
  {
    // What runs before set-up must parse under an old Node, to say that it is too old.
    files: ['scripts/*.mjs'],
    languageOptions: { ecmaVersion: 2020 },
  },
)
