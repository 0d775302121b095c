/**
 * Compiles the real pages (wxml, wxss, js, json) into one script that runs in a browser, one of them at a time:
 * `node tools/bundle.js --out DIR` writes `page.js` and `page.html`. Its address says which page, see `runtime.js`. The component framework is WeChat's own open one, from npm, and is packed into the
 * script; what a browser lacks of WeChat is in `browser/`. Needs the packages under `dependencies` only.
 *
 * The first line of `page.js` carries a hash of the sources, for whoever wants to know whether it is up to date.
 */

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { TmplGroup } = require('glass-easel-template-compiler');

const ROOT = path.join(__dirname, '..');
const VENDOR = ['glass-easel', 'glass-easel-miniprogram-adapter'];
const SHELL = path.join(__dirname, 'browser', 'page.html');

/** @param {string} file relative to the mini program */
function read(file) {
  return fs.readFileSync(path.join(ROOT, file), 'utf8');
}

/** @param {string} file @returns {any} */
function readJson(file) {
  return JSON.parse(read(file));
}

/** The scripts of the mini program that are reached from `entry`, as `require` finds them. @param {string} entry @param {Set<string>} found */
function reach(entry, found) {
  if (found.has(entry)) return found;
  found.add(entry);
  for (const [, target] of read(`${entry}.js`).matchAll(/\brequire\('(\.[^']+)'\)/g)) {
    reach(path.posix.join(path.posix.dirname(entry), target), found);
  }
  return found;
}

/** The pages of the main package, then those of the others. @param {any} app @returns {string[]} */
function pagesOf(app) {
  const others = app.subPackages.flatMap((/** @type {any} */ { root, pages }) => pages.map((/** @type {string} */ page) => `${root}/${page}`));
  return [...app.pages, ...others];
}

/** Each in a group of its own: in one, they would come in any order. @param {string} page */
function compileTemplate(page) {
  const group = new TmplGroup();
  for (const problem of group.addTmpl(page, read(`${page}.wxml`))) {
    throw new Error(`${page}.wxml:${problem.startLine}:${problem.startColumn}: ${problem.message}`);
  }
  const code = group.getTmplGenObjectGroups();
  group.free();
  return code;
}

/** The style of a file, with what it imports in its place. @param {string} file @returns {string} */
function readStyle(file) {
  return read(file).replace(/@import "([^"]+)";/g, (_, target) => readStyle(path.posix.join(path.posix.dirname(file), target)));
}

/**
 * A phone is 750rpx wide; to WeChat 100vh is what the bar leaves, to a browser the whole of it.
 * @param {string} file
 */
function compileStyle(file) {
  const wxss = readStyle(file);
  const inWidths = wxss.replace(/(-?\d*\.?\d+)rpx\b/g, (_, number) => `${+(number / 7.5).toFixed(4)}vw`);
  return inWidths.replace(/\b100vh\b/g, 'var(--client-height)');
}

/** @param {string} name @param {string} code */
function asModule(name, code) {
  return `${JSON.stringify(name)}: function (module, exports, require) {\n${code}\n}`;
}

/** @returns {{ script: string, html: string }} */
function bundle() {
  const app = readJson('app.json');
  const pages = pagesOf(app);
  const reached = reach('app', new Set());
  pages.forEach((page) => reach(page, reached));
  const scripts = [...reached].sort();
  const sources = {
    scripts: scripts.map((name) => asModule(name, read(`${name}.js`))),
    vendor: VENDOR.map((name) => {
      const code = fs.readFileSync(require.resolve(name), 'utf8');
      return asModule(name, code.replace(/^\/\/# sourceMappingURL=.*$/m, ''));
    }),
    runtime: ['runtime', 'wecom'].map((name) => asModule(name, fs.readFileSync(path.join(__dirname, 'browser', `${name}.js`), 'utf8'))),
    templates: `{${pages.map((page) => `${JSON.stringify(page)}: ${compileTemplate(page)}`).join(',\n')}}`,
    style: [fs.readFileSync(path.join(__dirname, 'browser', 'client.css'), 'utf8'), compileStyle('app.wxss')].join('\n'),
    parts: {
      app,
      theme: readJson(app.themeLocation),
      pages: Object.fromEntries(pages.map((page) => [page, { config: readJson(`${page}.json`), style: compileStyle(`${page}.wxss`) }])),
    },
  };
  const html = fs.readFileSync(SHELL, 'utf8');
  const hash = createHash('sha256').update(JSON.stringify([sources, html])).digest('hex');
  const script = `// sha256 of the sources: ${hash}
(function () {
'use strict';
var sources = {
${[...sources.vendor, ...sources.scripts, ...sources.runtime].join(',\n')}
};
var loaded = {};
function load(name) {
  if (loaded[name]) return loaded[name].exports;
  if (!sources[name]) throw new Error('no module ' + name);
  var module = loaded[name] = { exports: {} };
  sources[name].call(module.exports, module, module.exports, function (target) {
    return load(target[0] === '.' ? resolve(name, target) : target);
  });
  return module.exports;
}
function resolve(from, target) {
  var parts = from.split('/').slice(0, -1);
  target.split('/').forEach(function (part) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  });
  return parts.join('/');
}
load('runtime').start(load, ${sources.templates}, ${JSON.stringify(sources.style)}, ${JSON.stringify(sources.parts)});
})();
`;
  return { script, html };
}

module.exports = { bundle };

if (require.main === module) {
  const at = process.argv.indexOf('--out');
  const out = at < 0 ? undefined : process.argv[at + 1];
  if (out === undefined) {
    console.error('usage: node tools/bundle.js --out DIR');
    process.exit(2);
  }
  const { script, html } = bundle();
  fs.mkdirSync(out, { recursive: true });
  fs.writeFileSync(path.join(out, 'page.js'), script);
  fs.writeFileSync(path.join(out, 'page.html'), html);
}
