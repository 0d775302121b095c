/**
 * What the browser tests stand on: the real program's demo, Chromium, and a page that must not complain. Pictures go to
 * `target/screenshots`, or where `KFBIND_SCREENSHOTS` says.
 */

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { launch } = require('../../tools/states');

/** @typedef {import('puppeteer-core').Page} Page */
/** @typedef {import('puppeteer-core').Browser} Browser */

const ROOT = path.join(__dirname, '..', '..', '..');
const PROGRAM = path.resolve(process.env.KFBIND_BIN ?? path.join(ROOT, 'target', 'debug', 'kfbind'));
const SCREENSHOTS = path.resolve(process.env.KFBIND_SCREENSHOTS ?? path.join(ROOT, 'target', 'screenshots'));
/** For whatever is waited for; far more than any of it takes. */
const DEADLINE_MS = 30_000;

/** @typedef {{ url: string, stop: () => Promise<void> }} Demo */

/** @param {string} [port] default: a free one @returns {Promise<Demo>} */
function startDemo(port = '0') {
  const demo = spawn(PROGRAM, ['demo', '--port', port], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, RUST_LOG: 'off' },
  });
  /** @type {Promise<void>} */
  const ended = new Promise((resolve) => demo.on('exit', () => resolve()));
  const stop = () => {
    demo.kill();
    return ended;
  };
  return new Promise((resolve, reject) => {
    let said = '';
    demo.on('error', reject);
    demo.on('exit', (code) => reject(new Error(`the demo ended with ${code}: ${said}`)));
    demo.stdout.on('data', (part) => {
      said += part;
      const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(said)?.[0];
      if (url !== undefined) resolve({ url, stop });
    });
  });
}

/** A server without that way says no once, and the browser tells of it. */
const NO_WINDOW = /404 .*\/api\/binding\/intent/;

/** What a page complains of: errors, the console's, refusals of the content policy. @param {Page} page @param {RegExp} [but] what is expected */
function complaints(page, but) {
  /** @type {string[]} */
  const heard = [];
  const hear = (/** @type {string} */ text) => {
    if (!but?.test(text) && !NO_WINDOW.test(text)) heard.push(text);
  };
  page.on('pageerror', (error) => hear(`error: ${error instanceof Error ? error.message : error}`));
  page.on('console', (message) => {
    if (['error', 'warn', 'assert'].includes(message.type())) hear(`${message.type()}: ${message.text()} ${message.location().url ?? ''}`);
  });
  return heard;
}

/** @param {Page} page @param {string} name @param {boolean} [fullPage] with what lies below the edge of the screen */
async function picture(page, name, fullPage = false) {
  fs.mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ fullPage, path: /** @type {`${string}.png`} */ (path.join(SCREENSHOTS, `${name}.png`)) });
}

/** The two phones of the person who is looked at, and the wire. */
class Phones {
  /** @param {Page} page @param {Demo} demo */
  constructor(page, demo) {
    this.page = page;
    this.demo = demo;
    this.url = demo.url;
    page.setDefaultTimeout(DEADLINE_MS);
  }

  /** Of the phones that are shown. @param {string} selector */
  async shown(selector) {
    const found = await this.page.waitForSelector(`.panel:not([hidden]) ${selector}`);
    assert.ok(found);
    return found;
  }

  /** The mini program. */
  async mini() {
    const frame = await (await this.shown('iframe')).contentFrame();
    assert.ok(frame);
    return frame;
  }

  /** @param {string} text on a button of the mini program */
  async tap(text) {
    const button = await (await this.mini()).waitForSelector(`::-p-xpath(//button[normalize-space(.)="${text}"])`);
    await button?.click();
  }

  /** Waits until the mini program shows that. @param {string} text */
  async sees(text) {
    const mini = await this.mini();
    await mini.waitForFunction((/** @type {string} */ wanted) => document.body.innerText.includes(wanted), {}, text);
  }

  /** The code, as one types it. */
  async code() {
    const text = await (await this.mini()).waitForSelector('.code-text');
    return String(await text?.evaluate((node) => node.textContent)).replace(/\s/g, '');
  }

  async getCode() {
    await this.tap('获取绑定码');
    return this.code();
  }

  /** @param {string} text */
  async says(text) {
    await (await this.shown('.words')).type(text);
    await (await this.shown('.send')).click();
  }

  /** Waits until the customer hears that. @param {string} text */
  async hears(text) {
    await this.page.waitForFunction(
      (/** @type {string} */ wanted) => [...document.querySelectorAll('.panel:not([hidden]) .theirs')].some((node) => node.textContent?.includes(wanted)),
      {},
      text,
    );
  }

  /** @param {string} name */
  async choose(name) {
    const tab = await this.page.waitForSelector(`::-p-xpath(//button[@role="tab"][.="${name}"])`);
    await tab?.click();
    await this.page.waitForSelector(`#panel-${name}:not([hidden])`);
  }

  /** @param {string} selector @param {string | RegExp} text */
  async reads(selector, text) {
    const [source, flags] = text instanceof RegExp ? [text.source, text.flags] : [text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), ''];
    await this.page.waitForFunction(
      (/** @type {string[]} */ [where, pattern, how]) => new RegExp(pattern, how).test(document.querySelector(where)?.textContent ?? ''),
      {},
      [selector, source, flags],
    );
  }

  /** Waits until everything is decided and answered. */
  async settles() {
    await this.reads('#verdict', '全部处理完，没有丢失。');
  }

  /** The kinds of the wire's rows that are shown. @returns {Promise<string[]>} */
  kinds() {
    return this.page.$$eval('.row:not(.row-rest) .kind', (all) => all.map((kind) => String(kind.textContent)));
  }

  /** The numbers that say that nothing is lost. @returns {Promise<string[]>} */
  sums() {
    return this.page.$$eval('#tally dd', (all) => all.map((sum) => String(sum.textContent)));
  }

  /** @param {string} name */
  picture(name) {
    return picture(this.page, name, true);
  }
}

/** @type {Promise<Browser> | undefined} */
let chromium;

/** One for all tests of a file. @returns {Promise<Browser>} */
function browser() {
  chromium ??= launch();
  return chromium;
}

/**
 * A test with a demo and a page of its own, which must not complain.
 * @param {string} name
 * @param {(phones: Phones) => Promise<void>} play
 * @param {{ query?: string, but?: RegExp, width?: number, height?: number }} [options] `but`: complaints that belong to it
 */
function played(name, play, { query = '', but, width = 1366, height = 1000 } = {}) {
  test(name, async () => {
    const demo = await startDemo();
    const context = await (await browser()).createBrowserContext();
    try {
      await context.overridePermissions(demo.url, ['clipboard-read', 'clipboard-write', 'clipboard-sanitized-write']);
      const page = await context.newPage();
      await page.setViewport({ width, height });
      const heard = complaints(page, but);
      const phones = new Phones(page, demo);
      await page.goto(`${demo.url}${query}`);
      try {
        await play(phones);
      } catch (error) {
        await phones.picture(`failed-${name.replace(/\W+/g, '-')}`);
        throw error;
      }
      assert.deepEqual(heard, []);
    } finally {
      await context.close();
      await demo.stop();
    }
  });
}

module.exports = { DEADLINE_MS, Phones, browser, complaints, picture, played, startDemo };
