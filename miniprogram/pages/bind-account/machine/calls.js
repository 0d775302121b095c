/**
 * Calls to the server: one at a time, with the login that they may need, and what follows when they end. Part of the
 * state machine, as pure as the rest; what a good answer changes on the screen is `news.js`'s business.
 */

const { isSuccess, problemOf, readCode, retryAfterMs } = require('../../../shared/answers');
const { isOfCard, takeOffer, takeRefusal } = require('./card');
const { forgetBinding, showCode, takeStatus } = require('./news');

/** How long the server may hold a poll, in seconds; it allows 30. */
const POLL_WAIT_S = 25;
/** Beyond `POLL_WAIT_S` a slow network gets as long as for any call. */
const POLL_TIMEOUT_MS = 40000;
const CALL_TIMEOUT_MS = 15000;
/** From one poll's start to the next, however fast the answers come. */
const POLL_SPACING_MS = 1000;
/** The same where the server doesn't hold the poll and has nothing new: it is shutting down, or a proxy cuts it. */
const POLL_SPACING_IDLE_MS = 5000;
const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 30000;

/** What only looks may be interrupted and repeated at will. @param {Bind.Want} want */
function isAsking(want) {
  return want === 'status' || want === 'poll' || want === 'look';
}

/**
 * What the page asks by itself: for a card first, where there is one, and nothing while the user reads why it is refused.
 * @param {Bind.Draft} draft @param {'status' | 'poll'} want
 */
function beginAsking(draft, want) {
  const { ticket, phase } = draft.state;
  if (phase !== 'refused') begin(draft, ticket === null ? want : 'look');
}

/** @param {Bind.Draft} draft @param {Bind.Want} want */
function begin(draft, want) {
  const { state } = draft;
  interrupt(draft);
  draft.effects.push({ type: 'stop', name: 'ask' });
  if (!isAsking(want)) state.notice = null;
  state.lastId += 1;
  state.call = {
    id: state.lastId,
    want,
    stage: state.session === null ? 'identify' : 'ask',
    loginRepeated: false,
    startedAt: draft.now,
  };
  send(draft, state.call);
}

/** @param {Bind.Draft} draft */
function interrupt(draft) {
  const { state } = draft;
  if (state.call === null) return;
  draft.effects.push({ type: 'abort', id: state.call.id });
  state.call = null;
}

/** @param {Bind.Draft} draft @param {Bind.Call} call */
function send(draft, call) {
  const { id } = call;
  if (call.stage === 'identify') {
    draft.effects.push({ type: 'identify', id, timeoutMs: CALL_TIMEOUT_MS });
    return;
  }
  const { method, path, body, timeoutMs } = callOf(call.want, draft.state);
  draft.effects.push({ type: 'request', id, method, path, body, session: draft.state.session, timeoutMs });
}

/**
 * @param {Bind.Want} want @param {Bind.State} state
 * @returns {Pick<Bind.Request, 'method' | 'path' | 'body' | 'timeoutMs'>}
 */
function callOf(want, { version, ticket }) {
  const [path, body, timeoutMs] = ['/api/binding', null, CALL_TIMEOUT_MS];
  if (want === 'make') return { method: 'POST', path: `${path}/token`, body, timeoutMs };
  if (want === 'renew') return { method: 'POST', path: `${path}/token`, body: { new: true }, timeoutMs };
  if (want === 'look') return { method: 'GET', path: `${path}/ticket?ticket=${encodeURIComponent(ticket ?? '')}`, body, timeoutMs };
  if (want === 'accept') return { method: 'POST', path: `${path}/ticket`, body: { ticket }, timeoutMs };
  if (want === 'unbind') return { method: 'DELETE', path, body, timeoutMs };
  if (want === 'status' || version === null) return { method: 'GET', path, body, timeoutMs };
  const query = `wait=${POLL_WAIT_S}&since=${version}`;
  return { method: 'GET', path: `${path}?${query}`, body, timeoutMs: POLL_TIMEOUT_MS };
}

/** @param {Bind.Draft} draft @param {Bind.Call} current @param {Bind.Reply} event */
function takeReply(draft, current, event) {
  const { state } = draft;
  const call = { ...current };
  state.call = call;
  switch (event.type) {
    case 'identified':
      if (call.stage !== 'identify') return;
      call.stage = 'login';
      draft.effects.push({
        type: 'request',
        id: call.id,
        method: 'POST',
        path: '/api/login',
        body: { code: event.code },
        session: null,
        timeoutMs: CALL_TIMEOUT_MS,
      });
      return;
    case 'session':
      if (call.stage === 'identify') takeSession(draft, call, event.session);
      return;
    case 'no-answer':
      fail(draft, call, event.problem, 0);
      return;
    case 'answer':
      if (call.stage === 'login') takeLogin(draft, call, event);
      else if (call.stage === 'ask') takeAnswer(draft, call, event);
  }
}

/** @param {Bind.Draft} draft @param {Bind.Call} call @param {string} session */
function takeSession(draft, call, session) {
  draft.state.session = session;
  draft.state.unproven = true;
  draft.effects.push({ type: 'remember', session });
  call.stage = 'ask';
  send(draft, call);
}

