/**
 * What the page does, as a pure function: an event goes in, the next state and the effects to carry out come out.
 * No `wx`, no clock, no timer and no text in here: events bring the time, effects are carried out by `wechat.js`, and
 * `view.js` says what a state looks like.
 *
 * At most one call to the server runs at a time. While the page is visible, that is the long poll; what the user taps
 * interrupts it, and it goes on afterwards. A call that was interrupted or overtaken is known by its id, and its
 * answer is dropped: no late answer can hide a fresh code.
 *
 *     starting --> unbound --> pending --> bound
 *        |            ^          |  ^        |
 *        v            |          v  |        |
 *      failed         |        expired       |
 *                     +----------------------+
 *
 * Where a card opened the page, its ticket goes first: starting --> offered, a question, or refused. A yes leads to
 * bound, a no to where the page would be without the card. While a ticket stands, nothing else is asked of the server.
 *
 * A further way to bind adds a phase, its events, a want with its row in `callOf`, and a case where answers are taken.
 */

const { begin, beginAsking, failAsking, interrupt, isAsking, takeReply } = require('./machine/calls');
const { putAside } = require('./machine/card');

/** @returns {Bind.State} */
function initialState() {
  return {
    phase: 'starting',
    visible: false,
    canOpenChat: true,
    session: null,
    unproven: false,
    call: null,
    lastId: 0,
    version: null,
    code: null,
    revoked: false,
    copied: false,
    linkCopied: false,
    opened: false,
    linkShown: false,
    ticket: null,
    offer: null,
    refusal: null,
    accepted: false,
    templateId: '',
    templateAsked: false,
    windowOff: false,
    binding: null,
    justBound: false,
    notice: null,
    trouble: null,
    heldUntil: 0,
    ticking: false,
  };
}

/**
 * @param {Bind.State} before
 * @param {Bind.Event} event
 * @returns {{ state: Bind.State, effects: Bind.Effect[] }}
 */
function step(before, event) {
  /** @type {Bind.Draft} */
  const draft = { state: { ...before }, effects: [], now: event.now };
  take(draft, event);
  lapse(draft);
  keepTicking(draft);
  return { state: draft.state, effects: draft.effects };
}

/** @param {Bind.Draft} draft @param {Bind.Event} event */
function take(draft, event) {
  const { state } = draft;
  switch (event.type) {
    case 'load':
      state.canOpenChat = event.canOpenChat;
      state.session = event.session;
      state.templateId = event.templateId;
      state.ticket = event.ticket;
      return;
    case 'show':
      state.visible = true;
      if (state.call === null) beginAsking(draft, 'status');
      return;
    case 'hide':
      state.visible = false;
      if (state.call !== null && isAsking(state.call.want)) interrupt(draft);
      draft.effects.push({ type: 'stop', name: 'ask' });
      return;
    case 'network':
      takeNetwork(draft, event.connected);
      return;
    case 'timer':
      if (event.name === 'tick') state.ticking = false;
      else if (state.visible && state.call === null) beginAsking(draft, state.trouble === null ? 'poll' : 'status');
      return;
    case 'identified':
    case 'session':
    case 'answer':
    case 'no-answer':
      if (state.call !== null && state.call.id === event.id) takeReply(draft, state.call, event);
      return;
    case 'copied':
    case 'copy-failed':
    case 'chat-opened':
    case 'chat-failed':
    case 'announced':
      takeOutcome(state, event);
      return;
    default:
      takeTap(draft, event.type);
  }
}

/** @param {Bind.Draft} draft @param {Bind.TapName} tap */
function takeTap(draft, tap) {
  const { state } = draft;
  const idle = state.call === null || isAsking(state.call.want);
  const mayMake = idle && draft.now >= state.heldUntil;
  switch (tap) {
    case 'get-code':
      if (mayMake) getCode(draft);
      return;
    case 'new-code':
      if (mayMake && state.phase === 'pending') begin(draft, 'renew');
      return;
    case 'unbind':
      if (idle && state.phase === 'bound') draft.effects.push({ type: 'confirm-unbind' });
      return;
    case 'unbind-confirmed':
      if (idle && state.phase === 'bound') begin(draft, 'unbind');
      return;
    case 'accept':
      if (mayMake && state.phase === 'offered') begin(draft, 'accept');
      return;
    case 'decline':
      if (idle) decline(draft);
      return;
    case 'retry':
      takeRetry(draft);
      return;
    default:
      if (state.phase === 'pending' && state.code !== null) useCode(draft, tap, state.code);
  }
}

