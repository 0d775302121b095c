const assert = require('node:assert/strict');
const { test } = require('node:test');
const { LOAD, Machine, UNBOUND, bound, opened, pending, server, withCode } = require('./driven');

const TICKET = 'Zk9-aQ_3';
const OFFER = { nickname: '小林', expires_at: '2026-11-26T05:00:00Z' };

/** A page that a card opened. */
function byCard(session = 'kept') {
  const machine = new Machine();
  machine.send({ ...LOAD, session, ticket: TICKET });
  machine.send({ type: 'show' });
  return machine;
}

/** The same, with its question on the screen. */
function offered() {
  const machine = byCard();
  machine.answer(200, OFFER);
  return machine;
}

test('a card asks whom it would bind, and waits for a tap, whatever else happens', () => {
  const machine = byCard();
  assert.equal(machine.asked(), `GET /api/binding/ticket?ticket=${TICKET}`);
  machine.answer(200, OFFER);
  assert.equal(machine.state.phase, 'offered');
  assert.deepEqual(machine.state.offer, { nickname: '小林', expiresAt: OFFER.expires_at });
  assert.deepEqual(machine.effects, []);
  machine.wait(600_000);
  for (const tap of /** @type {const} */ (['get-code', 'new-code', 'open-chat', 'unbind', 'unbind-confirmed'])) {
    assert.deepEqual(machine.send({ type: tap }), [], tap);
  }
  assert.deepEqual(machine.send({ type: 'timer', name: 'tick' }), []);
});

test('a first visit by a card logs in first', () => {
  const machine = new Machine();
  machine.send({ ...LOAD, ticket: TICKET });
  machine.send({ type: 'show' });
  machine.send({ type: 'identified', id: machine.callId(), code: 'x' });
  assert.equal(machine.asked(), 'POST /api/login');
  machine.answer(200, { session: 'fresh' });
  assert.equal(machine.asked(), `GET /api/binding/ticket?ticket=${TICKET}`);
});

test('what stands in a ticket can not become another request', () => {
  const machine = new Machine();
  machine.send({ ...LOAD, session: 'kept', ticket: 'a&b=c#/../x' });
  machine.send({ type: 'show' });
  assert.equal(machine.asked(), 'GET /api/binding/ticket?ticket=a%26b%3Dc%23%2F..%2Fx');
});

test('yes binds, is celebrated, and goes on as any binding', () => {
  const machine = offered();
  machine.send({ type: 'accept' });
  assert.equal(machine.asked(), 'POST /api/binding/ticket');
  assert.deepEqual(machine.effect('request')?.body, { ticket: TICKET });
  assert.deepEqual(machine.send({ type: 'accept' }), [], 'once');
  assert.deepEqual(machine.send({ type: 'decline' }), [], 'and it is too late for a no');
  machine.answer(200, { ...bound(), binding: { ...bound().binding, method: 'card' } });
  assert.deepEqual([machine.state.phase, machine.state.justBound, machine.state.ticket], ['bound', true, null]);
  assert.ok(machine.effect('vibrate'));
  assert.equal(machine.asked(), 'GET /api/binding');
  machine.answer(200, bound());
  assert.equal(machine.asked(), 'GET /api/binding?wait=25&since=3');
});

test('no leads to the ordinary page, and the ticket is gone', () => {
  const machine = offered();
  machine.send({ type: 'decline' });
  assert.equal(machine.asked(), 'GET /api/binding');
  assert.equal(machine.state.ticket, null);
  machine.answer(200, UNBOUND);
  assert.deepEqual([machine.state.phase, machine.state.notice], ['unbound', 'declined']);
  machine.send({ type: 'get-code' });
  machine.answer(201, server.code('482913'));
  assert.equal(machine.state.code?.token, '482913');
  machine.send({ type: 'hide' });
  machine.send({ type: 'show' });
  assert.equal(machine.asked(), 'GET /api/binding', 'nor does it come back');
});

test('no, with a code made before, leads to that code', () => {
  const machine = offered();
  machine.send({ type: 'decline' });
  machine.answer(200, pending('482913'));
  assert.equal(machine.state.phase, 'pending');
});

