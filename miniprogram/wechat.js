/**
 * All that touches `wx`: carries out the state machine's effects and turns what comes back into events. It decides
 * nothing. Promises where the base library has them; `wx.request` gives a task to abort, and
 * `wx.openCustomerServiceChat` has no promise.
 */

const texts = require('./texts');

const SESSION_KEY = 'kfbind.session';

/** @param {Bind.Config} config @param {Bind.Dispatch} dispatch */
function connect(config, dispatch) {
  /** @type {Map<number, WechatMiniprogram.RequestTask>} */
  const tasks = new Map();
  /** One timer of each name. */
  const timers = { ask: 0, tick: 0 };

  /** @param {any} status */
  const onNetwork = (status) => dispatch({ type: 'network', connected: status.isConnected === true });
  wx.onNetworkStatusChange(onNetwork);

  /** A request that we aborted ourselves ends too; nobody wants to hear of it. @param {Bind.Ended} event @param {any} error */
  const ended = (event, error) => {
    const wanted = tasks.delete(event.id);
    if (wanted && error !== null) note('request', error);
    dispatch(event);
  };

  /** @param {Bind.Effect} effect */
  const run = (effect) => {
    switch (effect.type) {
      case 'identify':
        identify(config, effect, dispatch);
        return;
      case 'request':
        tasks.set(effect.id, request(config, effect, ended));
        return;
      case 'abort':
        tasks.get(effect.id)?.abort();
        tasks.delete(effect.id);
        return;
      case 'remember':
        remember(effect.session);
        return;
      case 'timer': {
        const { name, delayMs } = effect;
        clearTimeout(timers[name]);
        timers[name] = setTimeout(() => dispatch({ type: 'timer', name }), delayMs);
        return;
      }
      case 'stop':
        clearTimeout(timers[effect.name]);
        return;
      case 'copy':
        copy(effect.what, effect.text, dispatch);
        return;
      case 'open-chat':
        openChat(effect.url, effect.corpId, dispatch);
        return;
      case 'confirm-unbind':
        confirmUnbind(dispatch);
        return;
      case 'vibrate':
        // Many devices can't; nobody misses it.
        wx.vibrateShort({ type: 'light' }).catch(() => {});
    }
  };

  const close = () => {
    wx.offNetworkStatusChange(onNetwork);
    clearTimeout(timers.ask);
    clearTimeout(timers.tick);
    tasks.forEach((task) => task.abort());
    tasks.clear();
  };

  return { run, close };
}

/** What this version of WeChat can do, and what it kept for us. */
function present() {
  return { canOpenChat: typeof wx.openCustomerServiceChat === 'function', session: keptSession() };
}

function keptSession() {
  try {
    const stored = wx.getStorageSync(SESSION_KEY);
    return typeof stored === 'string' && stored !== '' ? stored : null;
  } catch (error) {
    // A broken storage costs a login, not the page.
    note('storage', error);
    return null;
  }
}

/**
 * Ends in time: neither WeChat nor `getSession` is trusted to answer, or to be a promise.
 * @param {Bind.Config} config @param {Bind.Identify} call @param {Bind.Dispatch} dispatch
 */
function identify({ getSession }, { id, timeoutMs }, dispatch) {
  let timer = 0;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('timeout')), timeoutMs);
  });
  const ask = /** @returns {Promise<Bind.Untimed>} */ async () =>
    getSession === null
      ? { type: 'identified', id, code: (await wx.login()).code }
      : { type: 'session', id, session: await getSession() };
  Promise.race([ask(), late])
    .catch((error) => {
      note('login', error);
      return /** @type {Bind.Untimed} */ ({ type: 'no-answer', id, problem: problemOf(error) });
    })
    .then((event) => {
      clearTimeout(timer);
      dispatch(event);
    });
}

/** @param {Bind.Config} config @param {Bind.Request} call @param {(event: Bind.Ended, error: any) => void} ended */
function request(config, call, ended) {
  const { id, method, path, session } = call;
  /** @type {Record<string, string>} */
  const header = {};
  if (session !== null) header.Authorization = `Bearer ${session}`;
  if (call.body !== null) header['Content-Type'] = 'application/json';
  return wx.request({
    url: config.apiBase + path,
    method,
    header,
    data: call.body ?? undefined,
    timeout: call.timeoutMs,
    // Any HTTP status is a success to WeChat.
    success: ({ statusCode, data, header: answered }) =>
      ended({ type: 'answer', id, status: statusCode, body: data, retryAfterS: retryAfter(answered) }, null),
    fail: (error) => ended({ type: 'no-answer', id, problem: problemOf(error) }, error),
  });
}

/** The names of headers come in whatever case the platform likes. @param {Record<string, any>} header */
function retryAfter(header) {
  const name = Object.keys(header ?? {}).find((key) => key.toLowerCase() === 'retry-after');
  const seconds = name === undefined ? NaN : Number(header[name]);
  return Number.isFinite(seconds) && seconds > 0 ? seconds : null;
}

/** @param {any} error @returns {Bind.Problem} */
function problemOf(error) {
  return String(error?.errMsg ?? error).includes('timeout') ? 'timeout' : 'offline';
}

/**
 * For the developer: a missing domain in the console looks like no network. Nothing secret stands in an `errMsg`.
 * @param {string} what @param {any} error
 */
function note(what, error) {
  console.warn(`kfbind: ${what}: ${error?.errMsg ?? error}`);
}

/** @param {string | null} session */
function remember(session) {
  // Without storage the next start logs in again.
  const done = session === null ? wx.removeStorage({ key: SESSION_KEY }) : wx.setStorage({ key: SESSION_KEY, data: session });
  done.catch((/** @type {any} */ error) => note('storage', error));
}

/**
 * WeChat says itself that it has copied. It refuses where 剪切板 is not declared in 用户隐私保护指引, or by the user's will.
 * @param {'code' | 'link'} what @param {string} text @param {Bind.Dispatch} dispatch
 */
function copy(what, text, dispatch) {
  wx.setClipboardData({ data: text }).then(
    () => dispatch({ type: 'copied', what, text }),
    (error) => {
      note('setClipboardData', error);
      dispatch({ type: 'copy-failed', what });
    },
  );
}

/**
 * Allowed inside a tap only, so nothing may come between the tap and this.
 * @param {string} url @param {string} corpId @param {Bind.Dispatch} dispatch
 */
function openChat(url, corpId, dispatch) {
  const failed = (/** @type {any} */ error) => {
    if (String(error?.errMsg).includes('cancel')) return;
    note('openCustomerServiceChat', error);
    dispatch({ type: 'chat-failed' });
  };
  try {
    wx.openCustomerServiceChat({
      extInfo: { url },
      corpId,
      success: () => dispatch({ type: 'chat-opened' }),
      fail: failed,
    });
  } catch (error) {
    // Where the function is there in name only, as in the app of WeCom.
    failed(error);
  }
}

/** @param {Bind.Dispatch} dispatch */
function confirmUnbind(dispatch) {
  const { title, content, yes, no } = texts.bound.confirm;
  // WeChat draws this box, in its theme; older versions don't tell which.
  const dark = typeof wx.getAppBaseInfo === 'function' && wx.getAppBaseInfo().theme === 'dark';
  const confirmColor = dark ? '#ff8277' : '#c0281b';
  wx.showModal({ title, content, confirmText: yes, cancelText: no, confirmColor }).then(
    (answer) => {
      if (answer.confirm) dispatch({ type: 'unbind-confirmed' });
    },
    (error) => note('showModal', error),
  );
}

module.exports = { connect, present };
