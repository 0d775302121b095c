/** Webhooks that were given up, and sending them once more. */

import { Refused } from './api.js';
import { ago, button, byId, element, pairs, say } from './dom.js';
import { said } from './search.js';
import { WEBHOOKS, word } from './texts.js';

/** @typedef {import('./api.js').Api} Api */
/** @typedef {{ id: string, type: string, timestamp: string, data: any, given_up_at: string, attempts: number, error: string }} Letter */

const PAGE = 20;

export class Letters {
  /** @param {(error: unknown) => void} failed */
  constructor(failed) {
    this.failed = failed;
    /** @type {Api | null} */
    this.api = null;
    /** @type {Map<string, HTMLElement>} */
    this.rows = new Map();
    /** @type {string | null} where the next page begins */
    this.next = null;
    this.isRead = false;
    byId('letters-more').addEventListener('click', () => void this.more());
  }

  /** @param {Api | null} api */
  use(api) {
    this.api = api;
    this.rows.clear();
    this.next = null;
    this.isRead = false;
    byId('letters').replaceChildren();
    byId('letters-more').hidden = true;
    say(byId('letters-note'), api === null ? '' : '正在读取');
  }

  /** Reads the first page again; what was sent anew has left it. */
  async look() {
    const { api } = this;
    if (api === null) return;
    const page = await api.get('api/admin/dead-letters', { limit: PAGE });
    if (api !== this.api) return;
    const isSame = page.dead_letters.length === this.rows.size && page.dead_letters.every((/** @type {Letter} */ { id }) => this.rows.has(id));
    // Whoever has read on keeps what is there, and the buttons under the fingers stay.
    if ((isSame && this.isRead) || this.rows.size > PAGE) return;
    this.isRead = true;
    byId('letters').replaceChildren();
    this.rows.clear();
    this.add(page);
  }

  async more() {
    const { api, next } = this;
    if (api === null || next === null) return;
    try {
      const page = await api.get('api/admin/dead-letters', { after: next, limit: PAGE });
      if (api === this.api) this.add(page);
    } catch (error) {
      say(byId('letters-note'), `没有读到：${said(error)}`);
      this.failed(error);
    }
  }

  /** @param {{ dead_letters: Letter[], next: string | null }} page */
  add({ dead_letters: letters, next }) {
    for (const letter of letters) {
      if (this.rows.has(letter.id)) continue;
      const row = this.row(letter);
      this.rows.set(letter.id, row);
      byId('letters').append(row);
    }
    this.next = next;
    byId('letters-more').hidden = next === null;
    say(byId('letters-note'), this.rows.size === 0 ? '没有死信。' : `${this.rows.size} 条${next === null ? '' : '，还有更多'}`);
  }

  /** @param {Letter} letter */
  row({ id, type, data, given_up_at: at, attempts, error }) {
    const again = button('plain', '重发', () => void this.resend(id));
    again.setAttribute('aria-label', `重发 ${id}`);
    const name = data?.nickname ?? data?.label;
    const head = element('div', 'found-head', element('strong', '', word(WEBHOOKS, type)), name ? element('span', 'chip', name) : null, element('span', 'soft', '放弃于 ', ago(at)), again);
    /** @type {Array<[string, Node | string]>} */
    const rows = [['事件', element('code', 'id', id)]];
    if (data?.openid) rows.push(['openid', element('code', 'id', data.openid)]);
    if (data?.external_userid) rows.push(['external_userid', element('code', 'id', data.external_userid)]);
    rows.push(['放弃之前', `试了 ${attempts} 次`], ['最后的错误', error]);
    return element('li', 'found-row', head, element('dl', 'pairs ids', ...pairs(rows)));
  }

  /** @param {string} id */
  async resend(id) {
    const { api } = this;
    const row = this.rows.get(id);
    const again = row?.querySelector('button');
    if (api === null || row === undefined || !again) return;
    again.disabled = true;
    try {
      await api.act('POST', `api/admin/dead-letters/${encodeURIComponent(id)}/resend`);
      again.replaceWith(element('span', 'chip', '已重新排队'));
      say(byId('letters-note'), `${id} 已重新排队`);
    } catch (error) {
      again.disabled = false;
      const isGone = error instanceof Refused && error.status === 404;
      if (isGone) again.replaceWith(element('span', 'chip', '早已不在'));
      say(byId('letters-note'), isGone ? `${id} 早已不在` : `没有重发：${said(error)}`);
      this.failed(error);
    }
  }
}
