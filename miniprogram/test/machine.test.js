const assert = require('node:assert/strict');
const { test } = require('node:test');
const { LOAD, Machine, UNBOUND, bound, opened, pending, server, withCode } = require('./driven');

test('the first visit logs in, then asks, then polls', () => {
  const machine = new Machine();
  machine.send(LOAD);
  machine.send({ type: 'show' });
  assert.equal(machine.effect('identify')?.id, 1);
  machine.send({ type: 'identified', id: 1, code: 'wx-code' });
  assert.deepEqual(machine.effect('request')?.body, { code: 'wx-code' });
  machine.answer(200, { session: 'fresh', expires_in: 1 });
  assert.equal(machine.effect('remember')?.session, 'fresh');
  assert.equal(machine.asked(), 'GET /api/binding');
  assert.equal(machine.effect('request')?.session, 'fresh');
  machine.answer(200, UNBOUND);
  assert.equal(machine.state.phase, 'unbound');
  assert.equal(machine.asked(), 'GET /api/binding?wait=25&since=1');
});

test('a session that was kept spares the login', () => {
  const machine = new Machine();
  machine.send({ ...LOAD, session: 'kept' });
  machine.send({ type: 'show' });
  assert.equal(machine.asked(), 'GET /api/binding');
});

test('a session from the back end of the company is used as it is', () => {
  const machine = new Machine();
  machine.send(LOAD);
  machine.send({ type: 'show' });
  machine.send({ type: 'session', id: 1, session: 'theirs' });
  assert.equal(machine.asked(), 'GET /api/binding');
  assert.equal(machine.effect('request')?.session, 'theirs');
});

test('401 logs in again once and repeats the very call', () => {
  const machine = opened();
  machine.send({ type: 'get-code' });
  machine.answer(401, { code: 'session-invalid' });
  assert.equal(machine.effect('remember')?.session, null);
  const id = machine.effect('identify')?.id;
  assert.ok(id);
  machine.send({ type: 'identified', id, code: 'x' });
  machine.answer(200, { session: 'second' });
  assert.equal(machine.asked(), 'POST /api/binding/token');
  machine.answer(401, { code: 'session-invalid' });
  assert.equal(machine.effect('identify'), undefined, 'not a third time');
  assert.equal(machine.state.notice, 'session');
  assert.equal(machine.state.session, null);
});

test('a session that worked for a while may end again', () => {
  const machine = opened();
  for (const session of ['second', 'third']) {
    machine.answer(401, {});
    machine.send({ type: 'identified', id: machine.callId(), code: 'x' });
    machine.answer(200, { session });
    machine.answer(200, UNBOUND);
    assert.equal(machine.state.session, session);
    machine.ring('ask');
  }
});

test('a login code that WeChat calls spent is replaced once', () => {
  const machine = new Machine();
  machine.send(LOAD);
  machine.send({ type: 'show' });
  machine.send({ type: 'identified', id: 1, code: 'spent' });
  machine.answer(401, { code: 'login-code-invalid' });
  assert.equal(machine.effect('identify')?.id, 1);
  machine.send({ type: 'identified', id: 1, code: 'spent too' });
  machine.answer(401, { code: 'login-code-invalid' });
  assert.equal(machine.effect('identify'), undefined);
  assert.equal(machine.state.phase, 'failed');
  assert.ok(machine.effect('timer'), 'it is tried again later');
});

test('a code is made by a tap, and a second tap does not make another', () => {
  const machine = opened();
  machine.send({ type: 'get-code' });
  assert.equal(machine.asked(), 'POST /api/binding/token');
  assert.equal(machine.effect('request')?.body, null);
  assert.deepEqual(machine.send({ type: 'get-code' }), []);
  machine.answer(201, server.code('482913'));
  assert.equal(machine.state.phase, 'pending');
  assert.equal(machine.state.code?.display, '482 913');
  assert.equal(machine.asked(), 'GET /api/binding');
  machine.answer(200, pending('482913'));
  assert.equal(machine.asked(), 'GET /api/binding?wait=25&since=2');
});

test('another code is asked for by name, and what was done with the first is forgotten', () => {
  const machine = withCode();
  machine.send({ type: 'copied', what: 'code', text: '482913' });
  machine.send({ type: 'chat-opened' });
  machine.send({ type: 'new-code' });
  assert.deepEqual(machine.effect('request')?.body, { new: true });
  machine.answer(201, server.code('715064'));
  assert.deepEqual(
    [machine.state.code?.token, machine.state.copied, machine.state.opened],
    ['715064', false, false],
  );
});

