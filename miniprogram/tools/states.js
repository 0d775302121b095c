/**
 * Every state of the pages in headless Chromium: for the pictures and for the tests. The pages are the real ones, the
 * server and the phone stand-ins. The ways to the states are in `states/`.
 */

const http = require('node:http');
const puppeteer = require('puppeteer-core');
const { FakeServer } = require('../test/fake_server');
const { bundle } = require('./bundle');
const { CARD } = require('./states/card');
const { see, tap } = require('./states/play');
const { STAFF } = require('./states/staff');
const { USERS } = require('./states/users');

/** @typedef {import('puppeteer-core').Page} Page */
/** @typedef {import('puppeteer-core').Browser} Browser */
/** @typedef {{ width: number, theme: string, fontSize: string | undefined }} Variant */
/** @typedef {import('./states/play').State} State */

const WIDTHS = [320, 375, 430];
const HEIGHT = 812;
const LARGE = '23px';
/** The states with much to say in little room: in every width, and in large text on the narrowest. */
const ALL_WIDTHS = [
  'unbound',
  'code',
  'longer-digits',
  'long-code',
  'busy',
  'code-offline',
  'unsupported',
  'bound',
  'offline',
  'waiting',
  'card',
  'card-unnamed',
  'card-long-name',
  'card-other-person',
  'staff-unbound',
  'staff-bound',
  'staff-question',
  'staff-other-person',
  'staff-outside',
];

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

/** @type {State[]} */
const STATES = [...USERS, ...CARD, ...STAFF];

/** The functions of the host that the page finds, made inside the browser. @param {any} wants */
function hostOf(wants) {
  window.kfbindHost = {
    fontSize: wants.fontSize,
    canOpenChat: wants.canOpenChat,
    page: wants.page,
    query: wants.query,
    wecom: wants.wecom && {
      loginCode: () => 'qy-code',
      entry: () => {
        if (wants.wecom.old) throw new Error('function not exist');
        return wants.wecom.entry ?? 'single_kf_tools';
      },
      customer: () => window.kfbindOpenChat ?? 'wmXiaoLin',
      send: () => {
        if (wants.wecom.sendFails) throw new Error('send failed');
      },
    },
    redirect: () => {
      if (wants.redirectFails) throw new Error('timeout');
    },
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
