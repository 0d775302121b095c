/**
 * All that touches `wx.qy`, which is there in WeCom only, and what else the employees' page wants done: carries out the
 * state machine's effects and turns what comes back into events. It decides nothing.
 */

const { fill } = require('../../shared/format');
const wechat = require('../../wechat');
const texts = require('./texts');

/** @param {Bind.Config} config @param {Staff.Dispatch} dispatch */
function connect(config, dispatch) {
  /** @type {Map<number, WechatMiniprogram.RequestTask>} */
  const tasks = new Map();
  let timer = 0;

  /** A request that we aborted ourselves ends too; nobody wants to hear of it. @param {Bind.Ended} event @param {any} error */
  const ended = (event, error) => {
    const wanted = tasks.delete(event.id);
    if (wanted && error !== null) wechat.note('request', error);
    dispatch(event);
  };

  /** @param {Staff.Effect} effect */
  const run = (effect) => {
    switch (effect.type) {
      case 'identify':
        identify(effect.id, effect.timeoutMs, dispatch);
        return;
      case 'locate':
        locate(effect.id, effect.timeoutMs, dispatch);
        return;
      case 'send-card':
        sendCard(config, effect, dispatch);
        return;
      case 'request':
        tasks.set(effect.id, wechat.request(config, effect, ended));
        return;
      case 'abort':
        tasks.get(effect.id)?.abort();
        tasks.delete(effect.id);
        return;
      case 'confirm-bind': {
        const { customerId, code } = effect;
        wechat.confirm(questionFor(effect), () => dispatch({ type: 'bind-confirmed', customerId, code }));
        return;
      }
      case 'tick':
        clearTimeout(timer);
        timer = setTimeout(() => dispatch({ type: 'timer' }), effect.delayMs);
        return;
      case 'stop-ticking':
        clearTimeout(timer);
    }
  };

  const close = () => {
    clearTimeout(timer);
    tasks.forEach((task) => task.abort());
    tasks.clear();
  };

  return { run, close };
}

/** Names whom the binding is for. @param {{ nickname: string | null, code: string }} bind */
function questionFor({ nickname, code }) {
  const { contentUnnamed, content, ...rest } = texts.code.confirm;
  return { ...rest, content: nickname === null ? fill(contentUnnamed, { code }) : fill(content, { nickname, code }) };
}

/**
 * WeCom's functions have callbacks, and are not trusted to call them.
 * @param {keyof Staff.Qy} name @param {Record<string, any>} options @param {number} timeoutMs @returns {Promise<any>}
 */
function ask(name, options, timeoutMs) {
  let timer = 0;
  return new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error('timeout')), timeoutMs);
    const call = wx.qy?.[name];
    if (call === undefined) reject({ errMsg: `${name}:fail function not exist` });
    else call({ ...options, success: resolve, fail: reject });
  }).finally(() => clearTimeout(timer));
}

/** @param {number} id @param {number} timeoutMs @param {Staff.Dispatch} dispatch */
function identify(id, timeoutMs, dispatch) {
  ask('login', {}, timeoutMs)
    .then(({ code }) => dispatch({ type: 'identified', id, code: String(code) }))
    .catch((error) => lose('login', id, error, dispatch));
}

/** Where the page was opened, and whose chat it is. @param {number} id @param {number} timeoutMs @param {Staff.Dispatch} dispatch */
function locate(id, timeoutMs, dispatch) {
  const place = async () => {
    const { entry } = await ask('getContext', {}, timeoutMs);
    // Asked elsewhere, this is an error that says less.
    const customer = entry === 'single_kf_tools' ? (await ask('getCurExternalContact', {}, timeoutMs)).userId : '';
    return { entry: String(entry), customerId: typeof customer === 'string' ? customer : '' };
  };
  place()
    .then((found) => dispatch({ type: 'located', id, ...found }))
    .catch((error) => lose('locate', id, error, dispatch));
}

/** @param {string} what @param {number} id @param {any} error @param {Staff.Dispatch} dispatch */
function lose(what, id, error, dispatch) {
  wechat.note(`qy.${what}`, error);
  const said = String(error?.errMsg ?? error);
  if (/not exist|not support/.test(said)) dispatch({ type: 'lost', id, stop: 'outdated' });
  else if (/no permission|allow list/.test(said)) dispatch({ type: 'lost', id, stop: 'no-permission' });
  else if (/without context/.test(said)) dispatch({ type: 'lost', id, stop: 'misplaced' });
  else dispatch({ type: 'no-answer', id, problem: wechat.problemOf(error) });
}

/**
 * The mini program is its own card: the same appid runs in WeChat.
 * @param {Bind.Config} config @param {{ id: number, path: string, timeoutMs: number }} card @param {Staff.Dispatch} dispatch
 */
function sendCard({ cardImage }, { id, path, timeoutMs }, dispatch) {
  const send = async () => {
    const { appId } = wechat.account();
    const miniprogram = { appid: appId, title: texts.cardTitle, imgUrl: cardImage, page: path };
    await ask('sendChatMessage', { msgtype: 'miniprogram', miniprogram }, timeoutMs);
  };
  send()
    .then(() => dispatch({ type: 'card-sent', id }))
    .catch((error) => {
      if (String(error?.errMsg).includes('cancel')) {
        dispatch({ type: 'card-cancelled', id });
        return;
      }
      wechat.note('qy.sendChatMessage', error);
      dispatch({ type: 'card-failed', id });
    });
}

module.exports = { connect };
