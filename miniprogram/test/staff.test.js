const assert = require('node:assert/strict');
const { test } = require('node:test');
const { initialState, step } = require('../pages/staff-bind/machine');

const ID = 'wmXiaoLin';
const HERE = { entry: 'single_kf_tools', customerId: ID };
const BINDING = { method: 'code', bound_at: '2026-11-24T05:03:00Z', label: '138****8000' };
/** @param {any} [binding] */
const customer = (binding = null) => ({ external_userid: ID, nickname: '小林', binding });

/** The state machine of the employees' page, with a clock that the test moves. */
class Machine {
  constructor() {
    this.state = initialState();
    this.now = 1_000_000;
    /** @type {Staff.Effect[]} of the last event */
    this.effects = [];
  }

  /** @param {Staff.Untimed} event */
  send(event) {
    const before = JSON.stringify(this.state);
    const { state, effects } = step(Object.freeze(this.state), /** @type {any} */ ({ ...event, now: this.now }));
    assert.equal(JSON.stringify(this.state), before, 'a step leaves the state before it alone');
    this.state = state;
    this.effects = effects;
    return effects;
  }

  /** @template {Staff.Effect['type']} T @param {T} type @returns {Extract<Staff.Effect, { type: T }> | undefined} */
  effect(type) {
    return /** @type {any} */ (this.effects.filter((effect) => effect.type === type).at(-1));
  }

  asked() {
    const request = this.effect('request');
    return request === undefined ? null : `${request.method} ${request.path}`;
  }

  get id() {
    assert.ok(this.state.call, 'a call is running');
    return this.state.call.id;
  }

  /** @param {number} status @param {any} [body] @param {number | null} [retryAfterS] */
  answer(status, body, retryAfterS = null) {
    return this.send({ type: 'answer', id: this.id, status, body, retryAfterS });
  }

  /** @param {{ entry: string, customerId: string }} [place] */
  located(place = HERE) {
    return this.send({ type: 'located', id: this.id, ...place });
  }

  /** Logs in, where that is wanted. @param {string} [session] */
  logIn(session = 'staff-1') {
    this.send({ type: 'identified', id: this.id, code: 'qy-code' });
    assert.equal(this.asked(), 'POST /api/staff/login');
    assert.deepEqual(this.effect('request')?.body, { code: 'qy-code' });
    return this.answer(200, { session, expires_in: 1, userid: 'ZhangSan' });
  }
}

function started() {
  const machine = new Machine();
  machine.send({ type: 'load', inWecom: true });
  machine.send({ type: 'show' });
  return machine;
}

/** A page that shows a customer. @param {any} [binding] */
function shown(binding = null) {
  const machine = started();
  machine.logIn();
  machine.located();
  machine.located();
  machine.answer(200, customer(binding));
  assert.equal(machine.state.phase, 'customer');
  return machine;
}

/** With a code typed and agreed to, up to the server. */
function agreed() {
  const machine = shown();
  machine.send({ type: 'typed', text: ' 482 913 ' });
  machine.send({ type: 'bind' });
  machine.send({ type: 'bind-confirmed', customerId: ID, code: '482 913' });
  machine.located();
  return machine;
}

/** With a card wanted, up to the server. */
function sending() {
  const machine = shown();
  machine.send({ type: 'send-card' });
  machine.located();
  return machine;
}

test('outside WeCom nothing is asked of anybody', () => {
  const machine = new Machine();
  machine.send({ type: 'load', inWecom: false });
  assert.deepEqual([machine.state.phase, machine.state.stop], ['stopped', 'outside']);
  assert.deepEqual(machine.send({ type: 'show' }), []);
  for (const type of /** @type {const} */ (['refresh', 'send-card', 'bind'])) assert.deepEqual(machine.send({ type }), [], type);
});

test('login, where we are, who the customer is: in this order', () => {
  const machine = started();
  assert.ok(machine.effect('identify'));
  machine.logIn();
  assert.ok(machine.effect('locate'));
  machine.located();
  machine.located();
  assert.equal(machine.asked(), `GET /api/staff/customers/${ID}`);
  assert.equal(machine.effect('request')?.session, 'staff-1');
  machine.answer(200, customer(BINDING));
  assert.deepEqual(machine.state.customer, {
    nickname: '小林',
    binding: { method: 'code', boundAt: BINDING.bound_at, label: '138****8000' },
  });
  assert.deepEqual(machine.effects, []);
});

