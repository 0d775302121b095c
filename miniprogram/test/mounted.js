/**
 * The real page, compiled from its wxml, wxss and js, mounted in jsdom: over a server of the test, with a clock that
 * the test moves.
 */

const { test } = require('node:test');
const { JSDOM } = require('jsdom');
const { bundle } = require('../tools/bundle');
const { FakeServer } = require('./fake_server');

const DEADLINE_MS = 2000;
/** More than any test needs: a page that sets timers without end fails instead of hanging. */
const RINGS_MAX = 2000;
const START_MS = Date.parse('2026-11-24T05:00:00Z');
/** @type {{ script: string, html: string } | undefined} */
let compiled;

class Mounted {
  /** @param {{ server?: FakeServer, host?: any }} [options] */
  constructor({ server = new FakeServer(), host = {} } = {}) {
    compiled ??= bundle();
    this.server = server;
    this.now = START_MS;
    server.clock = () => this.now;
    /** @type {Map<number, { due: number, run: () => void }>} */
    this.timers = new Map();
    this.lastTimer = 0;
    /** Requests that the page gave up. */
    this.aborted = 0;
    /** Every write to the clipboard. @type {string[]} */
    this.clipboard = [];
    /** @type {any[]} */
    this.chats = [];
    /** What somebody was asked to subscribe to. @type {string[][]} */
    this.asked = [];
    /** @type {string[]} */
    this.warnings = [];
    const dom = new JSDOM('<!doctype html><body></body>', {
      runScripts: 'outside-only',
      pretendToBeVisual: true,
      url: 'http://kfbind.test/page.html',
    });
    /** @type {any} */
    this.window = dom.window;
    this.document = dom.window.document;
    this.prepare(host);
    this.window.eval(compiled.script);
  }

  /** @param {any} host */
  prepare(host) {
    const { window } = this;
    window.Date.now = () => this.now;
    window.setTimeout = (/** @type {() => void} */ run, /** @type {number} */ delayMs) => {
      this.lastTimer += 1;
      this.timers.set(this.lastTimer, { due: this.now + (delayMs ?? 0), run });
      return this.lastTimer;
    };
    window.clearTimeout = (/** @type {number} */ timer) => this.timers.delete(timer);
    window.matchMedia = () => ({ matches: false, addEventListener() {} });
    window.console.warn = (/** @type {string} */ line) => this.warnings.push(line);
    window.fetch = (/** @type {string} */ url, /** @type {any} */ options) => this.fetch(url, options);
    window.kfbindHost = {
      loginCode: () => Promise.resolve('login-code'),
      copied: (/** @type {string} */ text) => this.clipboard.push(text),
      openChat: (/** @type {any} */ chat) => this.chats.push(chat),
      subscribe: (/** @type {string[]} */ templates) => this.asked.push([...templates]),
      ...host,
    };
  }

  /** @param {string} url @param {any} options */
  fetch(url, options) {
    const aborted = new Promise((_, reject) => {
      options.signal.addEventListener('abort', () => {
        this.aborted += 1;
        reject(new Error('aborted'));
      });
    });
    const answered = this.server.answer(options.method, url, options.headers, options.body).then((answer) => {
      if (answer === 'offline') throw new Error('no network');
      const body = answer.body === undefined ? '' : JSON.stringify(answer.body);
      return { status: answer.status, text: async () => body, headers: Object.entries(answer.headers ?? {}) };
    });
    return Promise.race([answered, aborted]);
  }

  /** What the user reads, line by line. */
  text() {
    const texts = this.document.querySelectorAll('text, button, .client-modal strong, .client-bar');
    return [...texts].map((node) => node.textContent).join('\n');
  }

  /** Waits until the page shows that. @param {string | RegExp} wanted */
  async sees(wanted) {
    await this.until(() => {
      const text = this.text();
      return typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text);
    }, `the page to show ${wanted}`);
  }

  /** @param {() => boolean} condition @param {string} what */
  async until(condition, what) {
    const deadline = Date.now() + DEADLINE_MS;
    while (!condition()) {
      if (Date.now() > deadline) throw new Error(`waited in vain for ${what}; the page shows:\n${this.text()}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** @param {string} label @returns {HTMLElement | undefined} */
  button(label) {
    const found = [...this.document.querySelectorAll('button')].find((node) => node.textContent === label);
    return /** @type {any} */ (found);
  }

  /** @param {string} label */
  async tap(label) {
    await this.until(() => this.button(label) !== undefined, `a button ${label}`);
    this.button(label)?.click();
  }

  /** Moves the clock, and rings what is due on the way. @param {number} ms */
  async pass(ms) {
    const end = this.now + ms;
    for (let rings = 0; ; rings += 1) {
      if (rings > RINGS_MAX) throw new Error(`${RINGS_MAX} timers in ${ms} ms`);
      const timers = [...this.timers].map(([timer, { due, run }]) => ({ due, run, end: () => this.timers.delete(timer) }));
      const waits = this.server.waits.map((wait) => ({
        due: wait.due,
        run: wait.answer,
        end: () => this.server.waits.splice(this.server.waits.indexOf(wait), 1),
      }));
      const next = [...timers, ...waits].sort((a, b) => a.due - b.due)[0];
      if (next === undefined || next.due > end) break;
      next.end();
      this.now = Math.max(this.now, next.due);
      next.run();
      // What it sets off on both sides, before the clock goes on.
      for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    }
    this.now = end;
  }

  close() {
    this.window.close();
  }
}

/**
 * A test with a page of its own.
 * @param {string} name
 * @param {(page: Mounted) => Promise<void>} play
 * @param {{ server?: (server: FakeServer) => void, host?: any }} [given]
 */
function mounted(name, play, given = {}) {
  test(name, async () => {
    const server = new FakeServer(() => START_MS);
    given.server?.(server);
    const page = new Mounted({ server, host: given.host });
    try {
      await play(page);
    } finally {
      page.close();
    }
  });
}

module.exports = { Mounted, mounted };
