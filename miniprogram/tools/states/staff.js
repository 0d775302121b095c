/** The states of the employees' page. */

const { see, tap } = require('./play');

/** @typedef {import('./play').State} State */
/** @typedef {import('../../test/fake_server').FakeServer} FakeServer */

const host = { page: 'pages/staff-bind/staff-bind', wecom: {} };

/** @param {FakeServer} server */
function unbound(server) {
  server.customers.set('wmXiaoLin', { nickname: '小林', binding: null });
  server.customers.set('wmXiaoWang', { nickname: null, binding: null });
}

/** @param {FakeServer} server */
function bound(server) {
  const binding = { method: 'link', bound_at: '2026-11-24T05:03:00Z', label: '138****8000' };
  server.customers.set('wmXiaoLin', { nickname: '小林', binding });
}

/** @param {import('./play').Page} page */
async function bindByCode(page) {
  await page.type('input', '482913');
  await tap(page, '绑定');
  await page.waitForSelector('.client-modal');
  await page.click('.client-modal button:last-child');
}

/** @param {string} name @param {number} status @param {string} code @param {string} sees @returns {State} */
function refused(name, status, code, sees) {
  return {
    name,
    host,
    before: unbound,
    play: async (page, server) => {
      await see(page, '未绑定');
      server.refusal = { status, body: { code }, headers: status === 429 ? { 'Retry-After': '42' } : {} };
      await bindByCode(page);
    },
    sees,
  };
}

/** @type {State[]} */
const STAFF = [
  { name: 'staff-outside', host: { page: host.page }, sees: '请在企业微信中打开' },
  { name: 'staff-misplaced', host: { ...host, wecom: { entry: 'normal' } }, sees: '请从客服会话打开' },
  { name: 'staff-outdated', host: { ...host, wecom: { old: true } }, sees: '请更新企业微信' },
  { name: 'staff-unknown', host, sees: '查不到这位客户' },
  { name: 'staff-offline', host, before: (server) => void (server.outage = 'offline'), sees: '网络连接不上' },
  { name: 'staff-unbound', host, before: unbound, sees: '未绑定' },
  { name: 'staff-bound', host, before: bound, sees: '138****8000' },
  {
    name: 'staff-sent',
    host,
    before: unbound,
    play: (page) => tap(page, '发送卡片到会话'),
    sees: '卡片已发送',
  },
  {
    name: 'staff-not-sent',
    host: { ...host, wecom: { sendFails: true } },
    before: unbound,
    play: (page) => tap(page, '发送卡片到会话'),
    sees: '卡片没有发出去',
  },
  {
    name: 'staff-question',
    host,
    before: unbound,
    play: async (page) => {
      await see(page, '未绑定');
      await page.type('input', '482913');
      await tap(page, '绑定');
    },
    sees: '绑定这位客户',
  },
  {
    name: 'staff-bound-now',
    host,
    before: unbound,
    play: async (page) => {
      await see(page, '未绑定');
      await bindByCode(page);
    },
    sees: '绑定成功',
  },
  {
    name: 'staff-switched',
    host,
    before: unbound,
    play: async (page) => {
      await see(page, '未绑定');
      await page.evaluate(() => void (window.kfbindOpenChat = 'wmXiaoWang'));
      await tap(page, '发送卡片到会话');
    },
    sees: '另一位客户',
  },
  refused('staff-wrong-code', 404, 'code-invalid', '绑定码不对'),
  refused('staff-conflict', 409, 'conflict', '已经有别的绑定'),
  refused('staff-already-bound', 409, 'already-bound', '早已和这个账号绑定'),
  refused('staff-other-person', 403, 'other-person', '另一位微信用户'),
  refused('staff-busy', 429, 'too-many-requests', '操作太频繁'),
  refused('staff-wecom-down', 503, 'wecom-unavailable', '客服系统暂时连不上'),
  refused('staff-not-staff', 403, 'not-staff', '人员名单'),
  refused('staff-off', 404, 'method-off', '现在不支持由客服人员绑定'),
];

module.exports = { STAFF };