test('a tap interrupts the poll, and the late answer of the poll is dropped', () => {
  const machine = withCode();
  const poll = machine.callId();
  machine.send({ type: 'new-code' });
  assert.equal(machine.effect('abort')?.id, poll);
  machine.answer(201, server.code('715064'));
  machine.send({ type: 'answer', id: poll, status: 200, body: pending('482913'), retryAfterS: null });
  assert.equal(machine.state.code?.token, '715064');
});

test('bound elsewhere meanwhile: 409 asks how things stand', () => {
  const machine = opened();
  machine.send({ type: 'get-code' });
  machine.answer(409, { code: 'already-bound' });
  assert.equal(machine.asked(), 'GET /api/binding');
  machine.answer(200, bound());
  assert.equal(machine.state.phase, 'bound');
});

test('a binding under the eyes of the user is celebrated, an earlier one is not', () => {
  const early = opened(bound());
  assert.deepEqual([early.state.justBound, early.effect('vibrate')], [false, undefined]);
  const machine = withCode();
  machine.answer(200, bound());
  assert.equal(machine.state.justBound, true);
  assert.ok(machine.effect('vibrate'));
  assert.equal(machine.state.code, null);
});

test('a nickname that comes late is shown, without another celebration', () => {
  const machine = withCode();
  machine.answer(200, { ...bound(), binding: { ...bound().binding, nickname: null } });
  machine.ring('ask');
  machine.answer(200, bound(4));
  assert.equal(machine.state.binding?.nickname, '小林');
  assert.equal(machine.effect('vibrate'), undefined);
  assert.equal(machine.state.justBound, true);
});

test('the copy is the code alone, and the chat opens with the link and the corp', () => {
  const machine = withCode();
  assert.deepEqual(machine.send({ type: 'copy-code' }), [{ type: 'copy', what: 'code', text: '482913' }]);
  machine.send({ type: 'copied', what: 'code', text: '482913' });
  assert.deepEqual(machine.send({ type: 'open-chat' }), [
    { type: 'open-chat', url: server.code('482913').kf.url, corpId: 'ww0123456789abcdef' },
    { type: 'announce', session: 'kept' },
  ]);
  machine.send({ type: 'chat-opened' });
  assert.deepEqual([machine.state.copied, machine.state.opened], [true, true]);
});

test('copying the link says that the code is not in the clipboard any more', () => {
  const machine = withCode();
  machine.send({ type: 'copied', what: 'code', text: '482913' });
  machine.send({ type: 'chat-failed' });
  assert.equal(machine.state.linkShown, true);
  assert.deepEqual(machine.send({ type: 'copy-link' }), [
    { type: 'copy', what: 'link', text: server.code('482913').kf.url },
  ]);
  machine.send({ type: 'copied', what: 'link', text: server.code('482913').kf.url });
  assert.deepEqual([machine.state.copied, machine.state.linkCopied], [false, true]);
});

test('a copy that ends after its code was replaced does not count for the new one', () => {
  const machine = withCode();
  machine.send({ type: 'copy-code' });
  machine.send({ type: 'new-code' });
  machine.answer(201, server.code('715064'));
  machine.send({ type: 'copied', what: 'code', text: '482913' });
  assert.equal(machine.state.copied, false);
  machine.send({ type: 'copied', what: 'code', text: '715064' });
  assert.equal(machine.state.copied, true);
});

test('an old WeChat is never asked to open the chat', () => {
  const machine = new Machine();
  machine.send({ ...LOAD, canOpenChat: false, session: 'kept' });
  machine.send({ type: 'show' });
  machine.answer(200, pending('482913'));
  assert.deepEqual(machine.send({ type: 'open-chat' }), []);
});

test('a refused copy is said and changes nothing', () => {
  const machine = withCode();
  machine.send({ type: 'copy-failed', what: 'code' });
  assert.equal(machine.state.notice, 'code-copy-failed');
  assert.equal(machine.state.copied, false);
});

test('a hidden page asks nothing, and asks at once when it comes back', () => {
  const machine = withCode();
  const poll = machine.callId();
  machine.send({ type: 'hide' });
  assert.deepEqual(machine.effects, [
    { type: 'abort', id: poll },
    { type: 'stop', name: 'ask' },
    { type: 'stop', name: 'tick' },
  ]);
  machine.wait(60_000);
  assert.deepEqual(machine.send({ type: 'timer', name: 'ask' }), []);
  machine.send({ type: 'show' });
  assert.equal(machine.asked(), 'GET /api/binding');
});

test('what the user asked for is finished behind the scenes', () => {
  const machine = opened();
  machine.send({ type: 'get-code' });
  machine.send({ type: 'hide' });
  assert.equal(machine.effect('abort'), undefined);
  machine.answer(201, server.code('482913'));
  assert.equal(machine.state.phase, 'pending');
  assert.deepEqual(machine.effects, [], 'and nothing is asked until the page is seen again');
});

