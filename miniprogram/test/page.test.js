const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Mounted, mounted } = require('./mounted');

process.env.TZ = 'Asia/Shanghai';

/** @param {Mounted} page */
async function getCode(page) {
  await page.tap('获取绑定码');
  await page.sees('482 913');
}

mounted('a whole binding: code, copy, chat, back, bound', async (page) => {
  await page.sees('绑定客服会话');
  await getCode(page);
  await page.sees('10:00 后过期');
  await page.tap('复制绑定码');
  await page.sees('已复制。');
  assert.deepEqual(page.clipboard, ['482913']);
  await page.tap('打开客服会话');
  await page.sees('正在等待');
  assert.deepEqual({ ...page.chats[0] }, { url: page.server.pending.kf.url, corpId: 'ww0123456789abcdef' });
  assert.equal(page.chats.length, 1);
  assert.deepEqual(page.clipboard, ['482913'], 'the clipboard still holds the code');
  page.window.kfbindPage.hide();
  page.server.bind();
  page.window.kfbindPage.show();
  await page.sees('绑定成功');
  await page.sees('小林');
  await page.sees('2026 年 11 月 24 日 13:03');
  await page.sees('发送“解绑”');
  assert.deepEqual(page.warnings, []);
});

mounted('a waiting page turns to bound by itself', async (page) => {
  await getCode(page);
  await page.until(() => page.server.waits.length > 0, 'a waiting poll');
  page.server.bind();
  await page.sees('绑定成功');
});

mounted('the countdown ticks, and the code expires into a page with a next step', async (page) => {
  await getCode(page);
  await page.pass(1000);
  await page.sees('9:59 后过期');
  const buttons = () => [...page.document.querySelectorAll('button')].map((node) => node.textContent);
  const before = buttons();
  await page.pass(58_000);
  await page.sees('9:01 后过期');
  assert.deepEqual(buttons(), before);
  assert.equal(page.document.querySelector('.left-ending'), null);
  await page.pass(482_000);
  await page.sees('0:59 后过期');
  assert.ok(page.document.querySelector('.left-ending'));
  await page.pass(60_000);
  await page.sees('绑定码已过期');
  await page.tap('重新获取绑定码');
  await page.sees('715 064');
});

mounted('a tick changes the countdown and nothing else of the page', async (page) => {
  await getCode(page);
  await page.until(() => page.server.waits.length > 0, 'a waiting poll');
  /** @type {string[]} */
  const changed = [];
  const observer = new page.window.MutationObserver((/** @type {any[]} */ records) => {
    records.forEach(({ target }) => changed.push((target.nodeType === 3 ? target.parentNode : target).className));
  });
  observer.observe(page.document.body, { subtree: true, childList: true, attributes: true, characterData: true });
  await page.pass(3000);
  await page.sees('9:57 后过期');
  assert.ok(changed.length > 0);
  assert.deepEqual([...new Set(changed)].map((name) => name.trim()), ['left']);
});

mounted('another code takes the place of the first', async (page) => {
  await getCode(page);
  await page.tap('换一个');
  await page.sees('715 064');
  assert.deepEqual(page.server.requests.findLast(({ method }) => method === 'POST')?.body, { new: true });
});

mounted(
  'a code made before is shown again at the next visit',
  async (page) => {
    await page.sees('482 913');
    await page.sees('5:00 后过期');
  },
  { server: (server) => server.set({ pending: server.code('482913', 300) }) },
);

mounted(
  'words and longer codes get a size that fits',
  async (page) => {
    await page.sees('apple-blue-cat');
    assert.ok(page.document.querySelector('.code-small'));
    await page.pass(1000);
    page.server.set({ pending: { ...page.server.code('48291305'), display: '4829 1305' } });
    await page.until(() => page.document.querySelector('.code-middle') !== null, 'the middle size');
    await page.pass(1000);
    page.server.set({ pending: page.server.code('482913') });
    await page.until(() => page.document.querySelector('.code-large') !== null, 'the large size');
  },
  { server: (server) => server.set({ pending: server.code('apple-blue-cat') }) },
);

