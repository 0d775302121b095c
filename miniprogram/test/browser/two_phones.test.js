/** The demo's page, driven as a visitor would: click, type, look. Nothing here measures time. */

const assert = require('node:assert/strict');
const { after } = require('node:test');
const { crampedTexts, faintTexts } = require('./looks');
const { browser, played, startDemo } = require('./stage');

after(async () => (await browser()).close());

/** What the browser itself says about a service that is away. */
const AWAY = /Failed to load resource.*502/;

played('a whole binding, by clicking and typing', async (phones) => {
  const { page } = phones;
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  const code = await phones.getCode();
  assert.match(code, /^\d{6}$/);
  await phones.picture('binding-1-code');
  await phones.tap('复制绑定码');
  await phones.sees('已复制。');
  assert.equal(await clipboard(), code);
  await phones.tap('打开客服会话');
  await page.waitForFunction(() => document.activeElement?.className === 'words');
  assert.equal(await clipboard(), code, 'opening the chat leaves the clipboard alone');
  await phones.picture('binding-2-chat');
  await (await phones.shown('.paste')).click();
  assert.equal(await (await phones.shown('.words')).evaluate((input) => /** @type {HTMLInputElement} */ (input).value), code);
  await (await phones.shown('.send')).click();
  await phones.sees('绑定成功');
  await phones.sees('小李');
  await phones.hears('绑定成功');
  await phones.settles();
  assert.deepEqual(await phones.sums(), ['1', '1', '2'], 'the link has asked as well');
  await phones.picture('binding-3-bound');
});

played('the wire tells the way of a message, and its callback opens', async (phones) => {
  const { page } = phones;
  const code = await phones.getCode();
  await phones.says(`${code.slice(0, 3)} ${code.slice(3)}`);
  await phones.sees('绑定成功');
  await phones.settles();
  await phones.reads('#rows .row-answer .result', '已接受');
  const kinds = await phones.kinds();
  const way = kinds.slice(kinds.indexOf('消息'));
  for (const kind of ['回调', '拉取', '落盘', '应答', '送达']) assert.ok(way.includes(kind), `${kind} in ${way}`);
  assert.ok(way.indexOf('回调') < way.indexOf('拉取') && way.indexOf('拉取') < way.indexOf('落盘'), way.join(' '));
  await phones.reads('.row-callback .result', /^200，[\d.]+ ms$/);
  await phones.reads('.row-commit[data-tone="good"] .text', /^绑定、1 条消息、1 条应答待发/);
  await phones.reads('.row-commit[data-tone="good"] .result', /^fsync [\d.]+ ms$/);

  await page.click('.row-callback summary');
  await phones.reads('.row-callback .pane:first-child', '<Encrypt>');
  const inside = '.row-callback .pane:last-child';
  assert.equal(await page.$eval(inside, (pane) => /** @type {HTMLElement} */ (pane).hidden), true);
  await (await page.waitForSelector('.open-letter'))?.click();
  await page.waitForSelector(inside, { visible: true });
  await phones.reads(inside, 'kf_msg_or_event');
  await page.$eval('.wire', (wire) => wire.scrollIntoView());
  await phones.picture('wire-callback-decrypted');

  assert.equal(await page.$('.row-rest:first-of-type time').then((row) => row?.isVisible()), false, 'other calls are folded away');
  await page.click('#show-rest');
  await page.waitForFunction(() => [...document.querySelectorAll('.row-call')].some((row) => row.checkVisibility() && row.textContent?.includes('openid')));
});

played('unbinding in the mini program asks first', async (phones) => {
  await phones.says(await phones.getCode());
  await phones.sees('绑定成功');
  await phones.tap('解除绑定');
  await phones.sees('暂不解除');
  await phones.picture('unbinding-question');
  await phones.tap('暂不解除');
  await phones.sees('微信昵称');
  await phones.tap('解除绑定');
  const mini = await phones.mini();
  await mini.waitForSelector('.client-modal');
  await mini.click('.client-modal button:last-child');
  await phones.sees('已解除绑定。');
  await phones.sees('获取绑定码');
  await phones.picture('unbinding-done');
});

played('a word in the chat unbinds as well, and the mini program turns by itself', async (phones) => {
  await phones.says(await phones.getCode());
  await phones.sees('绑定成功');
  await phones.says('解绑');
  await phones.hears('已解除绑定');
  await phones.sees('绑定已被解除。');
  await phones.settles();
  assert.deepEqual(await phones.sums(), ['2', '2', '2']);
  await phones.picture('unbinding-in-chat');
});

