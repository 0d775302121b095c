/**
 * The service as the operators' page sees it, in situations that a real one would take days to come into. It answers
 * with the shapes of the outside contract, and holds the key against what it is sent; it knows nothing of bindings.
 */

/** @typedef {{ status: number, body?: any, text?: string }} Answer */
/** @typedef {{ openid: string, external_userid: string, unionid: string | null, open_kfid: string | null, method: string, bound_at: string | null, nickname: string | null, label: string | null }} Binding */

const KEY = 'fake-admin-key-0000';
const ACCOUNT = 'wkFAKEaccountAAAAAAAAAAAAAAAAAAA';
const DAY_MS = 86_400_000;
const CHINA_MS = 8 * 3_600_000;
const WAYS = ['code', 'link', 'card', 'unionid', 'window', 'staff', 'admin'];
const REASONS = ['wrong', 'expired', 'locked', 'conflict', 'other_person'];

/** @param {string[]} names @param {(name: string, at: number) => number} of */
function counts(names, of) {
  return Object.fromEntries(names.map((name, at) => [name, of(name, at)]));
}

/** As a few hundred people a day make them, fewer at the weekend. @param {number} daysAgo */
function fullDay(daysAgo) {
  const wave = 1 + 0.35 * Math.sin(daysAgo * 1.7) - (daysAgo % 7 === 3 ? 0.5 : 0);
  const logins = Math.round(640 * wave * (daysAgo === 0 ? 0.55 : 1));
  const codes = Math.round(logins * 0.72);
  const messages = Math.round(codes * (0.8 - 0.02 * (daysAgo % 4)));
  const bound = Math.round(messages * 0.93);
  const parts = [0.58, 0.22, 0.08, 0.07, 0, 0.04, 0.01];
  return {
    logins,
    codes,
    messages,
    bound: counts(WAYS, (_, at) => Math.round(bound * parts[at])),
    unbound: Math.round(bound * 0.03),
    conflicts: daysAgo % 3,
    rejected: counts(REASONS, (_, at) => Math.round([14, 9, 1, 2, 1][at] * wave)),
    seconds_to_bind: { count: bound, p50: Math.round(140 + 60 * Math.sin(daysAgo)) / 10, p95: Math.round(900 + 400 * Math.cos(daysAgo * 2)) / 10 },
  };
}

function emptyDay() {
  return {
    logins: 0,
    codes: 0,
    messages: 0,
    bound: counts(WAYS, () => 0),
    unbound: 0,
    conflicts: 0,
    rejected: counts(REASONS, () => 0),
    seconds_to_bind: { count: 0, p50: null, p95: null },
  };
}

/** @param {number} at @param {Partial<Binding>} [but] @returns {Binding} */
function binding(at, but = {}) {
  const number = String(at).padStart(4, '0');
  return {
    openid: `oFAKE${number}abcdefghijklmnopqrs`,
    external_userid: `wmFAKE${number}AAbbCCddEEffGGhhIIjjKK`,
    unionid: null,
    open_kfid: ACCOUNT,
    method: WAYS[at % 4],
    bound_at: new Date(Date.now() - at * 3_600_000).toISOString(),
    nickname: `客户${number}`,
    label: null,
    ...but,
  };
}

class FakeService {
  constructor() {
    this.key = KEY;
    /** @type {'up' | 'gone' | 'busy'} */
    this.is = 'up';
    /** @type {Binding[]} */
    this.bindings = [];
    /** @type {any[]} ascending ids */
    this.events = [];
    /** @type {any[]} */
    this.letters = [];
    /** @type {(daysAgo: number) => any} */
    this.day = emptyDay;
    /** @type {any} */
    this.ready = {
      status: 'ok',
      problems: [],
      store: { writable: true },
      actors: { silent: [] },
      wecom: { access_token_had: true, stopped: false, clock_skew_s: 0, last_error: null },
      callbacks: { key_to_check: null, last_refusal: null },
      accounts_known: true,
      accounts: [],
      unserved_accounts: [],
    };
    this.outbox = 0;
    this.webhooksWaiting = 0;
    this.metrics = '';
    /** @type {string[]} */
    this.asked = [];
  }