test('the countdown ticks on the second and ends the code', () => {
  const machine = opened();
  machine.send({ type: 'get-code' });
  machine.wait(300);
  machine.answer(201, server.code('482913', 2));
  machine.ring('tick');
  assert.equal(machine.state.phase, 'pending');
  machine.ring('tick');
  assert.deepEqual([machine.state.phase, machine.state.revoked], ['expired', false]);
  machine.send({ type: 'get-code' });
  assert.equal(machine.asked(), 'POST /api/binding/token');
});

test('a code that expired while the page was away is not shown again', () => {
  const machine = withCode();
  machine.send({ type: 'hide' });
  machine.wait(700_000);
  machine.send({ type: 'show' });
  assert.equal(machine.state.phase, 'expired');
});

test('a message sent in time binds even after the code has expired here', () => {
  const machine = withCode();
  machine.wait(600_000);
  machine.send({ type: 'timer', name: 'tick' });
  assert.equal(machine.state.phase, 'expired');
  machine.answer(200, bound());
  assert.equal(machine.state.phase, 'bound');
});

test('the server still counting its last second does not bring the code back', () => {
  const machine = withCode();
  machine.wait(600_000);
  machine.send({ type: 'timer', name: 'tick' });
  machine.answer(200, pending('482913', 1));
  assert.equal(machine.state.phase, 'expired');
});

test('a code that ends before its time was revoked', () => {
  const machine = withCode();
  machine.answer(200, { ...UNBOUND, version: 3 });
  assert.deepEqual([machine.state.phase, machine.state.revoked], ['expired', true]);
});

test('the countdown follows the server, but does not flicker', () => {
  const machine = withCode();
  const expiresAt = machine.state.code?.expiresAt;
  machine.wait(10_000);
  machine.answer(200, pending('482913', 589));
  assert.equal(machine.state.code?.expiresAt, expiresAt);
  machine.answer(200, pending('482913', 300, 3));
  assert.equal(machine.state.code?.expiresAt, machine.now + 300_000);
});

test('polls follow each other at once when held, and slowly when the server does not hold them', () => {
  const machine = opened();
  machine.wait(25_000);
  machine.answer(200, UNBOUND);
  assert.equal(machine.asked(), 'GET /api/binding?wait=25&since=1');
  machine.wait(10);
  machine.answer(200, UNBOUND);
  assert.deepEqual(machine.effect('timer'), { type: 'timer', name: 'ask', delayMs: 4_990 });
  machine.ring('ask');
  machine.wait(10);
  machine.answer(200, { ...UNBOUND, version: 7 });
  assert.equal(machine.effect('timer')?.delayMs, 990);
});

test('a poll may be held as long as was asked for, and travel as long as any call', () => {
  const machine = opened();
  const poll = machine.effect('request');
  const heldMs = 1000 * Number(/wait=(\d+)/.exec(String(poll?.path))?.[1]);
  machine.send({ type: 'get-code' });
  const travelMs = Number(machine.effect('request')?.timeoutMs);
  assert.ok(heldMs > 0 && travelMs > 0);
  assert.ok(Number(poll?.timeoutMs) >= heldMs + travelMs, `${poll?.timeoutMs} ms for ${heldMs} held and ${travelMs} on the way`);
});

test('the first failed poll is silent, the second is said, and a good answer ends it', () => {
  const machine = withCode();
  machine.noAnswer();
  assert.equal(machine.state.trouble?.shown, false);
  machine.ring('ask');
  assert.equal(machine.asked(), 'GET /api/binding');
  machine.noAnswer();
  assert.equal(machine.state.trouble?.shown, true);
  assert.deepEqual([machine.state.phase, machine.state.code?.token], ['pending', '482913']);
  machine.ring('ask');
  machine.answer(200, pending('482913', 590));
  assert.equal(machine.state.trouble, null);
});

test('retries back off up to half a minute, a quarter more at most', () => {
  const machine = new Machine();
  machine.send({ ...LOAD, session: 'kept' });
  machine.send({ type: 'show' });
  /** @type {number[]} */
  const delays = [];
  for (let i = 0; i < 8; i += 1) {
    machine.noAnswer();
    assert.equal(machine.state.phase, 'failed');
    const delayMs = (machine.state.trouble?.retryAt ?? 0) - machine.now;
    delays.push(delayMs);
    machine.wait(delayMs);
    machine.send({ type: 'timer', name: 'ask' });
  }
  [1, 2, 4, 8, 16, 30, 30, 30].forEach((s, i) => {
    assert.ok(delays[i] >= s * 1000 && delays[i] <= s * 1250, `${delays[i]} ms for ${s} s`);
  });
});

