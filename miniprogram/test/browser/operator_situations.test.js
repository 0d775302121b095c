/** The operators' page in situations that a fake brings about: how it looks, what it says, and that nothing of strangers becomes more than text. */

const assert = require('node:assert/strict');
const { after } = require('node:test');
const { FakeService, binding } = require('./fake_service');
const { crampedTexts, faintTexts, smallTargets } = require('./looks');
const { endFiles, operated } = require('./operator_stage');
const { browser } = require('./stage');

/** @typedef {import('./operator_stage').Operator} Operator */

after(async () => {
  await endFiles();
  await (await browser()).close();
});

const WIDTHS = [1680, 1366, 1000, 800, 390, 340];
const HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
/** As long as ids may be, and nowhere to break. */
const LONG = 'x'.repeat(128);

/** A fake that a test goes on to change. @param {() => FakeService} make */
function kept(make) {
  /** @type {{ fake: FakeService, make: () => FakeService }} */
  const holder = { fake: make(), make: () => holder.fake };
  return holder;
}

/** The plots are drawn anew by an observer. @param {Operator} operator @param {number} width */
async function resized({ page }, width) {
  await page.setViewport({ width, height: 900 });
  await page.waitForFunction(() => [...document.querySelectorAll('.plot-area')].every((area) => Math.abs((area.querySelector('svg')?.clientWidth ?? 0) - area.clientWidth) <= 1));
}

/** Every width in both themes: nothing faint, cut, or wider than the screen. @param {Operator} operator @param {string} name */
async function looksRight(operator, name) {
  const { page } = operator;
  for (const theme of /** @type {const} */ (['light', 'dark'])) {
    await operator.theme(theme);
    assert.deepEqual(await page.evaluate(faintTexts, 4.5), [], theme);
    for (const width of WIDTHS) {
      await resized(operator, width);
      await operator.toTop();
      assert.deepEqual(await page.evaluate(crampedTexts), [], `${width} px, ${theme}`);
      assert.deepEqual(await page.evaluate(smallTargets, 28), [], `${width} px`);
      if (width === 1366 || width === 390) await operator.picture(`operator-${name}-${width}-${theme}`);
    }
  }
}

operated(
  'an empty store: it says what to do, in every width and both themes',
  async (operator) => {
    await operator.visit();
    await looksRight(operator, 'door');
    await operator.logIn();
    await operator.reads('#verdict-title', '一切正常');
    await operator.reads('#accounts', '通过 API 管理微信客服账号');
    await operator.reads('#trail-note', '还没有记录');
    await operator.reads('#letters-note', '没有死信');
    await operator.find('');
    await operator.reads('#search-note', '还没有任何绑定');
    await operator.reads('#plot-days', '这些天还没有');
    await looksRight(operator, 'empty');
  },
  { fake: () => new FakeService() },
);

operated(
  'two weeks: the funnel, every day of it by pointer, by key and as a table',
  async (operator) => {
    const { page } = operator;
    await operator.enter();
    await operator.reads('#funnels', /今天.*14 天合计登录8,\d{3}/);
    assert.equal((await page.$$('#plot-days .bar')).length, 14 * 4);
    const rows = await operator.texts('#plot-days tbody tr');
    assert.equal(rows.length, 14);
    const legend = () => operator.text('#plot-days .legend');
    const today = await legend();
    assert.match(String(today), /^今天登录352取码253发来202绑定\d+$/);
    await page.focus('#plot-days .plot-area');
    await page.keyboard.press('ArrowLeft');
    assert.match(String(await legend()), /^\d+月\d+日 周.登录/);
    const spoken = await page.$eval('#plot-days .plot-area', (area) => [area.getAttribute('role'), area.getAttribute('aria-valuetext'), area.getAttribute('aria-valuenow')]);
    assert.equal(spoken[0], 'slider');
    assert.match(String(spoken[1]), /日 周.：登录 \d+，取码/);
    assert.equal(spoken[2], '13');
    await page.keyboard.press('Home');
    const [oldest] = rows.slice(-1);
    assert.equal(String(await legend()).replace(/\D/g, ''), oldest.replace(/\D/g, ''), 'plot and table say the same');
    await page.keyboard.press('End');
    assert.equal(await legend(), today);
    const area = await page.$('#plot-days .plot-area');
    const box = await area?.boundingBox();
    assert.ok(box);
    await page.mouse.move(box.x + box.width * 0.5, box.y + 80);
    assert.notEqual(await legend(), today);
    await operator.picture('operator-hover');
    await page.mouse.move(5, 5);
    assert.equal(await legend(), today);
    await operator.reads('#plot-times .legend', /一半的人[\d.]+ 秒95% 的人[\d.]+ (秒|分钟)/);
    await operator.reads('#leftovers', /码不存在\d+码已失效\d+已锁定\d+不是本人\d+绑定冲突\d+解绑\d+/);
    await operator.reads('#accounts', /招聘.*没有服务API 管理：否没有勾选“通过 API 管理”/);
    await operator.reads('#tiles', /上次拒收签名不对 · 5 小时前/);
    await operator.reads('#tiles', /send_msg 9501817 次 · 会话归人工/);
  },
  { fake: FakeService.healthy },
);

