/**
 * The operators' page: logging in, and asking the service again and again while somebody looks. What is shown is decided
 * in the parts; what may be done, by the service.
 */

import { Api, Gone, Refused, keepKey, keptKey } from './api.js';
import { byId, clock, say, serverNow, tick, tint } from './dom.js';
import { DAYS, Funnel } from './funnel.js';
import { Letters } from './letters.js';
import { Metrics } from './metrics.js';
import { Search, said } from './search.js';
import { showState } from './state.js';
import { Trail } from './trail.js';

/** From one answer to the next question. */
const TRAIL_EVERY_MS = 2_000;
const STATE_EVERY_MS = 5_000;
const LETTERS_EVERY_MS = 20_000;
const TICK_MS = 1_000;
/** After failures: twice as long each time, up to this. */
const WAIT_MAX_MS = 30_000;

/** Asks the same question again and again, slower while it fails, and not while nobody looks. */
class Round {
  /** @param {number} everyMs @param {(api: Api) => Promise<void>} ask @param {(error: unknown | null) => void} told */
  constructor(everyMs, ask, told) {
    this.everyMs = everyMs;
    this.ask = ask;
    this.told = told;
    /** @type {Api | null} */
    this.api = null;
    this.failures = 0;
    this.timer = 0;
    this.isBusy = false;
  }

  /** @param {Api | null} api */
  use(api) {
    this.api = api;
    this.failures = 0;
    this.soon();
  }

  /** Asks at once, unless it is asking. */
  soon() {
    window.clearTimeout(this.timer);
    if (this.api !== null && !this.isBusy) void this.turn(this.api);
  }

  /** @param {Api} api */
  async turn(api) {
    this.isBusy = true;
    let error = null;
    try {
      await this.ask(api);
    } catch (caught) {
      error = caught;
    }
    this.isBusy = false;
    if (api !== this.api) {
      this.soon();
      return;
    }
    this.failures = error === null ? 0 : this.failures + 1;
    this.told(error);
    const wait = Math.min(this.everyMs * 2 ** Math.min(this.failures, 8), Math.max(WAIT_MAX_MS, this.everyMs));
    // Whoever comes back to the tab makes it go on.
    if (this.api === api && !document.hidden) this.timer = window.setTimeout(() => this.soon(), wait);
  }
}

class Page {
  constructor() {
    const failed = (/** @type {unknown} */ error) => this.failed(error);
    this.funnel = new Funnel();
    this.search = new Search(failed);
    this.trail = new Trail((id) => this.search.lookUp(id), failed);
    this.letters = new Letters(failed);
    /** @type {any} */
    this.totals = null;
    /** @type {Api | null} */
    this.api = null;
    this.rounds = [
      new Round(STATE_EVERY_MS, (api) => this.lookAtState(api), (error) => this.fresh(error)),
      new Round(TRAIL_EVERY_MS, () => this.trail.look(), failed),
      new Round(LETTERS_EVERY_MS, () => this.letters.look(), failed),
    ];
    byId('login').addEventListener('submit', (event) => {
      event.preventDefault();
      void this.logIn();
    });
    byId('leave').addEventListener('click', () => this.close(''));
    byId('reveal').addEventListener('click', () => this.reveal());
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) for (const round of this.rounds) round.soon();
    });
    window.addEventListener('online', () => this.rounds.forEach((round) => round.soon()));
    window.setInterval(tick, TICK_MS);
    const key = keptKey();
    if (key === null) this.close('');
    else this.open(new Api(key));
  }

  /** @returns {HTMLInputElement} */
  get key() {
    return byId('key');
  }

  reveal() {
    const isHidden = this.key.type === 'password';
    this.key.type = isHidden ? 'text' : 'password';
    say(byId('reveal'), isHidden ? '隐藏' : '显示');
    byId('reveal').setAttribute('aria-pressed', String(isHidden));
  }

  async logIn() {
    const key = this.key.value.trim();
    /** @type {HTMLButtonElement} */
    const enter = byId('enter');
    if (key === '' || enter.disabled) return;
    if (!/^[\x21-\x7e]+$/.test(key)) {
      say(byId('login-error'), '密钥里只会有英文字母、数字和符号，请重新复制。');
      return;
    }
    const api = new Api(key);
    enter.disabled = true;
    say(enter, '正在登录');
    say(byId('login-error'), '');
    try {
      await api.get('api/admin/bindings', { limit: 1 });
      this.open(api);
    } catch (error) {
      if (error instanceof Refused && error.status === 503) this.open(api);
      else {
        const isWrong = error instanceof Refused && error.status === 401;
        say(byId('login-error'), isWrong ? '密钥不对。' : `没有登录：${said(error)}。`);
        this.key.select();
      }
    } finally {
      enter.disabled = false;
      say(enter, '登录');
    }
  }

  /** @param {Api} api */
  open(api) {
    keepKey(api.key);
    this.key.value = '';
    byId('door').hidden = true;
    byId('console').hidden = false;
    this.use(api);
  }

  /** @param {string} why shown at the door */
  close(why) {
    keepKey(null);
    this.api?.close();
    this.use(null);
    byId('console').hidden = true;
    byId('door').hidden = false;
    say(byId('login-error'), why);
    this.key.focus();
  }

  /** @param {Api | null} api */
  use(api) {
    this.api = api;
    this.totals = null;
    byId('banner').hidden = true;
    this.search.use(api);
    this.trail.use(api);
    this.letters.use(api);
    for (const round of this.rounds) round.use(api);
  }

  /** Shows whatever of it came; fails where something didn't. @param {Api} api */
  async lookAtState(api) {
    const [stats, ready, text] = await Promise.allSettled([api.get('api/admin/stats', { days: DAYS }), api.ready(), api.text('metrics')]);
    if (api !== this.api) return;
    if (stats.status === 'fulfilled') {
      const before = this.totals?.dead_letters;
      this.totals = stats.value.totals;
      this.funnel.show(stats.value);
      if (before !== undefined && before !== this.totals.dead_letters) this.rounds[2].soon();
    }
    // Where the details are missing the key is no longer the right one, and the stats have said so.
    if (ready.status === 'fulfilled' && text.status === 'fulfilled' && ready.value.store !== undefined) {
      showState({ ready: ready.value, metrics: new Metrics(text.value), totals: this.totals });
    }
    const failure = [stats, ready, text].find((part) => part.status === 'rejected');
    if (failure?.status === 'rejected') throw failure.reason;
  }

  /** @param {unknown | null} error */
  fresh(error) {
    if (error === null) {
      tint(byId('fresh'), 'good');
      say(byId('fresh-text'), `${clock(serverNow())} 更新`);
      byId('banner').hidden = true;
      return;
    }
    this.failed(error);
  }

  /** @param {unknown | null} error */
  failed(error) {
    if (error === null) return;
    if (error instanceof Refused && error.status === 401) {
      this.close('密钥不再有效，请重新登录。');
      return;
    }
    if (!(error instanceof Gone) && !(error instanceof Refused && error.status >= 500)) {
      if (!(error instanceof Refused)) console.error(error);
      return;
    }
    tint(byId('fresh'), 'bad');
    say(byId('fresh-text'), '数据没有更新');
    say(byId('banner'), error instanceof Gone ? '连接不上服务。下面是断开之前的数据，连上以后会自动更新。' : `服务的回答是 ${error.status}：忙，或者正在停止。会自动再试。`);
    byId('banner').hidden = false;
  }
}

new Page();
