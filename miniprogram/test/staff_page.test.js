const assert = require('node:assert/strict');
const { mounted } = require('./mounted');
const texts = require('../pages/staff-bind/texts');

process.env.TZ = 'Asia/Shanghai';

const PAGE = 'pages/staff-bind/staff-bind';
const ID = 'wmXiaoLin';
const CARD = 'pages/bind-account/bind-account.html?ticket=TICKET';

/** A WeCom that says what the test wants. @param {Partial<import('../tools/browser/wecom').Wecom>} [other] */
function wecom(other = {}) {
  /** @type {any[]} */
  const sent = [];
  return {
    sent,
    loginCode: () => 'qy-code',
    entry: () => 'single_kf_tools',
    customer: () => ID,
    send: (/** @type {any} */ message) => void sent.push(JSON.parse(JSON.stringify(message))),
    ...other,
  };
}

/** @param {import('./fake_server').FakeServer} server */
function unbound(server) {
  server.customers.set(ID, { nickname: '小林', binding: null });
}

/** @param {import('./fake_server').FakeServer} server */
function bound(server) {
  server.customers.set(ID, { nickname: '小林', binding: { method: 'link', bound_at: '2026-11-24T05:03:00Z', label: '138****8000' } });
}

/** @param {import('./mounted').Mounted} page @param {string} text */
async function type(page, text) {
  await page.until(() => page.document.querySelector('input') !== null, 'a field');
  const field = /** @type {any} */ (page.document.querySelector('input'));
  field.value = text;
  field.dispatchEvent(new page.window.Event('input', { bubbles: true }));
}

/** The yes of WeChat's box. @param {import('./mounted').Mounted} page */
function agree(page) {
  /** @type {any} */ (page.document.querySelector('.client-modal button:last-child')).click();
}

/** @param {import('./mounted').Mounted} page @param {string} text */
async function bindBy(page, text) {
  await type(page, text);
  await page.tap('绑定');
  await page.sees('绑定这位客户？');
  agree(page);
}

/** @param {import('./mounted').Mounted} page @returns {string[]} */
function asked(page) {
  return page.server.requests.map(({ method, path }) => `${method} ${path}`);
}

mounted(
  'outside WeCom the page says where it belongs, and asks nothing of anybody',
  async (page) => {
    await page.sees('请在企业微信中打开');
    assert.deepEqual(page.server.requests, []);
    assert.equal(page.document.querySelectorAll('button').length, 0);
  },
  { host: { page: PAGE } },
);

mounted(
  'a customer who is bound: since when, by which way, to which account',
  async (page) => {
    for (const text of ['小林', '已绑定', '138****8000', '2026 年 11 月 24 日 13:03', '客服链接']) await page.sees(text);
    assert.equal(page.button('发送卡片到会话'), undefined);
    assert.deepEqual(asked(page), ['POST /api/staff/login', `GET /api/staff/customers/${ID}`]);
    assert.deepEqual(page.warnings, []);
  },
  { server: bound, host: { page: PAGE, wecom: wecom() } },
);

const chat = wecom();
const storage = new Map();

mounted(
  'a card goes into the chat, with its picture and a path that ends in .html, and nothing of it is kept',
  async (page) => {
    await page.sees('未绑定');
    await page.tap('发送卡片到会话');
    await page.sees('卡片已发送。');
    assert.deepEqual(chat.sent, [
      {
        msgtype: 'miniprogram',
        miniprogram: { appid: 'wx0123456789abcdef', title: texts.cardTitle, imgUrl: 'https://img.test/card.png', page: CARD },
      },
    ]);
    assert.deepEqual(page.server.requests.at(-1)?.body, { external_userid: ID });
    assert.equal(storage.size, 0, 'nor is the session of an employee');
    assert.doesNotMatch(page.document.body.innerHTML, /TICKET/);
    assert.deepEqual(page.warnings, []);
    bound(page.server);
    await page.tap('刷新');
    await page.sees('已绑定');
    assert.ok(!page.text().includes('卡片已发送'));
  },
  { server: unbound, host: { page: PAGE, wecom: chat, storage, config: { cardImage: 'https://img.test/card.png' } } },
);