operated(
  'two weeks look right in every width and both themes',
  async (operator) => {
    await operator.enter();
    await operator.find('客户0003');
    await operator.reads('#search-note', '1 个');
    await looksRight(operator, 'healthy');
  },
  { fake: FakeService.healthy },
);

operated(
  'WeCom down looks right, with every card open',
  async (operator) => {
    await operator.enter();
    await operator.reads('#verdict-title', '在运行，有 2 处要留意');
    await operator.reads('#problems', /上一次调用企业微信失败.*客服一号、售后 的消息拉不下来/);
    await operator.reads('#tiles', /发件箱23 条在等Webhook 在等4死信2/);
    await operator.find('');
    await operator.reads('#search-note', '20 个，还有更多');
    await operator.page.$$eval('details', (all) => all.forEach((details) => Object.assign(details, { open: true })));
    await looksRight(operator, 'down');
  },
  { fake: FakeService.down },
);

operated(
  'nothing moves while the answers come in, nor with every further one',
  async (operator) => {
    const { page } = operator;
    await operator.visit();
    await page.evaluate(() => {
      Object.assign(window, { moved: 0 });
      new window.PerformanceObserver((list) => {
        for (const entry of /** @type {any[]} */ (list.getEntries())) if (!entry.hadRecentInput) /** @type {any} */ (window).moved += entry.value;
      }).observe({ type: 'layout-shift', buffered: true });
    });
    await operator.logIn();
    const first = await operator.page.waitForFunction(() => /更新/.exec(document.querySelector('#fresh-text')?.textContent ?? '')?.input);
    const before = await first.jsonValue();
    await page.evaluate(() => {
      Object.assign(window, { tiles: document.querySelector('.tile'), bar: document.querySelector('#plot-days svg') });
    });
    await page.waitForFunction((/** @type {any} */ text) => ![text, '正在读取'].includes(document.querySelector('#fresh-text')?.textContent ?? ''), {}, before);
    const moved = await page.evaluate(() => /** @type {any} */ (window).moved);
    assert.ok(moved < 0.1, `layout shifts of ${moved}`);
    assert.equal(await page.evaluate(() => /** @type {any} */ (window).tiles?.isConnected && /** @type {any} */ (window).bar?.isConnected), true, 'the same again is not drawn again');
  },
  { fake: FakeService.healthy },
);

const unavailable = kept(() => {
  const fake = FakeService.healthy();
  fake.ready.status = 'unavailable';
  fake.ready.store.writable = false;
  fake.ready.actors.silent = ['notifier'];
  fake.ready.wecom = { access_token_had: false, stopped: true, clock_skew_s: -45, last_error: 'errcode 40001' };
  fake.ready.callbacks.key_to_check = 'wecom.token';
  fake.ready.accounts_known = false;
  return fake;
});
operated(
  'a service that is not ready says why in its 503, the worst first',
  async (operator) => {
    await operator.enter();
    await operator.reads('#verdict-title', '不能正常服务，7 个原因');
    assert.deepEqual(
      (await operator.texts('#problems li strong')).map((text) => text.slice(0, 8)),
      ['数据写不进去', '内部组件 not', '还没有拿到过 a', '企业微信的回调被', '对企业微信的调用', '服务器的时钟和企', '还不知道有哪些客'],
    );
    await operator.picture('operator-unavailable');
    unavailable.fake.ready = { ...FakeService.healthy().ready, status: 'degraded', problems: ['the certificate has run out'] };
    await operator.reads('#problems', /^the certificate has run out$/);
  },
  { fake: unavailable.make, but: /status of 503/ },
);

const failing = kept(FakeService.healthy);
operated(
  'a service that is gone or busy: what was read stays, and all goes on once it is back',
  async (operator) => {
    const { fake } = failing;
    await operator.enter();
    await operator.reads('#trail-note', '30 条');
    fake.is = 'gone';
    await operator.reads('#banner:not([hidden])', '连接不上服务');
    await operator.reads('#fresh-text', '数据没有更新');
    assert.equal((await operator.texts('.event')).length, 30);
    await operator.find('客户0001');
    await operator.reads('#search-note', '没有查成：连接不上服务');
    await operator.picture('operator-gone');
    fake.is = 'busy';
    await operator.reads('#banner:not([hidden])', '服务的回答是 503');
    fake.is = 'up';
    fake.happens({ type: 'bound', openid: 'oNew', external_userid: 'wmNew', method: 'code', by: 'customer' });
    await operator.page.waitForSelector('#banner', { hidden: true });
    await operator.reads('.event', 'oNew');
    await operator.reads('#trail-live-text', '实时');
  },
  { fake: failing.make, but: /ERR_CONNECTION_REFUSED|status of 503/ },
);

