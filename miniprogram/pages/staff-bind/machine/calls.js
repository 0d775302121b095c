/**
 * Calls to the server and to WeCom, one at a time, with the login that they may need, and what their answers change. Part
 * of the state machine, as pure as the rest.
 */

const { isSuccess, problemOf, readBinding, retryAfterMs } = require('../../../shared/answers');

const CALL_TIMEOUT_MS = 15000;
/** WeCom may ask the employee before it sends. */
const SEND_TIMEOUT_MS = 60000;
const RETRY_FIRST_MS = 1000;
/** Where this mini program may be opened from, as WeCom names it: the toolbar of a customer-service chat. */
const ENTRY = 'single_kf_tools';

/** Answers after which nothing can be done here, by the server's name. @type {Map<string, Staff.Stop>} */
const STOPS = new Map([
  ['not-staff', 'not-staff'],
  ['method-off', 'off'],
  ['customer-unknown', 'unknown'],
]);
/** Refusals of what was asked for. @type {Staff.Notice[]} */
const REFUSALS = ['code-invalid', 'conflict', 'already-bound', 'other-person'];

/** @param {Staff.Draft} draft @param {Staff.Want} want */
function begin(draft, want) {
  const { state } = draft;
  interrupt(draft);
  if (want !== 'look') state.notice = null;
  state.lastId += 1;
  state.call = {
    id: state.lastId,
    want,
    stage: state.session === null ? 'identify' : 'locate',
    loginRepeated: false,
    typed: state.typed.trim(),
    path: '',
  };
  send(draft, state.call);
}

/** @param {Staff.Draft} draft */
function interrupt(draft) {
  const { state } = draft;
  if (state.call === null) return;
  draft.effects.push({ type: 'abort', id: state.call.id });
  state.call = null;
}

/** What the stage of a call wants done. @param {Staff.Draft} draft @param {Staff.Call} call */
function send({ state, effects }, call) {
  const { id } = call;
  switch (call.stage) {
    case 'identify':
      effects.push({ type: 'identify', id, timeoutMs: CALL_TIMEOUT_MS });
      return;
    case 'locate':
    case 'recheck':
      effects.push({ type: 'locate', id, timeoutMs: CALL_TIMEOUT_MS });
      return;
    case 'send':
      effects.push({ type: 'send-card', id, path: call.path, timeoutMs: SEND_TIMEOUT_MS });
      return;
    default:
      effects.push({ type: 'request', id, ...requestOf(call, state.customerId ?? ''), session: state.session, timeoutMs: CALL_TIMEOUT_MS });
  }
}

/** @param {Staff.Call} call @param {string} customerId @returns {Pick<Bind.Request, 'method' | 'path' | 'body'>} */
function requestOf({ want, typed }, customerId) {
  if (want === 'card') return { method: 'POST', path: '/api/staff/tickets', body: { external_userid: customerId } };
  if (want === 'bind') return { method: 'POST', path: '/api/staff/bindings', body: { external_userid: customerId, code: typed } };
  return { method: 'GET', path: `/api/staff/customers/${encodeURIComponent(customerId)}`, body: null };
}

/** @param {Staff.Draft} draft @param {Staff.Call} current @param {Staff.Reply} event */
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
        path: '/api/staff/login',
        body: { code: event.code },
        session: null,
        timeoutMs: CALL_TIMEOUT_MS,
      });
      return;
    case 'located':
      if (call.stage === 'locate' || call.stage === 'recheck') takePlace(draft, call, event);
      return;
    case 'lost':
      stopAt(state, event.stop);
      return;
    case 'card-sent':
    case 'card-failed':
    case 'card-cancelled':
      if (call.stage === 'send') takeSent(draft, event.type);
      return;
    case 'no-answer':
      fail(draft, event.problem, 0);
      return;
    case 'answer':
      if (call.stage === 'login') takeLogin(draft, call, event);
      else if (call.stage === 'ask') takeAnswer(draft, call, event);
  }
}

/** @param {Staff.Draft} draft @param {Staff.Call} call @param {{ entry: string, customerId: string }} place */
function takePlace(draft, call, { entry, customerId }) {
  const { state } = draft;
  if (entry !== ENTRY) {
    stopAt(state, 'misplaced');
  } else if (customerId === '') {
    stopAt(state, 'no-customer');
  } else if (customerId === state.customerId) {
    call.stage = call.stage === 'locate' ? 'ask' : 'send';
    send(draft, call);
  } else {
    const wasFor = state.customerId;
    state.customerId = customerId;
    state.customer = null;
    state.typed = '';
    state.phase = 'starting';
    state.notice = wasFor === null ? null : 'switched';
    state.call = null;
    begin(draft, 'look');
  }
}

