const js = require('@eslint/js');

const wechat = { wx: 'readonly', App: 'readonly', Page: 'readonly', console: 'readonly', setTimeout: 'readonly', clearTimeout: 'readonly' };
const node = { __dirname: 'readonly', process: 'readonly', URL: 'readonly', setImmediate: 'readonly' };
const browser = {
  window: 'readonly',
  document: 'readonly',
  AbortController: 'readonly',
  MutationObserver: 'readonly',
  URLSearchParams: 'readonly',
};
const modules = { module: 'writable', require: 'readonly' };

/** The demo's page, beside the program that carries it. */
const page = {
  window: 'readonly',
  document: 'readonly',
  localStorage: 'readonly',
  fetch: 'readonly',
  EventSource: 'readonly',
  URLSearchParams: 'readonly',
};

/** The operators' page, likewise. */
const operators = {
  window: 'readonly',
  document: 'readonly',
  sessionStorage: 'readonly',
  fetch: 'readonly',
  AbortController: 'readonly',
  AbortSignal: 'readonly',
  URL: 'readonly',
};

module.exports = [
  { ignores: ['out/', 'node_modules/'] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2023, sourceType: 'commonjs', globals: { ...wechat, ...modules } },
    rules: {
      eqeqeq: 'error',
      'no-console': ['error', { allow: ['warn', 'error'] }],
      'no-shadow': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      complexity: ['error', 24],
      'max-lines': ['error', { max: 400, skipComments: false }],
      'max-lines-per-function': ['error', 70],
    },
  },
  { files: ['tools/browser/**'], languageOptions: { globals: browser } },
  { files: ['tools/**', 'test/**', 'eslint.config.js'], languageOptions: { globals: { ...node, document: 'readonly', window: 'readonly' } } },
  {
    files: ['src/demo/page/**'],
    languageOptions: { sourceType: 'module', globals: page },
    // The program carries it as one file.
    rules: { 'max-lines': ['error', { max: 1000, skipComments: false }] },
  },
  { files: ['src/http/operator_page/**'], languageOptions: { sourceType: 'module', globals: operators } },
  { files: ['test/browser/**'], languageOptions: { globals: { navigator: 'readonly', fetch: 'readonly' } } },
  { files: ['test/**'], rules: { 'max-lines': 'off', 'max-lines-per-function': 'off' } },
];