mounted(
  'a refused clipboard leaves the code to be held or typed',
  async (page) => {
    await getCode(page);
    await page.tap('复制绑定码');
    await page.sees('没能自动复制。请长按绑定码');
    assert.notEqual(page.document.querySelector('.code-text')?.getAttribute('user-select'), null);
  },
  {
    host: {
      copied() {
        throw new Error('api scope is not declared in the privacy agreement');
      },
    },
  },
);

mounted(
  'an old WeChat gets the link with a button of its own, and the code stays what it is',
  async (page) => {
    await getCode(page);
    assert.equal(page.button('打开客服会话'), undefined);
    await page.sees('https://work.weixin.qq.com/kfid/');
    await page.tap('复制客服链接');
    await page.sees('链接已复制。');
    await page.tap('复制绑定码');
    await page.sees('正在等待');
    assert.deepEqual(page.clipboard, [page.server.pending.kf.url, '482913']);
  },
  { host: { canOpenChat: false } },
);

mounted(
  'a chat that does not open leaves the link and another try',
  async (page) => {
    await getCode(page);
    await page.tap('打开客服会话');
    await page.sees('没能打开客服会话');
    await page.sees('https://work.weixin.qq.com/kfid/');
    assert.ok(page.button('打开客服会话'));
    assert.deepEqual(page.clipboard, []);
  },
  {
    host: {
      openChat() {
        throw new Error('not bind');
      },
    },
  },
);

mounted(
  'closing the question of WeChat before the chat is no failure',
  async (page) => {
    await getCode(page);
    await page.tap('打开客服会话');
    await page.sees('发送绑定码后');
    assert.ok(!page.text().includes('没能打开'));
  },
  {
    host: {
      openChat() {
        throw new Error('cancel');
      },
    },
  },
);

mounted(
  'no network: what happened, when it is tried again, and a button',
  async (page) => {
    await page.sees('网络连接不上');
    await page.sees('秒后自动重试');
    page.server.outage = null;
    await page.tap('立即重试');
    await page.sees('获取绑定码');
  },
  { server: (server) => void (server.outage = 'offline') },
);

mounted(
  'the page heals by itself when the server is back',
  async (page) => {
    await page.sees('服务暂时出了点问题');
    page.server.outage = null;
    await page.pass(2000);
    await page.sees('获取绑定码');
  },
  { server: (server) => void (server.outage = { status: 503, body: { code: 'unavailable' } }) },
);

mounted('a lost network leaves the code on the screen', async (page) => {
  await getCode(page);
  page.server.outage = 'offline';
  page.window.kfbindPage.network(false);
  await page.sees('网络连接不上');
  await page.sees('482 913');
  page.server.outage = null;
  page.window.kfbindPage.network(true);
  await page.until(() => !page.text().includes('网络连接不上'), 'the trouble to end');
  await page.sees('482 913');
});

mounted(
  'too many at once: the button counts down and comes back',
  async (page) => {
    await page.sees('操作太频繁');
    await page.sees('7 秒后自动重试');
    assert.ok(page.button('立即重试')?.hasAttribute('disabled'));
    page.server.outage = null;
    await page.pass(7000);
    await page.sees('获取绑定码');
  },
  { server: (server) => void (server.outage = { status: 429, body: {}, headers: { 'Retry-After': '7' } }) },
);

mounted('no chat link yet: the tap says so, and can be repeated', async (page) => {
  await page.sees('获取绑定码');
  page.server.faults.push({ status: 503, body: { code: 'wecom-unavailable' } });
  await page.tap('获取绑定码');
  await page.sees('客服系统暂时连不上，请稍后再试。');
  await getCode(page);
});

mounted('an ended session is renewed without a word', async (page) => {
  await page.sees('获取绑定码');
  page.server.session = 'session-2';
  await getCode(page);
  assert.equal(page.server.logins, 2);
  assert.equal(page.server.requests.at(-1)?.session, 'Bearer session-2');
});

mounted(
  'a session that was kept spares the login',
  async (page) => {
    await page.sees('获取绑定码');
    assert.equal(page.server.logins, 0);
  },
  { host: { storage: new Map([['kfbind.session', 'session-1']]) } },
);

