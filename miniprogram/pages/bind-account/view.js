/**
 * What a state looks like: the data that `bind-account.wxml` draws. Pure, as the state machine is; it decides nothing.
 */

const { fill, localTime, secondsLeft, twoDigits } = require('../../shared/format');
const texts = require('../../texts');

/** From here on the countdown warns. */
const ENDING_S = 60;
/** Characters that fit one line in the large, and in the middle size of the code, on the narrowest phone. */
const LARGE_CHARACTERS = 8;
const MIDDLE_CHARACTERS = 12;
/** @type {Bind.Notice[]} */
const GOOD_NOTICES = ['unbound', 'undone', 'declined', 'already-bound'];

/**
 * @param {Bind.State} state
 * @param {number} now the phone's clock, in milliseconds
 * @param {{ unbindWord: string }} config
 */
function view(state, now, config) {
  const { phase, code, binding } = state;
  const held = secondsLeft(state.heldUntil, now);
  return {
    phase,
    hero: hero(state),
    status: statusLine(state, now),
    steps: stepsOf(state),
    make: phase === 'unbound' || phase === 'expired' ? makeButton(state, held) : null,
    pending: phase === 'pending' && code !== null ? pendingView(state, code, now, held) : null,
    card: cardView(state, held),
    bound: phase === 'bound' && binding !== null ? boundView(state, binding, held, config.unbindWord) : null,
  };
}

/**
 * The head of the phases that have one.
 * @param {Bind.State} state
 * @returns {{ glyph: string, title: string, lead: string } | null}
 */
function hero(state) {
  const { phase, trouble, revoked, justBound, offer, refusal } = state;
  if (phase === 'unbound') return { glyph: 'chat', title: texts.unbound.title, lead: texts.unbound.lead };
  if (phase === 'expired') return { glyph: 'clock', ...(revoked ? texts.revoked : texts.expired) };
  if (phase === 'failed') return { glyph: 'cut', ...texts.problems[trouble?.problem ?? 'server'] };
  if (phase === 'offered' && offer !== null) return { glyph: 'chat', title: texts.card.title, lead: offerLead(offer) };
  if (phase === 'refused' && refusal !== null) return { glyph: 'cut', ...texts.card.refusals[refusal] };
  if (phase !== 'bound') return null;
  return { glyph: 'tick', title: justBound ? texts.bound.justTitle : texts.bound.title, lead: texts.bound.lead };
}

/** Plainly whose chat it is: a card may have been forwarded. @param {Bind.Offer} offer */
function offerLead({ nickname }) {
  return nickname === null ? texts.card.leadUnnamed : fill(texts.card.lead, { nickname });
}

/** @param {Bind.State} state @param {number} held */
function cardView({ phase, offer, call }, held) {
  const words = texts.card;
  if (phase === 'refused') return { rows: [], warning: '', accept: '', acceptOff: true, decline: words.goOn, declineOff: false };
  if (phase !== 'offered' || offer === null) return null;
  const accepting = call?.want === 'accept';
  const rows = [
    { label: words.chat, value: offer.nickname ?? words.unnamed },
    { label: words.account, value: words.thisAccount },
    { label: words.until, value: localTime(offer.expiresAt) },
  ];
  return {
    rows: rows.filter((row) => row.value !== ''),
    warning: offer.nickname === null ? words.warningUnnamed : fill(words.warning, { nickname: offer.nickname }),
    accept: accepting ? words.accepting : held > 0 ? fill(texts.wait, { seconds: held }) : words.accept,
    acceptOff: accepting || held > 0,
    decline: words.decline,
    declineOff: accepting,
  };
}

/** @param {Bind.State} state */
function stepsOf({ phase, canOpenChat, copied, linkCopied, opened }) {
  if (phase === 'unbound') return steps(texts.unbound.steps, []);
  if (phase !== 'pending') return [];
  return canOpenChat
    ? steps(texts.pending.steps, [copied, opened, false])
    : steps(texts.link.steps, [linkCopied, copied, false]);
}

/** @param {Bind.State} state @param {number} held */
function makeButton(state, held) {
  if (state.call?.want === 'make') return { off: true, text: texts.getting };
  if (held > 0) return { off: true, text: fill(texts.wait, { seconds: held }) };
  return { off: false, text: state.phase === 'expired' ? texts.getAgain : texts.get };
}

/** @param {Bind.State} state @param {Bind.Code} code @param {number} now @param {number} held */
function pendingView(state, code, now, held) {
  const { canOpenChat, copied, opened } = state;
  const words = texts.pending;
  const left = secondsLeft(code.expiresAt, now);
  const [minutes, seconds] = [Math.floor(left / 60), left % 60];
  const renewing = state.call?.want === 'renew';
  return {
    display: code.display,
    size: sizeOf(code.display),
    spoken: fill(texts.spoken.code, { code: spell(code.display) }),
    left: fill(words.expiresIn, { left: `${minutes}:${twoDigits(seconds)}` }),
    leftSpoken: fill(texts.spoken.left, { minutes, seconds }),
    ending: left <= ENDING_S,
    renew: renewing ? words.renewing : held > 0 ? fill(words.renewIn, { seconds: held }) : words.renew,
    renewOff: renewing || held > 0,
    copy: copied ? words.copyAgain : words.copy,
    open: canOpenChat ? (opened ? words.openAgain : words.open) : '',
    next: nextTap(state),
    link: linkView(state, code.url),
  };
}

