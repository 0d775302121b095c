/**
 * The audit trail, the newest first, with what happens now coming in at the top. Ids ascend; so the newest known id is
 * where the next look begins, and nothing is missed or doubled, whatever the connection does.
 */

import { button, byId, element, moment, redraw, say, tint } from './dom.js';
import { said } from './search.js';
import { EVENTS, METHODS, doer, word } from './texts.js';

/** @typedef {import('./api.js').Api} Api */
/** @typedef {{ id: number, at: string, type: string, openid?: string, external_userid?: string, method?: string, by?: string }} Event */

const PAGE = 50;
/** In one look for new ones. */
const NEW_MAX = 200;
/** The page keeps no more; older ones are read again when they are wanted. */
const KEPT_MAX = 1000;

export class Trail {
  /** @param {(id: string) => void} lookUp @param {(error: unknown) => void} failed */
  constructor(lookUp, failed) {
    this.lookUp = lookUp;
    this.failed = failed;
    /** @type {Api | null} */
    this.api = null;
    this.wanted = '';
    /** @type {Event[]} the newest first */
    this.events = [];
    /** @type {number | null} the newest known id; `null`: not read yet */
    this.newest = null;
    /** @type {number | null} where older ones begin */
    this.before = null;
    byId('trail-more').addEventListener('click', () => void this.older());
    redraw(byId('filters'), EVENTS, () => [['', '全部'], ...Object.entries(EVENTS)].map(([type, name]) => this.filter(type, name)));
  }

  /** @param {Api | null} api */
  use(api) {
    this.api = api;
    this.events = [];
    this.newest = null;
    this.before = null;
    byId('trail').replaceChildren();
    byId('trail-more').hidden = true;
    say(byId('trail-note'), api === null ? '' : '正在读取');
    tint(byId('trail-live'), 'wait');
  }

  /** @param {string} type @param {string} name */
  filter(type, name) {
    const made = button('filter', name, () => {
      this.wanted = type;
      for (const other of byId('filters').children) other.setAttribute('aria-pressed', String(other === made));
      byId('trail').replaceChildren(...this.events.filter((event) => this.isWanted(event)).map((event) => this.row(event)));
      this.tell();
    });
    made.dataset.type = type;
    made.setAttribute('aria-pressed', String(type === this.wanted));
    return made;
  }

  /** @param {Event} event */
  isWanted({ type }) {
    return this.wanted === '' || type === this.wanted;
  }

  /** Looks for what is new; first for the newest there is. */
  async look() {
    const { api } = this;
    if (api === null) return;
    try {
      if (this.newest === null) {
        const page = await api.get('api/admin/events', { before: '', limit: PAGE });
        if (api !== this.api) return;
        this.newest = page.events[0]?.id ?? 0;
        this.append(page);
      } else {
        const page = await api.get('api/admin/events', { after: this.newest, limit: NEW_MAX });
        if (api !== this.api) return;
        this.prepend(page.events);
      }
      tint(byId('trail-live'), 'good');
      say(byId('trail-live-text'), '实时');
    } catch (error) {
      if (api !== this.api) return;
      tint(byId('trail-live'), 'bad');
      say(byId('trail-live-text'), '中断，会自动接上');
      if (this.newest === null) say(byId('trail-note'), `没有读到：${said(error)}`);
      throw error;
    }
  }

  async older() {
    const { api, before } = this;
    if (api === null || before === null) return;
    try {
      const page = await api.get('api/admin/events', { before, limit: PAGE });
      if (api === this.api && before === this.before) this.append(page);
    } catch (error) {
      say(byId('trail-note'), `没有读到：${said(error)}`);
      this.failed(error);
    }
  }

  /** @param {{ events: Event[], next: number | null }} page the newest first */
  append({ events, next }) {
    this.events.push(...events);
    this.before = next;
    byId('trail').append(...events.filter((event) => this.isWanted(event)).map((event) => this.row(event)));
    this.tell();
  }

  /** @param {Event[]} events the oldest first */
  prepend(events) {
    const list = byId('trail');
    for (const event of events) {
      this.newest = event.id;
      this.events.unshift(event);
      if (!this.isWanted(event)) continue;
      const row = this.row(event);
      row.classList.add('event-new');
      list.prepend(row);
    }
    if (this.events.length > KEPT_MAX) {
      this.events.length = KEPT_MAX;
      this.before = this.events.at(-1)?.id ?? null;
      while (list.childElementCount > KEPT_MAX) list.lastElementChild?.remove();
    }
    if (events.length > 0) this.tell();
  }

  tell() {
    byId('trail-more').hidden = this.before === null;
    const count = this.events.filter((event) => this.isWanted(event)).length;
    const older = this.before === null ? '' : '，还有更早的';
    const none = this.wanted === '' ? '还没有记录。有人绑定或解绑，这里马上会有。' : `已读的 ${this.events.length} 条里没有这一类${older}。`;
    say(byId('trail-note'), count === 0 ? none : `${count} 条${older}`);
  }

  /** @param {Event} event */
  row({ at, type, openid, external_userid: customer, method, by }) {
    const time = element('time', 'soft', moment(at));
    const how = [method === undefined ? '' : word(METHODS, method), by === undefined ? '' : `由${doer(by)}`].filter((part) => part !== '').join(' · ');
    const ids = [openid, customer].filter((id) => id !== undefined).map((id) => {
      const made = button('id-button', /** @type {string} */ (id), () => this.lookUp(/** @type {string} */ (id)));
      made.title = '查这个人的绑定';
      return made;
    });
    return element('li', 'event', element('div', 'event-head', element('span', `chip event-${word(EVENTS, type) === type ? 'other' : type}`, word(EVENTS, type)), element('span', '', how), time), element('div', 'event-ids', ...ids));
  }
}
