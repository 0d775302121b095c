/**
 * Every state of the page and the way to it, in headless Chromium: for the pictures and for the tests. The page is the
 * real one, the server a stand-in.
 */

const http = require('node:http');
const puppeteer = require('puppeteer-core');
const { FakeServer } = require('../test/fake_server');
const { bundle } = require('./bundle');

/** @typedef {import('puppeteer-core').Page} Page */
/** @typedef {import('puppeteer-core').Browser} Browser */
/** @typedef {{ width: number, theme: string, fontSize: string | undefined }} Variant */
/** @typedef {{ name: string, host?: object, before?: (server: FakeServer) => void, play?: (page: Page, server: FakeServer) => Promise<void>, sees: string }} State */

const WIDTHS = [320, 375, 430];
const HEIGHT = 812;
const LARGE = '23px';
/** The states with much to say in little room: in every width, and in large text on the narrowest. */
const ALL_WIDTHS = ['unbound', 'code', 'longer-digits', 'long-code', 'busy', 'code-offline', 'unsupported', 'bound', 'offline'];

/** @param {FakeServer} server @returns {Promise<any>} */
function serve(server) {
  const { script, html } = bundle();
  const web = http.createServer(async (request, response) => {
    const url = `http://${request.headers.host}${request.url}`;
    if (!String(request.url).startsWith('/api/')) {
      const isScript = String(request.url).startsWith('/page.js');
      response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html; charset=utf-8');
      response.end(isScript ? script : html);
      return;
    }
    let text = '';
    for await (const chunk of request) text += chunk;
    const answer = await server.answer(String(request.method), url, /** @type {any} */ (request.headers), text);
    if (answer === 'offline') {
      request.socket.destroy();
      return;
    }
    response.writeHead(answer.status, { 'Content-Type': 'application/json', ...answer.headers });
    response.end(answer.body === undefined ? undefined : JSON.stringify(answer.body));
  });
  return new Promise((resolve) => web.listen(0, '127.0.0.1', () => resolve(web)));
}

/** @param {Page} page @param {string} text on a button */
async function tap(page, text) {
  const button = await page.waitForSelector(`::-p-xpath(//button[contains(., "${text}")])`);
  await button?.click();
}

/** @param {Page} page @param {string} text anywhere */
async function see(page, text) {
  await page.waitForFunction((/** @type {string} */ wanted) => document.body.innerText.includes(wanted), {}, text);
}

