/** The state machine of the users' page, driven by a test: events in, effects out, and a clock that the test moves. */

const assert = require('node:assert/strict');
const { initialState, step } = require('../pages/bind-account/machine');
const { FakeServer } = require('./fake_server');

/** A first visit, without a card. */
const LOAD = /** @type {const} */ ({ type: 'load', canOpenChat: true, session: null, templateId: '', ticket: null });

const server = new FakeServer();
const UNBOUND = { status: 'unbound', version: 1, pending: null, binding: null };
/** @param {string} token @param {number} expiresIn @param {number} version */
const pending = (token, expiresIn = 600, version = 2) => ({
  status: 'pending',
  version,
  pending: server.code(token, expiresIn),
  binding: null,
});
/** @param {number} version */
const bound = (version = 3) => ({
  status: 'bound',
  version,
  pending: null,
  binding: { method: 'code', bound_at: '2026-11-24T05:03:00Z', nickname: '小林' },
});

/** A state machine with a clock that the test moves. */
class Machine {
  constructor() {
    this.state = initialState();
    this.now = 1_000_000;
    /** @type {Bind.Effect[]} of the last event */
    this.effects = [];
  }

  /** @param {Bind.Untimed} event */
  send(event) {
    const before = JSON.stringify(this.state);
    const frozen = Object.freeze(this.state);
    const { state, effects } = step(frozen, /** @type {any} */ ({ ...event, now: this.now }));
    assert.equal(JSON.stringify(frozen), before, 'a step leaves the state before it alone');
    this.state = state;
    this.effects = effects;
    return effects;
  }

  /** @template {Bind.Effect['type']} T @param {T} type @returns {Extract<Bind.Effect, { type: T }> | undefined} the last one */
  effect(type) {
    return /** @type {any} */ (this.effects.filter((effect) => effect.type === type).at(-1));
  }

  /** What was asked of the server last: `GET /api/binding`. */
  asked() {
    const request = this.effect('request');
    return request === undefined ? null : `${request.method} ${request.path}`;
  }

  /** @param {number} status @param {any} [body] @param {number | null} [retryAfterS] */
  answer(status, body, retryAfterS = null) {
    return this.send({ type: 'answer', id: this.callId(), status, body, retryAfterS });
  }

  /** @param {Bind.Problem} [problem] */
  noAnswer(problem = 'offline') {
    return this.send({ type: 'no-answer', id: this.callId(), problem });
  }

  callId() {
    assert.ok(this.state.call, 'a call is running');
    return this.state.call.id;
  }

  /** @param {number} ms */
  wait(ms) {
    this.now += ms;
  }

  /** Lets the timer of that name ring when it is due. @param {'ask' | 'tick'} name */
  ring(name) {
    const timer = this.effects.findLast((effect) => effect.type === 'timer' && effect.name === name);
    assert.ok(timer !== undefined && timer.type === 'timer', `a timer ${name} is set`);
    this.wait(timer.delayMs);
    return this.send({ type: 'timer', name });
  }
}

/** A page that is logged in and has had its first answer. @param {any} status */
function opened(status = UNBOUND) {
  const machine = new Machine();
  machine.send({ ...LOAD, session: 'kept' });
  machine.send({ type: 'show' });
  machine.answer(200, status);
  return machine;
}

/** The same, with a code shown. */
function withCode() {
  const machine = opened();
  machine.send({ type: 'get-code' });
  machine.answer(201, server.code('482913'));
  machine.answer(200, pending('482913'));
  return machine;
}

module.exports = { LOAD, Machine, UNBOUND, bound, opened, pending, server, withCode };
