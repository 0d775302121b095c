const assert = require('node:assert/strict');
const { mounted } = require('./mounted');
const texts = require('../texts');

process.env.TZ = 'Asia/Shanghai';

const BY_CARD = { query: { ticket: 'TICKET' } };

/** @param {import('./mounted').Mounted} page @returns {number} */
function uses(page) {
  return page.server.requests.filter(({ method, path }) => method === 'POST' && path === '/api/binding/ticket').length;
}

mounted(
  'a card asks plainly whose chat would be bound, and a tap binds it',
  async (page) => {
    await page.sees('绑定这个客服会话？');
    await page.sees('微信昵称为“小林”的客服会话，会与您当前登录的账号关联');
    await page.sees('如果您不是“小林”，或者卡片是别人转发给您的，请不要绑定');
    await page.sees('2026 年 11 月 26 日 13:00');
    await page.pass(600_000);
    assert.equal(uses(page), 0, 'nothing is bound by looking');
    await page.tap('绑定');
    await page.sees('正在绑定…');
    for (const label of ['正在绑定…', '不绑定']) assert.ok(page.button(label)?.hasAttribute('disabled'), label);
    await page.sees('绑定成功');
    await page.sees('小程序卡片');
    assert.equal(uses(page), 1);
  },
  { server: (server) => server.card('小林'), host: BY_CARD },
);

mounted(
  'a card of somebody without a nickname says so, and warns the more',
  async (page) => {
    await page.sees('没有取得那个会话的微信昵称');
    await page.sees('只有您自己在客服会话中收到这张卡片时，才可以绑定');
    assert.ok(!page.text().includes('null'));
  },
  { server: (server) => server.card(null), host: BY_CARD },
);

mounted(
  'a no leads to the ordinary page with its code',
  async (page) => {
    await page.tap('不绑定');
    await page.sees('没有用这张卡片绑定');
    await page.tap('获取绑定码');
    await page.sees('482 913');
    assert.equal(uses(page), 0);
  },
  { server: (server) => server.card('小林'), host: BY_CARD },
);

for (const [status, code, refusal] of /** @type {const} */ ([
  [404, 'ticket-invalid', 'invalid'],
  [404, 'method-off', 'off'],
  [409, 'conflict', 'conflict'],
  [403, 'other-person', 'other-person'],
])) {
  mounted(
    `${status} ${code} to the yes is said in full, and leads on`,
    async (page) => {
      await page.sees('绑定这个客服会话？');
      page.server.refusal = { status, body: { code } };
      await page.tap('绑定');
      await page.sees(texts.card.refusals[refusal].title);
      await page.sees(texts.card.refusals[refusal].lead);
      assert.equal(page.button('绑定'), undefined);
      page.server.refusal = null;
      await page.tap('查看我的绑定');
      await page.sees('获取绑定码');
      assert.equal(uses(page), 1);
    },
    { server: (server) => server.card('小林'), host: BY_CARD },
  );
}

mounted(
  'a card that is out of date says so at once',
  async (page) => {
    await page.sees('卡片已失效');
    await page.tap('查看我的绑定');
    await page.sees('已绑定');
  },
  { server: (server) => server.bind(), host: BY_CARD },
);

mounted(
  'a card for the chat that is bound already shows the binding',
  async (page) => {
    await page.sees('绑定这个客服会话？');
    page.server.refusal = { status: 409, body: { code: 'already-bound' } };
    page.server.bind();
    await page.tap('绑定');
    await page.sees('已绑定');
    await page.sees('这个客服会话早已绑定到您的账号。');
  },
  { server: (server) => server.card('小林'), host: BY_CARD },
);

mounted(
  'an ended session is renewed, and the yes is not lost',
  async (page) => {
    await page.sees('绑定这个客服会话？');
    page.server.session = 'session-2';
    await page.tap('绑定');
    await page.sees('绑定成功');
    assert.equal(page.server.logins, 2);
  },
  { server: (server) => server.card('小林'), host: BY_CARD },
);

