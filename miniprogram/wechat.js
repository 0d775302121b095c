/**
 * All that touches `wx`, but for `wx.qy` of WeCom: carries out the state machine's effects and turns what comes back into
 * events. It decides nothing. Promises where the base library has them; `wx.request` gives a task to abort, and
 * `wx.openCustomerServiceChat` has no promise.
 */

const texts = require('./texts');

const SESSION_KEY = 'kfbind.session';
/** In the background, behind the chat, requests get five seconds. */
const ANNOUNCE_TIMEOUT_MS = 5000;

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
      case 'timer':
        clearTimeout(timers[effect.name]);
        timers[effect.name] = setTimeout(() => dispatch({ type: 'timer', name: effect.name }), effect.delayMs);
        return;
      case 'stop':
        clearTimeout(timers[effect.name]);
        return;
      case 'copy':
        copy(effect.what, effect.text, dispatch);
        return;
      case 'open-chat':
        openChat(effect.url, effect.corpId, dispatch);
        return;
      case 'announce':
        announce(config, effect.session, dispatch);
        return;
      case 'subscribe':
        subscribe(effect.templateId);
        return;
      case 'confirm-unbind':
        confirm(texts.bound.confirm, () => dispatch({ type: 'unbind-confirmed' }));
        return;
      case 'vibrate':
        vibrate();
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

/** What this version of WeChat can do, and what it kept for us. @param {Bind.Config} config */
function present({ subscribeTemplateId }) {
  const canAsk = typeof wx.requestSubscribeMessage === 'function';
  return {
    canOpenChat: typeof wx.openCustomerServiceChat === 'function',
    session: keptSession(),
    templateId: canAsk ? subscribeTemplateId : '',
  };
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

/** @param {{ apiBase: string }} config @param {Bind.Request} call @param {(event: Bind.Ended, error: any) => void} ended */
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
 * For the developer: a missing domain in the console looks like no network. Nothing secret stands in an `errMsg` but in
 * the query of an address that it may quote: a ticket.
 * @param {string} what @param {any} error
 */
function note(what, error) {
  console.warn(`kfbind: ${what}: ${String(error?.errMsg ?? error).replace(/\?\S*/g, '?…')}`);
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

/** Many devices can't; nobody misses it. */
function vibrate() {
  wx.vibrateShort({ type: 'light' }).catch(() => {});
}

/**
 * Tells the server that its user is on the way into the chat. Nobody waits for it, and closing the page leaves it alone.
 * @param {Bind.Config} config @param {string} session @param {Bind.Dispatch} dispatch
 */
function announce({ apiBase }, session, dispatch) {
  wx.request({
    url: `${apiBase}/api/binding/intent`,
    method: 'POST',
    header: { Authorization: `Bearer ${session}` },
    timeout: ANNOUNCE_TIMEOUT_MS,
    success: ({ statusCode, data }) => {
      const code = /** @type {any} */ (data)?.code;
      dispatch({ type: 'announced', status: statusCode, code: typeof code === 'string' ? code : null });
    },
    fail: (error) => note('intent', error),
  });
}

/** Allowed inside a tap only. Whatever comes of it, the page goes on. @param {string} templateId */
function subscribe(templateId) {
  const failed = (/** @type {any} */ error) => note('requestSubscribeMessage', error);
  try {
    wx.requestSubscribeMessage({ tmplIds: [templateId], fail: failed });
  } catch (error) {
    failed(error);
  }
}

/** @param {{ title: string, content: string, yes: string, no: string, calm?: boolean }} question @param {() => void} agreed */
function confirm({ title, content, yes, no, calm }, agreed) {
  // WeChat draws this box, in its theme; older versions don't tell which.
  const dark = typeof wx.getAppBaseInfo === 'function' && wx.getAppBaseInfo().theme === 'dark';
  const [good, bad] = dark ? ['#4ad58b', '#ff8277'] : ['#067a38', '#c0281b'];
  const confirmColor = calm === true ? good : bad;
  wx.showModal({ title, content, confirmText: yes, cancelText: no, confirmColor }).then(
    (answer) => {
      if (answer.confirm) agreed();
    },
    (error) => note('showModal', error),
  );
}

/** The same mini program runs in the app of WeCom, which says so; some versions forget to. */
function inWecom() {
  if (typeof wx.qy?.login === 'function') return true;
  try {
    return /** @type {any} */ (wx.getSystemInfoSync()).environment === 'wxwork';
  } catch (error) {
    note('getSystemInfoSync', error);
    return false;
  }
}

/** The mini program's own appid. */
function account() {
  return wx.getAccountInfoSync().miniProgram;
}

/** Takes the place of the page that is shown. @param {string} url @param {() => void} failed */
function goTo(url, failed) {
  wx.redirectTo({ url }).catch((error) => {
    note('redirectTo', error);
    failed();
  });
}

module.exports = { account, confirm, connect, goTo, inWecom, note, present, problemOf, request };