operated(
  'a service that is gone before anybody is logged in says so at the door',
  async (operator) => {
    await operator.visit();
    await operator.logIn();
    await operator.reads('#login-error', '没有登录：连接不上服务。');
    await operator.page.$eval('#key', (input) => {
      /** @type {any} */ (input).value = '';
    });
    await operator.logIn('密钥');
    await operator.reads('#login-error', '密钥里只会有英文字母');
  },
  {
    fake: () => Object.assign(new FakeService(), { is: 'gone' }),
    but: /ERR_CONNECTION_REFUSED/,
  },
);

const changed = kept(FakeService.healthy);
operated(
  'a key that is changed meanwhile closes the page and leaves nothing of it behind',
  async (operator) => {
    await operator.enter();
    await operator.find('客户0001');
    await operator.reads('#search-note', '1 个');
    changed.fake.key = 'another-key-0000000';
    await operator.page.waitForSelector('#door:not([hidden])');
    await operator.reads('#login-error', '密钥不再有效');
    assert.equal(await operator.page.evaluate(() => window.sessionStorage.length), 0);
    assert.deepEqual(await operator.texts('.found-row, .event'), []);
    await operator.logIn('another-key-0000000');
    await operator.reads('#trail-note', '30 条');
  },
  { fake: changed.make, but: /status of 401/ },
);

const paged = kept(FakeService.healthy);
operated(
  'all bindings page by page, each once; one that is gone already is no error',
  async (operator) => {
    const { page } = operator;
    await operator.enter();
    await operator.find('');
    await operator.reads('#search-note', '20 个，还有更多');
    await page.click('#found-more');
    await operator.reads('#search-note', '40 个，还有更多');
    await page.click('#found-more');
    await operator.reads('#search-note', /^45 个$/);
    assert.equal(await page.$eval('#found-more', (more) => more.checkVisibility()), false);
    const openids = await page.$$eval('.found-row', (rows) => rows.map((row) => row.querySelector('.id')?.textContent));
    assert.equal(new Set(openids).size, 45);
    paged.fake.bindings = [];
    await operator.press('found', '解绑');
    await page.keyboard.press('Escape');
    await page.waitForSelector('#ask[open]', { hidden: true });
    assert.ok(!paged.fake.asked.some((line) => line.startsWith('DELETE')), 'Escape is a no');
    await operator.press('found', '解绑');
    await operator.press('ask', '解除绑定');
    await operator.reads('.found-gone', '早已不在');
  },
  { fake: paged.make, but: /status of 404/ },
);

const trail = kept(() => {
  const fake = FakeService.healthy();
  fake.events = Array.from({ length: 130 }, (_, at) => ({ id: 10 + at, at: new Date(Date.now() - (130 - at) * 60_000).toISOString(), type: at % 10 === 0 ? 'locked' : 'bound', openid: `o${at}`, external_userid: `wm${at}`, method: 'code', by: 'customer' }));
  return fake;
});
operated(
  'the trail: what is new comes in at the top, older ones on demand, one type by itself',
  async (operator) => {
    const { page } = operator;
    const first = () => page.$eval('.event .id-button', (id) => id.textContent);
    await operator.enter();
    await operator.reads('#trail-note', '50 条，还有更早的');
    assert.equal(await first(), 'o129');
    trail.fake.happens({ type: 'unbound', openid: 'oA', external_userid: 'wmA', by: 'replaced' });
    trail.fake.happens({ type: 'bound', openid: 'oB', external_userid: 'wmA', method: 'card', by: 'user' });
    await operator.reads('#trail-note', '52 条');
    assert.deepEqual((await operator.texts('.event .id-button')).slice(0, 4), ['oB', 'wmA', 'oA', 'wmA']);
    await page.click('#trail-more');
    await operator.reads('#trail-note', '102 条，还有更早的');
    await page.click('#trail-more');
    await operator.reads('#trail-note', /^132 条$/);
    assert.equal(await page.$eval('#trail-more', (more) => more.checkVisibility()), false);
    await operator.press('filters', '锁定');
    await operator.reads('#trail-note', /^13 条$/);
    trail.fake.happens({ type: 'bound', openid: 'oC', method: 'code', by: 'customer' });
    trail.fake.happens({ type: 'locked', external_userid: 'wmLocked', by: 'customer' });
    await operator.reads('#trail-note', /^14 条$/);
    assert.equal(await first(), 'wmLocked');
    await operator.press('filters', '没送到');
    await operator.reads('#trail-note', '没有这一类');
    await operator.press('filters', '全部');
    await operator.reads('#trail-note', /^134 条$/);
  },
  { fake: trail.make },
);

