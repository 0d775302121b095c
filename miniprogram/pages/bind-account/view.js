/**
 * What a state looks like: the data that `bind-account.wxml` draws. Pure, as the state machine is; it decides nothing.
 */

const texts = require('../../texts');

/** From here on the countdown warns. */
const ENDING_MS = 60000;
/** Characters that fit one line in the large, and in the middle size of the code, on the narrowest phone. */
const LARGE_CHARACTERS = 8;
const MIDDLE_CHARACTERS = 12;

/** @typedef {import('./types').State} State */

/**
 * The line that says how things stand. `tone` colours it.
 * `when` counts seconds, and is kept out of what screen readers announce.
 * @typedef {{ tone: 'calm' | 'busy' | 'good' | 'bad', text: string, when: string, retry: string, retryOff: boolean }} Status
 * @typedef {{ text: string, spoken: string, done: boolean, current: boolean }} Step
 */

/**
 * @param {State} state
 * @param {number} now the phone's clock, in milliseconds
 * @param {{ unbindWord: string }} config
 */
function view(state, now, config) {
    const held = secondsLeft(state.heldUntil, now);
    const want = state.call?.want ?? null;
    const make = makeButton(want, held);
    return {
        phase: state.phase,
        status: statusLine(state, now),
        make: {
            off: make.off,
            text: make.text ?? (state.phase === 'expired' ? texts.expired.get : texts.unbound.get),
        },
        unbound: state.phase === 'unbound' ? { steps: steps(texts.unbound.steps, []) } : null,
        pending: state.phase === 'pending' ? pendingView(state, now, make) : null,
        expired:
            state.phase === 'expired'
                ? {
                      title: state.revoked ? texts.expired.revokedTitle : texts.expired.title,
                      lead: state.revoked ? texts.expired.revokedLead : texts.expired.lead,
                  }
                : null,
        bound: state.phase === 'bound' ? boundView(state, want, held, config) : null,
        failed: state.phase === 'failed' ? failedView(state) : null,
    };
}

/**
 * @param {import('./types').Want | null} want
 * @param {number} held
 * @returns {{ off: boolean, text: string | null }} the text where it differs from the button's own
 */
function makeButton(want, held) {
    if (want === 'make') return { off: true, text: texts.unbound.getting };
    if (held > 0) return { off: true, text: texts.wait(held) };
    return { off: false, text: null };
}

/** @param {State} state @param {number} now @param {{ off: boolean, text: string | null }} make */
function pendingView(state, now, make) {
    const { code, copied, opened, linkCopied } = state;
    if (code === null) return null;
    const leftMs = Math.max(0, code.expiresAt - now);
    const left = secondsLeft(code.expiresAt, now);
    const link = linkView(state, code.url);
    const unsupported = !state.canOpenChat;
    // The next tap stands out: first the code, then the chat; by the link it is the other way round, for the
    // clipboard holds one thing at a time.
    const next = unsupported ? (linkCopied && !copied ? 'copy' : copied ? '' : 'link') : copied ? 'open' : 'copy';
    const renewing = state.call?.want === 'renew';
    return {
        display: code.display,
        size: code.display.length <= LARGE_CHARACTERS ? 'large' : code.display.length <= MIDDLE_CHARACTERS ? 'middle' : 'small',
        spoken: texts.spoken.code(spell(code.display)),
        left: texts.pending.expiresIn(`${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}`),
        leftSpoken: texts.spoken.left(Math.floor(left / 60), left % 60),
        ending: leftMs <= ENDING_MS,
        renew: renewing ? texts.pending.renewing : (make.text ?? texts.pending.renew),
        renewOff: renewing || make.off,
        copy: copied ? texts.pending.copyAgain : texts.pending.copy,
        open: unsupported ? '' : opened ? texts.pending.openAgain : texts.pending.open,
        next,
        link,
        steps: unsupported
            ? steps(texts.link.steps, [linkCopied, copied, false])
            : steps(texts.pending.steps, [copied, opened, false]),
    };
}

/** @param {State} state @param {string} url */
function linkView(state, url) {
    if (state.canOpenChat && !state.linkShown) return null;
    return {
        url,
        why: state.canOpenChat ? texts.link.failed : texts.link.unsupported,
        copy: state.linkCopied ? texts.link.copyAgain : texts.link.copy,
    };
}

/**
 * @param {State} state
 * @param {import('./types').Want | null} want
 * @param {number} held
 * @param {{ unbindWord: string }} config
 */
