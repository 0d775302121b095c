/**
 * The page with two phones. It plays the customers and shows what the demo tells: the chats, the wire, the sums. What
 * happens is decided elsewhere: the left phone is the real mini program in a frame, the right one says what the
 * simulator says. Everything shown comes from the events, so a reload shows the same.
 *
 * One file, because the program carries it as one: phones, wire, drills, events, in this order.
 */

/**
 * @typedef {{ n: number, at_ms: number, type: string, [field: string]: any }} Told an event of the demo
 * @typedef {{ url: string, corpId: string }} Chat
 * @typedef {{ kind: string, from: string, to: string, text: string, result: string, tone: '' | 'good' | 'bad' | 'quiet' }} Line
 */

/** Rows of the wire, and bubbles of a chat, that are kept on the screen. */
const ROWS_MAX = 500;
const BUBBLES_MAX = 300;
/** Chats show the time again after such a pause. */
const STAMP_AFTER_MS = 3 * 60 * 1000;
/** From a lost connection to the next try. */
const RECONNECT_MS = 1000;
/** What happens so long after the end of a message's story still belongs to it. */
const STORY_TAIL_MS = 1500;
/** Who may come beside those that the demo brings. */
const MORE_NAMES = ['小赵', '小孙', '小周', '小吴', '小郑', '小冯', '小蒋', '小沈', '小韩', '小杨'];
const KEPT = 'kfbind-demo.';

/** @template {HTMLElement} [T=HTMLElement] @param {string} selector @param {ParentNode} [within] @returns {T} */
function find(selector, within = document) {
  const found = within.querySelector(selector);
  if (found === null) throw new Error(`the page has no ${selector}`);
  return /** @type {any} */ (found);
}

/** @param {string} name of a template @returns {HTMLElement} */
function stamp(name) {
  /** @type {HTMLTemplateElement} */
  const template = find(`#${name}`);
  return /** @type {HTMLElement} */ (document.importNode(/** @type {Element} */ (template.content.firstElementChild), true));
}

/** @param {string} tag @param {string} name @param {string} [text] */
function element(tag, name, text = '') {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

/** Asks the demo for something. @param {string} control @param {object} body @returns {Promise<any>} */
async function ask(control, body) {
  const answer = await fetch(`/demo/${control}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `${control}: ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

/** What stays over a reload, as long as the demo is the same one. */
class Kept {
  /** @param {string} prefix */
  constructor(prefix) {
    this.prefix = prefix;
  }

  /** @param {string} key @returns {any} */
  get(key) {
    return JSON.parse(localStorage.getItem(this.prefix + key) ?? 'null') ?? undefined;
  }

  /** @param {string} key @param {any} value */
  set(key, value) {
    localStorage.setItem(this.prefix + key, JSON.stringify(value));
  }

  /** @param {string} key */
  delete(key) {
    localStorage.removeItem(this.prefix + key);
  }
}

// ---- A person: a phone with the mini program, and the same phone with the chat ----

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
    this.panel.id = `panel-${name}`;
    this.panel.hidden = true;
    this.panel.setAttribute('aria-labelledby', `tab-${name}`);
    /** @type {HTMLIFrameElement} */
    this.frame = find('iframe', this.panel);
    this.frame.title = `${name}的小程序`;
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
    this.tab.id = `tab-${name}`;
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
  }

  /** The frame starts when its phone is looked at first. */
  start() {
    if (!this.frame.hasAttribute('src')) this.frame.src = '/phone/page.html';
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
      openChat: () => this.openChat(),
    };
  }

  openChat() {
    this.inChat = true;
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
      bubble.append(item?.type === 'click' ? this.menuItem(item) : element('span', item ? 'words-line link' : 'words-line', text));
    }
    line.append(face, bubble);
    this.append(line);
  }

  /** @param {{ id: string, content: string }} item */
  menuItem({ id, content }) {
    const button = element('button', 'menu-item', content);
    button.setAttribute('type', 'button');
    button.addEventListener('click', () => {
      ask('tap', { customer: this.name, menu_id: id }).catch((error) => this.tell(`没有发出去：${error.message}`, true));
    });
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
    if (event.type === 'said' && event.event) {
      this.tell(EVENTS[event.event] ?? event.event);
    } else if (event.type === 'said') {
      this.bubble('mine', event);
    } else {
      this.bubble('theirs', event);
      if (!this.chosen) this.tab.classList.add('tab-news');
      this.returnToMini();
    }
  }
}

