/**
 * What a browser lacks of WeChat: `wx`, `App`, `Page`, the page's life, the frame around it. Just what this mini
 * program uses; a call that is missing here is a TypeError, not silence. Where the host says so, it is WeCom instead.
 *
 * `?page=` of the address names the page, by default the one where users bind; it gets the rest of the query.
 *
 * Who embeds the page may set `window.kfbindHost` before the script runs or, where it holds the page in a
 * frame, have `window.kfbindHostFor(frame)` give it. It gets `window.kfbindPage` from it: `show()` and `hide()` are what
 * WeChat does when the user comes back or goes elsewhere, `network(connected)` what the phone notices.
 */

/**
 * @typedef {object} Host
 * @property {string} [apiBase] default: where the page came from
 * @property {() => Promise<string>} [loginCode] what `wx.login` gives; default: `?login=` of the address
 * @property {boolean} [canOpenChat] false: an old WeChat, without `wx.openCustomerServiceChat`
 * @property {(chat: { url: string, corpId: string }) => void} [openChat] throws where WeChat would refuse
 * @property {(text: string) => void} [copied] likewise
 * @property {((templates: string[]) => void) | null} [subscribe] likewise; null: an old WeChat, that can't ask
 * @property {import('./wecom').Wecom} [wecom] the phone runs WeCom, not WeChat
 * @property {string} [page] and @property {Record<string, string>} [query] in the place of those of the address
 * @property {(url: string) => void} [redirect] throws where WeChat would fail; default: goes there
 * @property {object} [config] what `config.js` would say otherwise
 * @property {string} [fontSize] the size of text set in WeChat, such as `20px`
 * @property {boolean} [bar] false: without the bar above the page
 * @property {Pick<Map<string, any>, 'get' | 'set' | 'delete'>} [storage] default: empty
 */

const ge = require('glass-easel');
const { MiniProgramEnv } = require('glass-easel-miniprogram-adapter');
const { qyOf, refusal } = require('./wecom');

const TOAST_MS = 1500;
const USERS_PAGE = 'pages/bind-account/bind-account';

/** @type {Host} */
const host = window.kfbindHost ?? window.parent.kfbindHostFor?.(window) ?? {};
const storage = host.storage ?? new Map();
/** @type {Set<(status: { isConnected: boolean }) => void>} */
const networkListeners = new Set();
/** While a tap is handled: what WeChat allows in taps only. */
let inTap = false;

