/**
 * What the parts of the page share: finding and making elements, redrawing only what changed, and moments as people
 * read them. Everything becomes text, never markup: ids, names and errors come from strangers.
 */

/** @typedef {string | number | Node | null | undefined} Child */

const SVG = 'http://www.w3.org/2000/svg';
/** The days and times of all operators, wherever their machine stands. */
const ZONE = 'Asia/Shanghai';

const MOMENT = new Intl.DateTimeFormat('zh-CN', { timeZone: ZONE, year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const CLOCK = new Intl.DateTimeFormat('zh-CN', { timeZone: ZONE, hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const WEEKDAY = new Intl.DateTimeFormat('zh-CN', { timeZone: 'UTC', weekday: 'short' });
const WHOLE = new Intl.NumberFormat('zh-CN', { maximumFractionDigits: 0 });

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return /** @type {any} */ (found);
}

/** @param {string} tag @param {string} name of its class @param {...Child} children */
export function element(tag, name, ...children) {
  const made = document.createElement(tag);
  if (name !== '') made.className = name;
  fill(made, children);
  return made;
}

/** @param {string} name @param {string} text @param {() => void} press */
export function button(name, text, press) {
  const made = /** @type {HTMLButtonElement} */ (element('button', name, text));
  made.type = 'button';
  made.addEventListener('click', press);
  return made;
}

/** @param {string} tag @param {Record<string, string | number>} attributes @param {...Child} children */
export function drawn(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  fill(made, children);
  return made;
}

/** @param {Element} host @param {Child[]} children */
function fill(host, children) {
  for (const child of children) {
    if (child !== null && child !== undefined) host.append(typeof child === 'number' ? String(child) : child);
  }
}

/** @type {WeakMap<Element, string>} */
const shown = new WeakMap();

/**
 * Draws anew only where the model is another one, so that what is read, focused or marked stays.
 * @template T @param {Element} host @param {T} model @param {(model: T) => Node[]} build
 */
export function redraw(host, model, build) {
  const now = JSON.stringify(model);
  if (shown.get(host) === now) return;
  shown.set(host, now);
  host.replaceChildren(...build(model));
}

/** @param {Element} host @param {string} text */
export function say(host, text) {
  if (host.textContent !== text) host.textContent = text;
}

/** @param {HTMLElement} host @param {string} tone */
export function tint(host, tone) {
  if (host.dataset.tone !== tone) host.dataset.tone = tone;
}

/** @param {Array<[string, Child]>} rows of terms and what they are */
export function pairs(rows) {
  return rows.map(([term, what]) => element('div', '', element('dt', '', term), element('dd', '', what)));
}

/** How far the server's clock is ahead of this machine's, by the answers' `Date`; in milliseconds. */
let ahead = 0;

/** @param {string | null} date */
export function setClock(date) {
  const at = Date.parse(date ?? '');
  // The header counts whole seconds: less than two is no difference.
  if (!Number.isNaN(at)) ahead = Math.abs(at - Date.now()) < 2000 ? 0 : at - Date.now();
}

/** The server's time, in milliseconds. */
export function serverNow() {
  return Date.now() + ahead;
}

/** @param {number} seconds */
export function span(seconds) {
  if (seconds < 1) return '1 秒内';
  if (seconds < 100) return `${seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)} 秒`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} 分钟`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} 小时`;
  return `${Math.round(seconds / 86_400)} 天`;
}

/** @param {string} at */
function age(at) {
  const seconds = Math.max(0, Math.floor((serverNow() - Date.parse(at)) / 1000));
  return seconds < 5 ? '刚刚' : `${span(seconds)}前`;
}

/** How long ago, kept up to date by {@link tick}. @param {string} at */
export function ago(at) {
  const made = /** @type {HTMLTimeElement} */ (element('time', 'ago', age(at)));
  made.dateTime = at;
  made.title = moment(at);
  return made;
}

/** Lets every age on the page go on. */
export function tick() {
  for (const node of document.querySelectorAll('time.ago')) say(node, age(/** @type {HTMLTimeElement} */ (node).dateTime));
}

/** `2026/11/25 14:03:22` @param {string} at */
export function moment(at) {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? at : MOMENT.format(date);
}

/** @param {number} ms since 1970 */
export function clock(ms) {
  return CLOCK.format(ms);
}

/** `11月25日 周三` @param {string} day as `2026-11-25` */
export function dayName(day) {
  const [, month, date] = day.split('-').map(Number);
  const at = Date.parse(`${day}T00:00:00Z`);
  return Number.isNaN(at) ? day : `${month}月${date}日 ${WEEKDAY.format(at)}`;
}

/** @param {number} count */
export function whole(count) {
  return WHOLE.format(count);
}

/** @param {number} bytes */
export function size(bytes) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let at = 0;
  let value = bytes;
  for (; value >= 1000 && at < units.length - 1; at += 1) value /= 1000;
  return `${at === 0 || value >= 100 ? Math.round(value) : Math.round(value * 10) / 10} ${units[at]}`;
}