/** The people of the demo, one of whom is looked at. */
class People {
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
    document.addEventListener('visibilitychange', () => this.chosen?.turnMini());
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
  }

  /** Made at the first mention. @param {string} name */
  person(name) {
    let person = this.all.get(name);
    if (person === undefined) {
      person = new Person(name, this.accountName, new Kept(`${this.kept.prefix}${name}.`));
      const made = person;
      made.tab.addEventListener('click', () => this.choose(made));
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
    return [...this.all.values()].find(({ frame }) => frame.contentWindow === phone)?.host();
  }

  /** @param {Told} event */
  take(event) {
    if (typeof event.customer === 'string') this.person(event.customer).take(event);
  }
}

// ---- The wire ----

/** @type {Record<string, string>} */
const EVENTS = {
  enter_session: '进入了会话',
  msg_send_fail: '有一条应答没有送达',
  session_status_change: '会话状态变了',
  user_recall_msg: '撤回了一条消息',
};

/** @type {Record<string, string>} */
const CALLS = {
  '/cgi-bin/gettoken': '取 access_token',
  '/cgi-bin/kf/sync_msg': '拉取消息',
  '/cgi-bin/kf/send_msg': '发送应答',
  '/cgi-bin/kf/account/list': '列出客服账号',
  '/cgi-bin/kf/add_contact_way': '取客服链接',
  '/cgi-bin/kf/customer/batchget': '查客户的昵称',
  '/cgi-bin/kf/service_state/get': '查会话状态',
  '/cgi-bin/kf/servicer/list': '列出接待人员',
  '/sns/jscode2session': '小程序登录：用 code 换 openid',
};

/** @type {Record<string, string>} */
const EFFECTS = {
  bound: '绑定',
  unbound: '解除绑定',
  wrong: '绑定码不对',
  'code wrong': '绑定码不对',
  expired: '绑定码已过期',
  conflict: '已绑定其他账号',
  locked: '输错太多，暂时锁定',
};

const [WECOM, KFBIND, DISK] = ['企业微信', 'kfbind', '磁盘'];

/** The effects of a commit, and how many answers are to be sent. @param {Told} event */
function effectsOf({ effects, replies }) {
  /** @type {string[]} */
  const parts = Array.isArray(effects) ? effects : String(effects ?? '').split(' ').filter((part) => part !== '');
  const counted = parts.map((part) => /^(.*?)(?::(\d+))?$/.exec(part) ?? ['', part, '1']);
  const owed = counted.filter(([, name]) => name === 'reply').reduce((sum, [, , times]) => sum + Number(times ?? 1), 0);
  const names = counted.filter(([, name]) => name !== 'reply').map(([, name]) => EFFECTS[name] ?? name);
  return { names, replies: typeof replies === 'number' ? replies : owed };
}

/** What happens anyway, whether or not anybody wrote. @param {Told} event */
function isRoutine(event) {
  if (event.type === 'pull') return !event.fault && event.errcode === 0 && event.messages === 0;
  return event.type === 'call' || event.type === 'stage' || (event.type === 'commit' && event.messages === 0);
}

/** How a call to WeCom ended. @param {Told} event @param {string} good */
function outcome({ fault, errcode }, good) {
  if (fault) return fault === 'connection closed' ? '连接被断开' : String(fault);
  return errcode ? `错误 ${errcode}` : good;
}

/** @param {Told} event */
function failed({ fault, errcode }) {
  return fault || errcode ? 'bad' : '';
}

/** @param {number} us */
const milliseconds = (us) => `${(us / 1000).toFixed(us < 10_000 ? 1 : 0)} ms`;

