/**
 * A stand-in for kfbind: the routes that the page uses, over a state that the test sets. What it answers is the real
 * contract's; its rules are none.
 */

/** @typedef {{ status: number, body?: any, headers?: Record<string, string> }} Answer */

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
    if (method === 'DELETE') {
      this.set({});
      return { status: 204 };
    }
    if (searchParams.has('wait') && searchParams.get('since') === String(this.version)) {
      const due = this.clock() + Number(searchParams.get('wait')) * 1000;
      await new Promise((resolve) => this.waits.push({ due, answer: () => resolve(undefined) }));
      if (this.outage !== null) return this.outage;
    }
    if (this.pending !== null) {
      const leftMs = Date.parse(this.pending.expires_at) - this.clock();
      if (leftMs > 0) this.pending.expires_in = Math.floor(leftMs / 1000);
      else this.set({});
    }
    const status = this.binding !== null ? 'bound' : this.pending !== null ? 'pending' : 'unbound';
    return { status: 200, body: { status, version: this.version, pending: this.pending, binding: this.binding } };
  }
}

module.exports = { FakeServer };