  /** Two weeks in, all well. */
  static healthy() {
    const fake = new FakeService();
    const now = Date.now();
    fake.day = fullDay;
    fake.bindings = Array.from({ length: 45 }, (_, at) => binding(at));
    fake.bindings[0].label = '138****8000';
    const pairs = fake.bindings.slice(0, 30).reverse();
    fake.events = pairs.map(({ openid, external_userid: customer, method }, at) => ({ id: 1000 + at * 7, at: new Date(now - (30 - at) * 240_000).toISOString(), type: 'bound', openid, external_userid: customer, method, by: 'customer' }));
    for (const [at, change] of /** @type {Array<[number, any]>} */ ([
      [4, { type: 'unbound', method: undefined, by: 'customer' }],
      [9, { type: 'locked', openid: undefined, method: undefined }],
      [14, { type: 'conflict' }],
      [19, { type: 'undelivered', openid: undefined, method: undefined, by: undefined }],
      [24, { type: 'unbound', method: undefined, by: 'admin' }],
      [27, { method: 'staff', by: 'staff:ZhangSan' }],
      [28, { type: 'other_person' }],
    ])) Object.assign(fake.events[at], change);
    fake.ready.accounts = [
      { open_kfid: ACCOUNT, name: '客服一号', api_managed: true, last_pull_at: new Date(now - 21_000).toISOString(), last_error: null },
      { open_kfid: 'wkFAKEaccountBBBBBBBBBBBBBBBBBBB', name: '售后', api_managed: true, last_pull_at: new Date(now - 184_000).toISOString(), last_error: null },
    ];
    fake.ready.unserved_accounts = [{ open_kfid: 'wkFAKEaccountCCCCCCCCCCCCCCCCCCC', name: '招聘', api_managed: false }];
    fake.ready.callbacks.last_refusal = { at: new Date(now - 5 * 3_600_000).toISOString(), reason: 'bad_signature' };
    fake.metrics = [
      'kfbind_callbacks_total{result="accepted"} 48211',
      'kfbind_callbacks_total{result="duplicate"} 12',
      'kfbind_callbacks_total{result="bad_signature"} 3',
      'kfbind_store_bytes 73400320',
      'kfbind_store_flush_seconds_sum 61.2',
      'kfbind_store_flush_seconds_count 50000',
      'kfbind_wecom_api_errors_total{api="send_msg",errcode="95018"} 17',
      'kfbind_wecom_api_errors_total{api="sync_msg",errcode="timeout"} 2',
      'kfbind_guessing 0',
      '',
    ].join('\n');
    return fake;
  }

  /** The same two weeks, and then WeCom can't be reached. */
  static down() {
    const fake = FakeService.healthy();
    const error = 'no connection to qyapi.weixin.qq.com: connection refused';
    fake.ready.status = 'degraded';
    fake.ready.wecom.last_error = error;
    fake.ready.problems = [`the last call to WeCom failed: ${error}`];
    for (const account of fake.ready.accounts) {
      account.last_error = error;
      account.last_pull_at = new Date(Date.now() - 17 * 60_000).toISOString();
      fake.ready.problems.push(`the last pull of ${account.open_kfid} failed: ${error}`);
    }
    fake.letters = [fake.letter(1), fake.letter(2)];
    fake.outbox = 23;
    fake.webhooksWaiting = 4;
    fake.metrics += 'kfbind_wecom_api_errors_total{api="sync_msg",errcode="connect"} 41\n';
    return fake;
  }

  /** @param {number} at @param {any} [but] */
  letter(at, but = {}) {
    return {
      id: `evt_FAKE${String(at).padStart(8, '0')}`,
      type: at % 2 === 0 ? 'binding.removed' : 'binding.created',
      timestamp: new Date(Date.now() - 3 * DAY_MS - at * 60_000).toISOString(),
      data: binding(at),
      given_up_at: new Date(Date.now() - at * 600_000).toISOString(),
      attempts: 21,
      error: 'HTTP status 502',
      ...but,
    };
  }