mounted(
  'unbinding is confirmed first',
  async (page) => {
    await page.sees('已绑定');
    await page.tap('解除绑定');
    await page.sees('解除绑定？');
    await page.tap('暂不解除');
    assert.ok(!page.server.requests.some(({ method }) => method === 'DELETE'));
    await page.tap('解除绑定');
    await page.sees('解除绑定？');
    /** @type {any} */ (page.document.querySelector('.client-modal button:last-child')).click();
    await page.sees('已解除绑定。');
    await page.sees('获取绑定码');
  },
  { server: (server) => server.bind() },
);

mounted(
  'unbound from the chat, the page turns by itself',
  async (page) => {
    await page.sees('已绑定');
    await page.until(() => page.server.waits.length > 0, 'a waiting poll');
    page.server.set({});
    await page.sees('绑定已被解除。');
  },
  { server: (server) => server.bind() },
);

mounted('hidden, the page rests; gone, it leaves nothing behind', async (page) => {
  await getCode(page);
  await page.until(() => page.server.waits.length > 0, 'a waiting poll');
  page.window.kfbindPage.hide();
  const asked = page.server.requests.length;
  await page.pass(300_000);
  assert.equal(page.server.requests.length, asked);
  assert.equal(page.timers.size, 0);
});

mounted('a page that is left takes its calls along', async (page) => {
  await getCode(page);
  await page.until(() => page.server.waits.length > 0, 'a waiting poll');
  const before = page.aborted;
  await page.tap('换一个');
  /** @type {any[]} */
  const deaf = [];
  page.window.wx.offNetworkStatusChange = (/** @type {any} */ listener) => deaf.push(typeof listener);
  page.window.kfbindPage.unload();
  assert.deepEqual(deaf, ['function'], 'it listens to the network no more');
  assert.equal(page.aborted - before, 2, 'the poll for the tap, the call of the tap for the end');
  page.window.kfbindPage.network(true);
  await page.pass(60_000);
  assert.ok(page.text().includes('482 913'), 'and nothing is drawn any more');
});

mounted('screen readers hear the code digit by digit, the steps, and what changes', async (page) => {
  await getCode(page);
  const code = page.document.querySelector('.code');
  assert.equal(code?.getAttribute('aria-label'), '绑定码 4 8 2 9 1 3，点按复制');
  assert.equal(code?.getAttribute('aria-role'), 'button');
  await page.tap('复制绑定码');
  await page.sees('已复制。');
  const steps = [...page.document.querySelectorAll('.step')].map((node) => node.getAttribute('aria-label'));
  assert.deepEqual(steps, ['第 1 步：复制绑定码，已完成', '第 2 步：打开客服会话', '第 3 步：粘贴并发送绑定码']);
  const live = page.document.querySelector('[aria-live]');
  assert.match(String(live?.textContent), /已复制/);
  assert.equal(live?.contains(page.document.querySelector('.left')), false, 'the countdown is not announced');
});

mounted('a tap on the code copies it as well, by key too', async (page) => {
  await getCode(page);
  const code = /** @type {any} */ (page.document.querySelector('.code'));
  code.click();
  code.dispatchEvent(new page.window.KeyboardEvent('keydown', { key: 'Enter', bubbles: true }));
  await page.sees('已复制。');
  assert.deepEqual(page.clipboard, ['482913', '482913']);
});

mounted('the unbound read what is ahead of them, by eye and by ear', async (page) => {
  await page.sees('获取一个绑定码');
  const steps = [...page.document.querySelectorAll('.step')].map((node) => node.getAttribute('aria-label'));
  assert.deepEqual(steps, ['第 1 步：获取一个绑定码', '第 2 步：打开客服会话', '第 3 步：发送绑定码，自动完成绑定']);
  const numbers = () => [...page.document.querySelectorAll('.number')].map((node) => node.getAttribute('aria-hidden'));
  assert.deepEqual(numbers(), ['true', 'true', 'true'], 'the step says its number itself');
  assert.equal(page.document.querySelector('.hero')?.getAttribute('aria-live'), 'polite');
  await getCode(page);
  assert.deepEqual(numbers(), ['true', 'true', 'true']);
});