/** @param {Staff.Draft} draft @param {Staff.Call} call @param {Bind.Answer} answer */
function takeLogin(draft, call, answer) {
  const { state } = draft;
  const session = answer.body?.session;
  if (isSuccess(answer.status) && typeof session === 'string') {
    state.session = session;
    state.unproven = true;
    call.stage = 'locate';
    send(draft, call);
  } else if (answer.status === 401 && !call.loginRepeated) {
    // WeCom's code lives five minutes and works once: a new one costs nothing.
    call.loginRepeated = true;
    call.stage = 'identify';
    send(draft, call);
  } else if (!takeStop(state, answer)) {
    fail(draft, problemOf(answer), retryAfterMs(answer));
  }
}

/** @param {Staff.Draft} draft @param {Staff.Call} call @param {Bind.Answer} answer */
function takeAnswer(draft, call, answer) {
  const { state } = draft;
  if (answer.status === 401) {
    const logInAgain = !state.unproven;
    state.session = null;
    state.unproven = false;
    if (logInAgain) {
      call.stage = 'identify';
      send(draft, call);
    } else {
      fail(draft, 'session', 0);
    }
    return;
  }
  state.unproven = false;
  if (isSuccess(answer.status)) {
    if (!succeed(draft, call, answer.body)) fail(draft, 'unexpected', 0);
  } else if (!takeStop(state, answer) && !takeRefusal(draft, call, answer)) {
    fail(draft, problemOf(answer), retryAfterMs(answer));
  }
}

/**
 * Takes a good answer in; false if it makes no sense.
 * @param {Staff.Draft} draft @param {Staff.Call} call @param {any} body
 */
function succeed(draft, call, body) {
  const { state } = draft;
  if (call.want === 'card') {
    if (typeof body?.path !== 'string') return false;
    call.path = body.path;
    call.stage = 'recheck';
    send(draft, call);
    return true;
  }
  const told = call.want === 'bind' ? body : body?.binding;
  const binding = bindingOf(told);
  if (call.want === 'bind') {
    if (binding === null) return false;
    state.customer = { nickname: state.customer?.nickname ?? null, binding };
    state.typed = '';
    state.notice = 'bound';
  } else {
    // An answer about somebody else would be no news of this one.
    if (body?.external_userid !== state.customerId || (told !== null && binding === null)) return false;
    state.customer = { nickname: text(body.nickname), binding };
    if (binding !== null && state.notice === 'sent') state.notice = null;
    state.phase = 'customer';
    state.stop = null;
  }
  state.call = null;
  return true;
}

/** @param {any} told @returns {Staff.Binding | null} */
function bindingOf(told) {
  const binding = readBinding(told);
  return binding === null ? null : { method: binding.method, boundAt: binding.boundAt, label: text(told.label) };
}

/** @param {Staff.State} state @param {Bind.Answer} answer */
function takeStop(state, answer) {
  const stop = answer.status === 403 || answer.status === 404 ? STOPS.get(answer.body?.code) : undefined;
  if (stop === undefined) return false;
  stopAt(state, stop);
  return true;
}

/** @param {Staff.Draft} draft @param {Staff.Call} call @param {Bind.Answer} answer */
function takeRefusal(draft, call, answer) {
  const { state } = draft;
  const notice = [403, 404, 409].includes(answer.status) ? REFUSALS.find((name) => name === answer.body?.code) : undefined;
  if (notice === undefined || call.want === 'look') return false;
  state.call = null;
  state.notice = notice;
  // Somebody was quicker: show what holds now.
  if (notice === 'already-bound' || notice === 'conflict') begin(draft, 'look');
  return true;
}

/** @param {Staff.Draft} draft @param {'card-sent' | 'card-failed' | 'card-cancelled'} how */
function takeSent({ state }, how) {
  state.call = null;
  if (how !== 'card-cancelled') state.notice = how === 'card-sent' ? 'sent' : 'not-sent';
}

/** @param {Staff.State} state @param {Staff.Stop} stop */
function stopAt(state, stop) {
  state.call = null;
  state.phase = 'stopped';
  state.stop = stop;
  state.notice = null;
}

/** What is shown stays; only a page that never had an answer says so in full. @param {Staff.Draft} draft @param {Bind.Problem} problem @param {number} waitMs */
function fail({ state, now }, problem, waitMs) {
  state.call = null;
  if (problem === 'busy') state.heldUntil = now + Math.max(waitMs, RETRY_FIRST_MS);
  if (state.customer === null) stopAt(state, problem);
  else state.notice = problem;
}

/** @param {any} value */
function text(value) {
  return typeof value === 'string' && value !== '' ? value : null;
}

module.exports = { begin, interrupt, takeReply };
