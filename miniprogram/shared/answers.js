/**
 * Reads what the server answers, for all pages. Nothing is believed unseen: a captive portal answers too. What an answer
 * means for a page is for that page to say.
 */

/** A longer `Retry-After` is somebody's mistake; the page would look dead. */
const RETRY_AFTER_MAX_MS = 10 * 60 * 1000;

/** @param {number} status */
function isSuccess(status) {
  return status >= 200 && status < 300;
}

/** @param {Bind.Answer} answer @returns {Bind.Problem} */
function problemOf(answer) {
  const code = answer.body?.code;
  if (answer.status === 429) return 'busy';
  if (code === 'wecom-unavailable') return 'wecom';
  if (code === 'wechat-unavailable') return 'wechat';
  if (code === 'login-refused') return 'refused';
  if (answer.status === 401) return 'session';
  return answer.status >= 500 ? 'server' : 'unexpected';
}

/** @param {Bind.Answer} answer */
function retryAfterMs(answer) {
  return Math.min((answer.retryAfterS ?? 0) * 1000, RETRY_AFTER_MAX_MS);
}

/** @param {any} pending @param {number} now @returns {Bind.Code | null} */
function readCode(pending, now) {
  const token = pending?.bind_token;
  const expiresIn = pending?.expires_in;
  const url = pending?.kf?.url;
  if (typeof token !== 'string' || typeof expiresIn !== 'number' || typeof url !== 'string') return null;
  const { display } = pending;
  const corpId = pending.kf.corp_id;
  return {
    token,
    display: typeof display === 'string' ? display : token,
    expiresAt: now + expiresIn * 1000,
    url,
    corpId: typeof corpId === 'string' ? corpId : '',
  };
}

/** @param {any} binding @returns {Bind.Binding | null} */
function readBinding(binding) {
  if (typeof binding?.bound_at !== 'string') return null;
  const { method, nickname } = binding;
  return {
    method: typeof method === 'string' ? method : '',
    boundAt: binding.bound_at,
    nickname: typeof nickname === 'string' && nickname !== '' ? nickname : null,
  };
}

module.exports = { isSuccess, problemOf, readBinding, readCode, retryAfterMs };