mounted(
  'a code that the customer reads out is agreed to with their name, then bound',
  async (page) => {
    await page.sees('未绑定');
    assert.ok(page.button('绑定')?.hasAttribute('disabled'), 'nothing is typed yet');
    await type(page, '482913');
    await page.tap('绑定');
    await page.sees('绑定这位客户？');
    const question = String(page.document.querySelector('.client-modal p')?.textContent);
    assert.match(question, /482913.*“小林”/);
    assert.ok(!asked(page).includes('POST /api/staff/bindings'));
    agree(page);
    await page.sees('绑定成功。');
    await page.sees('客服人员协助');
    assert.deepEqual(page.server.requests.at(-1)?.body, { external_userid: ID, code: '482913' });
  },
  { server: unbound, host: { page: PAGE, wecom: wecom() } },
);

mounted(
  'a no to the question binds nothing, and the code stays',
  async (page) => {
    await type(page, '482913');
    await page.tap('绑定');
    await page.sees('绑定这位客户？');
    await page.tap('取消');
    assert.ok(!asked(page).includes('POST /api/staff/bindings'));
    assert.equal(/** @type {any} */ (page.document.querySelector('input')).value, '482913');
  },
  { server: unbound, host: { page: PAGE, wecom: wecom() } },
);

for (const [status, code] of /** @type {const} */ ([
  [404, 'code-invalid'],
  [403, 'other-person'],
  [409, 'conflict'],
  [409, 'already-bound'],
])) {
  mounted(
    `${status} ${code} to a code is said`,
    async (page) => {
      await page.sees('未绑定');
      page.server.refusal = { status, body: { code } };
      await bindBy(page, '482913');
      await page.sees(texts.notices[code]);
      page.server.refusal = null;
      await page.pass(1000);
      await bindBy(page, '715064');
      await page.sees('绑定成功。');
    },
    { server: unbound, host: { page: PAGE, wecom: wecom() } },
  );
}

for (const [status, code, stop] of /** @type {const} */ ([
  [403, 'not-staff', 'not-staff'],
  [404, 'method-off', 'off'],
  [404, 'customer-unknown', 'unknown'],
])) {
  for (const button of ['发送卡片到会话', '绑定']) {
    mounted(
      `${status} ${code} to ${button} is said in full`,
      async (page) => {
        await page.sees('未绑定');
        page.server.refusal = { status, body: { code } };
        if (button === '绑定') await bindBy(page, '482913');
        else await page.tap(button);
        await page.sees(texts.stops[stop].title);
        assert.equal(page.document.querySelector('input'), null);
      },
      { server: unbound, host: { page: PAGE, wecom: wecom() } },
    );
  }
}

mounted(
  'too many wrong codes: both buttons say for how long, and come back',
  async (page) => {
    await page.sees('未绑定');
    page.server.refusal = { status: 429, body: { code: 'too-many-requests' }, headers: { 'Retry-After': '7' } };
    await bindBy(page, '000000');
    await page.sees('操作太频繁，请稍后再试。');
    assert.ok(page.button('请稍候（7 秒）')?.hasAttribute('disabled'));
    page.server.refusal = null;
    await page.pass(8000);
    await page.tap('发送卡片到会话');
    await page.sees('卡片已发送。');
  },
  { server: unbound, host: { page: PAGE, wecom: wecom() } },
);

mounted(
  'WeCom is down for the server: said, and another tap does it',
  async (page) => {
    await page.sees('未绑定');
    page.server.refusal = { status: 503, body: { code: 'wecom-unavailable' } };
    await page.tap('发送卡片到会话');
    await page.sees('客服系统暂时连不上，请稍后再试。');
    page.server.refusal = null;
    await page.tap('发送卡片到会话');
    await page.sees('卡片已发送。');
  },
  { server: unbound, host: { page: PAGE, wecom: wecom() } },
);

mounted(
  'no network: what happened, a button, and the customer once it is back',
  async (page) => {
    await page.sees('网络连接不上');
    page.server.outage = null;
    await page.tap('立即重试');
    await page.sees('小林');
  },
  {
    server: (server) => {
      unbound(server);
      server.outage = 'offline';
    },
    host: { page: PAGE, wecom: wecom() },
  },
);

mounted(
  'nobody knows the customer',
  async (page) => {
    await page.sees('查不到这位客户');
    unbound(page.server);
    await page.tap('立即重试');
    await page.sees('小林');
  },
  { host: { page: PAGE, wecom: wecom() } },
);