played('an expired code gives way to a new one', async (phones) => {
  const old = await phones.getCode();
  const mini = await phones.mini();
  // Ten minutes and a second pass for this phone.
  await mini.evaluate(() => {
    const real = Date.now;
    Date.now = () => real() + 601_000;
  });
  await phones.sees('绑定码已过期');
  await phones.picture('expired');
  await phones.tap('重新获取绑定码');
  const fresh = await phones.code();
  assert.match(fresh, /^\d{6}$/);
  // The server's clock did not move: it may well give the code that still lives.
  await phones.tap('换一个');
  await mini.waitForFunction((/** @type {string} */ before) => document.querySelector('.code-text')?.textContent?.replace(/\s/g, '') !== before, {}, fresh);
  const newest = await phones.code();
  await phones.says(old);
  await phones.hears('这个绑定码已失效');
  await phones.says(newest);
  await phones.sees('绑定成功');
});

played(
  'what is sent while WeCom is away binds when it is back',
  async (phones) => {
    const { page } = phones;
    const code = await phones.getCode();
    await page.click('#drill-down');
    await phones.reads('#lamp-wecom strong', '断网');
    await phones.reads('#drill-down', /断网中，还有 \d 秒/);
    await phones.says(code);
    await phones.reads('#verdict', '企业微信断网，1 条消息在等');
    await phones.reads('#rows .row-hung-up .result', /^连接被断开 × [2-9]/);
    await phones.picture('outage-waiting');
    await phones.sees('绑定成功');
    await phones.reads('#lamp-wecom strong', '正常');
    await phones.settles();
    assert.deepEqual(await phones.sums(), ['1', '1', '1']);
    assert.ok((await phones.kinds()).includes('断网'));
    await phones.picture('outage-over');
  },
  { query: '?down=3' },
);

played('a lost callback loses nothing: the next one brings both messages', async (phones) => {
  const { page } = phones;
  const code = await phones.getCode();
  await page.click('#drill-lose');
  await phones.reads('#drill-lose', '下一次回调会丢');
  await phones.says(code);
  await phones.reads('.row-callback-lost', '这次回调丢了');
  await phones.reads('#drill-lose', '丢掉下一次回调');
  assert.equal(await page.$eval('#drill-lose', (button) => button.getAttribute('aria-disabled')), 'false');
  await phones.picture('lost-callback');
  await phones.choose('小王');
  await phones.says('你好');
  await phones.choose('小李');
  await phones.sees('绑定成功');
  await phones.settles();
  assert.deepEqual(await phones.sums(), ['2', '2', '2'], 'bound, and an invitation');
});

played('without any further callback the timer finds the message', async (phones) => {
  const code = await phones.getCode();
  await phones.page.click('#drill-lose');
  await phones.reads('#drill-lose', '下一次回调会丢');
  await phones.says(code);
  await phones.sees('绑定成功');
  await phones.settles();
});

played(
  'a restart in between: the code, the session and the message are still there',
  async (phones) => {
    const { page } = phones;
    const code = await phones.getCode();
    await page.click('#drill-restart');
    await phones.reads('#lamp-service strong', '已停');
    await phones.says(code);
    await phones.reads('#verdict', 'kfbind 在重启，1 条消息在等');
    await phones.picture('restart-waiting');
    await phones.reads('#lamp-service strong', '运行中');
    await phones.sees('绑定成功');
    await phones.settles();
    await phones.picture('restart-over');
  },
  { but: AWAY },
);

played('a code nobody made is answered in the chat, and the left phone comes back by itself', async (phones) => {
  await phones.getCode();
  await phones.tap('打开客服会话');
  await phones.shown('.veil:not([hidden])');
  await phones.says('000 000');
  await phones.hears('没有找到这个绑定码');
  await phones.page.waitForSelector('.panel:not([hidden]) .veil', { hidden: true });
  await phones.sees('正在等待');
});

played('back by hand: the mini program rests behind the chat and asks at once when it is seen again', async (phones) => {
  const { page } = phones;
  await phones.getCode();
  await phones.tap('打开客服会话');
  await phones.shown('.veil:not([hidden])');
  const asked = page.waitForRequest((request) => request.url().endsWith('/api/binding'));
  await (await phones.shown('.back')).click();
  await asked;
  await page.waitForSelector('.panel:not([hidden]) .veil', { hidden: true });
});

