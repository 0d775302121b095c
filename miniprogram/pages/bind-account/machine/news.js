/**
 * What good answers of the server change: the phase, the code, the binding. Part of the state machine, as pure as the
 * rest.
 */

const { readBinding, readCode } = require('../../../shared/answers');

/** Answers count whole seconds and take time on the way: a smaller correction of the countdown would only flicker. */
const RESYNC_MS = 2000;

/** @param {Bind.Draft} draft @param {any} body */
function takeStatus(draft, body) {
  const { state } = draft;
  if (typeof body?.version !== 'number') return false;
  switch (body.status) {
    case 'bound': {
      const binding = readBinding(body.binding);
      if (binding === null) return false;
      showBinding(draft, binding);
      break;
    }
    case 'pending': {
      const code = readCode(body.pending, draft.now);
      if (code === null) return false;
      if (!isOver(state, code, draft.now)) showCode(draft, code);
      break;
    }
    case 'unbound':
      showUnbound(draft);
      break;
    default:
      return false;
  }
  state.version = body.version;
  state.trouble = null;
  return true;
}

/** Our clock may have ended a code a moment before the server's. @param {Bind.State} state @param {Bind.Code} code @param {number} now */
function isOver(state, code, now) {
  return state.phase === 'expired' && state.code?.token === code.token && code.expiresAt - now <= RESYNC_MS;
}

/** @param {Bind.Draft} draft @param {Bind.Binding} binding */
function showBinding(draft, binding) {
  const { state } = draft;
  if (state.phase !== 'bound') {
    state.justBound = state.version !== null || state.phase === 'offered';
    if (state.notice !== 'already-bound') state.notice = null;
    state.templateAsked = false;
    if (state.justBound && state.visible) draft.effects.push({ type: 'vibrate' });
  }
  state.phase = 'bound';
  state.binding = binding;
  forgetCode(state);
}

/** @param {Bind.Draft} draft @param {Bind.Code} code */
function showCode(draft, code) {
  const { state } = draft;
  if (state.code?.token === code.token) {
    const drift = Math.abs(state.code.expiresAt - code.expiresAt);
    state.code = drift > RESYNC_MS ? code : { ...code, expiresAt: state.code.expiresAt };
  } else {
    forgetCode(state);
    state.code = code;
    state.notice = null;
  }
  state.phase = 'pending';
  state.revoked = false;
  state.binding = null;
  state.justBound = false;
}

/** @param {Bind.Draft} draft */
function showUnbound(draft) {
  const { state } = draft;
  if (state.phase === 'bound') {
    forgetBinding(state, 'undone');
  } else if (state.phase === 'pending') {
    state.phase = 'expired';
    state.revoked = state.code !== null && state.code.expiresAt - draft.now > RESYNC_MS;
    state.notice = null;
  } else if (state.phase !== 'expired') {
    state.phase = 'unbound';
    if (state.notice === 'already-bound') state.notice = null;
  }
}

/** @param {Bind.State} state @param {'unbound' | 'undone'} kind by the user here, or somewhere else */
function forgetBinding(state, kind) {
  state.phase = 'unbound';
  state.binding = null;
  state.justBound = false;
  state.notice = kind;
  forgetCode(state);
}

/** @param {Bind.State} state */
function forgetCode(state) {
  state.code = null;
  state.revoked = false;
  state.copied = false;
  state.linkCopied = false;
  state.opened = false;
  state.linkShown = false;
}

module.exports = { forgetBinding, showCode, takeStatus };