for (const [entry, customerId, stop] of /** @type {const} */ ([
  ['normal', '', 'misplaced'],
  ['contact_profile', ID, 'misplaced'],
  ['single_chat_tools', ID, 'misplaced'],
  ['group_chat_tools', '', 'misplaced'],
  ['single_kf_tools', '', 'no-customer'],
])) {
  test(`opened from ${entry} with '${customerId}' is ${stop}`, () => {
    const machine = started();
    machine.logIn();
    machine.located({ entry, customerId });
    assert.deepEqual([machine.state.phase, machine.state.stop], ['stopped', stop]);
    assert.deepEqual(machine.effects, []);
    machine.send({ type: 'refresh' });
    assert.ok(machine.effect('locate'), 'another try is a tap away');
  });
}

for (const [status, code, stop] of /** @type {const} */ ([
  [403, 'not-staff', 'not-staff'],
  [404, 'method-off', 'off'],
  [503, 'wecom-unavailable', 'wecom'],
  [429, 'too-many-requests', 'busy'],
  [500, 'internal', 'server'],
])) {
  test(`${status} ${code} to the login is told as ${stop}`, () => {
    const machine = started();
    machine.send({ type: 'identified', id: machine.id, code: 'x' });
    machine.answer(status, { code });
    assert.deepEqual([machine.state.phase, machine.state.stop, machine.state.call], ['stopped', stop, null]);
  });
}

test('a login code that WeCom calls spent is replaced once', () => {
  const machine = started();
  machine.send({ type: 'identified', id: machine.id, code: 'spent' });
  machine.answer(401, { code: 'login-code-invalid' });
  assert.ok(machine.effect('identify'));
  machine.send({ type: 'identified', id: machine.id, code: 'spent too' });
  machine.answer(401, { code: 'login-code-invalid' });
  assert.deepEqual([machine.effect('identify'), machine.state.stop], [undefined, 'session']);
});

for (const stop of /** @type {const} */ (['outdated', 'no-permission', 'misplaced'])) {
  test(`WeCom's own refusal is told: ${stop}`, () => {
    const machine = started();
    machine.send({ type: 'lost', id: machine.id, stop });
    assert.deepEqual([machine.state.phase, machine.state.stop, machine.state.call], ['stopped', stop, null]);
  });
}

for (const [status, code, stop] of /** @type {const} */ ([
  [404, 'customer-unknown', 'unknown'],
  [403, 'not-staff', 'not-staff'],
  [404, 'method-off', 'off'],
  [503, 'wecom-unavailable', 'wecom'],
  [404, 'not-found', 'unexpected'],
])) {
  test(`${status} ${code} to who the customer is is told as ${stop}, and can be tried again`, () => {
    const machine = started();
    machine.logIn();
    machine.located();
    machine.located();
    machine.answer(status, { code });
    assert.deepEqual([machine.state.phase, machine.state.stop], ['stopped', stop]);
    machine.send({ type: 'refresh' });
    machine.located();
    machine.answer(200, customer());
    assert.deepEqual([machine.state.phase, machine.state.stop], ['customer', null]);
  });
}

for (const want of /** @type {const} */ (['card', 'bind'])) {
  const begun = want === 'card' ? sending : agreed;
  for (const [status, code, stop] of /** @type {const} */ ([
    [403, 'not-staff', 'not-staff'],
    [404, 'method-off', 'off'],
    [404, 'customer-unknown', 'unknown'],
  ])) {
    test(`${status} ${code} to a ${want} stops the page: ${stop}`, () => {
      const machine = begun();
      machine.answer(status, { code });
      assert.deepEqual([machine.state.phase, machine.state.stop], ['stopped', stop]);
    });
  }
  for (const [status, code, notice] of /** @type {const} */ ([
    [503, 'wecom-unavailable', 'wecom'],
    [503, 'unavailable', 'server'],
    [403, 'other-person', 'other-person'],
    [404, 'not-found', 'unexpected'],
    [200, 'portal', 'unexpected'],
  ])) {
    test(`${status} ${code} to a ${want} is told as ${notice}, and the customer stays on the screen`, () => {
      const machine = begun();
      machine.answer(status, { code });
      assert.deepEqual([machine.state.phase, machine.state.notice, machine.state.call], ['customer', notice, null]);
    });
  }
  for (const code of /** @type {const} */ (['already-bound', 'conflict'])) {
    test(`409 ${code} to a ${want} is told, and what holds now is shown`, () => {
      const machine = begun();
      machine.answer(409, { code });
      assert.equal(machine.state.notice, code);
      machine.located();
      assert.equal(machine.asked(), `GET /api/staff/customers/${ID}`);
      machine.answer(200, customer(BINDING));
      assert.deepEqual([machine.state.notice, machine.state.customer?.binding?.method], [code, 'code']);
    });
  }
  test(`an ended session is renewed, the place asked again, and the ${want} repeated`, () => {
    const machine = begun();
    const before = machine.effect('request');
    machine.answer(401, { code: 'session-invalid' });
    machine.logIn('staff-2');
    machine.located();
    assert.deepEqual(machine.effect('request'), { ...before, session: 'staff-2' });
    machine.answer(401, { code: 'session-invalid' });
    assert.deepEqual([machine.effect('identify'), machine.state.notice], [undefined, 'session'], 'not a third time');
  });
  test(`no network for a ${want} is told, and the customer stays on the screen`, () => {
    const machine = begun();
    machine.send({ type: 'no-answer', id: machine.id, problem: 'offline' });
    assert.deepEqual([machine.state.phase, machine.state.notice], ['customer', 'offline']);
  });
  test(`a second tap does not make another ${want}`, () => {
    const machine = begun();
    for (const type of /** @type {const} */ (['send-card', 'bind', 'refresh'])) assert.deepEqual(machine.send({ type }), [], type);
    assert.deepEqual(machine.send({ type: 'bind-confirmed', customerId: ID, code: '482 913' }), []);
  });
}

