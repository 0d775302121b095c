/** Every state of the real page in Chromium, in both themes and all widths: readable, uncut, and steady while it counts. */

const assert = require('node:assert/strict');
const { after, test } = require('node:test');
const { LARGE, STATES, WIDTHS, openState, see, tap } = require('../../tools/states');
const { crampedTexts, faintTexts, smallTargets } = require('./looks');
const { browser, complaints, picture } = require('./stage');

/** @typedef {import('puppeteer-core').Page} Page */

const CONTRAST_MIN = 4.5;
const TARGET_MIN_PX = 44;
/** Server and clipboard fail on purpose in some states, and the page notes it for its developer. */
const ON_PURPOSE = /Failed to load resource|kfbind: (request|login|setClipboardData|openCustomerServiceChat|redirectTo|qy\.\w+)/;

after(async () => (await browser()).close());

/** @param {string} name */
function stateOf(name) {
  const state = STATES.find((one) => one.name === name);
  assert.ok(state, name);
  return state;
}

/**
 * @param {string} name @param {(page: Page, server: import('../fake_server').FakeServer) => Promise<void>} look
 * @param {{ state: string, theme?: 'light' | 'dark' }} options
 */
function shown(name, look, { state, theme = 'light' }) {
  test(name, async () => {
    /** @type {string[]} */
    let heard = [];
    const prepare = (/** @type {Page} */ page) => {
      heard = complaints(page, ON_PURPOSE);
    };
    const opened = await openState(await browser(), stateOf(state), { width: 375, theme, fontSize: undefined }, { prepare });
    try {
      await look(opened.page, opened.server);
      assert.deepEqual(heard, []);
    } finally {
      await opened.close();
    }
  });
}

for (const { name, sees } of STATES) {
  for (const theme of /** @type {const} */ (['light', 'dark'])) {
    shown(
      `${name}, ${theme}: every text can be read`,
      async (page) => {
        assert.deepEqual(await page.evaluate(faintTexts, CONTRAST_MIN), []);
        await picture(page, `state-${name}-${theme}`);
      },
      { state: name, theme },
    );
  }
  shown(
    `${name}: nothing is cut or overlaps, from 320 to 430 px and in large text`,
    async (page) => {
      assert.deepEqual(await page.evaluate(smallTargets, TARGET_MIN_PX), []);
      for (const size of ['', LARGE]) {
        await page.evaluate((/** @type {string} */ fontSize) => void (document.documentElement.style.fontSize = fontSize), size);
        for (const width of WIDTHS) {
          await page.setViewport({ width, height: 812 });
          assert.deepEqual(await page.evaluate(crampedTexts), [], `${width} px, ${size || 'usual'} text`);
        }
      }
      await see(page, sees);
    },
    { state: name },
  );
}

shown(
  'a countdown moves nothing',
  async (page) => {
    const places = () =>
      page.evaluate(() =>
        [...document.querySelectorAll('page *')].map((node) => {
          const { x, y, width, height } = node.getBoundingClientRect();
          // Its own width may change: 10:00 is longer than 9:59, and nothing stands beside it on that side.
          return [node.className, x, y, node.matches('.left') ? '' : width, height].join(' ');
        }),
      );
    const left = () => page.$eval('.left', (node) => String(node.textContent));
    const seen = new Set();
    const first = await places();
    while (seen.size < 3) {
      seen.add(await left());
      assert.deepEqual(await places(), first, [...seen].join(' '));
      await page.waitForFunction((/** @type {string} */ before) => document.querySelector('.left')?.textContent !== before, {}, await left());
    }
    assert.equal(await page.$eval('.left', (node) => window.getComputedStyle(node).fontVariantNumeric), 'tabular-nums');
  },
  { state: 'code' },
);

shown(
  'the code expires under the eyes of the user, into a page with a next step',
  async (page, server) => {
    server.set({ pending: server.code('482913', 2) });
    await see(page, '0:0');
    await see(page, '绑定码已过期');
    await picture(page, 'expired-by-itself');
    await tap(page, '重新获取绑定码');
    await see(page, '482 913');
    await tap(page, '复制绑定码');
    await see(page, '已复制');
  },
  { state: 'unbound' },
);

shown(
  'screen readers get a name for everything one can tap, and hear what changes',
  async (page) => {
    const tree = await page.accessibility.snapshot();
    /** @param {any} node @returns {any[]} */
    const flat = (node) => [node, ...(node.children ?? []).flatMap(flat)];
    const buttons = flat(tree).filter(({ role }) => role === 'button').map(({ name }) => name);
    assert.deepEqual(buttons, ['绑定码 4 8 2 9 1 3，点按复制', '换一个', '复制绑定码', '打开客服会话', '复制客服链接']);
    assert.deepEqual(
      await page.$$eval('[aria-live]', (all) => all.map((node) => node.className.trim())),
      ['status-text'],
    );
    assert.match(await page.$eval('.left', (node) => String(node.getAttribute('aria-label'))), /^剩余 \d+ 分 \d+ 秒$/);
    assert.equal(await page.$eval('.link', (node) => node.getAttribute('aria-label')), '客服链接');
    assert.deepEqual(await page.$$eval('.step', (all) => all.map((node) => node.getAttribute('role'))), ['text', 'text', 'text']);
  },
  { state: 'chat-failed' },
);

