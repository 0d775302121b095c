/**
 * What the tests of the operators' page stand on. The page always comes from the real program, with the headers that it
 * sends; its questions go to the same program, or are answered by a fake where a situation takes days to come about.
 */

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { browser, complaints, picture, startDemo, DEADLINE_MS } = require('./stage');

/** @typedef {import('puppeteer-core').Page} Page */
/** @typedef {import('puppeteer-core').HTTPRequest} HTTPRequest */
/** @typedef {import('./stage').Demo} Demo */
/** @typedef {import('./fake_service').FakeService} FakeService */

/** The demo's; it is printed where the demo is started. */
const DEMO_KEY = 'demo-admin-key-no-secret';

/** @type {Promise<Demo> | undefined} */
let shared;

/** For pages whose questions a fake answers: all from one program. */
function files() {
  shared ??= startDemo();
  return shared;
}

async function endFiles() {
  if (shared !== undefined) await (await shared).stop();
}

/** The page, as its reader sees it. */
class Operator {
  /** @param {Page} page @param {string} url of the service, with its last slash @param {string} key */
  constructor(page, url, key) {
    this.page = page;
    this.url = url;
    this.key = key;
    page.setDefaultTimeout(DEADLINE_MS);
  }

  async visit() {
    await this.page.goto(`${this.url}admin`);
    await this.page.waitForSelector('#door:not([hidden]) #key, #console:not([hidden])');
  }

  /** @param {string} [key] */
  async logIn(key = this.key) {
    await this.page.type('#key', key);
    await this.page.keyboard.press('Enter');
  }

  async enter() {
    await this.visit();
    await this.logIn();
    await this.reads('#fresh-text', /更新/);
  }

  /** Waits until it says that. @param {string} selector @param {string | RegExp} text */
  async reads(selector, text) {
    const [source, flags] = text instanceof RegExp ? [text.source, text.flags] : [text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), ''];
    try {
      await this.page.waitForFunction(
        (/** @type {string[]} */ [where, pattern, how]) => new RegExp(pattern, how).test(document.querySelector(where)?.textContent ?? ''),
        {},
        [selector, source, flags],
      );
    } catch (error) {
      throw new Error(`${selector} says ${JSON.stringify(await this.text(selector))}, not ${text}`, { cause: error });
    }
  }

  /** @param {string} selector */
  text(selector) {
    return this.page.$eval(selector, (node) => node.textContent ?? '').catch(() => null);
  }

  /** @param {string} selector @returns {Promise<string[]>} */
  texts(selector) {
    return this.page.$$eval(selector, (nodes) => nodes.map((node) => node.textContent ?? ''));
  }

  /** @param {string} text */
  async find(text) {
    await this.page.$eval('#query', (input) => {
      /** @type {any} */ (input).value = '';
    });
    await this.page.type('#query', text);
    await this.page.keyboard.press('Enter');
  }

  /** Presses a button with this text, inside of something. @param {string} within @param {string} text */
  async press(within, text) {
    const found = await this.page.waitForSelector(`::-p-xpath(//*[@id="${within}"]//button[normalize-space(.)="${text}"])`);
    // Not under the head, which stays where it is.
    await found?.evaluate((button) => button.scrollIntoView({ block: 'center' }));
    await found?.click();
  }

  /** @param {'light' | 'dark'} theme */
  async theme(theme) {
    await this.page.emulateMediaFeatures([
      { name: 'prefers-color-scheme', value: theme },
      { name: 'prefers-reduced-motion', value: 'reduce' },
    ]);
  }

  toTop() {
    return this.page.evaluate(() => window.scrollTo(0, 0));
  }

  /** @param {string} name */
  async picture(name) {
    await this.toTop();
    await picture(this.page, name, true);
  }
}

/** Lets the fake answer what the page asks for; what it shows still comes from the program. @param {HTTPRequest} request @param {FakeService | undefined} fake */
async function answered(request, fake) {
  const url = new URL(request.url());
  if (fake === undefined || url.protocol === 'data:' || url.pathname === '/admin' || url.pathname.startsWith('/admin/')) {
    await request.continue();
    return;
  }
  const answer = fake.answer(request.method(), url, request.headers());
  if (answer === 'gone') {
    await request.abort('connectionrefused');
    return;
  }
  const body = answer.text ?? (answer.body === undefined ? '' : JSON.stringify(answer.body));
  await request.respond({ status: answer.status, contentType: answer.text === undefined ? 'application/json' : 'text/plain', body });
}

/**
 * A test with a page of its own, which must neither complain nor ask anybody else.
 * @param {string} name
 * @param {(operator: Operator, demo: Demo) => Promise<void>} play
 * @param {{ fake?: () => FakeService, but?: RegExp, width?: number, height?: number }} [options] without a fake the page
 * asks a demo of its own; `but`: complaints that belong to it
 */
function operated(name, play, { fake, but, width = 1366, height = 900 } = {}) {
  test(name, async () => {
    const demo = fake === undefined ? await startDemo() : await files();
    const context = await (await browser()).createBrowserContext();
    const service = fake?.();
    try {
      const page = await context.newPage();
      await page.setViewport({ width, height });
      const heard = complaints(page, but);
      /** @type {string[]} */
      const foreign = [];
      await page.setRequestInterception(true);
      page.on('request', (request) => {
        const { protocol, origin } = new URL(request.url());
        if (protocol !== 'data:' && `${origin}/` !== demo.url) foreign.push(request.url());
        // A page that is gone needs no answer.
        answered(request, service).catch(() => {});
      });
      const operator = new Operator(page, demo.url, service?.key ?? DEMO_KEY);
      try {
        await play(operator, demo);
      } catch (error) {
        await operator.picture(`failed-${name.replace(/\W+/g, '-')}`);
        throw error;
      }
      assert.deepEqual(heard, []);
      assert.deepEqual(foreign, []);
    } finally {
      await context.close();
      if (fake === undefined) await demo.stop();
    }
  });
}

module.exports = { Operator, answered, endFiles, operated };