mounted(
  'too many tries: the button says for how long, and comes back',
  async (page) => {
    await page.sees('绑定这个客服会话？');
    page.server.refusal = { status: 429, body: { code: 'too-many-requests' }, headers: { 'Retry-After': '7' } };
    await page.tap('绑定');
    await page.sees('操作太频繁，请稍后再试。');
    assert.ok(page.button('请稍候（7 秒）')?.hasAttribute('disabled'));
    page.server.refusal = null;
    await page.pass(8000);
    await page.tap('绑定');
    await page.sees('绑定成功');
  },
  { server: (server) => server.card('小林'), host: BY_CARD },
);

mounted(
  'a server that is down leaves the question, and another tap binds',
  async (page) => {
    await page.sees('绑定这个客服会话？');
    page.server.refusal = { status: 503, body: { code: 'unavailable' } };
    await page.tap('绑定');
    await page.sees('服务暂时出了点问题，请稍后再试。');
    page.server.refusal = null;
    await page.tap('绑定');
    await page.sees('绑定成功');
  },
  { server: (server) => server.card('小林'), host: BY_CARD },
);

mounted(
  'no network at the card: what happened, a button, and the question once it is back',
  async (page) => {
    await page.sees('网络连接不上');
    page.server.outage = null;
    await page.tap('立即重试');
    await page.sees('绑定这个客服会话？');
  },
  {
    server: (server) => {
      server.card('小林');
      server.outage = 'offline';
    },
    host: BY_CARD,
  },
);

const kept = new Map();

mounted(
  'a ticket is kept nowhere and said nowhere',
  async (page) => {
    await page.sees('绑定这个客服会话？');
    page.server.outage = 'offline';
    await page.tap('绑定');
    await page.sees('网络连接不上，请稍后再试。');
    page.window.fetch = () => Promise.reject(new Error('no route to http://kfbind.test/api/binding/ticket?ticket=TICKET now'));
    page.window.kfbindPage.hide();
    page.window.kfbindPage.show();
    await page.until(() => page.warnings.length > 1, 'a line for the developer');
    assert.match(page.warnings.join('\n'), /no route to/);
    assert.doesNotMatch(page.warnings.join('\n'), /TICKET/);
    assert.deepEqual([...kept.keys()], ['kfbind.session']);
    assert.doesNotMatch(JSON.stringify([...kept]), /TICKET/);
    assert.doesNotMatch(page.document.body.innerHTML, /TICKET/);
    assert.doesNotMatch(JSON.stringify(page.clipboard), /TICKET/);
  },
  { server: (server) => server.card('小林'), host: { ...BY_CARD, storage: kept } },
);

for (const query of [{}, { ticket: '' }, { scene: '1' }]) {
  mounted(
    `without a ticket the page is the ordinary one: ${JSON.stringify(query)}`,
    async (page) => {
      await page.sees('获取绑定码');
      assert.ok(!page.server.requests.some(({ path }) => path.includes('ticket')));
    },
    { host: { query } },
  );
}

/** @param {import('./mounted').Mounted} page */
async function getCode(page) {
  await page.tap('获取绑定码');
  await page.sees('482 913');
}

/** @param {import('./mounted').Mounted} page @returns {number} */
function announced(page) {
  return page.server.requests.filter(({ path }) => path === '/api/binding/intent').length;
}

mounted(
  'the tap that opens the chat opens it within the tap, and announces it behind',
  async (page) => {
    await getCode(page);
    /** @type {any} */
    let first = null;
    const { openCustomerServiceChat } = page.window.wx;
    page.window.wx.openCustomerServiceChat = (/** @type {any} */ options) => {
      first ??= announced(page);
      openCustomerServiceChat(options);
    };
    const button = page.button('打开客服会话');
    button?.click();
    assert.deepEqual({ ...page.chats[0] }, { url: page.server.pending.kf.url, corpId: 'ww0123456789abcdef' });
    assert.equal(first, 0, 'the chat comes first');
    await page.until(() => announced(page) === 1, 'an announcement');
    const request = page.server.requests.find(({ path }) => path === '/api/binding/intent');
    assert.deepEqual([request?.method, request?.session, request?.body], ['POST', 'Bearer session-1', null]);
    await page.sees('会话中如询问是否绑定，请确认；否则请发送绑定码。');
    await page.tap('再次打开客服会话');
    await page.until(() => announced(page) === 2, 'another announcement');
  },
  { server: (server) => void (server.window = true) },
);

