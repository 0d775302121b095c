const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const staffTexts = require('../pages/staff-bind/texts');
const texts = require('../texts');
const { bundle } = require('../tools/bundle');

const ROOT = path.join(__dirname, '..');
const PACKAGE_BYTES_MAX = 60 * 1024;
const CONTRAST_MIN = 4.5;
const PAGES = ['pages/bind-account/bind-account', 'pages/staff-bind/staff-bind', 'pages/index/index'];
const TEXTS = ['pages/staff-bind/texts.js', 'texts.js'];

/** @param {string} file */
const read = (file) => fs.readFileSync(path.join(ROOT, file), 'utf8');
/** @param {string} code */
const withoutComments = (code) => code.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');

/** What WeChat packs: all that `project.config.json` does not leave out. */
function packed() {
  const { ignore } = JSON.parse(read('project.config.json')).packOptions;
  const isIgnored = (/** @type {string} */ file) =>
    ignore.some((/** @type {{ type: string, value: string }} */ { type, value }) => {
      if (type === 'folder') return file === value || file.startsWith(`${value}/`);
      return type === 'suffix' ? file.endsWith(value) : file === value;
    });
  /** @type {string[]} */
  const found = [];
  const visit = (/** @type {string} */ folder) => {
    for (const entry of fs.readdirSync(path.join(ROOT, folder), { withFileTypes: true })) {
      const file = path.posix.join(folder, entry.name);
      // DevTools leaves out its own files and hidden ones.
      if (entry.name.startsWith('.') || /^project\..*config\.json$/.test(file) || isIgnored(file)) continue;
      if (entry.isDirectory()) visit(file);
      else found.push(file);
    }
  };
  visit('');
  return found;
}

test('the packages hold the mini program, nothing else, and each is small', () => {
  const files = packed();
  assert.deepEqual(files.filter((file) => !file.startsWith('pages/')).sort(), [
    'app.js',
    'app.json',
    'app.wxss',
    'config.js',
    'shared/answers.js',
    'shared/format.js',
    'shared/page.wxss',
    'sitemap.json',
    'texts.js',
    'theme.json',
    'wechat.js',
  ]);
  /** @type {string[]} */
  const roots = JSON.parse(read('app.json')).subPackages.map((/** @type {{ root: string }} */ { root }) => root);
  assert.deepEqual(roots, ['pages/bind-account', 'pages/staff-bind']);
  for (const root of ['', ...roots]) {
    const own = files.filter((file) => (roots.find((one) => file.startsWith(`${one}/`)) ?? '') === root);
    const bytes = own.reduce((sum, file) => sum + fs.statSync(path.join(ROOT, file)).size, 0);
    assert.ok(own.length > 0 && bytes < PACKAGE_BYTES_MAX, `${root}: ${own.length} files, ${bytes} bytes`);
  }
});