test('a card: a ticket, whose chat is open, then the card into that chat', () => {
  const machine = sending();
  assert.equal(machine.asked(), 'POST /api/staff/tickets');
  assert.deepEqual(machine.effect('request')?.body, { external_userid: ID });
  machine.answer(201, { ticket: 'T', path: 'pages/bind-account/bind-account.html?ticket=T', expires_at: 'x' });
  assert.ok(machine.effect('locate'));
  assert.equal(machine.effect('send-card'), undefined);
  machine.located();
  assert.equal(machine.effect('send-card')?.path, 'pages/bind-account/bind-account.html?ticket=T');
  machine.send({ type: 'card-sent', id: machine.id });
  assert.deepEqual([machine.state.notice, machine.state.call], ['sent', null]);
  machine.send({ type: 'hide' });
  machine.send({ type: 'show' });
  machine.located();
  machine.answer(200, customer());
  assert.equal(machine.state.notice, 'sent', 'it still waits for the customer');
  machine.send({ type: 'hide' });
  machine.send({ type: 'show' });
  machine.located();
  machine.answer(200, customer(BINDING));
  assert.equal(machine.state.notice, null, 'what was waited for has happened');
});

test('the path of a card is kept no longer than it takes to send it', () => {
  const machine = sending();
  machine.answer(201, { path: 'pages/bind-account/bind-account.html?ticket=SECRET' });
  machine.located();
  machine.send({ type: 'card-failed', id: machine.id });
  assert.equal(machine.state.notice, 'not-sent');
  assert.doesNotMatch(JSON.stringify(machine.state), /SECRET/);
});

test('a card that the employee takes back is no failure', () => {
  const machine = sending();
  machine.answer(201, { path: 'p.html?ticket=T' });
  machine.located();
  machine.send({ type: 'card-cancelled', id: machine.id });
  assert.deepEqual([machine.state.notice, machine.state.call], [null, null]);
});

for (const when of /** @type {const} */ (['before the ticket', 'before the card'])) {
  test(`a chat that changes ${when} gets nothing`, () => {
    const machine = shown();
    machine.send({ type: 'send-card' });
    if (when === 'before the card') {
      machine.located();
      machine.answer(201, { path: 'p.html?ticket=T' });
    }
    machine.located({ ...HERE, customerId: 'wmOther' });
    assert.deepEqual([machine.effect('send-card'), machine.state.customer, machine.state.notice], [undefined, null, 'switched']);
    assert.equal(machine.asked(), null);
    machine.located({ ...HERE, customerId: 'wmOther' });
    machine.answer(200, { ...customer(), external_userid: 'wmOther', nickname: '小王' });
    assert.deepEqual([machine.state.customer?.nickname, machine.state.notice], ['小王', 'switched']);
  });
}

test('a code: typed, agreed to, then bound, and shown', () => {
  const machine = shown();
  assert.deepEqual(machine.send({ type: 'bind' }), [], 'nothing is typed yet');
  machine.send({ type: 'typed', text: ' 482 913 ' });
  assert.deepEqual(machine.send({ type: 'bind' }), [
    { type: 'confirm-bind', customerId: ID, nickname: '小林', code: '482 913' },
  ]);
  machine.send({ type: 'bind-confirmed', customerId: ID, code: '482 913' });
  assert.equal(machine.asked(), null, 'whose chat is it?');
  machine.located();
  assert.equal(machine.asked(), 'POST /api/staff/bindings');
  assert.deepEqual(machine.effect('request')?.body, { external_userid: ID, code: '482 913' });
  machine.answer(200, { ...BINDING, method: 'staff', external_userid: ID });
  assert.deepEqual([machine.state.notice, machine.state.typed, machine.state.call], ['bound', '', null]);
  assert.deepEqual(machine.state.customer, {
    nickname: '小林',
    binding: { method: 'staff', boundAt: BINDING.bound_at, label: '138****8000' },
  });
});

