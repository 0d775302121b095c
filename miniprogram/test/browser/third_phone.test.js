/**
 * The demo's page with its third phone, without the program behind it: what the demo would tell and answer comes from
 * here, so that the page's own part can be seen by itself. The whole of it is played in `two_phones.test.js`.
 */

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { after, test } = require('node:test');
const { bundle } = require('../../tools/bundle');
const { FakeServer } = require('../fake_server');
const { crampedTexts, faintTexts } = require('./looks');
const { DEADLINE_MS, Phones, browser, complaints } = require('./stage');

/** @typedef {import('puppeteer-core').Page} Page */

const PAGE = path.join(__dirname, '..', '..', '..', 'src', 'demo', 'page');
const CARD = 'pages/bind-account/bind-account.html?ticket=TICKET';
const ID = 'wm小李';

after(async () => (await browser()).close());

/** A demo that the test plays. */
class Stub {
  constructor() {
    this.server = new FakeServer();
    this.server.window = true;
    this.server.customers.set(ID, { nickname: '小李', binding: null });
    /** What the page asked the demo for. @type {Array<{ control: string, body: any }>} */
    this.asked = [];
    /** @type {http.ServerResponse[]} */
    this.streams = [];
    /** @type {object[]} */
    this.told = [];
    this.tell({ type: 'stage', customers: ['小李', '小王'], account: { id: 'wk1', name: '在线客服' } });
    const { script, html } = bundle();
    this.phone = { '/phone/page.html': html, '/phone/page.js': script };
    this.web = http.createServer((request, response) => void this.answer(request, response));
  }

  /** @param {{ type: string, [field: string]: any }} event */
  tell(event) {
    const told = { n: this.told.length + 1, at_ms: Date.now(), ...event };
    this.told.push(told);
    for (const stream of this.streams) stream.write(`data: ${JSON.stringify(told)}\n\n`);
  }

  /** The chat of 小李 shows that. @param {string} text @param {any[]} [menu] */
  hear(text, menu = []) {
    this.tell({ type: 'heard', customer: '小李', account: 'wk1', msgid: `m${this.told.length}`, msgtype: 'msgmenu', text, menu });
  }

  /** @param {http.IncomingMessage} request @param {http.ServerResponse} response */
  async answer(request, response) {
    const { pathname } = new URL(String(request.url), 'http://demo');
    let text = '';
    for await (const chunk of request) text += chunk;
    if (pathname === '/demo/events') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      for (const told of this.told) response.write(`data: ${JSON.stringify(told)}\n\n`);
      this.streams.push(response);
    } else if (pathname.startsWith('/demo/')) {
      const answered = this.control(pathname.slice('/demo/'.length), JSON.parse(text));
      response.writeHead(answered === null ? 204 : 200, { 'Content-Type': 'application/json' });
      response.end(answered === null ? undefined : JSON.stringify(answered));
    } else if (pathname.startsWith('/api/')) {
      const url = `http://demo${request.url}`;
      const answered = await this.server.answer(String(request.method), url, /** @type {any} */ (request.headers), text);
      if (answered === 'offline') throw new Error('the demo is never offline');
      response.writeHead(answered.status, { 'Content-Type': 'application/json' });
      response.end(answered.body === undefined ? undefined : JSON.stringify(answered.body));
    } else {
      const file = pathname === '/' ? 'index.html' : pathname.slice(1);
      const ending = path.extname(file);
      const kinds = /** @type {Record<string, string>} */ ({ '.js': 'text/javascript', '.css': 'text/css', '.html': 'text/html; charset=utf-8' });
      response.writeHead(200, { 'Content-Type': kinds[ending] });
      response.end(/** @type {Record<string, string>} */ (this.phone)[pathname] ?? fs.readFileSync(path.join(PAGE, file)));
    }
  }

  /** @param {string} control @param {any} body */
  control(control, body) {
    this.asked.push({ control, body });
    if (control === 'login' || control === 'staff-login') return { code: 'code' };
    if (control === 'staff-customer') return { external_userid: `wm${body.customer}` };
    if (control !== 'staff-card') return null;
    this.tell({ type: 'said', customer: body.customer, account: 'wk1', msgid: 'card', origin: 5, text: null, event: null });
    this.hear(body.title, [{ type: 'miniprogram', appid: 'wx1', pagepath: body.page, content: body.title, opens: true }]);
    return null;
  }

  /** @param {string} name @returns {any[]} what was asked of that control */
  of(name) {
    return this.asked.filter(({ control }) => control === name).map(({ body }) => body);
  }
}

