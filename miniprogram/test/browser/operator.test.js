/** The operators' page on the real service: logging in, the state, search, unbinding, the trail, and what a browser allows it. */

const assert = require('node:assert/strict');
const { after } = require('node:test');
const { browser } = require('./stage');
const { endFiles, operated } = require('./operator_stage');

/** @typedef {import('./operator_stage').Operator} Operator */
/** @typedef {import('./stage').Demo} Demo */

after(async () => {
  await endFiles();
  await (await browser()).close();
});

const REFUSED = /Failed to load resource.*401/;
const AWAY = /Failed to load resource.*50[23]/;

/** @param {Demo} demo @param {string} control @param {object} body */
async function does(demo, control, body) {
  const answer = await fetch(`${demo.url}demo/${control}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  assert.ok(answer.ok, `${control}: ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

/** What the mini program does. @param {Demo} demo @param {string} path @param {string} [session] @param {object} [body] @returns {Promise<any>} */
async function asks(demo, path, session, body) {
  const answer = await fetch(`${demo.url}api/${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'Content-Type': 'application/json', ...(session === undefined ? {} : { Authorization: `Bearer ${session}` }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  return answer.json();
}

/** A customer who gets a code and types it. @param {Demo} demo @param {string} customer */
async function binds(demo, customer) {
  const { code } = await does(demo, 'login', { customer });
  const { session } = await asks(demo, 'login', undefined, { code });
  const { bind_token: text } = await asks(demo, 'binding/token', session, {});
  await does(demo, 'say', { customer, text });
  let binding = await asks(demo, 'binding', session);
  while (binding.status !== 'bound') binding = await asks(demo, `binding?wait=10&since=${binding.version}`, session);
}

operated(
  'a wrong key opens nothing, is kept nowhere, and the right one opens',
  async (operator) => {
    const { page } = operator;
    await operator.visit();
    await operator.logIn('not-the-right-key-0');
    await operator.reads('#login-error', '密钥不对。');
    assert.equal(await page.$eval('#console', (node) => node.checkVisibility()), false);
    assert.equal(await page.evaluate(() => window.sessionStorage.length + window.localStorage.length + document.cookie.length), 0);
    await operator.picture('operator-wrong-key');
    // What was wrong is marked, so that typing replaces it.
    await operator.logIn();
    await operator.reads('#verdict-title', '一切正常');
    await operator.reads('#accounts', /客服一号wkFAKEaccountA+服务中API 管理：是上次拉取/);
    assert.equal(await page.evaluate(() => window.localStorage.length + document.cookie.length), 0);
    assert.ok(!page.url().includes('key'), page.url());
  },
  { but: REFUSED },
);

operated('a reload stays logged in, leaving does not', async (operator) => {
  const { page } = operator;
  await operator.enter();
  await page.reload();
  await operator.reads('#verdict-title', '一切正常');
  await page.click('#leave');
  await page.waitForSelector('#door:not([hidden])');
  assert.equal(await page.evaluate(() => window.sessionStorage.length), 0);
  await page.reload();
  await page.waitForSelector('#door:not([hidden])');
  assert.equal(await page.$eval('#console', (node) => node.checkVisibility()), false);
});

operated('a binding shows in the trail, the funnel and the search without a reload, and is undone after a question', async (operator, demo) => {
  const { page } = operator;
  await operator.enter();
  await operator.reads('#trail-note', '还没有记录');
  await operator.reads('#letters-note', '没有死信');
  await operator.find('小李');
  await operator.reads('#search-note', '没有找到');
  await page.evaluate(() => Object.assign(window, { same: true }));
  await binds(demo, '小李');
  await operator.reads('#trail .event', /绑定.*绑定码/);
  await operator.reads('#funnels', /登录1取码1100%发来1100%绑定1100%/);
  await operator.reads('#tiles', /绑定1 个/);
  assert.equal(await page.evaluate(() => /** @type {any} */ (window).same), true, 'nothing was loaded anew');

  // The name comes a moment after the binding.
  await page.waitForFunction(async () => {
    /** @type {any} */ (document.querySelector('#query')).value = '小李';
    /** @type {any} */ (document.querySelector('#search')).requestSubmit();
    await new Promise((resolve) => window.setTimeout(resolve, 200));
    return document.querySelectorAll('.found-row').length === 1;
  });
  const [openid, customer] = await operator.texts('.found-row .id');
  for (const id of [openid, customer]) {
    await operator.find('nobody');
    await operator.reads('#search-note', '没有找到');
    await operator.find(id);
    await operator.reads('#found .found-row', openid);
    assert.equal((await operator.texts('.found-row')).length, 1);
  }
  await operator.picture('operator-bound');

  await operator.press('found', '解绑');
  await page.waitForSelector('#ask[open]');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'ask-no', 'no is nearer than yes');
  await operator.picture('operator-question');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#ask[open]', { hidden: true });
  assert.equal((await operator.texts('.found-gone')).length, 0, 'a no changes nothing');
  await operator.press('found', '解绑');
  await operator.press('ask', '解除绑定');
  await operator.reads('.found-gone', '已经解绑');
  await operator.reads('#trail .event', /解绑.*由后台/);
  await operator.reads('#tiles', /绑定0 个/);
  await operator.find(openid);
  await operator.reads('#search-note', '没有找到');
});

operated('an id in the trail leads to its binding', async (operator, demo) => {
  await binds(demo, '小王');
  await operator.enter();
  await (await operator.page.waitForSelector('.event .id-button'))?.click();
  await operator.reads('#search-note', '1 个');
  assert.equal((await operator.texts('.event .id-button'))[0], (await operator.texts('.found-row .id'))[0]);
});

operated('WeCom that goes down is said in words, and so is that it is back', async (operator, demo) => {
  await operator.enter();
  await operator.reads('#verdict-title', '一切正常');
  await does(demo, 'wecom-down', { seconds: 600 });
  await does(demo, 'say', { customer: '小李', text: '你好' });
  await operator.reads('#verdict-title', /在运行，有 \d 处要留意/);
  await operator.reads('#problems', '上一次调用企业微信失败');
  await operator.reads('#tiles .tile', '调用失败');
  await operator.picture('operator-real-down');
  await does(demo, 'wecom-down', { seconds: 1 });
  await operator.reads('#verdict-title', '一切正常');
  await operator.reads('#problems', /^$/);
});

operated(
  'a service that is restarted: what was read stays, and goes on by itself',
  async (operator, demo) => {
    await binds(demo, '小李');
    await operator.enter();
    await operator.reads('#trail .event', '绑定');
    await does(demo, 'restart', {});
    await operator.reads('#banner:not([hidden])', /连接不上服务|忙，或者正在停止/);
    assert.equal((await operator.texts('#trail .event')).length, 1);
    await operator.page.waitForSelector('#banner', { hidden: true });
    await binds(demo, '小王');
    await operator.page.waitForFunction(() => document.querySelectorAll('#trail .event').length === 2);
  },
  { but: AWAY },
);

operated(
  'the browser lets the page run nothing of strangers, and send nothing to them',
  async (operator) => {
    const { page } = operator;
    await operator.enter();
    const done = await page.evaluate(async () => {
      /** @type {string[]} */
      const violated = [];
      document.addEventListener('securitypolicyviolation', ({ effectiveDirective: what }) => violated.push(what));
      const tried = (/** @type {() => void} */ act) => {
        try {
          act();
          return 'done';
        } catch {
          return 'refused';
        }
      };
      const html = tried(() => {
        document.createElement('p').innerHTML = '<b>x</b>';
      });
      const script = tried(() => {
        document.body.append(Object.assign(document.createElement('script'), { text: 'window.ran = true' }));
      });
      const handler = document.createElement('p');
      document.body.append(handler);
      const inline = tried(() => handler.setAttribute('onclick', 'window.ran = true'));
      handler.click();
      const sent = await fetch('http://127.0.0.1:9/').then(() => 'done', () => 'refused');
      const image = new window.Image();
      image.src = 'http://127.0.0.1:9/x.png';
      await new Promise((resolve) => image.addEventListener('error', resolve));
      return { html, script, inline, sent, ran: /** @type {any} */ (window).ran === true, violated: [...new Set(violated)].sort() };
    });
    assert.equal(done.ran, false);
    assert.deepEqual([done.html, done.script, done.sent], ['refused', 'refused', 'refused']);
    for (const directive of ['connect-src', 'img-src', 'require-trusted-types-for']) assert.ok(done.violated.includes(directive), `${directive} in ${done.violated}`);
  },
  { but: /Content Security Policy|TrustedHTML|TrustedScript|violates the following/ },
);
