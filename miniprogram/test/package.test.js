const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const texts = require('../texts');
const { bundle } = require('../tools/bundle');

const ROOT = path.join(__dirname, '..');
const PACKAGE_BYTES_MAX = 60 * 1024;
const CONTRAST_MIN = 4.5;
const PAGE = 'pages/bind-account/bind-account';

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

test('the package holds the mini program, nothing else, and is small', () => {
  const files = packed();
  assert.deepEqual(files.filter((file) => !file.startsWith('pages/')).sort(), [
    'app.js',
    'app.json',
    'app.wxss',
    'config.js',
    'sitemap.json',
    'texts.js',
    'theme.json',
    'wechat.js',
  ]);
  const bytes = files.reduce((sum, file) => sum + fs.statSync(path.join(ROOT, file)).size, 0);
  assert.ok(bytes < PACKAGE_BYTES_MAX, `${bytes} bytes`);
});

test('what users read stands in texts.js alone', () => {
  const chinese = packed()
    .filter((file) => /\.(js|wxml|wxss)$/.test(file) && file !== 'texts.js')
    .filter((file) => {
      const code = file.endsWith('.js') ? withoutComments(read(file)) : read(file);
      return /\p{Script=Han}/u.test(code.replace(/unbindWord: '.*'/, ''));
    });
  assert.deepEqual(chinese, []);
});

test('the thing is called 绑定码, never what WeChat takes for a credential', () => {
  assert.match(JSON.stringify(texts), /绑定码/);
  assert.doesNotMatch(JSON.stringify(texts), /验证码|密码|口令/);
});

test('wx stands in wechat.js alone', () => {
  const users = packed().filter((file) => file.endsWith('.js') && /\bwx\./.test(withoutComments(read(file))));
  assert.deepEqual(users, ['wechat.js']);
});

test('the state machine has no clock, timer or chance of its own', () => {
  const machine = packed().filter((file) => /bind-account\/machine(\.js|\/)/.test(file));
  assert.equal(machine.length, 4);
  for (const file of machine) {
    assert.doesNotMatch(withoutComments(read(file)), /\b(Date|setTimeout|setInterval|random|Promise|await)\b/, file);
  }
});

test('every tap of the page has its handler, and every handler its tap', () => {
  const taps = new Set([...read(`${PAGE}.wxml`).matchAll(/bind:tap="(\w+)"/g)].map(([, name]) => name));
  const handlers = [...read(`${PAGE}.js`).matchAll(/^ {2}(on\w+)\(\)/gm)].map(([, name]) => name);
  const lives = ['onLoad', 'onShow', 'onHide', 'onUnload'];
  assert.deepEqual([...taps].sort(), handlers.filter((name) => !lives.includes(name)).sort());
});

test('the page and its style know the same classes', () => {
  const wxss = withoutComments(read(`${PAGE}.wxss`)).replace(/url\([^)]*\)/g, '');
  const styled = new Set([...wxss.matchAll(/\.([a-z][\w-]*)/g)].map(([, name]) => name));
  const wxml = read(`${PAGE}.wxml`);
  const attributes = [...wxml.matchAll(/(?:hover-)?class="([^"]*)"/g)].map(([, value]) => value).join(' ');
  const filled = attributes
    .replace('glyph-{{hero.glyph}}', 'glyph-chat glyph-clock glyph-cut glyph-tick')
    .replace('code-{{pending.size}}', 'code-large code-middle code-small')
    .replace('status-{{status.tone}}', 'status-calm status-busy status-good status-bad');
  const used = new Set(filled.match(/[a-z][\w-]*/g));
  assert.deepEqual([...styled].filter((name) => !used.has(name)), []);
  assert.equal((wxss.match(/{/g) ?? []).length, (wxss.match(/}/g) ?? []).length);
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

test('the buttons of the question are short enough for WeChat', () => {
  for (const label of [texts.bound.confirm.yes, texts.bound.confirm.no]) assert.ok(label.length <= 4, label);
});

test('the names of the configuration files are those of files', () => {
  const app = JSON.parse(read('app.json'));
  for (const page of app.pages) {
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
  assert.equal(bundle().script, script);
  assert.doesNotMatch(script, /\drpx\b/);
});
