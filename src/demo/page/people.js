/**
 * A person of the demo: a phone with the real mini program in a frame, the same phone with the kf chat, and the phone of
 * the employee who serves that chat, with the same mini program inside WeCom. What is said there is the simulator's word;
 * this draws it.
 */

import { Kept, ask, element, find, isStaffs, stamp } from './dom.js';
import { losesParam } from './drills.js';
import { EVENTS, clock } from './wire.js';

/** @typedef {import('./dom.js').Told} Told */

const BUBBLES_MAX = 300;
/** Chats show the time again after such a pause. */
const STAMP_AFTER_MS = 3 * 60 * 1000;
/** Who may come beside those that the demo brings. */
const MORE_NAMES = ['小赵', '小孙', '小周', '小吴', '小郑', '小冯', '小蒋', '小沈', '小韩', '小杨'];
const KEPT = 'kfbind-demo.';
const MINI_PAGE = '/phone/page.html';
const WORK_PAGE = `${MINI_PAGE}?page=pages/staff-bind/staff-bind`;

class Person {
  /** @param {string} name @param {string} accountName @param {Kept} kept */
  constructor(name, accountName, kept) {
    this.name = name;
    this.kept = kept;
    this.chosen = false;
    /** The chat is in front, the mini program behind it. */
    this.inChat = false;
    this.miniShown = true;
    this.clipboard = String(kept.get('clipboard') ?? '');
    this.lastStampMs = 0;

    this.panel = stamp('panel-template');
    // Whoever refers to an id splits at spaces.
    const id = name.replace(/\s+/g, '_');
    this.panel.id = `panel-${id}`;
    this.panel.hidden = true;
    this.panel.setAttribute('aria-labelledby', `tab-${id}`);
    /** @type {HTMLIFrameElement} */
    this.frame = find('iframe', this.panel);
    this.frame.title = `${name}的小程序`;
    this.staff = find('.staff', this.panel);
    this.staffShown = false;
    this.workShown = true;
    /** @type {HTMLIFrameElement} */
    this.work = find('.work', this.panel);
    this.work.title = `接待${name}的客服人员的小程序`;
    this.veil = find('.veil', this.panel);
    this.log = find('.chat-log', this.panel);
    this.log.setAttribute('aria-label', `${name}的客服会话`);
    /** @type {HTMLInputElement} */
    this.words = find('.words', this.panel);
    this.words.setAttribute('aria-label', `以${name}的身份输入`);
    /** @type {HTMLButtonElement} */
    this.sendButton = find('.send', this.panel);
    this.pasteChip = find('.paste', this.panel);
    find('.chat-title', this.panel).textContent = accountName;
    this.tab = element('button', 'tab', name);
    this.tab.id = `tab-${id}`;
    this.tab.setAttribute('role', 'tab');
    this.tab.setAttribute('aria-controls', this.panel.id);
    this.listen();
    this.offerClipboard();
  }

  listen() {
    find('.composer', this.panel).addEventListener('submit', (event) => {
      event.preventDefault();
      this.say(this.words.value);
    });
    this.words.addEventListener('input', () => this.weigh());
    this.pasteChip.addEventListener('click', () => this.paste());
    for (const back of ['.back', '.veil']) find(back, this.panel).addEventListener('click', () => this.returnToMini());
    this.frame.addEventListener('load', () => {
      this.miniShown = true;
      this.turnMini();
    });
    this.work.addEventListener('load', () => {
      this.workShown = true;
      this.turnWork();
    });
  }

  /** The frame starts when its phone is looked at first. */
  start() {
    if (!this.frame.hasAttribute('src')) this.frame.src = MINI_PAGE;
  }

  /** The phone of the employee comes and goes; what it shows starts when it comes first. @param {boolean} shown */
  showStaff(shown) {
    this.staffShown = shown;
    this.staff.hidden = !shown;
    if (shown && this.chosen && !this.work.hasAttribute('src')) this.work.src = WORK_PAGE;
    this.turnWork();
  }

  /** What the real page is told about the phone it runs on; see tools/browser/runtime.js of the mini program. */
  host() {
    return {
      storage: this.kept,
      loginCode: async () => (await ask('login', { customer: this.name })).code,
      copied: (/** @type {string} */ text) => {
        this.clipboard = text;
        this.kept.set('clipboard', text);
        this.offerClipboard();
      },
      openChat: (/** @type {import('./dom.js').Chat} */ { url }) => this.openChat(url),
    };
  }

  /** What the employees' page is told: the same chat, from the other side. */
  workHost() {
    const customer = this.name;
    return {
      wecom: {
        loginCode: async () => (await ask('staff-login', {})).code,
        entry: () => 'single_kf_tools',
        customer: async () => (await ask('staff-customer', { customer })).external_userid,
        send: (/** @type {any} */ { miniprogram: { page, title } }) => ask('staff-card', { customer, page, title }),
      },
    };
  }