mounted(
  'a login that WeChat never answers ends in a next step, not in a page that turns for ever',
  async (page) => {
    await page.sees('正在登录');
    await page.pass(15_000);
    await page.sees('服务器没有回应');
    assert.ok(page.button('立即重试'));
    assert.deepEqual(page.warnings, ['kfbind: login: Error: timeout']);
  },
  { host: { loginCode: () => new Promise(() => {}) } },
);

mounted(
  'a storage that can not be read costs a login, not the page',
  async (page) => {
    await page.sees('获取绑定码');
    assert.equal(page.server.logins, 1);
    assert.deepEqual(page.warnings, ['kfbind: storage: getStorageSync:fail']);
  },
  {
    host: {
      storage: {
        get() {
          throw { errMsg: 'getStorageSync:fail' };
        },
        set() {},
        delete() {},
      },
    },
  },
);

for (const [what, getSession] of /** @type {const} */ ([
  ['fails at once', () => { throw new Error('not logged in'); }],
  ['promises nothing', () => 'session-1'],
  ['never answers', () => new Promise(() => {})],
])) {
  test(`a back end's getSession that ${what} leaves a page with a next step`, async () => {
    const page = new Mounted({ host: { config: { getSession } } });
    try {
      await page.pass(15_000);
      await page.sees(/立即重试|获取绑定码/);
    } finally {
      page.close();
    }
  });
}

mounted('what the server wants no more of for a while can not be tapped, and says for how long', async (page) => {
  const busy = { status: 429, body: { code: 'too-many-requests' }, headers: { 'Retry-After': '7' } };
  /** @param {string} label @param {string} held */
  const isHeld = async (label, held) => {
    await page.until(() => page.server.waits.length > 0, 'a waiting poll');
    page.server.faults.push(busy);
    await page.tap(label);
    await page.sees(held);
    assert.ok(page.button(held)?.hasAttribute('disabled'), held);
    assert.match(String(page.button(held)?.className), /-off/, held);
    await page.pass(8000);
    assert.equal(page.button(label)?.hasAttribute('disabled'), false, label);
  };
  await page.sees('获取绑定码');
  await isHeld('获取绑定码', '请稍候（7 秒）');
  await getCode(page);
  await isHeld('换一个', '7 秒后可换');
  page.server.bind();
  await page.tap('解除绑定');
  await page.until(() => page.server.waits.length > 0, 'a waiting poll');
  page.server.faults.push(busy);
  /** @type {any} */ (page.document.querySelector('.client-modal button:last-child')).click();
  await page.sees('请稍候（7 秒）');
  assert.ok(page.button('请稍候（7 秒）')?.hasAttribute('disabled'));
});

mounted(
  'where the chat can not unbind, nobody is told that it can',
  async (page) => {
    await page.sees('需要解除时，可以点按下面的按钮。');
    assert.ok(!page.text().includes('发送“'));
  },
  { server: (server) => server.bind(), host: { config: { unbindWord: '' } } },
);

mounted('a chat that is there in name only, as in the app of WeCom, is one that does not open', async (page) => {
  await getCode(page);
  page.window.wx.openCustomerServiceChat = () => {
    throw new Error('not supported');
  };
  await page.tap('打开客服会话');
  await page.sees('没能打开客服会话');
  await page.sees('https://work.weixin.qq.com/kfid/');
});

const kept = new Map();

mounted(
  'a session is kept for the next visit, and a new one takes the place of one that ended',
  async (page) => {
    await page.sees('获取绑定码');
    assert.deepEqual([...kept], [['kfbind.session', 'session-1']]);
    page.server.session = 'session-2';
    await getCode(page);
    assert.deepEqual([...kept], [['kfbind.session', 'session-2']]);
  },
  { host: { storage: kept } },
);

mounted('beside the code, too, a retry is a tap away', async (page) => {
  await getCode(page);
  await page.until(() => page.server.waits.length > 0, 'a waiting poll');
  page.server.outage = 'offline';
  page.window.kfbindPage.network(false);
  await page.sees('网络连接不上');
  const asked = page.server.requests.length;
  await page.tap('立即重试');
  await page.until(() => page.server.requests.length > asked, 'another call');
});