/** A fault is for the next call, whichever it is: it must not be the poll's. @param {FakeServer} server */
async function polled(server) {
  const deadline = Date.now() + 10_000;
  while (server.waits.length === 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
}

/**
 * How to get to each state, and what is seen there.
 * @type {State[]}
 */
const STATES = [
  {
    name: 'starting',
    host: { silentLogin: true },
    sees: '正在登录',
  },
  { name: 'unbound', sees: '获取绑定码' },
  {
    name: 'code',
    play: (page) => tap(page, '获取绑定码'),
    sees: '482 913',
  },
  {
    name: 'copied',
    play: async (page) => {
      await tap(page, '获取绑定码');
      await tap(page, '复制绑定码');
      await page.waitForFunction(() => document.querySelector('.client-toast') === null);
    },
    sees: '已复制',
  },
  {
    name: 'waiting',
    play: async (page) => {
      await tap(page, '获取绑定码');
      await tap(page, '复制绑定码');
      await tap(page, '打开客服会话');
      await page.waitForFunction(() => document.querySelector('.client-toast') === null);
    },
    sees: '正在等待',
  },
  {
    name: 'ending',
    before: (server) => server.set({ pending: server.code('482913', 47) }),
    sees: '0:4',
  },
  {
    name: 'long-code',
    before: (server) => server.set({ pending: server.code('apple-blue-cat', 500) }),
    sees: 'apple',
  },
  {
    name: 'longer-digits',
    before: (server) => server.set({ pending: { ...server.code('4829130'), display: '4829 130' } }),
    sees: '4829 130',
  },
  {
    name: 'copy-refused',
    host: { copyRefused: true },
    play: async (page) => {
      await tap(page, '获取绑定码');
      await tap(page, '复制绑定码');
    },
    sees: '没能自动复制',
  },
  {
    name: 'busy',
    play: async (page, server) => {
      await tap(page, '获取绑定码');
      await see(page, '482 913');
      await polled(server);
      server.faults.push({ status: 429, body: { code: 'too-many-requests' }, headers: { 'Retry-After': '42' } });
      await tap(page, '换一个');
    },
    sees: '操作太频繁',
  },
  {
    name: 'unsupported',
    host: { canOpenChat: false },
    play: (page) => tap(page, '获取绑定码'),
    sees: '客服链接',
  },
  {
    name: 'chat-failed',
    host: { chatFails: true },
    play: async (page) => {
      await tap(page, '获取绑定码');
      await tap(page, '打开客服会话');
    },
    sees: '没能打开',
  },
  {
    name: 'code-offline',
    play: async (page, server) => {
      await tap(page, '获取绑定码');
      await see(page, '482 913');
      server.outage = 'offline';
      await page.evaluate(() => window.kfbindPage.network(false));
    },
    sees: '网络连接不上',
  },
  {
    name: 'expired',
    before: (server) => server.set({ pending: server.code('482913', 1) }),
    sees: '已过期',
  },
  {
    name: 'bound-now',
    play: async (page, server) => {
      await tap(page, '获取绑定码');
      await see(page, '482 913');
      server.bind();
    },
    sees: '绑定成功',
  },
  { name: 'bound', before: (server) => server.bind(), sees: '已绑定' },
  {
    name: 'unbind-question',
    before: (server) => server.bind(),
    play: (page) => tap(page, '解除绑定'),
    sees: '暂不解除',
  },
  {
    name: 'undone',
    before: (server) => server.bind(),
    play: async (page, server) => {
      await see(page, '已绑定');
      server.set({});
    },
    sees: '绑定已被解除',
  },
  { name: 'offline', before: (server) => void (server.outage = 'offline'), sees: '网络连接不上' },
  {
    name: 'server-down',
    before: (server) => void (server.outage = { status: 503, body: { code: 'unavailable' } }),
    sees: '服务暂时',
  },
  {
    name: 'refused',
    before: (server) => void (server.outage = { status: 403, body: { code: 'login-refused' } }),
    sees: '微信拒绝',
  },
  {
    name: 'too-fast',
    before: (server) => void (server.outage = { status: 429, body: {}, headers: { 'Retry-After': '30' } }),
    sees: '操作太频繁',
  },
  {
    name: 'no-kf',
    play: async (page, server) => {
      await see(page, '获取绑定码');
      await polled(server);
      server.faults.push({ status: 503, body: { code: 'wecom-unavailable' } });
      await tap(page, '获取绑定码');
    },
    sees: '客服系统暂时连不上',
  },
];

/** The functions of the host that the page finds, made inside the browser. @param {any} wants */
function hostOf(wants) {
  window.kfbindHost = {
    fontSize: wants.fontSize,
    canOpenChat: wants.canOpenChat,
    loginCode: () => (wants.silentLogin ? new Promise(() => {}) : Promise.resolve('login-code')),
    copied: () => {
      if (wants.copyRefused) throw new Error('api scope is not declared in the privacy agreement');
    },
    openChat: () => {
      if (wants.chatFails) throw new Error('not bind');
    },
  };
}

/** @param {string} [file] @returns {Promise<Browser>} */
function launch(file = process.env.KFBIND_CHROMIUM ?? '/usr/bin/chromium') {
  return puppeteer.launch({ executablePath: file, args: ['--no-sandbox', '--force-color-profile=srgb'] });
}

/**
 * A page in that state, and how to end it.
 * @param {Browser} browser @param {State} state @param {Variant} variant
 * @param {{ scale?: number, prepare?: (page: Page) => void }} [options]
 */
async function openState(browser, state, { width, theme, fontSize }, { scale = 1, prepare } = {}) {
  const server = new FakeServer();
  state.before?.(server);
  const web = await serve(server);
  const page = await browser.newPage();
  const close = async () => {
    await page.close();
    web.closeAllConnections();
    web.close();
  };
  try {
    prepare?.(page);
    await page.setViewport({ width, height: HEIGHT, deviceScaleFactor: scale });
    await page.emulateMediaFeatures([
      { name: 'prefers-color-scheme', value: theme },
      { name: 'prefers-reduced-motion', value: 'reduce' },
    ]);
    await page.evaluateOnNewDocument(hostOf, { ...state.host, fontSize });
    await page.goto(`http://127.0.0.1:${web.address().port}/page.html`);
    await state.play?.(page, server);
    await see(page, state.sees);
  } catch (error) {
    await close();
    throw error;
  }
  return { page, server, close };
}

/** @param {string} name of a state @returns {Variant[]} */
function variants(name) {
  const all = [];
  for (const width of WIDTHS) {
    for (const theme of ['light', 'dark']) all.push({ width, theme, fontSize: undefined });
  }
  if (!ALL_WIDTHS.includes(name)) return all.filter(({ width }) => width === 375);
  return [...all, { width: 320, theme: 'light', fontSize: LARGE }];
}

module.exports = { HEIGHT, STATES, WIDTHS, LARGE, launch, openState, see, tap, variants };
