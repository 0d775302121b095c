/**
 * What the parts of the page share: finding and making elements, asking the demo, keeping things over a reload. It
 * decides nothing.
 */

/**
 * @typedef {{ n: number, at_ms: number, type: string, [field: string]: any }} Told an event of the demo
 * @typedef {{ url: string, corpId: string }} Chat
 * @typedef {{ kind: string, from: string, to: string, text: string, result: string, tone: '' | 'good' | 'bad' | 'quiet' }} Line
 */

/** Of messages, by WeCom's count. */
const STAFFS_ORIGIN = 5;

/** @template {HTMLElement} [T=HTMLElement] @param {string} selector @param {ParentNode} [within] @returns {T} */
export function find(selector, within = document) {
  const found = within.querySelector(selector);
  if (found === null) throw new Error(`the page has no ${selector}`);
  return /** @type {any} */ (found);
}

/** @param {string} name of a template @returns {HTMLElement} */
export function stamp(name) {
  /** @type {HTMLTemplateElement} */
  const template = find(`#${name}`);
  return /** @type {HTMLElement} */ (document.importNode(/** @type {Element} */ (template.content.firstElementChild), true));
}

/** @param {string} tag @param {string} name @param {string} [text] */
export function element(tag, name, text = '') {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

/** What an employee has said, which WeCom tells of as well, is nothing of the customer's. @param {Told} event */
export function isStaffs({ origin }) {
  return origin === STAFFS_ORIGIN;
}

/** Asks the demo for something. @param {string} control @param {object} body @returns {Promise<any>} */
export async function ask(control, body) {
  const answer = await fetch(`/demo/${control}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `${control}: ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

/** What stays over a reload, as long as the demo is the same one. */
export class Kept {
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
