/**
 * What the employees' page does, as a pure function: an event goes in, the next state and the effects to carry out come
 * out. `wecom.js` carries them out; `view.js` says what a state looks like.
 *
 * One call at a time. Before anything is done for a customer, WeCom is asked again whose chat is open: a card must not
 * reach, and a code not bind, another chat than the one on the screen.
 */

const { begin, interrupt, takeReply } = require('./machine/calls');

/** The longest code that is typed; the server's are shorter. */
const TYPED_MAX = 64;

/** @returns {Staff.State} */
function initialState() {
  return {
    phase: 'starting',
    stop: null,
    visible: false,
    inWecom: false,
    session: null,
    unproven: false,
    call: null,
    lastId: 0,
    customerId: null,
    customer: null,
    typed: '',
    notice: null,
    heldUntil: 0,
    ticking: false,
  };
}

/**
 * @param {Staff.State} before
 * @param {Staff.Event} event
 * @returns {{ state: Staff.State, effects: Staff.Effect[] }}
 */
function step(before, event) {
  /** @type {Staff.Draft} */
  const draft = { state: { ...before }, effects: [], now: event.now };
  take(draft, event);
  if (draft.state.notice === 'busy' && draft.now >= draft.state.heldUntil) draft.state.notice = null;
  keepTicking(draft);
  return { state: draft.state, effects: draft.effects };
}

/** @param {Staff.Draft} draft @param {Staff.Event} event */
function take(draft, event) {
  const { state } = draft;
  switch (event.type) {
    case 'load':
      state.inWecom = event.inWecom;
      if (!event.inWecom) [state.phase, state.stop] = ['stopped', 'outside'];
      return;
    case 'show':
      state.visible = true;
      // Another chat may be open than before.
      if (state.inWecom && state.call === null) begin(draft, 'look');
      return;
    case 'hide':
      state.visible = false;
      if (state.call?.want === 'look') interrupt(draft);
      return;
    case 'timer':
      state.ticking = false;
      return;
    case 'typed':
      state.typed = event.text.slice(0, TYPED_MAX);
      if (state.notice !== 'busy') state.notice = null;
      return;
    case 'refresh':
      if (state.inWecom && state.call === null) {
        state.notice = null;
        begin(draft, 'look');
      }
      return;
    case 'send-card':
    case 'bind':
      if (mayAct(draft)) act(draft, event.type);
      return;
    case 'bind-confirmed':
      // The question named a customer; nobody else is meant.
      if (mayAct(draft) && event.customerId === state.customerId && event.code === state.typed.trim()) begin(draft, 'bind');
      return;
    default:
      if (state.call !== null && state.call.id === event.id) takeReply(draft, state.call, event);
  }
}

/** @param {Staff.Draft} draft */
function mayAct({ state, now }) {
  const { customer } = state;
  return state.call === null && state.phase === 'customer' && customer !== null && customer.binding === null && now >= state.heldUntil;
}

/** @param {Staff.Draft} draft @param {'send-card' | 'bind'} tap */
function act(draft, tap) {
  const { customerId, customer, typed } = draft.state;
  const code = typed.trim();
  if (tap === 'send-card') begin(draft, 'card');
  else if (customerId !== null && customer !== null && code !== '') {
    draft.effects.push({ type: 'confirm-bind', customerId, nickname: customer.nickname, code });
  }
}

/** @param {Staff.Draft} draft */
function keepTicking({ state, effects, now }) {
  if (!state.visible || now >= state.heldUntil) {
    if (state.ticking) effects.push({ type: 'stop-ticking' });
    state.ticking = false;
  } else if (!state.ticking) {
    effects.push({ type: 'tick', delayMs: (state.heldUntil - now) % 1000 || 1000 });
    state.ticking = true;
  }
}

module.exports = { initialState, step };