/** @param {string} display */
function sizeOf(display) {
  if (display.length <= LARGE_CHARACTERS) return 'large';
  return display.length <= MIDDLE_CHARACTERS ? 'middle' : 'small';
}

/**
 * The button that stands out: first the code, then the chat. With the link it is the other way round, for the clipboard
 * holds one thing at a time.
 * @param {Bind.State} state
 */
function nextTap({ canOpenChat, copied, linkCopied }) {
  if (canOpenChat) return copied ? 'open' : 'copy';
  if (copied) return '';
  return linkCopied ? 'copy' : 'link';
}

/** @param {Bind.State} state @param {string} url */
function linkView(state, url) {
  if (state.canOpenChat && !state.linkShown) return null;
  return {
    url,
    why: state.canOpenChat ? texts.link.failed : texts.link.unsupported,
    copy: state.linkCopied ? texts.link.copyAgain : texts.link.copy,
  };
}

/** @param {Bind.State} state @param {Bind.Binding} binding @param {number} held @param {string} unbindWord */
function boundView(state, binding, held, unbindWord) {
  const words = texts.bound;
  const rows = [
    { label: words.nickname, value: binding.nickname ?? '' },
    { label: words.boundAt, value: localTime(binding.boundAt) },
    { label: words.method, value: words.methods[binding.method] ?? '' },
  ];
  const unbinding = state.call?.want === 'unbind';
  return {
    rows: rows.filter((row) => row.value !== ''),
    undo: unbindWord === '' ? words.undoHere : fill(words.undo, { word: unbindWord }),
    unbind: unbinding ? words.unbinding : held > 0 ? fill(texts.wait, { seconds: held }) : words.unbind,
    unbindOff: unbinding || held > 0,
  };
}

/** @param {Bind.State} state @param {number} now @returns {Bind.Status} */
function statusLine(state, now) {
  const { notice, trouble } = state;
  if (trouble !== null && (trouble.shown || state.phase === 'failed')) {
    const waiting = trouble.retryAt === null ? 0 : secondsLeft(trouble.retryAt, now);
    const asking = state.call?.want === 'status';
    return {
      tone: 'bad',
      text: state.phase === 'failed' ? '' : texts.problems[trouble.problem].title,
      when: asking ? texts.retrying : waiting > 0 ? fill(texts.retryIn, { seconds: waiting }) : '',
      retry: texts.retry,
      retryOff: asking || (trouble.problem === 'busy' && waiting > 0),
    };
  }
  if (notice !== null) {
    return { tone: GOOD_NOTICES.includes(notice) ? 'good' : 'bad', text: noticeText(notice), when: '', retry: '', retryOff: false };
  }
  return { ...calmStatus(state), when: '', retry: '', retryOff: false };
}

/** @param {Bind.State} state @returns {{ tone: Bind.Status['tone'], text: string }} */
function calmStatus(state) {
  if (state.phase === 'unbound') return { tone: 'calm', text: texts.unbound.note };
  if (state.phase !== 'pending') return { tone: 'calm', text: '' };
  if (state.opened) return { tone: 'busy', text: texts.pending.status.waiting };
  if (state.copied && state.canOpenChat) return { tone: 'good', text: texts.pending.status.copied };
  if (state.copied) return { tone: 'busy', text: texts.pending.status.waiting };
  if (state.linkCopied) return { tone: 'good', text: texts.link.copied };
  return { tone: 'calm', text: texts.pending.status.fresh };
}

/** @param {Bind.Notice} kind */
function noticeText(kind) {
  switch (kind) {
    case 'code-copy-failed':
    case 'link-copy-failed':
    case 'chat-failed':
    case 'unbound':
    case 'undone':
    case 'declined':
    case 'already-bound':
      return texts.notices[kind];
    default:
      return fill(texts.tapFailed, { problem: texts.problems[kind].title });
  }
}

/** @param {string[]} lines @param {boolean[]} dones @returns {Bind.Step[]} */
function steps(lines, dones) {
  return lines.map((text, index) => {
    const done = dones[index] === true;
    const spoken = fill(done ? texts.spoken.stepDone : texts.spoken.step, { number: index + 1, text });
    return { text, spoken, done, current: index === dones.indexOf(false) };
  });
}

/** Digit by digit, for the ear; words stay words. @param {string} display */
function spell(display) {
  return /^[a-z-]+$/.test(display) ? display.split('-').join(' ') : display.replace(/\s/g, '').split('').join(' ');
}

module.exports = { view };