/** @param {Bind.Draft} draft */
function getCode(draft) {
  const { phase } = draft.state;
  if (phase !== 'unbound' && phase !== 'expired') return;
  begin(draft, 'make');
  askToSubscribe(draft);
}

/** No to a card, or on from one that is refused. @param {Bind.Draft} draft */
function decline(draft) {
  const { state } = draft;
  if (state.phase !== 'offered' && state.phase !== 'refused') return;
  putAside(state, state.phase === 'offered' ? 'declined' : null);
  begin(draft, 'status');
}

/**
 * Asked on the tap that gets a code: what that tap wants needs no right of a tap, so that WeChat's box may have it. The
 * tap that opens the chat keeps its own. Whatever the user answers, the code comes.
 * @param {Bind.Draft} draft
 */
function askToSubscribe({ state, effects }) {
  if (state.templateId === '' || state.templateAsked) return;
  state.templateAsked = true;
  effects.push({ type: 'subscribe', templateId: state.templateId });
}

/** @param {Bind.Draft} draft @param {'copy-code' | 'copy-link' | 'open-chat'} tap @param {Bind.Code} code */
function useCode({ state, effects }, tap, { token, url, corpId }) {
  if (tap === 'copy-code') effects.push({ type: 'copy', what: 'code', text: token });
  else if (tap === 'copy-link') effects.push({ type: 'copy', what: 'link', text: url });
  else if (state.canOpenChat) {
    effects.push({ type: 'open-chat', url, corpId });
    // After the chat, which must not wait; whether it arrives is nobody's business here.
    if (!state.windowOff && state.session !== null) effects.push({ type: 'announce', session: state.session });
  }
}

/** What became of a tap on the phone. @param {Bind.State} state @param {Bind.Outcome} event */
function takeOutcome(state, event) {
  switch (event.type) {
    case 'copied':
      // One clipboard: with the link in it, or a code of before, this code is there no more.
      state.copied = event.text === state.code?.token;
      state.linkCopied ||= event.what === 'link';
      state.notice = null;
      return;
    case 'copy-failed':
      state.notice = `${event.what}-copy-failed`;
      return;
    case 'chat-opened':
      state.opened = true;
      state.notice = null;
      return;
    case 'chat-failed':
      state.linkShown = true;
      state.notice = 'chat-failed';
      return;
    case 'announced':
      state.windowOff ||= event.status === 404 && event.code === 'method-off';
  }
}

/** @param {Bind.Draft} draft */
function takeRetry(draft) {
  const { state } = draft;
  if (state.call !== null && state.call.want !== 'poll') return;
  const { trouble } = state;
  if (trouble !== null && trouble.problem === 'busy' && trouble.retryAt !== null && draft.now < trouble.retryAt) return;
  beginAsking(draft, 'status');
}

/** A changed network kills open connections without a word. @param {Bind.Draft} draft @param {boolean} connected */
function takeNetwork(draft, connected) {
  const { state } = draft;
  if (!state.visible || (state.call !== null && !isAsking(state.call.want))) return;
  if (connected) {
    beginAsking(draft, 'status');
  } else if (state.call !== null) {
    interrupt(draft);
    failAsking(draft, 'offline', 0, true);
  }
}

/** Whatever the event: what is over, is over. @param {Bind.Draft} draft */
function lapse(draft) {
  const { state } = draft;
  if (state.phase === 'pending' && state.code !== null && draft.now >= state.code.expiresAt) {
    state.phase = 'expired';
    state.revoked = false;
    state.notice = null;
  }
  if (state.notice === 'busy' && draft.now >= state.heldUntil) state.notice = null;
}

/** One timer for all that counts down on the screen, on the beat of what it counts. @param {Bind.Draft} draft */
function keepTicking(draft) {
  const { state } = draft;
  const until = state.visible ? countedTime(state, draft.now) : null;
  if (until === null) {
    if (state.ticking) draft.effects.push({ type: 'stop', name: 'tick' });
    state.ticking = false;
  } else if (!state.ticking) {
    draft.effects.push({ type: 'timer', name: 'tick', delayMs: (until - draft.now) % 1000 || 1000 });
    state.ticking = true;
  }
}

/** @param {Bind.State} state @param {number} now */
function countedTime(state, now) {
  if (state.phase === 'pending' && state.code !== null) return state.code.expiresAt;
  if (state.heldUntil > now) return state.heldUntil;
  const retryAt = state.trouble?.shown ? state.trouble.retryAt : null;
  return retryAt !== null && retryAt > now ? retryAt : null;
}

module.exports = { initialState, step };
