/**
 * What the page does, as a pure function: an event goes in, the next state and the effects to carry out come out.
 * No `wx`, no clock, no timer and no text in here: events bring the time, effects are carried out by `wechat.js`, and
 * `view.js` says what a state looks like.
 *
 * At most one call to the server runs at a time. While the page is visible, that is the long poll; what the user taps
 * interrupts it, and it goes on afterwards. A call that was interrupted or overtaken is known by its id, and its
 * answer is dropped: no late answer can hide a fresh code.
 *
 *     starting ──▶ unbound ──▶ pending ──▶ bound
 *        │            ▲          │  ▲        │
 *        ▼            │          ▼  │        │
 *      failed         │        expired       │
 *                     └──────────────────────┘
 *
 * A further way to bind adds a phase, its events, a want with its row in `callOf`, and a case where answers are taken.
 */

const { begin, failAsking, interrupt, isAsking, takeReply } = require('./machine/calls');

/** @typedef {import('./types').Draft} Draft */
/** @typedef {import('./types').Effect} Effect */
/** @typedef {import('./types').Event} Event */
/** @typedef {import('./types').State} State */

/** @returns {State} */
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
        binding: null,
        justBound: false,
        notice: null,
        trouble: null,
        heldUntil: 0,
        ticking: false,
    };
}

/**
 * @param {State} before
 * @param {Event} event
 * @returns {{ state: State, effects: Effect[] }}
 */
function step(before, event) {
    /** @type {Draft} */
    const draft = { state: { ...before }, effects: [], now: event.now };
    take(draft, event);
    lapse(draft);
    keepTicking(draft);
    return { state: draft.state, effects: draft.effects };
}

/** @param {Draft} draft @param {Event} event */
function take(draft, event) {
    const { state } = draft;
    switch (event.type) {
        case 'load':
            state.canOpenChat = event.canOpenChat;
            state.session = event.session;
            return;
        case 'show':
            state.visible = true;
            if (state.call === null) begin(draft, 'status');
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
            else if (state.visible && state.call === null) begin(draft, state.trouble === null ? 'poll' : 'status');
            return;
        case 'identified':
        case 'session':
        case 'answer':
        case 'no-answer':
            if (state.call !== null && state.call.id === event.id) takeReply(draft, state.call, event);
            return;
        default:
            takeTap(draft, event);
    }
}

/** The user's taps, and what became of them on the phone. @param {Draft} draft @param {Event} event */
function takeTap(draft, event) {
    const { state } = draft;
    const idle = state.call === null || isAsking(state.call.want);
    switch (event.type) {
        case 'get-code':
            if (!idle || draft.now < state.heldUntil) return;
            if (state.phase === 'unbound' || state.phase === 'expired') begin(draft, 'make');
            return;
        case 'new-code':
            if (idle && draft.now >= state.heldUntil && state.phase === 'pending') begin(draft, 'renew');
            return;
        case 'copy-code':
            if (state.phase !== 'pending' || state.code === null) return;
            draft.effects.push({ type: 'copy', what: 'code', text: state.code.token });
            return;
        case 'copy-link':
            if (state.phase !== 'pending' || state.code === null) return;
            draft.effects.push({ type: 'copy', what: 'link', text: state.code.url });
            return;
        case 'open-chat':
            if (state.phase !== 'pending' || state.code === null) return;
            if (state.canOpenChat) {
                draft.effects.push({ type: 'open-chat', url: state.code.url, corpId: state.code.corpId });
            } else {
                state.linkShown = true;
            }
            return;
        case 'unbind':
            if (idle && state.phase === 'bound') draft.effects.push({ type: 'confirm-unbind' });
            return;
        case 'unbind-confirmed':
            if (idle && state.phase === 'bound') begin(draft, 'unbind');
            return;
        case 'retry':
            takeRetry(draft);
            return;
        case 'copied':
            // One clipboard: the link is there now, and not the code any more.
            state.copied = event.what === 'code';
            if (event.what === 'link') state.linkCopied = true;
            state.notice = null;
            return;
        case 'copy-failed':
            state.notice = { kind: event.what === 'code' ? 'code-copy-failed' : 'link-copy-failed', want: null };
            return;
        case 'chat-opened':
            state.opened = true;
            state.notice = null;
            return;
        case 'chat-failed':
            state.linkShown = true;
            state.notice = { kind: 'chat-failed', want: null };
    }
}

/** @param {Draft} draft */
function takeRetry(draft) {
    const { state } = draft;
    if (state.call !== null && state.call.want !== 'poll') return;
    const { trouble } = state;
    if (trouble !== null && trouble.problem === 'busy' && trouble.retryAt !== null && draft.now < trouble.retryAt) return;
    begin(draft, 'status');
}

/** A changed network kills open connections without a word. @param {Draft} draft @param {boolean} connected */
function takeNetwork(draft, connected) {
    const { state } = draft;
    if (!state.visible || (state.call !== null && !isAsking(state.call.want))) return;
    if (connected) {
        begin(draft, 'status');
    } else if (state.call !== null) {
        interrupt(draft);
        failAsking(draft, 'offline', 0, true);
    }
}

/** Whatever the event: what is over, is over. @param {Draft} draft */
function lapse(draft) {
    const { state } = draft;
    if (state.phase === 'pending' && state.code !== null && draft.now >= state.code.expiresAt) {
        state.phase = 'expired';
        state.revoked = false;
        state.notice = null;
    }
    if (state.notice?.kind === 'busy' && draft.now >= state.heldUntil) state.notice = null;
}

/** One timer for all that counts down on the screen, on the beat of what it counts. @param {Draft} draft */
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

/** @param {State} state @param {number} now */
function countedTime(state, now) {
    if (state.phase === 'pending' && state.code !== null) return state.code.expiresAt;
    if (state.heldUntil > now) return state.heldUntil;
    const retryAt = state.trouble?.shown ? state.trouble.retryAt : null;
    return retryAt !== null && retryAt > now ? retryAt : null;
}

module.exports = { initialState, step };