played('every customer has phones of their own', async (phones) => {
  const { page } = phones;
  const code = await phones.getCode();
  await page.click('#more');
  await page.waitForSelector('#panel-小赵:not([hidden])');
  const other = await phones.getCode();
  assert.notEqual(other, code);
  await phones.says(other);
  await phones.sees('绑定成功');
  await phones.sees('小赵');
  await page.focus('[role="tab"][aria-selected="true"]');
  await page.keyboard.press('Home');
  await page.waitForSelector('#panel-小李:not([hidden])');
  assert.equal(await phones.code(), code);
  assert.equal(await page.$$eval('#panel-小李 .said', (all) => all.length), 0);
  assert.deepEqual(
    await page.$$eval('[role="tab"]', (tabs) => tabs.map((tab) => [tab.textContent, tab.getAttribute('aria-selected')])),
    [['小李', 'true'], ['小王', 'false'], ['小陈', 'false'], ['小赵', 'false']],
  );
  await phones.picture('customers');
});

played('an answer to somebody else is marked, but not once more after a reload', async (phones) => {
  const { page } = phones;
  const marked = () => page.$$eval('.tab-news', (tabs) => tabs.map((tab) => tab.textContent));
  await phones.choose('小王');
  await phones.getCode();
  const code = await phones.code();
  await phones.choose('小李');
  assert.deepEqual(await marked(), []);
  await page.evaluate(async (/** @type {string} */ text) => {
    await fetch('/demo/say', { method: 'POST', body: JSON.stringify({ customer: '小王', text }) });
  }, code);
  await phones.settles();
  await phones.reads('#count-answered', /^1$/);
  assert.deepEqual(await marked(), ['小王']);
  await page.reload();
  await page.waitForSelector('#panel-小李:not([hidden])');
  await phones.settles();
  assert.deepEqual(await marked(), []);
});

played('whatever a customer writes or is called, it is text', async (phones) => {
  const { page } = phones;
  const text = '<img src="x" onerror="document.title = 1"><script>document.title = 2</script>';
  const name = '<b>王</b> 五';
  await phones.says(text);
  await page.evaluate(async (/** @type {string} */ customer, /** @type {string} */ said) => {
    await fetch('/demo/say', { method: 'POST', body: JSON.stringify({ customer, text: said }) });
  }, name, text);
  await phones.reads('#count-said', /^2$/);
  await phones.settles();
  await phones.reads('.panel:not([hidden]) .mine .words-line', text);
  await phones.reads('#rows .row-said .text', text);
  await phones.reads('[role="tab"]:last-child', name);
  assert.equal(await page.$$eval('#panels img, #panels script, #tabs b, #rows img, #rows script', (all) => all.length), 0);
  assert.match(await page.title(), /^kfbind/);
  const lost = await page.$$eval('[role="tab"]', (tabs) =>
    tabs.filter((tab) => document.getElementById(String(tab.getAttribute('aria-controls')))?.getAttribute('aria-labelledby') !== tab.id || /\s/.test(tab.id)),
  );
  assert.equal(lost.length, 0, 'a tab and its panel name each other');
});

played(
  'readable and uncut in both themes, from a phone to a large screen',
  async (phones) => {
    const { page } = phones;
    await phones.getCode();
    await phones.tap('复制绑定码');
    await phones.says(await phones.code());
    await phones.sees('绑定成功');
    await phones.tap('解除绑定');
    const mini = await phones.mini();
    await mini.waitForSelector('.client-modal');
    await mini.click('.client-modal button:last-child');
    await phones.sees('获取绑定码');
    await phones.getCode();
    await phones.tap('打开客服会话');
    await page.click('#drill-down');
    await phones.reads('#lamp-wecom strong', '断网');
    await page.click('.row-callback summary');
    await (await page.waitForSelector('.open-letter'))?.click();
    await page.click('#show-rest');
    for (const theme of ['light', 'dark']) {
      await page.emulateMediaFeatures([
        { name: 'prefers-color-scheme', value: theme },
        { name: 'prefers-reduced-motion', value: 'reduce' },
      ]);
      assert.deepEqual(await page.evaluate(faintTexts, 4.5), [], theme);
      assert.deepEqual(await mini.evaluate(faintTexts, 4.5), [], theme);
      for (const width of [1680, 1366, 1000, 700, 390, 340]) {
        await page.setViewport({ width, height: 900 });
        assert.deepEqual(await page.evaluate(crampedTexts), [], `${width} px, ${theme}`);
        await phones.picture(`page-${width}-${theme}`);
      }
    }
  },
  { query: '?down=120' },
);