/** How each event reads. @type {Record<string, (event: Told) => Line>} */
const LINES = {
  stage: () => ({ kind: '开场', from: WECOM, to: KFBIND, text: '演示开始，数据是空的', result: '', tone: 'quiet' }),
  said: (event) => ({
    kind: '消息',
    from: event.customer ?? '客户',
    to: WECOM,
    text: event.event ? (EVENTS[event.event] ?? event.event) : `“${event.text ?? '…'}”`,
    result: '',
    tone: '',
  }),
  callback: (event) => ({
    kind: '回调',
    from: WECOM,
    to: KFBIND,
    text: event.retry > 0 ? `有新消息（第 ${event.retry} 次重试，密文）` : '有新消息（密文）',
    ...callbackResult(event),
  }),
  'callback-lost': () => ({ kind: '回调', from: WECOM, to: '✕', text: '这次回调丢了', result: '没有送到', tone: 'bad' }),
  pull: (event) => ({
    kind: '拉取',
    from: KFBIND,
    to: WECOM,
    text: event.sync_token ? '从游标处拉取，带回调的 token' : '从游标处拉取',
    result: outcome(event, event.messages === 0 ? '没有新的' : `${event.messages} 条${event.has_more ? '，还有' : ''}`),
    tone: failed(event),
  }),
  commit: (event) => {
    const { names, replies } = effectsOf(event);
    const rest = [`${event.messages} 条消息`, replies > 0 ? `${replies} 条应答待发` : '', '新的游标'];
    return {
      kind: '落盘',
      from: KFBIND,
      to: DISK,
      text: [...names, ...rest].filter((part) => part !== '').join('、'),
      result: `fsync ${milliseconds(event.flush_us)}`,
      tone: names.includes(EFFECTS.bound) || names.includes(EFFECTS.unbound) ? 'good' : '',
    };
  },
  answer: (event) => ({
    kind: '应答',
    from: KFBIND,
    to: WECOM,
    text: `“${event.request?.text?.content ?? event.request?.msgmenu?.head_content ?? '…'}”`,
    result: event.errcode === 95033 && !event.fault ? '已经发过' : outcome(event, '已接受'),
    tone: event.errcode === 95033 ? '' : failed(event),
  }),
  heard: (event) => ({ kind: '送达', from: WECOM, to: event.customer ?? '客户', text: '客户看到应答', result: '', tone: 'good' }),
  call: (event) => ({
    kind: '调用',
    from: KFBIND,
    to: String(event.path).startsWith('/sns/') ? '微信' : WECOM,
    text: CALLS[event.path] ?? event.path,
    result: outcome(event, '成功'),
    tone: failed(event) || 'quiet',
  }),
  'hung-up': (event) => ({ kind: '断网', from: KFBIND, to: '✕', text: CALLS[event.path] ?? event.path, result: '连接被断开', tone: 'bad' }),
  wecom: (event) => ({
    kind: '断网',
    from: WECOM,
    to: '',
    text: event.down ? `断网 ${Math.round((event.until_ms - event.at_ms) / 1000)} 秒，所有连接都被断开` : '恢复了',
    result: '',
    tone: event.down ? 'bad' : 'good',
  }),
  service: (event) => ({
    kind: '重启',
    from: KFBIND,
    to: '',
    text: { up: '启动完成', stopping: '正在停止', down: '已停，2 秒后用同一份数据启动' }[/** @type {string} */ (event.state)] ?? `没有启动成功：${event.why ?? event.state}`,
    result: '',
    tone: event.state === 'up' ? 'good' : 'bad',
  }),
  'loss-armed': () => ({ kind: '演练', from: WECOM, to: '', text: '下一次回调会丢', result: '', tone: 'bad' }),
};

/** @param {Told} event @returns {Pick<Line, 'result' | 'tone'>} */
function callbackResult({ status, why, took_ms, took_us }) {
  if (status === undefined) return { result: '…', tone: '' };
  if (status === null) return { result: /refused/i.test(why ?? '') ? '没有送到，服务不在' : '没有送到', tone: 'bad' };
  const took = took_us !== undefined ? milliseconds(took_us) : took_ms !== undefined ? `${took_ms} ms` : '';
  return { result: `${status}，${took}`, tone: status === 200 ? '' : 'bad' };
}