  /** By the link, as it is: what stands in it is WeCom's business. @param {string} link */
  openChat(link) {
    this.inChat = true;
    const url = losesParam() ? link.replace(/[?&]scene_param=[^&]*/, '') : link;
    ask('open', { customer: this.name, url }).catch((error) => this.tell(`会话没有打开：${error.message}`, true));
    // The tap that opened the chat ends first, and keeps the focus until then.
    setTimeout(() => {
      this.turnMini();
      this.words.focus({ preventScroll: window.innerWidth >= 900 });
    });
  }

  returnToMini() {
    this.inChat = false;
    this.turnMini();
  }

  /** A card opens the mini program with what stands in its path. @param {string} pagepath */
  openCard(pagepath) {
    const [file, query = ''] = pagepath.split('?');
    this.frame.src = `${MINI_PAGE}?page=${file.replace(/\.html$/, '')}&${query}`;
    this.inChat = false;
    this.veil.hidden = true;
  }

  /** Shows or hides the mini program, as WeChat would. */
  turnMini() {
    this.veil.hidden = !this.inChat;
    const shown = this.chosen && !this.inChat && !document.hidden;
    const page = /** @type {any} */ (this.frame.contentWindow)?.kfbindPage;
    if (page === undefined || shown === this.miniShown) return;
    this.miniShown = shown;
    if (shown) page.show();
    else page.hide();
  }

  /** Shows or hides the employees' page, as WeCom would. */
  turnWork() {
    const shown = this.chosen && this.staffShown && !document.hidden;
    const page = /** @type {any} */ (this.work.contentWindow)?.kfbindPage;
    if (page === undefined || shown === this.workShown) return;
    this.workShown = shown;
    if (shown) page.show();
    else page.hide();
  }

  offerClipboard() {
    this.pasteChip.hidden = this.clipboard === '';
    find('span', this.pasteChip).textContent = this.clipboard;
  }

  paste() {
    const { words } = this;
    words.setRangeText(this.clipboard, words.selectionStart ?? 0, words.selectionEnd ?? 0, 'end');
    this.weigh();
    words.focus();
  }

  weigh() {
    this.sendButton.disabled = this.words.value.trim() === '';
  }

  /** @param {string} text */
  async say(text) {
    if (text.trim() === '') return;
    this.words.value = '';
    this.weigh();
    // The button that is disabled now must not take the focus along.
    this.words.focus({ preventScroll: true });
    try {
      await ask('say', { customer: this.name, text });
    } catch (error) {
      this.words.value = text;
      this.weigh();
      this.tell(`没有发出去：${error instanceof Error ? error.message : error}`, true);
    }
  }

  /** A line in the middle of the chat. @param {string} text @param {boolean} [bad] */
  tell(text, bad = false) {
    this.append(element('li', bad ? 'note note-bad' : 'note', text));
  }

  /** @param {'mine' | 'theirs'} side @param {Told} event */
  bubble(side, event) {
    if (event.at_ms - this.lastStampMs > STAMP_AFTER_MS) this.tell(clock(event.at_ms).slice(0, 5));
    this.lastStampMs = event.at_ms;
    const line = element('li', `said ${side}`);
    const face = element('span', 'face', side === 'mine' ? this.name.slice(-1) : '客');
    face.setAttribute('aria-hidden', 'true');
    const bubble = element('div', 'bubble');
    bubble.append(element('span', 'unseen', side === 'mine' ? `${this.name}：` : '客服：'));
    const menu = Array.isArray(event.menu) ? event.menu : [];
    for (const text of String(event.text ?? '[不是文字的消息]').split('\n')) {
      const item = menu.find(({ content }) => content === text);
      bubble.append(this.line(item, text));
    }
    line.append(face, bubble);
    this.append(line);
  }

  /** A line of a message: words, or an item of its menu. @param {any} item @param {string} text */
  line(item, text) {
    if (item?.type === 'click') {
      return this.menuItem(text, () => {
        ask('tap', { customer: this.name, menu_id: item.id }).catch((error) => this.tell(`没有发出去：${error.message}`, true));
      });
    }
    if (item?.type === 'miniprogram') {
      return this.menuItem(text, () => {
        if (item.opens) this.openCard(item.pagepath);
        else this.tell('微信找不到这个页面：路径要以 .html 结尾', true);
      });
    }
    return element('span', item ? 'words-line link' : 'words-line', text);
  }

  /** @param {string} text @param {() => void} tapped */
  menuItem(text, tapped) {
    const button = element('button', 'menu-item', text);
    button.setAttribute('type', 'button');
    button.addEventListener('click', tapped);
    return button;
  }

  /** @param {HTMLElement} line */
  append(line) {
    this.log.append(line);
    while (this.log.childElementCount > BUBBLES_MAX) this.log.firstElementChild?.remove();
    this.log.scrollTop = this.log.scrollHeight;
  }

