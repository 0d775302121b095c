/**
 * A card of the chat opened the page: whom its ticket would bind, why it does not, and how it is put aside. Part of the
 * state machine, as pure as the rest. A ticket binds by the user's tap alone.
 */

/** Refusals that no repeating mends, by the server's name. @type {Map<string, Bind.Refusal>} */
const REFUSALS = new Map([
  ['ticket-invalid', 'invalid'],
  ['method-off', 'off'],
  ['conflict', 'conflict'],
  ['other-person', 'other-person'],
]);

/** @param {Bind.Want} want */
function isOfCard(want) {
  return want === 'look' || want === 'accept';
}

/** @param {Bind.State} state @param {any} body */
function takeOffer(state, body) {
  if (typeof body?.expires_at !== 'string') return false;
  const { nickname } = body;
  state.offer = {
    nickname: typeof nickname === 'string' && nickname !== '' ? nickname : null,
    expiresAt: body.expires_at,
  };
  state.phase = 'offered';
  state.trouble = null;
  return true;
}

/**
 * False where the answer is no refusal of this card: then it is a failure like any other.
 * @param {Bind.State} state @param {Bind.Answer} answer
 */
function takeRefusal(state, answer) {
  const code = answer.body?.code;
  if (answer.status === 409 && code === 'already-bound') {
    putAside(state, 'already-bound');
    return true;
  }
  const refusal = [403, 404, 409].includes(answer.status) ? REFUSALS.get(code) : undefined;
  if (refusal === undefined) return false;
  // Used up, and perhaps by us: the status knows.
  if (refusal === 'invalid' && state.accepted) {
    putAside(state, null);
    return true;
  }
  putAside(state, null);
  state.phase = 'refused';
  state.refusal = refusal;
  return true;
}

/** The page begins as if there were no card. @param {Bind.State} state @param {'declined' | 'already-bound' | null} notice */
function putAside(state, notice) {
  state.phase = 'starting';
  state.ticket = null;
  state.offer = null;
  state.refusal = null;
  state.accepted = false;
  state.trouble = null;
  state.notice = notice;
}

module.exports = { isOfCard, putAside, takeOffer, takeRefusal };