for (const stage of /** @type {const} */ (['asked', 'agreed'])) {
  for (const [status, code, refusal] of /** @type {const} */ ([
    [404, 'ticket-invalid', 'invalid'],
    [404, 'method-off', 'off'],
    [409, 'conflict', 'conflict'],
    [403, 'other-person', 'other-person'],
  ])) {
    test(`${status} ${code}, when ${stage}, ends the card, and the user reads why before anything else happens`, () => {
      const machine = stage === 'asked' ? byCard() : offered();
      if (stage === 'agreed') machine.send({ type: 'accept' });
      machine.answer(status, { code });
      assert.deepEqual([machine.state.phase, machine.state.refusal, machine.state.ticket], ['refused', refusal, null]);
      assert.deepEqual(machine.effects, []);
      assert.deepEqual(machine.send({ type: 'retry' }), []);
      assert.deepEqual(machine.send({ type: 'accept' }), []);
      machine.send({ type: 'hide' });
      assert.deepEqual(machine.send({ type: 'show' }), []);
      assert.deepEqual(machine.send({ type: 'network', connected: true }), []);
      machine.send({ type: 'decline' });
      assert.equal(machine.asked(), 'GET /api/binding');
      machine.answer(200, UNBOUND);
      assert.deepEqual([machine.state.phase, machine.state.refusal, machine.state.notice], ['unbound', null, null]);
    });
  }

  test(`409 already-bound, when ${stage}, shows the binding and says that it is this one`, () => {
    const machine = stage === 'asked' ? byCard() : offered();
    if (stage === 'agreed') machine.send({ type: 'accept' });
    machine.answer(409, { code: 'already-bound' });
    assert.equal(machine.asked(), 'GET /api/binding');
    machine.answer(200, bound());
    assert.deepEqual([machine.state.phase, machine.state.notice, machine.state.justBound], ['bound', 'already-bound', false]);
  });

  test(`an ended session, when ${stage}, is renewed and the very call repeated`, () => {
    const machine = stage === 'asked' ? byCard() : offered();
    if (stage === 'agreed') machine.send({ type: 'accept' });
    machine.answer(401, { code: 'session-invalid' });
    machine.send({ type: 'identified', id: machine.callId(), code: 'x' });
    machine.answer(200, { session: 'second' });
    const again = stage === 'asked' ? `GET /api/binding/ticket?ticket=${TICKET}` : 'POST /api/binding/ticket';
    assert.equal(machine.asked(), again);
    assert.equal(machine.effect('request')?.session, 'second');
    machine.answer(401, { code: 'session-invalid' });
    assert.equal(machine.effect('identify'), undefined, 'not a third time');
  });
}

test('said to be bound and undone meanwhile: nothing is claimed', () => {
  const machine = byCard();
  machine.answer(409, { code: 'already-bound' });
  machine.answer(200, UNBOUND);
  assert.deepEqual([machine.state.phase, machine.state.notice], ['unbound', null]);
});

for (const [status, code, problem] of /** @type {const} */ ([
  [429, 'too-many-requests', 'busy'],
  [503, 'wecom-unavailable', 'wecom'],
  [503, 'unavailable', 'server'],
  [500, 'internal', 'server'],
  [500, 'conflict', 'server'],
  [404, 'not-found', 'unexpected'],
  [404, 'constructor', 'unexpected'],
  [403, 'login-refused', 'refused'],
])) {
  test(`${status} ${code} to the question is told as ${problem}, and the card is asked about again`, () => {
    const machine = byCard();
    machine.answer(status, { code }, 7);
    assert.deepEqual([machine.state.phase, machine.state.trouble?.problem], ['failed', problem]);
    machine.wait(10_000);
    machine.send({ type: 'retry' });
    assert.equal(machine.asked(), `GET /api/binding/ticket?ticket=${TICKET}`);
    machine.answer(200, OFFER);
    assert.deepEqual([machine.state.phase, machine.state.trouble], ['offered', null]);
  });

  test(`${status} ${code} to the yes is told as ${problem}, the question stays, and nothing is repeated by itself`, () => {
    const machine = offered();
    machine.send({ type: 'accept' });
    machine.answer(status, { code }, 7);
    assert.deepEqual([machine.state.phase, machine.state.notice], ['offered', problem]);
    assert.equal(machine.effects.find((effect) => effect.type === 'timer' && effect.name === 'ask'), undefined);
    machine.wait(10_000);
    machine.send({ type: 'accept' });
    assert.equal(machine.asked(), 'POST /api/binding/ticket');
    assert.equal(machine.state.notice, null);
  });
}

test('too many: the yes waits as long as the server says', () => {
  const machine = offered();
  machine.send({ type: 'accept' });
  machine.answer(429, { code: 'too-many-requests' }, 12);
  machine.wait(11_000);
  assert.deepEqual(machine.send({ type: 'accept' }), []);
  machine.wait(1_000);
  machine.send({ type: 'accept' });
  assert.equal(machine.asked(), 'POST /api/binding/ticket');
});

test('no network: the question of a card heals by itself, and stays once it is on the screen', () => {
  const machine = byCard();
  machine.noAnswer();
  assert.equal(machine.state.phase, 'failed');
  machine.ring('ask');
  machine.answer(200, OFFER);
  machine.send({ type: 'hide' });
  machine.send({ type: 'show' });
  assert.equal(machine.asked(), `GET /api/binding/ticket?ticket=${TICKET}`, 'it may have been used meanwhile');
  machine.noAnswer();
  assert.deepEqual([machine.state.phase, machine.state.trouble?.problem], ['offered', 'offline']);
  machine.ring('ask');
  machine.answer(404, { code: 'ticket-invalid' });
  assert.equal(machine.state.refusal, 'invalid');
});