test('no package needs another but the main one', () => {
  for (const file of packed().filter((one) => /\.(js|wxss)$/.test(one))) {
    const [, root] = /^(pages\/[\w-]+)\//.exec(file) ?? [];
    for (const [, target] of read(file).matchAll(/(?:require\('|@import ")(\.[^'"]+)/g)) {
      const found = path.posix.join(path.posix.dirname(file), target);
      assert.ok(!found.startsWith('pages/') || found.startsWith(`${root}/`), `${file}: ${target}`);
    }
  }
});

test('what users read stands in texts.js alone', () => {
  const chinese = packed()
    .filter((file) => /\.(js|wxml|wxss)$/.test(file) && !TEXTS.includes(file))
    .filter((file) => {
      const code = file.endsWith('.js') ? withoutComments(read(file)) : read(file);
      return /\p{Script=Han}/u.test(code.replace(/unbindWord: '.*'/, ''));
    });
  assert.deepEqual(chinese, []);
});

test('the thing is called 绑定码, never what WeChat takes for a credential', () => {
  for (const words of [texts, staffTexts]) {
    assert.match(JSON.stringify(words), /绑定码/);
    assert.doesNotMatch(JSON.stringify(words), /验证码|密码|口令/);
  }
});

test('wx stands in wechat.js alone, and what WeCom adds in wecom.js', () => {
  const users = packed().filter((file) => file.endsWith('.js') && /\bwx\./.test(withoutComments(read(file))));
  assert.deepEqual(users, ['pages/staff-bind/wecom.js', 'wechat.js']);
  const [beside] = withoutComments(read('pages/staff-bind/wecom.js')).match(/\bwx\.(?!qy\b)\w+/) ?? [];
  assert.equal(beside, undefined);
});

test('the state machines have no clock, timer or chance of their own', () => {
  const machine = packed().filter((file) => /\/machine(\.js|\/)|^shared\/answers/.test(file));
  assert.equal(machine.length, 7);
  for (const file of machine) {
    assert.doesNotMatch(withoutComments(read(file)), /\b(Date|setTimeout|setInterval|random|Promise|await)\b/, file);
  }
});

for (const page of PAGES) {
  test(`every tap of ${page} has its handler, and every handler its tap`, () => {
    const taps = new Set([...read(`${page}.wxml`).matchAll(/bind:\w+="(\w+)"/g)].map(([, name]) => name));
    const handlers = [...read(`${page}.js`).matchAll(/^ {2}(on\w+)\(/gm)].map(([, name]) => name);
    const lives = ['onLoad', 'onShow', 'onHide', 'onUnload'];
    assert.deepEqual([...taps].sort(), handlers.filter((name) => !lives.includes(name)).sort());
  });
}

/** @param {string} file @returns {Set<string>} */
function styledBy(file) {
  const wxss = withoutComments(read(file)).replace(/url\([^)]*\)|@import [^;]*/g, '');
  assert.equal((wxss.match(/{/g) ?? []).length, (wxss.match(/}/g) ?? []).length, file);
  return new Set([...wxss.matchAll(/\.([a-z][\w-]*)/g)].map(([, name]) => name));
}

/** @param {string} page @returns {Set<string>} */
function usedBy(page) {
  const attributes = [...read(`${page}.wxml`).matchAll(/(?:hover-|placeholder-)?class="([^"]*)"/g)].map(([, value]) => value).join(' ');
  const filled = attributes
    .replace('glyph-{{hero.glyph}}', 'glyph-chat glyph-clock glyph-cut glyph-tick')
    .replace('code-{{pending.size}}', 'code-large code-middle code-small')
    .replace('status-{{status.tone}}', 'status-calm status-busy status-good status-bad');
  return new Set(filled.match(/[a-z][\w-]*/g));
}

test('the pages and their styles know the same classes', () => {
  const all = new Set(PAGES.flatMap((page) => [...usedBy(page)]));
  assert.deepEqual([...styledBy('shared/page.wxss')].filter((name) => !all.has(name)), []);
  for (const page of PAGES) {
    const used = usedBy(page);
    assert.deepEqual([...styledBy(`${page}.wxss`)].filter((name) => !used.has(name)), [], page);
    assert.match(read(`${page}.wxss`), /^@import "..\/..\/shared\/page.wxss";\n/, page);
  }
});

test('every text keeps its contrast in both themes', () => {
  const [light, dark] = read('app.wxss').split('@media');
  const pairs = [
    ['ink', 'ground'],
    ['ink', 'card'],
    ['ink', 'quiet'],
    ['ink', 'quiet-down'],
    ['ink-soft', 'ground'],
    ['ink-soft', 'card'],
    ['ink-soft', 'quiet'],
    ['accent', 'ground'],
    ['accent', 'card'],
    ['accent', 'quiet'],
    ['accent', 'accent-ground'],
    ['on-strong', 'strong'],
    ['on-strong', 'strong-down'],
    ['warn', 'card'],
    ['bad', 'ground'],
    ['bad', 'card'],
    ['bad', 'quiet-down'],
  ];
  for (const [theme, css] of [
    ['light', light],
    ['dark', dark],
  ]) {
    const colours = new Map([...css.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map(([, name, value]) => [name, value]));
    for (const [text, ground] of pairs) {
      const ratio = contrast(String(colours.get(text)), String(colours.get(ground)));
      assert.ok(ratio >= CONTRAST_MIN, `${theme}: ${text} on ${ground} is ${ratio.toFixed(2)}`);
    }
  }
});

/** By WCAG 2. @param {string} one @param {string} other */
function contrast(one, other) {
  const light = [one, other].map((colour) => {
    const [r, g, b] = [1, 3, 5].map((at) => {
      const part = parseInt(colour.slice(at, at + 2), 16) / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  });
  return (Math.max(...light) + 0.05) / (Math.min(...light) + 0.05);
}

test('the buttons of the questions are short enough for WeChat', () => {
  for (const { yes, no } of [texts.bound.confirm, staffTexts.code.confirm]) {
    for (const label of [yes, no]) assert.ok(label.length <= 4, label);
  }
});

test('the names of the configuration files are those of files', () => {
  const app = JSON.parse(read('app.json'));
  /** @type {string[]} */
  const others = app.subPackages.flatMap((/** @type {any} */ { root, pages }) => pages.map((/** @type {string} */ page) => `${root}/${page}`));
  assert.deepEqual([...app.pages, ...others].sort(), [...PAGES].sort());
  for (const page of PAGES) {
    for (const ending of ['js', 'json', 'wxml', 'wxss']) assert.ok(fs.existsSync(path.join(ROOT, `${page}.${ending}`)));
  }
  const { light, dark } = JSON.parse(read(app.themeLocation));
  assert.deepEqual(Object.keys(light), Object.keys(dark));
  for (const value of Object.values(app.window)) {
    if (String(value).startsWith('@')) assert.ok(String(value).slice(1) in light, String(value));
  }
  assert.ok(fs.existsSync(path.join(ROOT, app.sitemapLocation)));
});

test('the bundle for browsers is the same every time, and names its sources', () => {
  const { script } = bundle();
  assert.match(script, /^\/\/ sha256 of the sources: [0-9a-f]{64}\n/);
  assert.ok(bundle().script === script);
  assert.doesNotMatch(script, /\drpx\b/);
});
