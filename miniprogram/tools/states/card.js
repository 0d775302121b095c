/** The states of the users' page where a card opened it. */

const { see, tap } = require('./play');

/** @typedef {import('./play').State} State */

const host = { query: { ticket: 'TICKET' } };

/** @param {string} name @param {number} status @param {string} code @param {string} sees @returns {State} */
function refused(name, status, code, sees) {
  return {
    name,
    host,
    before: (server) => server.card('小林'),
    play: async (page, server) => {
      await see(page, '绑定这个客服会话');
      server.refusal = { status, body: { code }, headers: status === 429 ? { 'Retry-After': '42' } : {} };
      await tap(page, '绑定');
    },
    sees,
  };
}

/** @type {State[]} */
const CARD = [
  { name: 'card', host, before: (server) => server.card('小林'), sees: '绑定这个客服会话' },
  { name: 'card-unnamed', host, before: (server) => server.card(null), sees: '没有取得昵称' },
  {
    name: 'card-long-name',
    host,
    before: (server) => server.card('AVeryLongNicknameWithoutAnySpaceInIt一二三四五六七八九十'),
    sees: 'AVeryLong',
  },
  {
    name: 'card-bound',
    host,
    before: (server) => server.card('小林'),
    play: (page) => tap(page, '绑定'),
    sees: '绑定成功',
  },
  {
    name: 'card-declined',
    host,
    before: (server) => server.card('小林'),
    play: (page) => tap(page, '不绑定'),
    sees: '没有用这张卡片绑定',
  },
  { name: 'card-invalid', host, sees: '卡片已失效' },
  refused('card-off', 404, 'method-off', '现在不支持用卡片绑定'),
  refused('card-conflict', 409, 'conflict', '已经有别的绑定'),
  refused('card-other-person', 403, 'other-person', '另一位微信用户'),
  refused('card-busy', 429, 'too-many-requests', '操作太频繁'),
  refused('card-down', 503, 'unavailable', '服务暂时出了点问题'),
  {
    name: 'card-already-bound',
    host,
    before: (server) => server.card('小林'),
    play: async (page, server) => {
      await see(page, '绑定这个客服会话');
      server.refusal = { status: 409, body: { code: 'already-bound' } };
      server.bind();
      await tap(page, '绑定');
    },
    sees: '早已绑定到您的账号',
  },
  {
    name: 'card-offline',
    host,
    before: (server) => void (server.outage = 'offline'),
    sees: '网络连接不上',
  },
];

module.exports = { CARD };