const wx = {
  login() {
    const code = host.loginCode?.() ?? Promise.resolve(new URLSearchParams(window.location.search).get('login') ?? '');
    return code.then((value) => ({ code: value, errMsg: 'login:ok' }));
  },

  /** @param {any} options */
  request(options) {
    const control = new AbortController();
    let why = 'abort';
    const timer = setTimeout(() => {
      why = 'timeout';
      control.abort();
    }, options.timeout);
    window
      .fetch(options.url, {
        method: options.method,
        headers: options.header,
        body: options.data === undefined ? undefined : JSON.stringify(options.data),
        signal: control.signal,
      })
      .then(async (answer) => {
        const text = await answer.text();
        return { statusCode: answer.status, data: parse(text), header: Object.fromEntries(answer.headers), errMsg: 'request:ok' };
      })
      .then(
        (result) => {
          clearTimeout(timer);
          options.success(result);
        },
        (error) => {
          clearTimeout(timer);
          options.fail(refusal('request', control.signal.aborted ? why : String(error.message)));
        },
      );
    return { abort: () => control.abort() };
  },

  /** @param {{ data: string }} options */
  async setClipboardData({ data }) {
    try {
      host.copied?.(data);
    } catch (error) {
      throw refusal('setClipboardData', String(error));
    }
    // Works where the browser allows it; the host was told in any case.
    window.navigator.clipboard?.writeText(data).catch(() => {});
    toast('内容已复制');
    return { errMsg: 'setClipboardData:ok' };
  },

  /** @param {any} options */
  openCustomerServiceChat(options) {
    const name = 'openCustomerServiceChat';
    if (!inTap) {
      options.fail(refusal(name, 'can only be invoked by user TAP gesture.'));
      return;
    }
    try {
      host.openChat?.({ url: options.extInfo.url, corpId: options.corpId });
    } catch (error) {
      options.fail(refusal(name, String(error)));
      return;
    }
    options.success({ errMsg: `${name}:ok` });
  },

  /** @param {any} options */
  showModal(options) {
    return new Promise((resolve) => {
      const veil = element('div', 'client-veil', '');
      const box = element('div', 'client-modal', '');
      const buttons = element('div', '', '');
      const no = element('button', '', options.cancelText);
      const yes = element('button', '', options.confirmText);
      yes.style.color = options.confirmColor;
      box.setAttribute('role', 'dialog');
      box.append(element('strong', '', options.title), element('p', '', options.content), buttons);
      buttons.append(no, yes);
      veil.append(box);
      document.body.append(veil);
      const end = (/** @type {boolean} */ confirm) => {
        veil.remove();
        resolve({ confirm, cancel: !confirm });
      };
      no.addEventListener('click', () => end(false));
      yes.addEventListener('click', () => end(true));
      no.focus();
    });
  },

  /** @param {{ tmplIds: string[], fail: (error: any) => void }} options */
  requestSubscribeMessage({ tmplIds, fail }) {
    const name = 'requestSubscribeMessage';
    if (!inTap) {
      fail(refusal(name, 'can only be invoked by user TAP gesture.'));
      return;
    }
    try {
      host.subscribe?.(tmplIds);
    } catch (error) {
      fail(refusal(name, String(error)));
    }
  },

  /** @param {{ url: string }} options */
  async redirectTo({ url }) {
    const [page, query] = url.slice(1).split('?');
    try {
      if (host.redirect) host.redirect(url);
      else window.location.replace(`?page=${page}${query === undefined ? '' : `&${query}`}`);
    } catch (error) {
      throw refusal('redirectTo', String(error));
    }
    return { errMsg: 'redirectTo:ok' };
  },

  getAccountInfoSync: () => ({ miniProgram: { appId: 'wx0123456789abcdef' } }),

  getSystemInfoSync: () => (host.wecom === undefined ? {} : { environment: 'wxwork' }),

  getAppBaseInfo: () => ({ theme: window.matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light' }),

  vibrateShort: () => Promise.resolve({ errMsg: 'vibrateShort:ok' }),

  /** @param {string} key */
  getStorageSync: (key) => storage.get(key) ?? '',
  /** @param {{ key: string, data: any }} item */
  setStorage: ({ key, data }) => Promise.resolve(storage.set(key, data)),
  /** @param {{ key: string }} item */
  removeStorage: ({ key }) => Promise.resolve(storage.delete(key)),

  /** @param {any} listener */
  onNetworkStatusChange: (listener) => networkListeners.add(listener),
  /** @param {any} listener */
  offNetworkStatusChange: (listener) => networkListeners.delete(listener),
};

if (host.wecom !== undefined) Object.assign(wx, { qy: qyOf(host.wecom) });

if (host.subscribe === null) {
  // @ts-expect-error an old WeChat has no such function
  delete wx.requestSubscribeMessage;
}

if (host.canOpenChat === false) {
  // @ts-expect-error an old WeChat has no such function
  delete wx.openCustomerServiceChat;
}

/** As WeChat does: JSON where it is JSON, else the text. @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** @param {string} tag @param {string} name @param {string} text */
function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name !== '') made.className = name;
  made.textContent = text;
  return made;
}

/** @param {string} text */
function toast(text) {
  const shown = element('div', 'client-toast', text);
  document.body.append(shown);
  setTimeout(() => shown.remove(), TOAST_MS);
}

/** What the client does beside drawing: pressed looks, roles, and taps by keyboard. @param {HTMLElement} root */
function behaveAsClient(root) {
  const roles = () => {
    for (const node of root.querySelectorAll('[aria-role]')) {
      node.setAttribute('role', String(node.getAttribute('aria-role')));
      if (node.getAttribute('role') === 'button') node.setAttribute('tabindex', '0');
    }
  };
  new MutationObserver(roles).observe(root, { childList: true, subtree: true });
  roles();
  // What the page sets is what the field holds, also after somebody has typed.
  new MutationObserver((records) => {
    for (const { target } of records) {
      if (target instanceof window.HTMLInputElement) target.value = target.getAttribute('value') ?? '';
    }
  }).observe(root, { attributes: true, attributeFilter: ['value'], subtree: true });
  root.addEventListener('pointerdown', (event) => {
    const pressed = closest(event.target, '[hover-class]');
    if (pressed === null || pressed.hasAttribute('disabled')) return;
    const name = String(pressed.getAttribute('hover-class'));
    pressed.classList.add(name);
    const release = () => pressed.classList.remove(name);
    window.addEventListener('pointerup', release, { once: true });
    window.addEventListener('pointercancel', release, { once: true });
  });
  // Clicks come from fingers, mice and keys on buttons alike; what has only the role of a button must be told of keys.
  root.addEventListener('click', (event) => tap(event.target));
  root.addEventListener('input', ({ target }) => {
    const node = /** @type {any} */ (target);
    ge.Event.dispatchEvent(node.__wxElement, new ge.Event('input', { value: node.value }, {}));
  });
  root.addEventListener('keydown', (event) => {
    const button = event.key === 'Enter' || event.key === ' ' ? closest(event.target, '[role="button"]') : null;
    if (button === null) return;
    event.preventDefault();
    tap(button);
  });
}