  /** Something happens now. @param {any} event */
  happens(event) {
    this.events.push({ id: (this.events.at(-1)?.id ?? 0) + 3, at: new Date().toISOString(), ...event });
  }

  /** @param {string} method @param {URL} url @param {Record<string, string>} headers @returns {Answer | 'gone'} */
  answer(method, url, headers) {
    this.asked.push(`${method} ${url.pathname}${url.search}`);
    if (this.is === 'gone') return 'gone';
    const isAdmin = headers.authorization === `Bearer ${this.key}`;
    if (url.pathname === '/metrics') return { status: 200, text: this.metrics };
    if (url.pathname === '/readyz') return { status: this.ready.status === 'unavailable' ? 503 : 200, body: isAdmin ? this.ready : { status: this.ready.status } };
    if (!isAdmin) return problem(401, 'admin-key-invalid');
    if (this.is === 'busy') return problem(503, 'unavailable');
    const [, , , what, id, act] = url.pathname.split('/').map(decodeURIComponent);
    if (what === 'stats') return { status: 200, body: this.stats(Number(url.searchParams.get('days') ?? 14)) };
    if (what === 'events') return { status: 200, body: this.page(url.searchParams) };
    if (what === 'bindings' && id === undefined) return { status: 200, body: this.found(url.searchParams) };
    if (what === 'bindings' && method === 'DELETE') return this.take(this.bindings, (one) => one.openid === id, 204);
    if (what === 'dead-letters' && id === undefined) return { status: 200, body: { dead_letters: this.letters.slice(0, 20), next: null } };
    if (what === 'dead-letters' && act === 'resend' && method === 'POST') return this.take(this.letters, (one) => one.id === id, 202);
    return problem(404, 'not-found');
  }

  /** @param {any[]} list @param {(one: any) => boolean} is @param {number} status @returns {Answer} */
  take(list, is, status) {
    const at = list.findIndex(is);
    if (at < 0) return problem(404, 'not-found');
    list.splice(at, 1);
    return { status };
  }

  /** @param {number} days */
  stats(days) {
    const today = Date.now() + CHINA_MS;
    return {
      at: new Date().toISOString(),
      time_zone: '+08:00',
      totals: { bindings: this.bindings.length, codes_live: this.day === fullDay ? 31 : 0, outbox: this.outbox, webhooks_waiting: this.webhooksWaiting, dead_letters: this.letters.length },
      days: Array.from({ length: days }, (_, at) => ({ day: new Date(today - (days - 1 - at) * DAY_MS).toISOString().slice(0, 10), ...this.day(days - 1 - at) })),
    };
  }

  /** @param {URLSearchParams} query */
  page(query) {
    const limit = Number(query.get('limit') ?? 100);
    const before = query.get('before');
    if (before === null) {
      const later = this.events.filter(({ id }) => id > Number(query.get('after') ?? 0));
      return { events: later.slice(0, limit), next: later.length > limit ? later[limit - 1].id : null };
    }
    const earlier = this.events.filter(({ id }) => before === '' || id < Number(before)).reverse();
    return { events: earlier.slice(0, limit), next: earlier.length > limit ? earlier[limit - 1].id : null };
  }

  /** @param {URLSearchParams} query */
  found(query) {
    const limit = Number(query.get('limit') ?? 100);
    const wanted = /** @type {Array<keyof Binding>} */ (['openid', 'external_userid', 'unionid', 'nickname']).filter((name) => query.has(name));
    const found = this.bindings
      .filter((one) => wanted.every((name) => one[name] === query.get(name)))
      .filter(({ openid }) => openid > (query.get('after') ?? ''))
      .sort((one, other) => (one.openid < other.openid ? -1 : 1));
    return { bindings: found.slice(0, limit), next: found.length > limit ? found[limit - 1].openid : null };
  }
}

/** @param {number} status @param {string} code @returns {Answer} */
function problem(status, code) {
  return { status, body: { type: `urn:kfbind:problem:${code}`, title: code, status, code, detail: 'as the service says it' } };
}

module.exports = { ACCOUNT, FakeService, KEY, binding, fullDay };