  /** @param {Told} event */
  take(event) {
    // It is heard as well.
    if (event.type === 'said' && isStaffs(event)) return;
    if (event.type === 'said' && event.event) {
      this.tell(EVENTS[event.event] ?? event.event);
    } else if (event.type === 'said') {
      this.bubble('mine', event);
    } else {
      this.bubble('theirs', event);
      // What is told again after a reload is no news.
      if (!this.chosen && event.at_ms >= window.performance.timeOrigin) this.tab.classList.add('tab-news');
      // A question or a card is answered in the chat.
      if (!Array.isArray(event.menu) || event.menu.length === 0) this.returnToMini();
    }
  }
}

/** The people of the demo, one of whom is looked at. */
export class People {
  constructor() {
    /** @type {Map<string, Person>} */
    this.all = new Map();
    /** @type {Person | null} */
    this.chosen = null;
    this.accountName = '';
    this.kept = new Kept(KEPT);
    this.tabs = find('#tabs');
    this.panels = find('#panels');
    find('#more').addEventListener('click', () => this.more());
    this.tabs.addEventListener('keydown', (event) => this.step(event));
    /** @type {HTMLButtonElement} */
    this.staffButton = find('#staff');
    this.staffButton.addEventListener('click', () => this.showStaff(!this.kept.get('staff')));
    document.addEventListener('visibilitychange', () => {
      this.chosen?.turnMini();
      this.chosen?.turnWork();
    });
    Object.assign(window, { kfbindHostFor: (/** @type {Window} */ phone) => this.hostFor(phone) });
  }

  /** @param {string} stage @param {string[]} names @param {string} accountName */
  begin(stage, names, accountName) {
    const prefix = `${KEPT}${stage}.`;
    const stale = Object.keys(localStorage).filter((key) => key.startsWith(KEPT) && !key.startsWith(prefix));
    stale.forEach((key) => localStorage.removeItem(key));
    this.kept = new Kept(prefix);
    this.accountName = accountName;
    for (const name of [...names, .../** @type {string[]} */ (this.kept.get('more') ?? [])]) this.person(name);
    this.choose(this.all.get(this.kept.get('chosen')) ?? this.person(names[0]));
    this.showStaff(this.kept.get('staff') === true);
  }

  /** The third phone, beside the chat of whoever is looked at. @param {boolean} shown */
  showStaff(shown) {
    this.kept.set('staff', shown);
    this.staffButton.setAttribute('aria-pressed', String(shown));
    find('.stage').classList.toggle('stage-three', shown);
    for (const person of this.all.values()) person.showStaff(shown);
  }

  /** Made at the first mention. @param {string} name */
  person(name) {
    let person = this.all.get(name);
    if (person === undefined) {
      person = new Person(name, this.accountName, new Kept(`${this.kept.prefix}${name}.`));
      const made = person;
      made.tab.addEventListener('click', () => this.choose(made));
      made.showStaff(this.kept.get('staff') === true);
      this.all.set(name, made);
      this.tabs.append(made.tab);
      this.panels.append(made.panel);
      this.markTabs();
    }
    return person;
  }

  more() {
    const name = MORE_NAMES.find((free) => !this.all.has(free)) ?? `客户 ${this.all.size + 1}`;
    this.kept.set('more', [...(this.kept.get('more') ?? []), name]);
    this.choose(this.person(name));
    this.chosen?.tab.focus();
  }

  /** @param {Person} person */
  choose(person) {
    const before = this.chosen;
    this.chosen = person;
    for (const one of new Set([before, person])) {
      if (one === null) continue;
      one.chosen = one === person;
      one.panel.hidden = !one.chosen;
      one.turnMini();
      one.showStaff(one.staffShown);
    }
    person.start();
    person.tab.classList.remove('tab-news');
    person.log.scrollTop = person.log.scrollHeight;
    this.kept.set('chosen', person.name);
    this.markTabs();
  }

  markTabs() {
    for (const person of this.all.values()) {
      person.tab.setAttribute('aria-selected', String(person === this.chosen));
      person.tab.tabIndex = person === this.chosen ? 0 : -1;
    }
  }

  /** @param {KeyboardEvent} event */
  step(event) {
    const people = [...this.all.values()];
    const at = people.findIndex((person) => person === this.chosen);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: people.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.choose(people[(to + people.length) % people.length]);
    this.chosen?.tab.focus();
  }

  /** @param {Window} phone */
  hostFor(phone) {
    for (const person of this.all.values()) {
      if (person.frame.contentWindow === phone) return person.host();
      if (person.work.contentWindow === phone) return person.workHost();
    }
    return undefined;
  }

  /** @param {Told} event */
  take(event) {
    if (typeof event.customer === 'string') this.person(event.customer).take(event);
  }
}