/** Wall time of this machine, with milliseconds. @param {number} ms */
function clock(ms) {
  const date = new Date(ms);
  const part = (/** @type {number} */ number, width = 2) => String(number).padStart(width, '0');
  return `${part(date.getHours())}:${part(date.getMinutes())}:${part(date.getSeconds())}.${part(date.getMilliseconds(), 3)}`;
}

/** @param {number} ms */
function span(ms) {
  if (ms < 1000) return `+${Math.max(0, ms)} ms`;
  return `+${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

/** XML as people like to read it: an element to a line. @param {string} xml */
const broken = (xml) => String(xml ?? '').replace(/(<xml>|<\/\w+>)(?=<)/g, '$1\n');

/** What a row shows when it is opened. @param {Told} event @returns {HTMLElement[]} */
function insideOf(event) {
  if (event.type === 'callback' || event.type === 'callback-lost') return letterOf(event);
  if (event.request !== undefined) {
    return [panes(pane(`请求 ${event.path ?? ''}`, pretty(event.request)), pane('回答', event.fault ? `（${outcome(event, '')}）\n${pretty(event.answer)}` : pretty(event.answer)))];
  }
  if (event.type === 'commit') {
    const { names, replies } = effectsOf(event);
    const said = `${event.messages} 条消息的决定（${names.join('、') || '与绑定无关'}）、${replies} 条待发的应答、新的游标，同在一个事务里，一次 fsync，${event.flush_us} 微秒。落盘之后才算数，才会应答。`;
    return [element('p', 'inside-text', said)];
  }
  return [panes(pane('事件', pretty(event)))];
}

/** A callback as it goes over the wire and, on demand beside it, what it holds. @param {Told} event */
function letterOf(event) {
  const plain = pane('解密后', broken(event.plain));
  if (event.body === undefined) return [panes(plain)];
  plain.hidden = true;
  const query = new URLSearchParams(Object.entries(event.query ?? {}).map(([name, value]) => [name, String(value)]));
  const sealed = pane('线上的样子（密文）', `POST /api/wechat-work/message?${query}\n\n${broken(event.body)}`);
  const open = element('button', 'open-letter', '解密');
  open.setAttribute('type', 'button');
  open.setAttribute('aria-expanded', 'false');
  open.addEventListener('click', () => {
    plain.hidden = !plain.hidden;
    open.textContent = plain.hidden ? '解密' : '收起明文';
    open.setAttribute('aria-expanded', String(!plain.hidden));
  });
  const why = event.why ? [element('p', 'inside-text', `没有送到：${event.why}`)] : [];
  return [...why, open, panes(sealed, plain)];
}

/** @param {any} value */
const pretty = (value) => JSON.stringify(value ?? null, null, 2);

/** @param {string} title @param {string} text */
function pane(title, text) {
  const made = element('section', 'pane');
  const code = element('pre', '', text);
  code.tabIndex = 0;
  made.append(element('h3', '', title), code);
  return made;
}

/** @param {HTMLElement[]} all */
function panes(...all) {
  const made = element('div', 'panes');
  made.append(...all);
  return made;
}

/** The table of what went over the wire. */
class Wire {
  constructor() {
    this.rows = find('#rows');
    this.toEnd = find('#to-end');
    this.rest = 0;
    /** Rows of callbacks that are not answered yet. @type {Map<string, { row: HTMLElement, event: Told }>} */
    this.ringing = new Map();
    /** @type {{ key: string, row: HTMLElement, times: number } | null} */
    this.last = null;
    /** The message that what happens now comes from. */
    this.storyMs = 0;
    this.storyEndMs = 0;
    /** @type {HTMLInputElement} */
    const showRest = find('#show-rest');
    showRest.addEventListener('change', () => {
      this.rows.classList.toggle('rows-all', showRest.checked);
      this.scroll();
    });
    this.rows.addEventListener('scroll', () => this.offerEnd());
    this.toEnd.addEventListener('click', () => this.scroll());
  }

  /** @param {Told[]} events @param {Sums} sums */
  take(events, sums) {
    const follow = this.atEnd();
    const fresh = document.createDocumentFragment();
    for (const event of events) {
      const row = this.row(event);
      if (row !== null) fresh.append(row);
      sums.take(event);
      // A story ends when nothing is on its way any more.
      this.storyEndMs = sums.open() ? Infinity : Math.min(this.storyEndMs, event.at_ms + STORY_TAIL_MS);
    }
    this.rows.append(fresh);
    while (this.rows.childElementCount > ROWS_MAX) this.rows.firstElementChild?.remove();
    find('#rows-empty').hidden = this.rows.childElementCount > 0;
    find('#rest-count').textContent = String(this.rest);
    if (follow) this.scroll();
    else this.offerEnd();
  }

  /** @param {Told} event @returns {HTMLElement | null} null where the event changed a row that is there */
  row(event) {
    if (event.type === 'callback-answered') {
      this.answered(event);
      return null;
    }
    const read = LINES[event.type];
    if (read === undefined || this.again(event)) return null;
    const row = stamp('row-template');
    const line = read(event);
    const quiet = isRoutine(event);
    if (quiet) this.rest += 1;
    row.classList.add(`row-${event.type}`);
    row.classList.toggle('row-rest', quiet && line.tone !== 'bad');
    if (event.type === 'said') {
      row.classList.add('row-first');
      this.storyMs = event.at_ms;
      this.storyEndMs = Infinity;
    }
    find('time', row).textContent = clock(event.at_ms);
    find('.since', row).textContent = event.at_ms <= this.storyEndMs && this.storyMs > 0 && !quiet ? span(event.at_ms - this.storyMs) : '';
    fillRow(row, line);
    const details = find('details', row);
    details.addEventListener('toggle', () => {
      const inside = find('.more', row);
      if (inside.childElementCount === 0) inside.append(...insideOf(event));
    });
    if (event.type === 'callback' && event.status === undefined) this.ringing.set(`${event.push}.${event.retry}`, { row, event });
    this.last = { key: `${event.type} ${event.path ?? ''}`, row, times: 1 };
    return row;
  }

  /** The same once more counts up in its row. @param {Told} event */
  again(event) {
    if (event.type !== 'hung-up' || this.last?.key !== `hung-up ${event.path}`) return false;
    this.last.times += 1;
    find('.result', this.last.row).textContent = `连接被断开 × ${this.last.times}`;
    return true;
  }

  /** @param {Told} event */
  answered(event) {
    const key = `${event.push}.${event.retry}`;
    const ringing = this.ringing.get(key);
    if (ringing === undefined) return;
    this.ringing.delete(key);
    Object.assign(ringing.event, { status: event.status ?? null, why: event.why, took_us: event.took_us, took_ms: event.took_ms });
    fillRow(ringing.row, LINES.callback(ringing.event));
  }

  atEnd() {
    return this.rows.scrollHeight - this.rows.scrollTop - this.rows.clientHeight < 24;
  }

  offerEnd() {
    this.toEnd.hidden = this.atEnd();
  }

  scroll() {
    this.rows.scrollTop = this.rows.scrollHeight;
    this.offerEnd();
  }
}

/** @param {HTMLElement} row @param {Line} line */
function fillRow(row, { kind, from, to, text, result, tone }) {
  row.dataset.tone = tone;
  find('.kind', row).textContent = kind;
  find('.from', row).textContent = from;
  find('.to', row).textContent = to;
  find('.arrow', row).hidden = to === '';
  find('.text', row).textContent = text;
  find('.result', row).textContent = result;
}

// ---- The sums: is anything lost? ----

class Sums {
  constructor() {
    /** Messages that customers sent; true once they are decided and on the disk. @type {Map<string, boolean>} */
    this.said = new Map();
    /** What was pulled and not yet committed, by account. @type {Map<string, string[]>} */
    this.pulled = new Map();
    this.decided = 0;
    this.owed = 0;
    this.heard = 0;
    this.lost = false;
    this.down = false;
    this.serviceUp = true;
  }

  /** @param {Told} event */
  take(event) {
    switch (event.type) {
      case 'said':
        if (!event.event && event.msgid) this.said.set(event.msgid, false);
        return;
      case 'pull':
        if (event.fault || event.errcode) return;
        this.pulled.set(event.account, [...(this.pulled.get(event.account) ?? []), ...idsOf(event.answer)]);
        return;
      case 'commit':
        this.decide(event);
        return;
      case 'heard':
        this.heard += 1;
        return;
      case 'callback-lost':
        this.lost = true;
        return;
      case 'wecom':
        this.down = event.down === true;
        return;
      case 'service':
        this.serviceUp = event.state === 'up';
    }
  }

  /** @param {Told} event */
  decide(event) {
    for (const id of this.pulled.get(event.account) ?? []) {
      if (this.said.get(id) === false) {
        this.said.set(id, true);
        this.decided += 1;
      }
    }
    this.pulled.delete(event.account);
    this.owed += effectsOf(event).replies;
    if (this.waiting() === 0) this.lost = false;
  }

  waiting() {
    return this.said.size - this.decided;
  }

  /** Answers on their way. Events of long ago may be gone, so this is never below 0. */
  answersWaiting() {
    return Math.max(0, this.owed - this.heard);
  }

  /** Whether anything is on its way. */
  open() {
    return this.waiting() > 0 || this.answersWaiting() > 0;
  }

  draw() {
    find('#count-said').textContent = String(this.said.size);
    find('#count-decided').textContent = String(this.decided);
    find('#count-answered').textContent = this.owed > this.heard ? `${this.heard} / ${this.owed}` : String(this.heard);
    const verdict = find('#verdict');
    const text = this.verdict();
    if (verdict.textContent !== text) verdict.textContent = text;
    find('#tally').dataset.tone = this.said.size === 0 ? 'calm' : this.open() ? 'wait' : 'good';
  }

  verdict() {
    const [waiting, answers] = [this.waiting(), this.answersWaiting()];
    if (this.said.size === 0) return '还没有消息。';
    if (!this.open()) return '全部处理完，没有丢失。';
    const what = waiting > 0 ? `${waiting} 条消息` : `${answers} 条应答`;
    if (this.down) return `企业微信断网，${what}在等；恢复后补上。`;
    if (!this.serviceUp) return `kfbind 在重启，${what}在等；起来后补上。`;
    if (this.lost && waiting > 0) return `回调丢了，${what}等下一次拉取。`;
    return `${what}在路上…`;
  }
}

/** The messages of a page. @param {any} answer of `kf/sync_msg` @returns {string[]} */
function idsOf(answer) {
  return Array.isArray(answer?.msg_list) ? answer.msg_list.map((/** @type {{ msgid: string }} */ { msgid }) => msgid) : [];
}

// ---- The drills ----

class Drills {
  constructor() {
    this.seconds = Number(new URLSearchParams(window.location.search).get('down')) || 30;
    /** @type {HTMLButtonElement} */
    this.down = find('#drill-down');
    /** @type {HTMLButtonElement} */
    this.lose = find('#drill-lose');
    /** @type {HTMLButtonElement} */
    this.restart = find('#drill-restart');
    this.untilMs = 0;
    this.timer = 0;
    this.service = 'up';
    this.label(this.down, '', false);
    this.on(this.down, 'wecom-down', { seconds: this.seconds });
    this.on(this.lose, 'lose-callback', {});
    this.on(this.restart, 'restart', {});
  }

  /** @param {HTMLButtonElement} button @param {string} control @param {object} body */
  on(button, control, body) {
    button.addEventListener('click', async () => {
      if (button.getAttribute('aria-disabled') === 'true') return;
      find('#drill-error').textContent = '';
      await ask(control, body).catch((error) => {
        find('#drill-error').textContent = `没有成功：${error.message}`;
      });
    });
  }

  /** What a button says while its drill runs; empty: as it is at rest. @param {HTMLButtonElement} button @param {string} text @param {boolean} busy */
  label(button, text, busy) {
    const resting = { [this.down.id]: `企业微信断网 ${this.seconds} 秒`, [this.lose.id]: '丢掉下一次回调', [this.restart.id]: '重启 kfbind' }[button.id];
    button.textContent = text === '' ? resting : text;
    // Not `disabled`: who pressed it by key would lose the focus.
    button.setAttribute('aria-disabled', String(busy));
  }

  /** @param {Told} event */
  take(event) {
    if (event.type === 'stage') {
      this.light();
    } else if (event.type === 'wecom') {
      this.untilMs = event.down ? event.until_ms : 0;
      window.clearInterval(this.timer);
      if (event.down) this.timer = window.setInterval(() => this.count(), 250);
      this.count();
    } else if (event.type === 'service') {
      this.service = event.state;
      this.light();
    } else if (event.type === 'loss-armed') {
      this.label(this.lose, '下一次回调会丢', true);
    } else if (event.type === 'callback-lost') {
      this.label(this.lose, '', false);
    }
  }

  /** Shows how things stand, as far as was told. */
  light() {
    this.count();
    const text = { up: '运行中', stopping: '正在停止', down: '已停，马上启动' }[this.service] ?? '没有启动成功';
    lamp('service', this.service === 'up' ? 'good' : 'bad', text);
    const busy = this.service === 'stopping' || this.service === 'down';
    this.label(this.restart, busy ? `${text}…` : '', busy);
  }

  count() {
    const left = Math.max(0, Math.ceil((this.untilMs - Date.now()) / 1000));
    const down = this.untilMs > 0;
    lamp('wecom', down ? 'bad' : 'good', down ? `断网 ${left} 秒` : '正常');
    this.label(this.down, down ? `断网中，还有 ${left} 秒` : '', down);
  }
}

/** @param {string} name @param {'good' | 'bad' | 'wait'} tone @param {string} text */
function lamp(name, tone, text) {
  const shown = find(`#lamp-${name}`);
  shown.dataset.tone = tone;
  find('strong', shown).textContent = text;
}

