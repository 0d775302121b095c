/**
 * Finds bindings by whatever somebody has at hand, and undoes one after asking. One box: what stands in it is tried as
 * each kind of id and as a nickname.
 */

import { Gone, Refused } from './api.js';
import { ago, button, byId, element, moment, pairs, say } from './dom.js';
import { METHODS, word } from './texts.js';

/** @typedef {import('./api.js').Api} Api */
/** @typedef {{ openid: string, external_userid: string, unionid: string | null, open_kfid: string | null, method: string, bound_at: string | null, nickname: string | null, label: string | null }} Binding */

const KINDS = ['openid', 'external_userid', 'unionid', 'nickname'];
const PAGE = 20;
const HINT = '输入完整的 openid、external_userid 或昵称；留空则按 openid 的顺序列出全部。';

export class Search {
  /** @param {(error: unknown) => void} failed told of every failure */
  constructor(failed) {
    this.failed = failed;
    /** @type {Api | null} */
    this.api = null;
    /** @type {Map<string, HTMLElement>} */
    this.rows = new Map();
    /** @type {Array<Record<string, string | number>>} */
    this.more = [];
    this.round = 0;
    /** @type {Binding | null} */
    this.asked = null;
    /** @type {HTMLInputElement} */
    this.query = byId('query');
    byId('search').addEventListener('submit', (event) => {
      event.preventDefault();
      void this.find(this.query.value.trim());
    });
    byId('found-more').addEventListener('click', () => void this.next());
    /** @type {HTMLDialogElement} */
    this.dialog = byId('ask');
    byId('ask-no').addEventListener('click', () => this.dialog.close());
    byId('ask-yes').addEventListener('click', () => void this.unbind());
  }

  /** @param {Api | null} api `null`: nobody is logged in */
  use(api) {
    this.api = api;
    this.round += 1;
    this.more = [];
    this.rows.clear();
    byId('found').replaceChildren();
    byId('found-more').hidden = true;
    say(byId('search-note'), HINT);
    if (api === null) {
      this.query.value = '';
      if (this.dialog.open) this.dialog.close();
    }
  }

  /** @param {string} text an id that stands somewhere on the page */
  lookUp(text) {
    this.query.value = text;
    byId('search-title').scrollIntoView({ block: 'start' });
    this.query.focus({ preventScroll: true });
    void this.find(text);
  }

  /** @param {string} text */
  async find(text) {
    const round = (this.round += 1);
    const queries = text === '' ? [{}] : KINDS.map((kind) => ({ [kind]: text }));
    say(byId('search-note'), '正在查找');
    const pages = await this.read(queries);
    if (round !== this.round || pages === null) return;
    this.rows.clear();
    byId('found').replaceChildren();
    this.add(pages);
    const count = this.rows.size;
    if (count === 0) say(byId('search-note'), text === '' ? '还没有任何绑定。' : '没有找到。要完整的 openid、external_userid 或昵称，大小写要一致。');
  }

  async next() {
    const round = this.round;
    const pages = await this.read(this.more);
    if (round === this.round && pages !== null) this.add(pages);
  }

  /** @param {Array<Record<string, string | number>>} queries */
  async read(queries) {
    const { api } = this;
    if (api === null) return null;
    try {
      return await Promise.all(queries.map(async (query) => ({ query, page: await api.get('api/admin/bindings', { ...query, limit: PAGE }) })));
    } catch (error) {
      say(byId('search-note'), `没有查成：${said(error)}`);
      this.failed(error);
      return null;
    }
  }

  /** @param {Array<{ query: Record<string, string | number>, page: { bindings: Binding[], next: string | null } }>} pages */
  add(pages) {
    this.more = [];
    for (const { query, page } of pages) {
      for (const binding of page.bindings) {
        if (this.rows.has(binding.openid)) continue;
        const row = this.row(binding);
        this.rows.set(binding.openid, row);
        byId('found').append(row);
      }
      if (page.next !== null) this.more.push({ ...query, after: page.next });
    }
    byId('found-more').hidden = this.more.length === 0;
    say(byId('search-note'), `${this.rows.size} 个${this.more.length > 0 ? '，还有更多' : ''}`);
  }

  /** @param {Binding} binding */
  row(binding) {
    const undo = button('plain danger', '解绑', () => this.ask(binding));
    undo.setAttribute('aria-label', `解绑 ${binding.nickname ?? binding.openid}`);
    const when = binding.bound_at === null ? '' : ago(binding.bound_at);
    const head = element('div', 'found-head', element('strong', 'found-name', binding.nickname ?? '（昵称未知）'), binding.label ? element('span', 'chip', binding.label) : null, element('span', 'chip', word(METHODS, binding.method)), element('span', 'soft', when), undo);
    return element('li', 'found-row', head, element('dl', 'pairs ids', ...details(binding)));
  }

  /** @param {Binding} binding */
  ask(binding) {
    this.asked = binding;
    say(byId('ask-error'), '');
    byId('ask-whom').replaceChildren(...pairs([['昵称', binding.nickname ?? '（未知）']]), ...details(binding));
    this.dialog.showModal();
    byId('ask-no').focus();
  }

  async unbind() {
    const { api, asked } = this;
    if (api === null || asked === null) return;
    /** @type {HTMLButtonElement} */
    const yes = byId('ask-yes');
    yes.disabled = true;
    try {
      await api.act('DELETE', `api/admin/bindings/${encodeURIComponent(asked.openid)}`);
      this.gone(asked.openid, '已经解绑');
    } catch (error) {
      if (error instanceof Refused && error.status === 404) this.gone(asked.openid, '早已不在');
      else {
        say(byId('ask-error'), `没有解绑：${said(error)}`);
        this.failed(error);
      }
    } finally {
      yes.disabled = false;
    }
  }

  /** @param {string} openid @param {string} why */
  gone(openid, why) {
    this.dialog.close();
    const row = this.rows.get(openid);
    row?.classList.add('found-gone');
    row?.querySelector('button')?.replaceWith(element('span', 'chip chip-warn', why));
    say(byId('search-note'), `${openid} ${why}`);
    this.query.focus();
  }
}

/** @param {Binding} binding */
function details({ openid, external_userid: customer, unionid, open_kfid: account, bound_at: at }) {
  /** @type {Array<[string, Node | string]>} */
  const rows = [['openid', element('code', 'id', openid)], ['external_userid', element('code', 'id', customer)]];
  if (unionid) rows.push(['unionid', element('code', 'id', unionid)]);
  if (account) rows.push(['客服账号', element('code', 'id', account)]);
  if (at) rows.push(['绑定于', moment(at)]);
  return pairs(rows);
}

/** What went wrong, in words. @param {unknown} error */
export function said(error) {
  if (error instanceof Gone) return '连接不上服务';
  if (!(error instanceof Refused)) return String(error);
  if (error.status === 503) return '服务忙，或者正在停止，稍后再试';
  return `${error.message}（${error.code}）`;
}