const dead = kept(FakeService.down);
operated(
  'a dead letter is sent again, and leaves the list; one that is gone is no error',
  async (operator) => {
    const { fake } = dead;
    await operator.enter();
    await operator.reads('#letters-note', '2 条');
    await operator.reads('.letters .found-row', /新绑定客户0001放弃于 \d+ 分钟前.*HTTP status 502/);
    await operator.press('letters', '重发');
    await operator.reads('.letters .found-row', '已重新排队');
    assert.ok(fake.asked.includes('POST /api/admin/dead-letters/evt_FAKE00000001/resend'), fake.asked.join('\n'));
    await operator.reads('#tiles', '死信1');
    await operator.page.waitForFunction(() => document.querySelectorAll('.letters .found-row').length === 1);
    fake.letters = [];
    await operator.press('letters', '重发');
    await operator.reads('#letters-note', /早已不在|没有死信/);
    await operator.reads('#letters-note', '没有死信');
  },
  { fake: dead.make, but: /status of 404/ },
);

operated(
  'whatever strangers are called and whatever goes wrong, it is text, and however long, it fits',
  async (operator) => {
    const { page } = operator;
    await operator.enter();
    await operator.find(HOSTILE);
    await operator.reads('.found-row', HOSTILE);
    await operator.reads('#trail .event', HOSTILE);
    await operator.reads('#letters', HOSTILE);
    await operator.reads('#problems', HOSTILE);
    await operator.reads('#accounts', HOSTILE);
    await operator.press('found', '解绑');
    await operator.reads('#ask', HOSTILE);
    await page.keyboard.press('Escape');
    assert.equal(await page.$$eval('body img, body script', (all) => all.length), 0);
    assert.equal(await page.title(), 'kfbind 运维');
    for (const width of [1366, 390]) {
      await resized(operator, width);
      await operator.toTop();
      assert.deepEqual(await page.evaluate(crampedTexts), [], `${width} px`);
      await operator.picture(`operator-hostile-${width}`);
    }
  },
  {
    fake: () => {
      const fake = FakeService.down();
      fake.bindings = [binding(1, { openid: LONG, external_userid: LONG, nickname: HOSTILE, label: HOSTILE, method: HOSTILE, open_kfid: HOSTILE })];
      fake.letters = [fake.letter(1, { error: HOSTILE, type: HOSTILE, data: fake.bindings[0] })];
      fake.events = [{ id: 1, at: HOSTILE, type: HOSTILE, openid: HOSTILE, external_userid: LONG, method: HOSTILE, by: `staff:${HOSTILE}` }];
      fake.ready.wecom.last_error = HOSTILE;
      fake.ready.accounts[0] = { open_kfid: LONG, name: HOSTILE, api_managed: true, last_pull_at: null, last_error: HOSTILE };
      fake.metrics += `kfbind_wecom_api_errors_total{api="send_msg",errcode="<img src=x onerror=1>"} 99\n`;
      return fake;
    },
  },
);

operated(
  'by key alone: log in, find, undo, look at one type, leave',
  async (operator) => {
    const { page } = operator;
    const focused = () => page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent);
    /** @param {string} name */
    const tabTo = async (name) => {
      for (let steps = 0; (await focused()) !== name; steps += 1) {
        assert.ok(steps < 60, `${name} is not reached`);
        await page.keyboard.press('Tab');
        const ring = await page.evaluate(() => {
          const at = document.activeElement;
          return at === null || at === document.body || window.getComputedStyle(at).outlineStyle !== 'none';
        });
        assert.ok(ring, `${await focused()} shows no focus`);
      }
    };
    await operator.visit();
    assert.equal(await focused(), 'key');
    await operator.logIn();
    await operator.reads('#fresh-text', /更新/);
    await tabTo('query');
    await page.keyboard.type('客户0002');
    await page.keyboard.press('Enter');
    await operator.reads('#search-note', '1 个');
    await tabTo('解绑');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#ask[open]');
    await tabTo('ask-yes');
    await page.keyboard.press('Enter');
    await operator.reads('.found-gone', '已经解绑');
    assert.equal(await focused(), 'query', 'the focus is not lost with the button');
    await tabTo('锁定');
    await page.keyboard.press('Space');
    await operator.reads('#trail-note', /^1 条/);
    await page.focus('body');
    await tabTo('leave');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#door:not([hidden])');
    assert.equal(await focused(), 'key');
  },
  { fake: FakeService.healthy },
);

