/**
 * The way to the service: every request carries the admin key, and every failure is one of three. The key is kept for
 * this tab only (`sessionStorage`): it outlives a reload, not the tab, and no other site or tab sees it.
 */

import { setClock } from './dom.js';

/** The folder above this file, wherever a proxy has put the service. */
const BASE = new URL('../', import.meta.url);
const KEY = 'kfbind-admin-key';
/** Longer than the service lets anybody wait. */
const TIMEOUT_MS = 15_000;

/** The service answered, with something else than what was asked for. */
export class Refused extends Error {
  /** @param {number} status @param {string} code its stable name @param {string} detail */
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** The service did not answer, or something else did. */
export class Gone extends Error {}

/** @returns {string | null} */
export function keptKey() {
  return sessionStorage.getItem(KEY);
}

/** @param {string | null} key */
export function keepKey(key) {
  if (key === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, key);
}

export class Api {
  /** @param {string} key */
  constructor(key) {
    this.key = key;
    this.ends = new AbortController();
  }

  /** Nothing that is still under way is answered after this. */
  close() {
    this.ends.abort();
  }

  /** @param {string} path below the service's root @param {Record<string, string | number>} [query] @returns {Promise<any>} */
  async get(path, query = {}) {
    const answer = await this.ask('GET', path, query);
    if (!answer.ok) throw await refusal(answer);
    return bodyOf(answer);
  }

  /** What says how ready the service is also where it is not. @returns {Promise<any>} */
  async ready() {
    const answer = await this.ask('GET', 'readyz');
    const body = await bodyOf(answer);
    if (typeof body?.status !== 'string') throw new Gone(`readyz: ${answer.status}`);
    return body;
  }

  /** @param {string} path @returns {Promise<string>} */
  async text(path) {
    const answer = await this.ask('GET', path);
    if (!answer.ok) throw await refusal(answer);
    return answer.text();
  }

  /** @param {'POST' | 'DELETE'} method @param {string} path */
  async act(method, path) {
    const answer = await this.ask(method, path);
    if (!answer.ok) throw await refusal(answer);
  }

  /** @param {string} method @param {string} path @param {Record<string, string | number>} [query] */
  async ask(method, path, query = {}) {
    const url = new URL(path, BASE);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
    let answer;
    try {
      answer = await fetch(url, {
        method,
        headers: { Authorization: `Bearer ${this.key}` },
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
        signal: AbortSignal.any([this.ends.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      });
    } catch (error) {
      throw new Gone(error instanceof Error ? error.message : String(error));
    }
    // A proxy's own word for a service that is away.
    if (answer.status === 502 || answer.status === 504) throw new Gone(String(answer.status));
    setClock(answer.headers.get('date'));
    return answer;
  }
}

/** @param {Response} answer */
async function refusal(answer) {
  const body = await answer.json().catch(() => ({}));
  return new Refused(answer.status, String(body?.code ?? answer.status), String(body?.detail ?? answer.statusText));
}

/** @param {Response} answer @returns {Promise<any>} */
async function bodyOf(answer) {
  try {
    return await answer.json();
  } catch {
    throw new Gone('an answer that is no JSON');
  }
}
