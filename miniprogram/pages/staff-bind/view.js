/**
 * What a state looks like: the data that `staff-bind.wxml` draws. Pure, as the state machine is; it decides nothing.
 */

const { fill, localTime, secondsLeft } = require('../../shared/format');
const common = require('../../texts');
const texts = require('./texts');

/** Nothing that a further try would mend. @type {Staff.Stop[]} */
const FINAL = ['outside', 'outdated', 'off'];
/** @type {Staff.Notice[]} */
const GOOD_NOTICES = ['sent', 'bound', 'already-bound'];

/** @param {Staff.State} state @param {number} now the phone's clock, in milliseconds */
function view(state, now) {
  const { phase, stop, customer, call } = state;
  const held = secondsLeft(state.heldUntil, now);
  const looking = call?.want === 'look';
  return {
    phase,
    hero: phase === 'stopped' && stop !== null ? { glyph: 'cut', ...stopWords(stop) } : null,
    retry: phase === 'stopped' && stop !== null && !FINAL.includes(stop) ? retryButton(state, held) : null,
    customer: phase === 'customer' && customer !== null ? { rows: rowsOf(customer) } : null,
    refresh: { off: call !== null, text: looking ? texts.refreshing : texts.refresh },
    forms: phase === 'customer' && customer?.binding === null ? formsOf(state, held) : null,
    typed: state.typed,
    status: { tone: state.notice !== null && GOOD_NOTICES.includes(state.notice) ? 'good' : 'bad', text: noticeText(state) },
  };
}

/** @param {Staff.Stop} stop */
function stopWords(stop) {
  return isOurs(texts.stops, stop) ? texts.stops[stop] : common.problems[/** @type {Bind.Problem} */ (stop)];
}

/** @param {Staff.State} state @param {number} held */
function retryButton({ call, stop }, held) {
  if (call !== null) return { off: true, text: common.retrying };
  if (stop === 'busy' && held > 0) return { off: true, text: fill(common.wait, { seconds: held }) };
  return { off: false, text: common.retry };
}

/** @param {Staff.Customer} customer */
function rowsOf({ nickname, binding }) {
  const rows = [
    { label: texts.label, value: nickname ?? texts.unnamed },
    { label: texts.status, value: binding === null ? texts.unbound : texts.bound },
  ];
  if (binding === null) return rows;
  const more = [
    { label: texts.account, value: binding.label ?? '' },
    { label: texts.boundAt, value: localTime(binding.boundAt) },
    { label: texts.method, value: common.bound.methods[binding.method] ?? '' },
  ];
  return [...rows, ...more.filter((row) => row.value !== '')];
}

/** @param {Staff.State} state @param {number} held */
function formsOf({ call, typed }, held) {
  const busy = call !== null;
  const wait = held > 0 ? fill(common.wait, { seconds: held }) : '';
  return {
    send: call?.want === 'card' ? texts.card.sending : wait || texts.card.send,
    sendOff: busy || held > 0,
    bind: call?.want === 'bind' ? texts.code.binding : wait || texts.code.bind,
    bindOff: busy || held > 0 || typed.trim() === '',
  };
}

/** @param {Staff.State} state */
function noticeText({ phase, notice }) {
  if (phase !== 'customer' || notice === null) return '';
  if (isOurs(texts.notices, notice)) return texts.notices[notice];
  return fill(common.tapFailed, { problem: common.problems[/** @type {Bind.Problem} */ (notice)].title });
}

/** @template {object} T @param {T} words @param {PropertyKey} name @returns {name is keyof T} */
function isOurs(words, name) {
  return Object.prototype.hasOwnProperty.call(words, name);
}

module.exports = { view };