// ---- The events ----

/** Reads the demo's events, in batches, each once, over lost connections. */
class Stream {
  /** @param {(events: Told[]) => void} take @param {() => void} back called when a lost connection is there again */
  constructor(take, back) {
    this.take = take;
    this.back = back;
    this.lastNumber = 0;
    this.stage = 0;
    /** @type {Told[]} */
    this.waiting = [];
  }

  connect() {
    const source = new EventSource('/demo/events');
    source.addEventListener('message', ({ data }) => this.hear(JSON.parse(data)));
    source.addEventListener('error', () => {
      source.close();
      lamp('service', 'bad', '演示程序没有回应');
      lamp('wecom', 'wait', '不知道');
      setTimeout(() => this.connect(), RECONNECT_MS);
    });
    source.addEventListener('open', () => {
      if (this.stage !== 0) this.back();
    });
  }

  /** @param {Told} event */
  hear(event) {
    if (event.type === 'stage') {
      // Another demo than before: nothing of the old one holds.
      if (this.stage !== 0 && this.stage !== event.at_ms) window.location.reload();
      this.stage = event.at_ms;
    }
    if (event.n <= this.lastNumber) return;
    this.lastNumber = event.n;
    if (this.waiting.push(event) === 1) setTimeout(() => this.take(this.waiting.splice(0)));
  }
}

const people = new People();
const drills = new Drills();
const wire = new Wire();
const sums = new Sums();

/** @param {Told[]} events */
function tell(events) {
  for (const event of events) {
    if (event.type === 'stage') people.begin(String(event.at_ms), event.customers, event.account.name);
    drills.take(event);
    if (event.type === 'said' || event.type === 'heard') people.take(event);
  }
  wire.take(events, sums);
  sums.draw();
}

new Stream(tell, () => drills.light()).connect();
