/** The states of the users' page without a card, and of the page that leads to it. */

const { polled, see, tap } = require('./play');

/** @typedef {import('./play').State} State */

/**
 * How to get to each state, and what is seen there.
 * @type {State[]}
 */
const USERS = [
  {
    name: 'starting',
    host: { silentLogin: true },
    sees: '正在登录',
  },
  { name: 'unbound', sees: '获取绑定码' },
  {
    name: 'code',
    play: (page) => tap(page, '获取绑定码'),
    sees: '482 913',
  },
  {
    name: 'copied',
    play: async (page) => {
      await tap(page, '获取绑定码');
      await tap(page, '复制绑定码');
      await page.waitForFunction(() => document.querySelector('.client-toast') === null);
    },
    sees: '已复制',
  },
  {
    name: 'waiting',
    play: async (page) => {
      await tap(page, '获取绑定码');
      await tap(page, '复制绑定码');
      await tap(page, '打开客服会话');
      await page.waitForFunction(() => document.querySelector('.client-toast') === null);
    },
    sees: '正在等待',
  },
  {
    name: 'ending',
    before: (server) => server.set({ pending: server.code('482913', 47) }),
    sees: '0:4',
  },
  {
    name: 'long-code',
    before: (server) => server.set({ pending: server.code('apple-blue-cat', 500) }),
    sees: 'apple',
  },
  {
    name: 'longer-digits',
    before: (server) => server.set({ pending: { ...server.code('4829130'), display: '4829 130' } }),
    sees: '4829 130',
  },
  {
    name: 'copy-refused',
    host: { copyRefused: true },
    play: async (page) => {
      await tap(page, '获取绑定码');
      await tap(page, '复制绑定码');
    },
    sees: '没能自动复制',
  },
  {
    name: 'busy',
    play: async (page, server) => {
      await tap(page, '获取绑定码');
      await see(page, '482 913');
      await polled(server);
      server.faults.push({ status: 429, body: { code: 'too-many-requests' }, headers: { 'Retry-After': '42' } });
      await tap(page, '换一个');
    },
    sees: '操作太频繁',
  },
  {
    name: 'unsupported',
    host: { canOpenChat: false },
    play: (page) => tap(page, '获取绑定码'),
    sees: '客服链接',
  },
  {
    name: 'chat-failed',
    host: { chatFails: true },
    play: async (page) => {
      await tap(page, '获取绑定码');
      await tap(page, '打开客服会话');
    },
    sees: '没能打开',
  },
  {
    name: 'code-offline',
    play: async (page, server) => {
      await tap(page, '获取绑定码');
      await see(page, '482 913');
      server.outage = 'offline';
      await page.evaluate(() => window.kfbindPage.network(false));
    },
    sees: '网络连接不上',
  },
  {
    name: 'expired',
    before: (server) => server.set({ pending: server.code('482913', 1) }),
    sees: '已过期',
  },
  {
    name: 'bound-now',
    play: async (page, server) => {
      await tap(page, '获取绑定码');
      await see(page, '482 913');
      server.bind();
    },
    sees: '绑定成功',
  },
  { name: 'bound', before: (server) => server.bind(), sees: '已绑定' },
  {
    name: 'unbind-question',
    before: (server) => server.bind(),
    play: (page) => tap(page, '解除绑定'),
    sees: '暂不解除',
  },
  {
    name: 'undone',
    before: (server) => server.bind(),
    play: async (page, server) => {
      await see(page, '已绑定');
      server.set({});
    },
    sees: '绑定已被解除',
  },
  { name: 'offline', before: (server) => void (server.outage = 'offline'), sees: '网络连接不上' },
  {
    name: 'server-down',
    before: (server) => void (server.outage = { status: 503, body: { code: 'unavailable' } }),
    sees: '服务暂时',
  },
  {
    name: 'refused',
    before: (server) => void (server.outage = { status: 403, body: { code: 'login-refused' } }),
    sees: '微信拒绝',
  },
  {
    name: 'too-fast',
    before: (server) => void (server.outage = { status: 429, body: {}, headers: { 'Retry-After': '30' } }),
    sees: '操作太频繁',
  },
  {
    name: 'no-kf',
    play: async (page, server) => {
      await see(page, '获取绑定码');
      await polled(server);
      server.faults.push({ status: 503, body: { code: 'wecom-unavailable' } });
      await tap(page, '获取绑定码');
    },
    sees: '客服系统暂时连不上',
  },
  { name: 'opening', host: { page: 'pages/index/index' }, sees: '正在打开' },
  { name: 'opening-failed', host: { page: 'pages/index/index', redirectFails: true }, sees: '网络连接不上' },
];

module.exports = { USERS };