test('what was agreed to holds for that customer and that code alone', () => {
  const machine = shown();
  machine.send({ type: 'typed', text: '482913' });
  machine.send({ type: 'bind' });
  assert.deepEqual(machine.send({ type: 'bind-confirmed', customerId: 'wmOther', code: '482913' }), []);
  assert.deepEqual(machine.send({ type: 'bind-confirmed', customerId: ID, code: '715064' }), []);
});

test('a chat that changes before the code is bound gets nothing, and the code is gone', () => {
  const machine = shown();
  machine.send({ type: 'typed', text: '482913' });
  machine.send({ type: 'bind' });
  machine.send({ type: 'bind-confirmed', customerId: ID, code: '482913' });
  machine.located({ ...HERE, customerId: 'wmOther' });
  assert.deepEqual([machine.asked(), machine.state.typed, machine.state.notice], [null, '', 'switched']);
});

test('a wrong code stays to be mended, and what was said of it goes with the first letter', () => {
  const machine = agreed();
  machine.answer(404, { code: 'code-invalid' });
  assert.deepEqual([machine.state.notice, machine.state.typed], ['code-invalid', ' 482 913 ']);
  machine.send({ type: 'typed', text: '482914' });
  assert.equal(machine.state.notice, null);
});

test('too many wrong codes: the buttons wait as long as the server says, and count down', () => {
  const machine = agreed();
  machine.answer(429, { code: 'too-many-requests' }, 12);
  assert.equal(machine.state.notice, 'busy');
  assert.ok(machine.effect('tick'));
  machine.now += 11_000;
  machine.send({ type: 'timer' });
  assert.ok(machine.effect('tick'));
  assert.deepEqual(machine.send({ type: 'bind' }), []);
  assert.deepEqual(machine.send({ type: 'send-card' }), []);
  machine.now += 1_000;
  machine.send({ type: 'timer' });
  assert.deepEqual([machine.state.notice, machine.effects], [null, []]);
  assert.ok(machine.send({ type: 'bind' }).length > 0);
});

test('somebody who is bound is shown, and nothing is offered', () => {
  const machine = shown(BINDING);
  machine.send({ type: 'typed', text: '482913' });
  for (const type of /** @type {const} */ (['send-card', 'bind'])) assert.deepEqual(machine.send({ type }), [], type);
});

test('the page asks again whenever it comes back, for another chat may be open', () => {
  const machine = shown();
  machine.send({ type: 'hide' });
  machine.send({ type: 'show' });
  machine.located({ ...HERE, customerId: 'wmOther' });
  assert.deepEqual([machine.state.phase, machine.state.customer], ['starting', null]);
});

test('hidden, the page gives up looking, and finishes what was asked for', () => {
  const looking = started();
  looking.send({ type: 'hide' });
  assert.ok(looking.effect('abort'));
  const machine = agreed();
  machine.send({ type: 'hide' });
  assert.equal(machine.effect('abort'), undefined);
  machine.answer(200, { ...BINDING, external_userid: ID });
  assert.equal(machine.state.notice, 'bound');
});

test('late answers of a call that is over are dropped', () => {
  const machine = started();
  const { id } = machine;
  machine.send({ type: 'hide' });
  machine.send({ type: 'show' });
  assert.deepEqual(machine.send({ type: 'identified', id, code: 'late' }), []);
  assert.deepEqual(machine.send({ type: 'located', id, ...HERE }), []);
  assert.equal(machine.state.customerId, null);
});

for (const body of [null, 'portal', {}, customer(7), { ...customer(), external_userid: 'wmOther' }, { external_userid: ID }]) {
  test(`an answer without sense shows no customer: ${JSON.stringify(body)}`, () => {
    const machine = started();
    machine.logIn();
    machine.located();
    machine.located();
    machine.answer(200, body);
    assert.deepEqual([machine.state.phase, machine.state.stop], ['stopped', 'unexpected']);
  });
}

test('an id is written into the address as one part of it', () => {
  const machine = started();
  machine.logIn();
  const place = { ...HERE, customerId: 'wm/../a?b' };
  machine.located(place);
  machine.located(place);
  assert.equal(machine.asked(), 'GET /api/staff/customers/wm%2F..%2Fa%3Fb');
});