test('an answer to the yes that was lost on the way is found out: by another tap, or by the status', () => {
  const again = offered();
  again.send({ type: 'accept' });
  again.noAnswer('timeout');
  assert.deepEqual([again.state.phase, again.state.notice], ['offered', 'timeout']);
  again.send({ type: 'accept' });
  again.answer(200, bound());
  assert.deepEqual([again.state.phase, again.state.justBound], ['bound', true]);

  const back = offered();
  back.send({ type: 'accept' });
  back.noAnswer('timeout');
  back.send({ type: 'hide' });
  back.send({ type: 'show' });
  back.answer(404, { code: 'ticket-invalid' });
  assert.equal(back.asked(), 'GET /api/binding', 'used up, perhaps by this user');
  back.answer(200, bound());
  assert.equal(back.state.phase, 'bound');
});

test('the yes is finished behind the scenes', () => {
  const machine = offered();
  machine.send({ type: 'accept' });
  machine.send({ type: 'hide' });
  assert.equal(machine.effect('abort'), undefined);
  machine.answer(200, bound());
  assert.equal(machine.state.phase, 'bound');
});

for (const body of [null, 'portal', {}, { nickname: '小林' }, { expires_at: 7 }]) {
  test(`an answer without sense is no question: ${JSON.stringify(body)}`, () => {
    const machine = byCard();
    machine.answer(200, body);
    assert.deepEqual([machine.state.phase, machine.state.trouble?.problem], ['failed', 'unexpected']);
  });
}

test('a card without a name asks all the same', () => {
  for (const nickname of [null, '', 7, undefined]) {
    const machine = byCard();
    machine.answer(200, { ...OFFER, nickname });
    assert.deepEqual([machine.state.phase, machine.state.offer?.nickname], ['offered', null]);
  }
});

test('the chat opens with the link as it came, to the letter, and is announced after that', () => {
  const machine = opened();
  machine.send({ type: 'get-code' });
  const url = 'https://work.weixin.qq.com/kfid/kfc1?enc_scene=ENC%2BaB&scene_param=Zk9-aQ_3%3D%3D&x=%E4%BD%A0';
  const code = server.code('482913');
  machine.answer(201, { ...code, kf: { ...code.kf, url } });
  assert.deepEqual(machine.send({ type: 'open-chat' }), [
    { type: 'open-chat', url, corpId: 'ww0123456789abcdef' },
    { type: 'announce', session: 'kept' },
  ]);
});

test('an announcement that the server wants none of is made once', () => {
  const machine = withCode();
  machine.send({ type: 'open-chat' });
  assert.ok(machine.effect('announce'));
  machine.send({ type: 'announced', status: 404, code: 'method-off' });
  machine.send({ type: 'open-chat' });
  assert.equal(machine.effect('announce'), undefined);
  assert.ok(machine.effect('open-chat'));
});

for (const [status, code] of /** @type {const} */ ([
  [202, null],
  [409, 'already-bound'],
  [401, 'session-invalid'],
  [404, 'not-found'],
  [503, 'unavailable'],
])) {
  test(`${status} ${code} to an announcement changes nothing, and the next tap announces again`, () => {
    const machine = withCode();
    machine.send({ type: 'open-chat' });
    const before = machine.state;
    assert.deepEqual(machine.send({ type: 'announced', status, code }), []);
    assert.deepEqual(machine.state, before);
    machine.send({ type: 'open-chat' });
    assert.ok(machine.effect('announce'));
  });
}

test('one is asked to subscribe on the tap that gets a code, once until the next binding, and never on the chat', () => {
  const machine = new Machine();
  machine.send({ ...LOAD, session: 'kept', templateId: 'TEMPLATE' });
  machine.send({ type: 'show' });
  machine.answer(200, UNBOUND);
  machine.send({ type: 'get-code' });
  assert.deepEqual(machine.effect('subscribe'), { type: 'subscribe', templateId: 'TEMPLATE' });
  assert.equal(machine.asked(), 'POST /api/binding/token', 'the code comes whatever the answer');
  machine.answer(201, server.code('482913', 60));
  machine.send({ type: 'open-chat' });
  assert.equal(machine.effect('subscribe'), undefined);
  machine.wait(60_000);
  machine.send({ type: 'timer', name: 'tick' });
  machine.send({ type: 'get-code' });
  assert.equal(machine.asked(), 'POST /api/binding/token');
  assert.equal(machine.effect('subscribe'), undefined, 'asked already');
  machine.answer(201, server.code('715064'));
  machine.answer(200, bound());
  machine.answer(200, { ...UNBOUND, version: 9 });
  machine.send({ type: 'get-code' });
  assert.ok(machine.effect('subscribe'), 'the message of that binding is spent');
});

test('without a template nobody is asked', () => {
  const machine = opened();
  machine.send({ type: 'get-code' });
  assert.equal(machine.effect('subscribe'), undefined);
});