/** @param {EventTarget | null} target @param {string} selector @returns {HTMLElement | null} */
function closest(target, selector) {
  return target instanceof window.HTMLElement ? target.closest(selector) : null;
}

/** @param {EventTarget | null} target */
function tap(target) {
  /** @type {any} */
  let node = target;
  while (node !== null && node.__wxElement === undefined) node = node.parentNode;
  if (node === null || closest(node, 'button[disabled]') !== null) return;
  ge.Event.dispatchEvent(node.__wxElement, new ge.Event('tap', {}, { bubbles: true, composed: true }));
}

/**
 * @param {(name: string) => any} load a module of the mini program
 * @param {any} templates
 * @param {string} style
 * @param {{ app: any, theme: any, pages: Record<string, { config: any, style: string }> }} parts
 */
function start(load, templates, style, parts) {
  const { page, query } = asked();
  if (parts.pages[page] === undefined) throw new Error(`there is no page ${page}`);
  const config = { ...parts.app.window, ...parts.pages[page].config };
  ge.globalOptions.throwGlobalError = true;
  const sheet = document.createElement('style');
  sheet.textContent = `${style}\n${parts.pages[page].style}`;
  document.head.append(sheet);
  // `<page-meta root-font-size="system">`
  if (host.fontSize !== undefined) document.documentElement.style.fontSize = host.fontSize;

  const env = new MiniProgramEnv();
  const space = env.createCodeSpace('', true);
  space.addComponentStaticConfig(page, config);
  space.addCompiledTemplate(page, {
    groupList: templates[page],
    content: templates[page][page],
    fallbackListenerOnNativeNode: true,
  });

  Object.assign(window, { wx, App: () => {}, getApp: () => ({}) });
  Object.assign(load('config'), { apiBase: host.apiBase ?? window.location.origin }, host.config);
  load('app');
  space.globalComponentEnv(window, page, () => {
    const register = window.Page;
    window.Page = (/** @type {any} */ options) => register(withTaps(options));
    load(page);
  });

  const barred = host.bar !== false;
  if (barred) document.body.append(bar(config.navigationBarTitleText, parts.theme));
  document.documentElement.style.setProperty('--client-height', barred ? 'calc(100vh - 44px)' : '100vh');
  const frame = document.createElement('page');
  const hole = document.createElement('div');
  frame.append(hole);
  document.body.append(frame);
  const root = env.associateBackend().createRoot('div', space, page);
  root.attach(/** @type {any} */ (frame), /** @type {any} */ (hole));
  behaveAsClient(frame);

  const instance = /** @type {any} */ (root.get());
  instance.onLoad?.(query);
  instance.onShow();
  Object.assign(window, {
    kfbindPage: {
      show: () => instance.onShow(),
      hide: () => instance.onHide?.(),
      unload: () => instance.onUnload?.(),
      /** @param {boolean} connected */
      network: (connected) => networkListeners.forEach((listener) => listener({ isConnected: connected })),
    },
  });
}

/** Which page is asked for, and with which query. */
function asked() {
  const { page, ...query } = Object.fromEntries(new URLSearchParams(window.location.search));
  return { page: host.page ?? page ?? USERS_PAGE, query: host.query ?? query };
}

/** Handlers run with the tap's right, and lose it when they return. @param {any} options */
function withTaps(options) {
  const wrapped = { ...options };
  for (const [name, handler] of Object.entries(options)) {
    if (typeof handler !== 'function' || !/^on[A-Z]/.test(name) || ['onLoad', 'onShow', 'onHide', 'onUnload'].includes(name)) continue;
    wrapped[name] = function (/** @type {any[]} */ ...given) {
      inTap = true;
      try {
        return handler.apply(this, given);
      } finally {
        inTap = false;
      }
    };
  }
  return wrapped;
}

/** @param {string} title @param {any} theme */
function bar(title, theme) {
  const made = element('div', 'client-bar', title);
  const dark = window.matchMedia?.('(prefers-color-scheme: dark)');
  const paint = () => {
    const colours = dark?.matches ? theme.dark : theme.light;
    made.style.background = colours.barBackground;
    made.style.color = colours.barText;
  };
  dark?.addEventListener('change', paint);
  paint();
  return made;
}

module.exports = { start };