/** @param {Bind.Draft} draft @param {Bind.Call} call @param {Bind.Answer} answer */
function takeLogin(draft, call, answer) {
  const session = answer.body?.session;
  if (isSuccess(answer.status) && typeof session === 'string') {
    takeSession(draft, call, session);
  } else if (answer.status === 401 && !call.loginRepeated) {
    // WeChat's code lives five minutes and works once. A lost answer may have spent it: a new one costs nothing.
    call.loginRepeated = true;
    call.stage = 'identify';
    send(draft, call);
  } else {
    fail(draft, call, problemOf(answer), retryAfterMs(answer));
  }
}

/** @param {Bind.Draft} draft @param {Bind.Call} call @param {Bind.Answer} answer */
function takeAnswer(draft, call, answer) {
  const { state } = draft;
  if (answer.status === 401) {
    const logInAgain = !state.unproven;
    state.session = null;
    state.unproven = false;
    draft.effects.push({ type: 'remember', session: null });
    if (logInAgain) {
      call.stage = 'identify';
      send(draft, call);
    } else {
      fail(draft, call, 'session', 0);
    }
    return;
  }
  state.unproven = false;
  if (answer.status === 409 && (call.want === 'make' || call.want === 'renew')) {
    state.call = null;
    begin(draft, 'status');
  } else if (isOfCard(call.want) && takeRefusal(draft.state, answer)) {
    state.call = null;
    if (state.phase !== 'refused' && state.visible) begin(draft, 'status');
  } else if (!isSuccess(answer.status)) {
    fail(draft, call, problemOf(answer), retryAfterMs(answer));
  } else if (!succeed(draft, call, answer.body)) {
    fail(draft, call, 'unexpected', 0);
  }
}

/**
 * Takes a good answer in; false if it makes no sense.
 * @param {Bind.Draft} draft @param {Bind.Call} call @param {any} body
 */
function succeed(draft, call, body) {
  const { state } = draft;
  const { version } = state;
  switch (call.want) {
    case 'status':
    case 'poll':
      if (!takeStatus(draft, body)) return false;
      break;
    case 'make':
    case 'renew': {
      const code = readCode(body, draft.now);
      if (code === null) return false;
      showCode(draft, code);
      break;
    }
    case 'unbind':
      forgetBinding(state, 'unbound');
      break;
    case 'look':
      if (!takeOffer(state, body)) return false;
      break;
    case 'accept':
      if (!takeStatus(draft, body)) return false;
      state.ticket = null;
      state.offer = null;
  }
  goOn(draft, call, state.version !== version);
  return true;
}

/**
 * Ends a call that went well. After a change of ours the status comes first, for the version: a poll from the old one
 * would be answered at once, and the next one wait its turn just when the user is about to send the code.
 * @param {Bind.Draft} draft @param {Bind.Call} call @param {boolean} news
 */
function goOn(draft, call, news) {
  const { state } = draft;
  state.call = null;
  if (!state.visible || call.want === 'look') return;
  if (call.want !== 'poll') {
    begin(draft, call.want === 'status' ? 'poll' : 'status');
    return;
  }
  const spent = draft.now - call.startedAt;
  const spacing = news || spent >= POLL_SPACING_IDLE_MS ? POLL_SPACING_MS : POLL_SPACING_IDLE_MS;
  if (spent >= spacing) begin(draft, 'poll');
  else draft.effects.push({ type: 'timer', name: 'ask', delayMs: spacing - spent });
}

/** @param {Bind.Draft} draft @param {Bind.Call} call @param {Bind.Problem} problem @param {number} waitMs */
function fail(draft, call, problem, waitMs) {
  const { state } = draft;
  state.call = null;
  if (isAsking(call.want)) {
    failAsking(draft, problem, waitMs, call.want === 'status');
    return;
  }
  state.notice = problem;
  // It may have bound all the same; the user may tap again, which is no second use.
  if (call.want === 'accept') state.accepted = true;
  if (problem === 'busy') state.heldUntil = draft.now + Math.max(waitMs, RETRY_FIRST_MS);
  if (state.visible && call.want !== 'accept') draft.effects.push({ type: 'timer', name: 'ask', delayMs: RETRY_FIRST_MS });
}

/**
 * Nothing is taken from the screen because asking failed; only a page that never had an answer says so in full.
 * @param {Bind.Draft} draft @param {Bind.Problem} problem @param {number} waitMs @param {boolean} shown
 */
function failAsking(draft, problem, waitMs, shown) {
  const { state } = draft;
  const failures = (state.trouble?.failures ?? 0) + 1;
  // Up to a quarter more, lest all phones come back at once after a restart. The time is the dice.
  const spread = 1 + (draft.now % 1000) / 4000;
  const backOffMs = Math.min(RETRY_FIRST_MS * 2 ** (failures - 1), RETRY_MAX_MS) * spread;
  const delayMs = Math.max(Math.round(backOffMs), waitMs);
  const byItself = state.visible && problem !== 'refused';
  state.trouble = {
    problem,
    failures,
    shown: shown || failures > 1 || (state.trouble?.shown ?? false),
    retryAt: byItself ? draft.now + delayMs : null,
  };
  if (state.version === null && state.phase !== 'offered') state.phase = 'failed';
  if (byItself) draft.effects.push({ type: 'timer', name: 'ask', delayMs });
}

module.exports = { begin, beginAsking, failAsking, interrupt, isAsking, takeReply };
