const assert = require('node:assert/strict');
const { test } = require('node:test');
const { LOAD, Machine, UNBOUND, bound, pending, server } = require('./driven');

const RUNS = 500;
const EVENTS = 60;
const TICKET = 'a-ticket-of-a-card';
const TAPS = /** @type {const} */ ([
  'get-code',
  'new-code',
  'copy-code',
  'copy-link',
  'open-chat',
  'unbind',
  'unbind-confirmed',
  'accept',
  'decline',
  'retry',
]);
/** @type {Array<[number, any]>} */
const ANSWERS = [
  [200, UNBOUND],
  [200, pending('482913')],
  [200, bound()],
  [200, server.code('482913', 3)],
  [200, { nickname: '小林', expires_at: '2026-11-26T05:00:00Z' }],
  [204, ''],
  [404, { code: 'ticket-invalid' }],
  [409, { code: 'conflict' }],
  [409, { code: 'already-bound' }],
  [401, {}],
  [403, { code: 'login-refused' }],
  [403, { code: 'other-person' }],
  [429, {}],
  [503, {}],
  [200, 'portal'],
];

/** A little generator, so that a failure can be repeated. */
class Dice {
  /** @param {number} seed */
  constructor(seed) {
    this.seed = seed;
  }

  /** @param {number} below */
  roll(below) {
    this.seed = (Math.imul(this.seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.seed / 2 ** 32) * below);
  }

  /** @template T @param {readonly T[]} all @returns {T} */
  of(all) {
    return all[this.roll(all.length)];
  }
}

/** A page that chance plays with. */
class Played {
  /** @param {Dice} dice */
  constructor(dice) {
    this.dice = dice;
    this.machine = new Machine();
    /** @type {Map<string, number>} */
    this.timers = new Map();
    /** The calls that the user agreed to. @type {Set<number>} */
    this.agreed = new Set();
    const ticket = dice.roll(3) === 0 ? TICKET : null;
    this.send({ ...LOAD, canOpenChat: dice.roll(2) === 0, session: dice.roll(2) === 0 ? 'kept' : null, ticket });
    this.send({ type: 'show' });
  }

  /** @param {any} event */
  send(event) {
    for (const effect of this.machine.send(event)) {
      if (effect.type === 'timer') this.timers.set(effect.name, this.machine.now + effect.delayMs);
      if (effect.type === 'stop') this.timers.delete(effect.name);
      this.watch(event, effect);
    }
  }

  /** A ticket goes to the server and nowhere else, and binds by a tap alone. @param {any} event @param {Bind.Effect} effect */
  watch(event, effect) {
    const { call } = this.machine.state;
    if (event.type === 'accept' && call?.want === 'accept') this.agreed.add(call.id);
    if (effect.type !== 'request') {
      assert.ok(!JSON.stringify(effect).includes(TICKET), `a ticket in ${effect.type}`);
    } else if (effect.method === 'POST' && JSON.stringify(effect.body).includes(TICKET)) {
      assert.ok(this.agreed.has(effect.id), 'a ticket is used without a tap');
    }
  }

  turn() {
    const { machine, dice } = this;
    machine.wait(dice.roll(3000));
    for (const [name, due] of [...this.timers]) {
      if (due > machine.now) continue;
      this.timers.delete(name);
      this.send({ type: 'timer', name });
    }
    const kind = dice.roll(5);
    if (kind === 0) this.send({ type: dice.of(TAPS) });
    else if (kind === 1) this.send({ type: machine.state.visible ? 'hide' : 'show' });
    else if (kind === 2) this.send({ type: 'network', connected: dice.roll(2) === 0 });
    else this.reply();
  }

  reply() {
    const { dice } = this;
    const { call } = this.machine.state;
    if (call === null) return;
    const { id } = call;
    const [status, body] = call.stage === 'login' && dice.roll(2) === 0 ? [200, { session: 's' }] : dice.of(ANSWERS);
    if (call.stage === 'identify') this.send({ type: 'identified', id, code: 'x' });
    else if (dice.roll(10) === 0) this.send({ type: 'no-answer', id, problem: 'timeout' });
    else this.send({ type: 'answer', id, status, body, retryAfterS: dice.roll(2) === 0 ? null : 5 });
  }
}

test('from wherever chance leads, a visible page always asks, waits or has a timer, and no ticket is used without a tap', () => {
  const dice = new Dice(20261124);
  const seen = new Set();
  const wants = new Set();
  for (let run = 0; run < RUNS; run += 1) {
    const page = new Played(dice);
    for (let i = 0; i < EVENTS; i += 1) {
      page.turn();
      const { state } = page.machine;
      seen.add(state.phase);
      wants.add(state.call?.want);
      const where = () => `run ${run}, event ${i}: ${JSON.stringify(state)}`;
      const stuck = state.visible && state.call === null && !page.timers.has('ask');
      // A card's question, and why it is refused, wait for the user.
      const waits = state.phase === 'offered' || state.phase === 'refused';
      assert.ok(!stuck || waits || state.trouble?.problem === 'refused', where());
      assert.ok(state.phase !== 'pending' || state.code !== null, 'a code is shown');
      assert.ok(state.phase !== 'pending' || !state.visible || page.timers.has('tick'), 'a shown code counts down');
      assert.equal(state.phase === 'refused', state.refusal !== null, where());
      assert.ok(state.phase !== 'offered' || (state.offer !== null && state.ticket !== null), where());
      assert.ok(state.ticket !== null || state.offer === null, where());
    }
  }
  assert.deepEqual([...seen].sort(), ['bound', 'expired', 'failed', 'offered', 'pending', 'refused', 'starting', 'unbound']);
  assert.ok(wants.has('look') && wants.has('accept') && wants.has('poll'));
});