/**
 * @param {string} name @param {(phones: Phones, stub: Stub) => Promise<void>} play
 * @param {{ width?: number, theme?: 'light' | 'dark' }} [options]
 */
function staged(name, play, { width = 1366, theme = 'light' } = {}) {
  test(name, async () => {
    const stub = new Stub();
    await new Promise((resolve) => stub.web.listen(0, '127.0.0.1', () => resolve(undefined)));
    const address = /** @type {import('node:net').AddressInfo} */ (stub.web.address());
    const page = await (await browser()).newPage();
    const heard = complaints(page);
    try {
      await page.setViewport({ width, height: 1000 });
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: theme }, { name: 'prefers-reduced-motion', value: 'reduce' }]);
      await page.goto(`http://127.0.0.1:${address.port}/`);
      const phones = new Phones(page, { url: '', stop: async () => {} });
      await phones.sees('获取绑定码');
      await play(phones, stub);
      assert.deepEqual(heard, []);
    } finally {
      await page.close();
      stub.web.closeAllConnections();
      stub.web.close();
    }
  });
}

/** @param {() => boolean} condition */
async function until(condition) {
  const deadline = Date.now() + DEADLINE_MS;
  while (!condition()) {
    assert.ok(Date.now() < deadline, String(condition));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The mini program of the employee. @param {Phones} phones */
async function work(phones) {
  const frame = await (await phones.shown('.staff:not([hidden]) iframe')).contentFrame();
  assert.ok(frame);
  return frame;
}

/** @param {Phones} phones @param {string} text */
async function workSees(phones, text) {
  await (await work(phones)).waitForFunction((/** @type {string} */ wanted) => document.body.innerText.includes(wanted), {}, text);
}

/** @param {Phones} phones @param {string} text on a button of the employee's mini program */
async function workTaps(phones, text) {
  const button = await (await work(phones)).waitForSelector(`::-p-xpath(//button[normalize-space(.)="${text}"])`);
  await button?.click();
}

/** @param {Phones} phones @param {string} text on a button of the chat */
async function chatTaps(phones, text) {
  await (await phones.shown(`::-p-xpath(//ol//button[normalize-space(.)="${text}"])`)).click();
}

staged('the third phone comes by a button, shows whose chat it is, and stays over a reload', async (phones) => {
  assert.equal(await phones.page.$('.panel:not([hidden]) .staff:not([hidden])'), null);
  await phones.page.click('#staff');
  assert.equal(await phones.page.$eval('#staff', (button) => button.getAttribute('aria-pressed')), 'true');
  await workSees(phones, '小李');
  await workSees(phones, '未绑定');
  await phones.page.reload();
  await workSees(phones, '小李');
  await phones.page.click('#staff');
  await phones.page.waitForFunction(() => document.querySelector('.panel:not([hidden]) .staff:not([hidden])') === null);
});

staged('a card goes from the third phone into the chat, and from there to the question, and binds', async (phones, stub) => {
  await phones.page.click('#staff');
  await workTaps(phones, '发送卡片到会话');
  await workSees(phones, '卡片已发送');
  assert.deepEqual(stub.of('staff-card'), [{ customer: '小李', page: CARD, title: '点开这里，绑定您的账号' }]);
  await phones.reads('#rows .row-said .from', '客服人员');
  assert.equal(await phones.page.$$eval('.mine', (all) => all.length), 0, 'the customer has said nothing');
  assert.equal((await phones.sums())[0], '0');
  stub.server.card('小李');
  await chatTaps(phones, '点开这里，绑定您的账号');
  await phones.sees('绑定这个客服会话？');
  await phones.tap('绑定');
  await phones.sees('绑定成功');
  stub.server.customers.set(ID, { nickname: '小李', binding: { ...stub.server.binding, label: null } });
  await workTaps(phones, '刷新');
  await workSees(phones, '小程序卡片');
});

staged('a card whose page WeChat can not find opens nothing, and says why', async (phones, stub) => {
  stub.hear('打开', [{ type: 'miniprogram', appid: 'wx1', pagepath: 'pages/bind-account/bind-account?ticket=T', content: '打开', opens: false }]);
  await chatTaps(phones, '打开');
  await phones.page.waitForFunction(() => document.body.innerText.includes('路径要以 .html 结尾'));
  await phones.sees('获取绑定码');
});

staged('a code that is read out is typed into the third phone, and binds', async (phones, stub) => {
  await phones.page.click('#staff');
  await workSees(phones, '未绑定');
  const field = await (await work(phones)).waitForSelector('input');
  await field?.type('715064');
  await workTaps(phones, '绑定');
  await workSees(phones, '绑定这位客户？');
  await (await work(phones)).click('.client-modal button:last-child');
  await workSees(phones, '绑定成功');
  assert.deepEqual(stub.server.requests.at(-1)?.body, { external_userid: ID, code: '715064' });
});

staged('the third phone belongs to the chat that is looked at', async (phones, stub) => {
  stub.server.customers.set('wm小王', { nickname: '小王', binding: null });
  await phones.page.click('#staff');
  await workSees(phones, '小李');
  await phones.choose('小王');
  await workSees(phones, '小王');
  assert.deepEqual(stub.of('staff-customer').at(-1), { customer: '小王' });
});

staged('the chat opens by the link to the letter, a question leaves it in front, an answer brings the mini program back', async (phones, stub) => {
  await phones.getCode();
  await phones.tap('打开客服会话');
  await phones.shown('.veil:not([hidden])');
  await until(() => stub.of('open').length > 0);
  assert.deepEqual(stub.of('open'), [{ customer: '小李', url: stub.server.pending.kf.url }]);
  stub.hear('要绑定吗？\n确认\n取消', [
    { type: 'click', id: 'yes', content: '确认' },
    { type: 'click', id: 'no', content: '取消' },
  ]);
  await chatTaps(phones, '确认');
  await until(() => stub.of('tap').length > 0);
  assert.deepEqual(stub.of('tap'), [{ customer: '小李', menu_id: 'yes' }]);
  await phones.shown('.veil:not([hidden])');
  stub.hear('绑定成功');
  await phones.page.waitForFunction(() => document.querySelector('.panel:not([hidden]) .veil:not([hidden])') === null);
});

for (const width of [360, 768, 1024, 1366, 1600]) {
  for (const theme of /** @type {const} */ (['light', 'dark'])) {
    staged(
      `three phones on ${width} px, ${theme}: nothing is cut, overlaps or faint`,
      async (phones, stub) => {
        await phones.page.click('#staff');
        await workSees(phones, '未绑定');
        stub.hear('绑定您的账号\n点开小程序', [{ type: 'miniprogram', appid: 'wx1', pagepath: CARD, content: '点开小程序', opens: true }]);
        await phones.shown('::-p-xpath(//ol//button[normalize-space(.)="点开小程序"])');
        assert.deepEqual(await phones.page.evaluate(crampedTexts), []);
        assert.deepEqual(await phones.page.evaluate(faintTexts, 4.5), []);
        const widths = await phones.page.$$eval('.panel:not([hidden]) .phone', (all) => all.map((phone) => phone.getBoundingClientRect().width));
        assert.equal(widths.length, 3);
        for (const one of widths) assert.ok(one >= Math.min(336, width - 24), `${one} px`);
        await phones.picture(`three-phones-${width}-${theme}`);
      },
      { width, theme },
    );
  }
}