mounted('where the server wants no announcements, it gets one and no more', async (page) => {
  await getCode(page);
  await page.tap('打开客服会话');
  await page.until(() => announced(page) === 1, 'an announcement');
  await page.pass(1000);
  await page.tap('再次打开客服会话');
  await page.pass(1000);
  assert.equal(page.chats.length, 2);
  assert.equal(announced(page), 1);
});

mounted('an announcement that is lost is nobody’s business', async (page) => {
  await getCode(page);
  await page.until(() => page.server.waits.length > 0, 'a waiting poll');
  page.server.faults.push('offline');
  await page.tap('打开客服会话');
  await page.sees('正在等待结果');
  await page.until(() => page.warnings.length > 0, 'a line for the developer');
  assert.match(page.warnings[0], /^kfbind: intent: /);
  assert.ok(!page.text().includes('网络'));
});

const TEMPLATE = { config: { subscribeTemplateId: 'TEMPLATE' } };

mounted(
  'one is asked to subscribe in the tap that gets a code, and gets it whatever the answer',
  async (page) => {
    await page.sees('获取绑定码');
    page.button('获取绑定码')?.click();
    assert.deepEqual(page.asked, [['TEMPLATE']], 'within the tap');
    await page.sees('482 913');
    await page.tap('打开客服会话');
    assert.equal(page.chats.length, 1, 'the chat has its tap to itself');
    assert.equal(page.asked.length, 1);
    assert.deepEqual(page.warnings, []);
  },
  { host: TEMPLATE },
);

mounted(
  'a subscription that is refused costs nothing',
  async (page) => {
    await getCode(page);
    assert.deepEqual(page.warnings, ['kfbind: requestSubscribeMessage: requestSubscribeMessage:fail Error: ban']);
  },
  {
    host: {
      ...TEMPLATE,
      subscribe() {
        throw new Error('ban');
      },
    },
  },
);

mounted('a subscription that throws costs nothing', async (page) => {
  await page.sees('获取绑定码');
  page.window.wx.requestSubscribeMessage = () => {
    throw new Error('access denied');
  };
  await getCode(page);
  assert.deepEqual(page.warnings, ['kfbind: requestSubscribeMessage: Error: access denied']);
}, { host: TEMPLATE });

mounted(
  'a WeChat that can not ask is not asked to',
  async (page) => {
    await getCode(page);
    assert.deepEqual(page.warnings, []);
  },
  { host: { ...TEMPLATE, subscribe: null } },
);

mounted('without a template nobody is asked', async (page) => {
  await getCode(page);
  assert.deepEqual(page.asked, []);
});

for (const [where, wecom, url] of /** @type {const} */ ([
  ['WeChat', undefined, '/pages/bind-account/bind-account'],
  ['WeCom', {}, '/pages/staff-bind/staff-bind'],
])) {
  /** @type {string[]} */
  const went = [];
  mounted(
    `the first page leads on in ${where}`,
    async (page) => {
      await page.until(() => went.length > 0, 'the next page');
      assert.deepEqual(went, [url]);
      await page.sees('正在打开…');
    },
    { host: { page: 'pages/index/index', wecom, redirect: (/** @type {string} */ to) => went.push(to) } },
  );
}

let failures = 0;

mounted(
  'a first page that can not lead on says so, and tries again',
  async (page) => {
    await page.sees('网络连接不上');
    failures = 2;
    await page.tap('立即重试');
    await page.sees('正在打开…');
  },
  {
    host: {
      page: 'pages/index/index',
      redirect() {
        failures += 1;
        if (failures < 2) throw new Error('timeout');
      },
    },
  },
);
