/**
 * What goes over the wire, as a table: who to whom, what, how long, and the bytes of it to be opened.
 */

import { element, find, isStaffs, stamp } from './dom.js';

/** @typedef {import('./dom.js').Told} Told */
/** @typedef {import('./dom.js').Line} Line */
/** @typedef {import('./sums.js').Sums} Sums */

/** Rows of the wire, and bubbles of a chat, that are kept on the screen. */
const ROWS_MAX = 500;
/** What happens so long after the end of a message's story still belongs to it. */
const STORY_TAIL_MS = 1500;

/** @type {Record<string, string>} */
export const EVENTS = {
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
  '/cgi-bin/kf/send_msg_on_event': '发送应答或询问',
  '/cgi-bin/kf/service_state/get': '查会话状态',
  '/cgi-bin/kf/service_state/trans': '转给人工',
  '/cgi-bin/miniprogram/jscode2session': '客服人员登录：用 code 换 userid',
  '/cgi-bin/stable_token': '取小程序的 access_token',
  '/cgi-bin/message/subscribe/send': '发送订阅消息',
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
  other_person: '属于另一位微信用户',
};

const [WECOM, KFBIND, DISK] = ['企业微信', 'kfbind', '磁盘'];

/** The effects of a commit, and how many answers are to be sent. @param {Told} event */
export function effectsOf({ effects, replies }) {
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
    from: isStaffs(event) ? '客服人员' : (event.customer ?? '客户'),
    to: WECOM,
    text: event.event ? (EVENTS[event.event] ?? event.event) : event.text ? `“${event.text}”` : isStaffs(event) ? '小程序卡片' : '不是文字的消息',
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
export function clock(ms) {
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
export class Wire {
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
