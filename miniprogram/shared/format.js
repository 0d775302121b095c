/**
 * What the views of all pages need: texts filled in, times, and which of a page's data has changed. Pure.
 */

const texts = require('../texts');

/** @param {string} rfc3339 */
function localTime(rfc3339) {
  const date = new Date(rfc3339);
  if (Number.isNaN(date.getTime())) return '';
  return fill(texts.time, {
    year: date.getFullYear(),
    month: date.getMonth() + 1,
    day: date.getDate(),
    clock: `${twoDigits(date.getHours())}:${twoDigits(date.getMinutes())}`,
  });
}

/** @param {string} text @param {Record<string, string | number>} values */
function fill(text, values) {
  return text.replace(/{(\w+)}/g, (_, name) => String(values[name]));
}

/** @param {number} number */
function twoDigits(number) {
  return String(number).padStart(2, '0');
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

module.exports = { changes, fill, localTime, secondsLeft, twoDigits };
