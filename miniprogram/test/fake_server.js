/**
 * A stand-in for kfbind: the routes that the pages use, over a state that the test sets. What it answers is the real
 * contract's; its rules are none.
 */

/** @typedef {{ status: number, body?: any, headers?: Record<string, string> }} Answer */

/** @type {Answer} */
const METHOD_OFF = { status: 404, body: { code: 'method-off' } };

class FakeServer {
  /** @param {() => number} [clock] in milliseconds */
  constructor(clock = Date.now) {
    this.clock = clock;
    this.version = 1;
    /** @type {any} */
    this.pending = null;
    /** @type {any} */
    this.binding = null;
    this.session = 'session-1';
    this.logins = 0;
    this.codes = ['482913', '715064', '330918'];
    /** @type {Array<{ method: string, path: string, body: any, session: string | null }>} */
    this.requests = [];
    /** The next answers, instead of the right ones; `'offline'` is none at all. @type {Array<Answer | 'offline'>} */
    this.faults = [];
    /** Every answer, while set. @type {Answer | 'offline' | null} */
    this.outage = null;
    /** Of the card that is out, by its ticket. @type {Map<string, { nickname: string | null, expires_at: string }>} */
    this.cards = new Map();
    /** Intents are taken. */
    this.window = false;
    /** The customers that employees ask about. @type {Map<string, { nickname: string | null, binding: any }>} */
    this.customers = new Map();
    this.staffSession = 'staff-1';
    /** The answer to whatever else than asking, instead of the right one. @type {Answer | null} */
    this.refusal = null;
    /** Polls that are held. @type {Array<{ due: number, answer: () => void }>} */
    this.waits = [];
  }

  /** Something changed: waiting polls are answered. @param {{ pending?: any, binding?: any }} change */
  set(change) {
    this.pending = change.pending ?? null;
    this.binding = change.binding ?? null;
    this.version += 1;
    this.wake();
  }

  wake() {
    this.waits.splice(0).forEach(({ answer }) => answer());
  }

  bind() {
    this.set({ binding: { method: 'code', bound_at: '2026-11-24T05:03:00Z', nickname: '小林' } });
  }

  /** A card is out. @param {string | null} nickname */
  card(nickname) {
    this.cards.set('TICKET', { nickname, expires_at: '2026-11-26T05:00:00Z' });
  }

  /** @param {string} token @param {number} [expiresIn] */
  code(token, expiresIn = 600) {
    const display = /^\d{6}$/.test(token) ? `${token.slice(0, 3)} ${token.slice(3)}` : token;
    return {
      bind_token: token,
      display,
      expires_at: new Date(this.clock() + expiresIn * 1000).toISOString(),
      expires_in: expiresIn,
      kf: {
        url: 'https://work.weixin.qq.com/kfid/kfc6fac668195f8389e?enc_scene=ENC8fZ2mQ&scene_param=Tq3f',
        corp_id: 'ww0123456789abcdef',
        open_kfid: 'wkAJ2GCAAA',
      },
    };
  }

  /**
   * @param {string} method @param {string} url @param {Record<string, string>} headers @param {string | undefined} text
   * @returns {Promise<Answer | 'offline'>}
   */
  async answer(method, url, headers, text) {
    const { pathname, searchParams } = new URL(url);
    const body = text === undefined || text === '' ? null : JSON.parse(text);
    const session = headers.Authorization ?? headers.authorization ?? null;
    this.requests.push({ method, path: pathname + new URL(url).search, body, session });
    const fault = this.outage ?? this.faults.shift();
    if (fault !== undefined) return fault;
    if (this.refusal !== null && method !== 'GET' && !pathname.endsWith('/login')) return this.refusal;
    if (pathname.startsWith('/api/staff/')) return this.staff(method, pathname, body, session);
    if (pathname === '/api/login') {
      this.logins += 1;
      return { status: 200, body: { session: this.session, expires_in: 604800 } };
    }
    if (session !== `Bearer ${this.session}`) return { status: 401, body: { code: 'session-invalid' } };
    if (pathname === '/api/binding/token') {
      if (this.binding !== null) return { status: 409, body: { code: 'already-bound' } };
      this.set({ pending: this.code(String(this.codes.shift())) });
      return { status: 201, body: this.pending };
    }
    if (pathname === '/api/binding/ticket') return this.ticket(method, body?.ticket ?? searchParams.get('ticket'));
    if (pathname === '/api/binding/intent') return this.intent();
    if (method === 'DELETE') {
      this.set({});
      return { status: 204 };
    }
    await this.hold(searchParams);
    if (this.outage !== null) return this.outage;
    return this.status();
  }

  /** @param {URLSearchParams} searchParams */
  async hold(searchParams) {
    if (searchParams.has('wait') && searchParams.get('since') === String(this.version)) {
      const due = this.clock() + Number(searchParams.get('wait')) * 1000;
      await new Promise((resolve) => this.waits.push({ due, answer: () => resolve(undefined) }));
    }
  }

  /** @returns {Answer} */
  intent() {
    return this.window ? { status: 202, body: { expires_at: '2026-11-24T05:05:00Z' } } : METHOD_OFF;
  }

  /** @returns {Answer} */
  status() {
    if (this.pending !== null) {
      const leftMs = Date.parse(this.pending.expires_at) - this.clock();
      if (leftMs > 0) this.pending.expires_in = Math.floor(leftMs / 1000);
      else this.set({});
    }
    const status = this.binding !== null ? 'bound' : this.pending !== null ? 'pending' : 'unbound';
    return { status: 200, body: { status, version: this.version, pending: this.pending, binding: this.binding } };
  }

  /** @param {string} method @param {string} ticket @returns {Answer} */
  ticket(method, ticket) {
    const card = this.cards.get(ticket);
    if (card === undefined) return { status: 404, body: { code: 'ticket-invalid' } };
    if (method === 'GET') return { status: 200, body: card };
    this.cards.delete(ticket);
    this.set({ binding: { method: 'card', bound_at: '2026-11-24T05:03:00Z', nickname: card.nickname } });
    return this.status();
  }

  /** @param {string} method @param {string} path @param {any} body @param {string | null} session @returns {Answer} */
  staff(method, path, body, session) {
    if (path === '/api/staff/login') {
      this.logins += 1;
      return { status: 200, body: { session: this.staffSession, expires_in: 604800, userid: 'ZhangSan' } };
    }
    if (session !== `Bearer ${this.staffSession}`) return { status: 401, body: { code: 'session-invalid' } };
    const id = method === 'GET' ? decodeURIComponent(path.split('/')[4]) : body.external_userid;
    const customer = this.customers.get(id);
    if (customer === undefined) return { status: 404, body: { code: 'customer-unknown' } };
    if (method === 'GET') return { status: 200, body: { external_userid: id, ...customer } };
    if (path === '/api/staff/tickets') {
      const page = 'pages/bind-account/bind-account.html?ticket=TICKET';
      return { status: 201, body: { ticket: 'TICKET', path: page, expires_at: '2026-11-26T05:00:00Z' } };
    }
    if (!this.codes.includes(body.code)) return { status: 404, body: { code: 'code-invalid' } };
    customer.binding = { method: 'staff', bound_at: '2026-11-24T05:03:00Z', label: '138****8000' };
    return { status: 200, body: { external_userid: id, openid: 'o1', ...customer.binding } };
  }
}

module.exports = { FakeServer };