mounted(
  'an ended session is renewed without a word',
  async (page) => {
    await page.sees('未绑定');
    page.server.staffSession = 'staff-2';
    await page.tap('发送卡片到会话');
    await page.sees('卡片已发送。');
    assert.equal(page.server.logins, 2);
  },
  { server: unbound, host: { page: PAGE, wecom: wecom() } },
);

for (const [what, other, title, silent] of /** @type {const} */ ([
  ['a page that was opened elsewhere', { entry: () => 'normal' }, '请从客服会话打开'],
  ['a chat without a customer', { customer: () => undefined }, '没有找到客户'],
  ['an employee whom WeCom does not let in', { loginCode: () => Promise.reject(new Error('user not in allow list')) }, '没有权限'],
  ['an app without the right', { customer: () => Promise.reject(new Error('no permission')) }, '没有权限'],
  ['a WeCom that has not the function', { entry: () => Promise.reject(new Error('function not exist')) }, '请更新企业微信'],
  ['a WeCom that never answers', { loginCode: () => new Promise(() => {}) }, '服务器没有回应', true],
])) {
  mounted(
    `${what} is told`,
    async (page) => {
      if (silent) await page.pass(15_000);
      await page.sees(title);
      assert.ok(!asked(page).some((path) => path.startsWith('GET')));
      assert.equal(page.timers.size, 0);
    },
    { server: unbound, host: { page: PAGE, wecom: wecom(other) } },
  );
}

mounted(
  'a WeCom so old that it has no wx.qy is told to be renewed',
  async (page) => {
    await page.sees('小林');
    page.window.wx.qy = undefined;
    await page.tap('刷新');
    await page.sees('请更新企业微信');
  },
  { server: unbound, host: { page: PAGE, wecom: wecom() } },
);

let open = ID;

mounted(
  'a chat that changes under the page gets nothing of what was meant for the other',
  async (page) => {
    await type(page, '482913');
    await page.tap('绑定');
    await page.sees('绑定这位客户？');
    open = 'wmXiaoWang';
    agree(page);
    await page.sees('会话已经换成另一位客户，没有做任何改动。');
    await page.sees('小王');
    assert.ok(!asked(page).includes('POST /api/staff/bindings'));
    assert.equal(/** @type {any} */ (page.document.querySelector('input')).value, '');
  },
  {
    server: (server) => {
      unbound(server);
      server.customers.set('wmXiaoWang', { nickname: '小王', binding: null });
    },
    host: { page: PAGE, wecom: wecom({ customer: () => open }) },
  },
);

for (const [why, said] of /** @type {const} */ ([
  ['cancel', ''],
  ['send failed', '卡片没有发出去。'],
])) {
  mounted(
    `a card that ends in "${why}" is told as it is`,
    async (page) => {
      await page.tap('发送卡片到会话');
      await page.until(() => asked(page).includes('POST /api/staff/tickets') && page.button('发送卡片到会话') !== undefined, 'the end of it');
      await page.sees(said);
      assert.ok(!page.text().includes('已发送'));
      assert.equal(page.warnings.length, said === '' ? 0 : 1);
    },
    { server: unbound, host: { page: PAGE, wecom: wecom({ send: () => Promise.reject(new Error(why)) }) } },
  );
}

mounted(
  'a page that is left takes its calls along',
  async (page) => {
    await page.sees('小林');
    /** @type {AbortSignal[]} */
    const signals = [];
    page.window.fetch = (/** @type {string} */ _, /** @type {any} */ options) => {
      signals.push(options.signal);
      return new Promise(() => {});
    };
    await page.tap('发送卡片到会话');
    await page.until(() => signals.length === 1, 'a call');
    assert.equal(signals[0].aborted, false);
    page.window.kfbindPage.unload();
    assert.equal(signals[0].aborted, true);
    await page.pass(60_000);
    assert.equal(page.timers.size, 0);
  },
  { server: unbound, host: { page: PAGE, wecom: wecom() } },
);

mounted(
  'screen readers get a name for the field, and hear what changes',
  async (page) => {
    await page.sees('未绑定');
    assert.equal(page.document.querySelector('input')?.getAttribute('aria-label'), '绑定码');
    assert.deepEqual(
      [...page.document.querySelectorAll('[aria-live]')].map((node) => node.className.trim()),
      ['status-text'],
    );
  },
  { server: unbound, host: { page: PAGE, wecom: wecom() } },
);