function boundView(state, want, held, config) {
    const { binding } = state;
    if (binding === null) return null;
    const boundAt = new Date(binding.boundAt);
    const rows = [
        { label: texts.bound.nickname, value: binding.nickname ?? '' },
        { label: texts.bound.boundAt, value: Number.isNaN(boundAt.getTime()) ? '' : texts.time(boundAt) },
        { label: texts.bound.method, value: texts.bound.methods[binding.method] ?? '' },
    ];
    const unbinding = want === 'unbind';
    return {
        title: state.justBound ? texts.bound.justTitle : texts.bound.title,
        rows: rows.filter((row) => row.value !== ''),
        undo: config.unbindWord === '' ? texts.bound.undoHere : texts.bound.undo(config.unbindWord),
        unbind: unbinding ? texts.bound.unbinding : held > 0 ? texts.wait(held) : texts.bound.unbind,
        unbindOff: unbinding || held > 0,
    };
}

/** @param {State} state */
function failedView(state) {
    const { title, detail } = texts.problems[state.trouble?.problem ?? 'server'];
    return { title, detail };
}

/** @param {State} state @param {number} now @returns {Status} */
function statusLine(state, now) {
    const { notice, trouble } = state;
    if (trouble !== null && (trouble.shown || state.phase === 'failed')) {
        const waiting = trouble.retryAt === null ? 0 : secondsLeft(trouble.retryAt, now);
        const asking = state.call !== null && state.call.want === 'status';
        return {
            tone: 'bad',
            text: state.phase === 'failed' ? '' : texts.problems[trouble.problem].short,
            when: asking ? texts.retrying : waiting > 0 ? texts.retryIn(waiting) : '',
            retry: texts.retry,
            retryOff: asking || (trouble.problem === 'busy' && waiting > 0),
        };
    }
    if (notice !== null) {
        const good = notice.kind === 'unbound' || notice.kind === 'undone';
        return { tone: good ? 'good' : 'bad', text: noticeText(notice.kind), when: '', retry: '', retryOff: false };
    }
    return { ...calmStatus(state), when: '', retry: '', retryOff: false };
}

/** @param {State} state @returns {{ tone: Status['tone'], text: string }} */
function calmStatus(state) {
    if (state.phase === 'unbound') return { tone: 'calm', text: texts.unbound.note };
    if (state.phase !== 'pending') return { tone: 'calm', text: '' };
    if (state.opened) return { tone: 'busy', text: texts.pending.status.waiting };
    if (state.copied && state.canOpenChat) return { tone: 'good', text: texts.pending.status.copied };
    if (state.copied) return { tone: 'busy', text: texts.pending.status.waiting };
    if (state.linkCopied) return { tone: 'good', text: texts.link.copied };
    return { tone: 'calm', text: texts.pending.status.fresh };
}

/** @param {import('./types').Notice['kind']} kind */
function noticeText(kind) {
    switch (kind) {
        case 'code-copy-failed':
        case 'link-copy-failed':
        case 'chat-failed':
        case 'unbound':
        case 'undone':
            return texts.notices[kind];
        default:
            return texts.problems[kind].short;
    }
}

/** @param {string[]} lines @param {boolean[]} done @returns {Step[]} */
function steps(lines, done) {
    const current = done.indexOf(false);
    return lines.map((text, index) => ({
        text,
        spoken: texts.spoken.step(index + 1, text, done[index] === true),
        done: done[index] === true,
        current: index === current,
    }));
}

/** Digit by digit, for the ear; words stay words. @param {string} display */
function spell(display) {
    return /^[a-z-]+$/.test(display) ? display.split('-').join(' ') : display.replace(/\s/g, '').split('').join(' ');
}

/** @param {number} until @param {number} now */
function secondsLeft(until, now) {
    return Math.max(0, Math.ceil((until - now) / 1000));
}

/**
 * What of the data has changed, for a small `setData`.
 * @param {Record<string, any>} before
 * @param {Record<string, any>} after
 * @param {string} [path]
 * @returns {Record<string, any>}
 */
function changes(before, after, path = '') {
    /** @type {Record<string, any>} */
    const found = {};
    for (const key of Object.keys(after)) {
        const [old, fresh] = [before[key], after[key]];
        if (isPlain(old) && isPlain(fresh)) Object.assign(found, changes(old, fresh, `${path}${key}.`));
        else if (JSON.stringify(old) !== JSON.stringify(fresh)) found[path + key] = fresh;
    }
    return found;
}

/** @param {any} value */
function isPlain(value) {
    return typeof value === 'object' && value !== null && !Array.isArray(value);
}

module.exports = { changes, view };