for (const width of [320, 375]) {
  shown(
    `what the status line says moves nothing below it on ${width} px`,
    async (page, server) => {
      await page.setViewport({ width, height: 812 });
      const place = () => page.$eval('.steps-title', (node) => node.getBoundingClientRect().y);
      const first = await place();
      for (const [button, said] of [
        ['复制绑定码', '已复制。'],
        ['打开客服会话', '正在等待'],
      ]) {
        await tap(page, button);
        await see(page, said);
        assert.equal(await place(), first, said);
      }
      server.outage = 'offline';
      await page.evaluate(() => window.kfbindPage.network(false));
      await see(page, '网络连接不上');
      assert.equal(await place(), first, 'offline');
    },
    { state: 'code' },
  );
}

/** What screen readers call the things that one can tap or type into. @param {Page} page @returns {Promise<string[]>} */
async function named(page) {
  const tree = await page.accessibility.snapshot();
  /** @param {any} node @returns {any[]} */
  const flat = (node) => [node, ...(node.children ?? []).flatMap(flat)];
  return flat(tree).filter(({ role }) => role === 'button' || role === 'textbox').map(({ name }) => name);
}

shown(
  'a card’s question can be read and answered without eyes',
  async (page) => {
    assert.deepEqual(await named(page), ['绑定', '不绑定']);
    assert.equal(await page.$eval('.hero', (node) => node.getAttribute('aria-live')), 'polite');
  },
  { state: 'card' },
);

shown(
  'the yes and the no of a card are both on the first screen of a small phone',
  async (page) => {
    await page.setViewport({ width: 375, height: 667 });
    const bottoms = await page.$$eval('.btn', (all) => all.map((button) => button.getBoundingClientRect().bottom));
    assert.equal(bottoms.length, 2);
    for (const bottom of bottoms) assert.ok(bottom <= 667, `${bottom} px`);
  },
  { state: 'card' },
);

shown(
  'employees reach everything by key, and a field has a name and shows what it holds',
  async (page) => {
    assert.deepEqual(await named(page), ['刷新', '发送卡片到会话', '绑定码', '绑定']);
    await page.focus('input');
    await page.keyboard.type('482913');
    assert.equal(await page.$eval('input', (field) => field.value), '482913');
    await page.waitForSelector('.form .btn:not([disabled])');
    assert.equal(await page.$eval('input', (node) => window.getComputedStyle(node).borderTopWidth), '0px');
    const ground = await page.$eval('input', (node) => window.getComputedStyle(node).backgroundColor);
    assert.notEqual(ground, await page.$eval('.form', (node) => window.getComputedStyle(node).backgroundColor), 'it is seen');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await see(page, '绑定这位客户？');
  },
  { state: 'staff-unbound' },
);

shown(
  'the last line of a long page can be scrolled to',
  async (page) => {
    await page.setViewport({ width: 320, height: 568 });
    const [bottom, room] = await page.evaluate(() => {
      const scrolled = /** @type {Element} */ (document.querySelector('page'));
      scrolled.scrollTop = scrolled.scrollHeight;
      const last = /** @type {Element} */ ([...document.querySelectorAll('page .small')].at(-1));
      return [last.getBoundingClientRect().bottom, window.innerHeight];
    });
    assert.ok(bottom <= room, `it ends at ${bottom} of ${room} px`);
  },
  { state: 'unsupported' },
);

shown(
  'buttons are as wide as what they stand in, whatever WeChat gives to buttons',
  async (page) => {
    const widths = await page.$$eval('.btn', (all) =>
      all.map((button) => {
        const around = /** @type {Element} */ (button.parentElement);
        const { paddingLeft, paddingRight } = window.getComputedStyle(around);
        const room = around.clientWidth - Number.parseFloat(paddingLeft) - Number.parseFloat(paddingRight);
        return [String(button.textContent), button.getBoundingClientRect().width, room];
      }),
    );
    assert.ok(widths.length > 1);
    for (const [button, width, room] of widths) assert.equal(width, room, String(button));
  },
  { state: 'unsupported' },
);

shown(
  'a finger on a button is seen',
  async (page) => {
    for (const selector of ['.btn-strong', '.btn:not(.btn-strong)', '.plain', '.code']) {
      const looks = () => page.$eval(selector, (node) => [window.getComputedStyle(node).backgroundColor, window.getComputedStyle(node).opacity]);
      const resting = await looks();
      await page.$eval(selector, (node) => node.dispatchEvent(new window.PointerEvent('pointerdown', { bubbles: true })));
      assert.notDeepEqual(await looks(), resting, selector);
      await page.$eval(selector, (node) => node.dispatchEvent(new window.PointerEvent('pointerup', { bubbles: true })));
      assert.deepEqual(await looks(), resting, selector);
    }
  },
  { state: 'code' },
);

shown(
  'nothing turns for those who want no motion',
  async (page) => {
    const motion = () => page.$eval('.spinner', (node) => window.getComputedStyle(node).animationName);
    assert.equal(await motion(), 'none');
    await page.emulateMediaFeatures([{ name: 'prefers-reduced-motion', value: 'no-preference' }]);
    assert.equal(await motion(), 'turn');
  },
  { state: 'starting' },
);

shown(
  'what is held can be selected by a long press',
  async (page) => {
    for (const selector of ['.code-text', '.link']) {
      assert.equal(await page.$eval(selector, (node) => window.getComputedStyle(node).userSelect), 'text', selector);
    }
    assert.equal(await page.$eval('.label', (node) => window.getComputedStyle(node).userSelect), 'none');
  },
  { state: 'chat-failed' },
);