played('a reload shows the same', async (phones) => {
  const { page } = phones;
  await phones.choose('小王');
  await phones.getCode();
  await phones.tap('复制绑定码');
  await phones.says('你好');
  await phones.settles();
  const code = await phones.code();
  const kinds = await phones.kinds();
  const logins = () => page.$$eval('.row-call', (rows) => rows.filter((row) => row.textContent?.includes('openid')).length);
  const before = await logins();
  await page.reload();
  await page.waitForSelector('#panel-小王:not([hidden]) .mine');
  assert.equal(await phones.code(), code);
  await phones.reads('.panel:not([hidden]) .paste', code);
  await phones.settles();
  assert.deepEqual(await phones.kinds(), kinds);
  assert.equal(await logins(), before, 'the session outlives the reload');
});

played('a lost connection to the demo tells nothing twice', async (phones) => {
  const { page } = phones;
  await page.evaluateOnNewDocument(() => {
    const Source = window.EventSource;
    Object.assign(window, { sources: [] });
    window.EventSource = class extends Source {
      constructor(/** @type {string | URL} */ url) {
        super(url);
        /** @type {any} */ (window).sources.push(this);
      }
    };
  });
  await page.reload();
  await phones.says('你好');
  await phones.settles();
  const kinds = await phones.kinds();
  await page.evaluate(() => /** @type {any} */ (window).sources[0].dispatchEvent(new window.Event('error')));
  await phones.reads('#lamp-service strong', '演示程序没有回应');
  await phones.reads('#lamp-service strong', '运行中');
  await phones.says('再见');
  await phones.reads('#count-said', /^2$/);
  await phones.settles();
  assert.equal(await page.$$eval('.panel:not([hidden]) .mine', (all) => all.length), 2);
  assert.deepEqual((await phones.kinds()).slice(0, kinds.length), kinds);
  assert.deepEqual(await phones.sums(), ['2', '2', '1'], 'one invitation, and none again');
});

played('by key alone', async (phones) => {
  const { page } = phones;
  const mini = await phones.mini();
  await mini.waitForSelector('.btn-strong');
  await mini.focus('.btn-strong');
  await page.keyboard.press('Enter');
  const code = await phones.code();
  await mini.focus('.code');
  await page.keyboard.press('Enter');
  await phones.sees('已复制。');
  await mini.focus('.btn-strong');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement?.className === 'words');
  await page.keyboard.down('Shift');
  await page.keyboard.press('Tab');
  await page.keyboard.up('Shift');
  await page.keyboard.press('Enter');
  await page.waitForFunction((/** @type {string} */ wanted) => /** @type {any} */ (document.activeElement)?.value === wanted, {}, code);
  await page.keyboard.press('Enter');
  await phones.sees('绑定成功');
});

played('hundreds of messages: all are decided, and the page keeps what it can show', async (phones) => {
  const { page } = phones;
  await page.evaluate(async () => {
    for (let i = 0; i < 400; i += 1) {
      await fetch('/demo/say', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ customer: ['小李', '小王', '小陈'][i % 3], text: `第 ${i} 条` }),
      });
    }
  });
  await phones.reads('#count-said', /^400$/);
  await phones.settles();
  assert.deepEqual(await phones.sums(), ['400', '400', '3'], 'an invitation for each of three');
  const rows = await page.$$eval('.row', (all) => all.length);
  assert.ok(rows > 400 && rows <= 500, `${rows} rows`);
  await phones.says(await phones.getCode());
  await phones.sees('绑定成功');
  await phones.picture('hundreds');
});

played(
  'a demo that was ended and started again: the page says so, and begins anew',
  async (phones) => {
    const { page } = phones;
    await phones.says('你好');
    await phones.settles();
    await phones.demo.stop();
    await phones.reads('#lamp-service strong', '演示程序没有回应');
    await phones.picture('demo-ended');
    const again = await startDemo(new URL(phones.url).port);
    try {
      await phones.reads('#verdict', '客户还没有发消息。');
      assert.equal(await page.$$eval('.said', (all) => all.length), 0);
      await phones.says(await phones.getCode());
      await phones.sees('绑定成功');
    } finally {
      await again.stop();
    }
  },
  { but: /Failed to fetch|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|502|401 .*\/api\/binding/ },
);