test('Retry-After outweighs the back-off, and a tap does not', () => {
  const machine = new Machine();
  machine.send({ ...LOAD, session: 'kept' });
  machine.send({ type: 'show' });
  machine.answer(429, { code: 'too-many-requests' }, 42);
  assert.equal(machine.state.trouble?.retryAt, machine.now + 42_000);
  assert.deepEqual(machine.send({ type: 'retry' }), []);
  machine.wait(42_000);
  machine.send({ type: 'timer', name: 'ask' });
  assert.equal(machine.asked(), 'GET /api/binding');
});

test('an absurd Retry-After is cut', () => {
  const machine = opened();
  machine.answer(429, {}, 86_400);
  assert.equal(machine.state.trouble?.retryAt, machine.now + 600_000);
});

test('too many codes: the buttons wait as long as the server says', () => {
  const machine = opened();
  machine.send({ type: 'get-code' });
  machine.answer(429, { code: 'too-many-requests' }, 12);
  assert.equal(machine.state.notice, 'busy');
  assert.equal(machine.state.phase, 'unbound');
  machine.ring('ask');
  machine.answer(200, UNBOUND);
  machine.wait(10_000);
  machine.send({ type: 'get-code' });
  assert.equal(machine.asked(), null);
  machine.wait(1_000);
  machine.send({ type: 'timer', name: 'tick' });
  assert.equal(machine.state.notice, null);
  machine.send({ type: 'get-code' });
  assert.equal(machine.asked(), 'POST /api/binding/token');
});

for (const [status, code, problem] of /** @type {const} */ ([
  [503, 'wecom-unavailable', 'wecom'],
  [502, 'wechat-unavailable', 'wechat'],
  [403, 'login-refused', 'refused'],
  [503, 'unavailable', 'server'],
  [500, 'internal', 'server'],
  [404, 'not-found', 'unexpected'],
])) {
  test(`${status} ${code} is told as ${problem}, and the tap can be repeated`, () => {
    const machine = opened();
    machine.send({ type: 'get-code' });
    machine.answer(status, { code });
    assert.equal(machine.state.notice, problem);
    machine.send({ type: 'get-code' });
    assert.equal(machine.asked(), 'POST /api/binding/token');
    assert.equal(machine.state.notice, null);
  });
}

test('a refused login is not repeated by itself, but by a tap', () => {
  const machine = new Machine();
  machine.send(LOAD);
  machine.send({ type: 'show' });
  machine.send({ type: 'identified', id: 1, code: 'x' });
  machine.answer(403, { code: 'login-refused' });
  assert.deepEqual([machine.state.phase, machine.effect('timer')], ['failed', undefined]);
  machine.send({ type: 'retry' });
  assert.ok(machine.effect('identify'));
});

for (const body of [
  null,
  '<html>log in to the Wi-Fi</html>',
  {},
  { status: 'pending', version: 2 },
  { status: 'bound', version: 2, binding: null },
  { status: 'engaged', version: 2 },
  { status: 'unbound', version: '2' },
]) {
  test(`an answer without sense is a failure, not a state: ${JSON.stringify(body)}`, () => {
    const machine = opened();
    machine.answer(200, body);
    assert.deepEqual([machine.state.phase, machine.state.trouble?.problem], ['unbound', 'unexpected']);
    assert.ok(machine.effect('timer'));
  });
}

test('the network comes back: it is asked at once', () => {
  const machine = withCode();
  machine.send({ type: 'network', connected: false });
  assert.equal(machine.state.trouble?.problem, 'offline');
  assert.equal(machine.state.trouble?.shown, true);
  machine.send({ type: 'network', connected: true });
  assert.equal(machine.asked(), 'GET /api/binding');
});

test('unbinding is asked for, confirmed, done and said', () => {
  const machine = opened(bound());
  assert.deepEqual(machine.send({ type: 'unbind' }), [{ type: 'confirm-unbind' }]);
  machine.send({ type: 'unbind-confirmed' });
  assert.equal(machine.asked(), 'DELETE /api/binding');
  machine.answer(204, '');
  assert.deepEqual([machine.state.phase, machine.state.notice], ['unbound', 'unbound']);
  assert.equal(machine.asked(), 'GET /api/binding');
});

test('an unbinding that failed leaves the binding shown', () => {
  const machine = opened(bound());
  machine.send({ type: 'unbind-confirmed' });
  machine.noAnswer('timeout');
  assert.deepEqual([machine.state.phase, machine.state.notice], ['bound', 'timeout']);
});

test('undone in the chat: the page turns by itself and says so', () => {
  const machine = opened(bound());
  machine.answer(200, { ...UNBOUND, version: 9 });
  assert.deepEqual([machine.state.phase, machine.state.notice], ['unbound', 'undone']);
});
