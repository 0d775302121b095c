/** Every way to bind but the typed code, in the demo of the real program: by clicking, on two phones or three. */

const assert = require('node:assert/strict');
const { after } = require('node:test');
const { browser, played } = require('./stage');

/** @typedef {import('./stage').Phones} Phones */

/** A ticket that is refused, and a way that is off, are answers that a browser tells of. */
const REFUSED = /40[349] .*\/api\/(binding\/ticket|staff)/;

after(async () => (await browser()).close());

/** @param {Phones} phones @param {string} text on an item of the newest menu */
async function chatTaps(phones, text) {
  const items = `::-p-xpath((//div[contains(@class, "panel") and not(@hidden)]//ol//button[normalize-space(.)="${text}"])[last()])`;
  const item = await phones.page.waitForSelector(items);
  await item?.click();
}

/** The employee's mini program. @param {Phones} phones */
async function work(phones) {
  const frame = await (await phones.shown('.staff:not([hidden]) iframe')).contentFrame();
  assert.ok(frame);
  return frame;
}

/** @param {Phones} phones @param {string} text */
async function workSees(phones, text) {
  await (await work(phones)).waitForFunction((/** @type {string} */ wanted) => document.body.innerText.includes(wanted), {}, text);
}

/** @param {Phones} phones @param {string} text on a button */
async function workTaps(phones, text) {
  const button = await (await work(phones)).waitForSelector(`::-p-xpath(//button[normalize-space(.)="${text}" and not(@disabled)])`);
  await button?.click();
}

/** Lets a person's mini program be opened by a card that was meant for another. @param {Phones} phones @param {string} name @param {string} address */
async function openAt(phones, name, address) {
  await phones.choose(name);
  const frame = await phones.shown('iframe');
  await frame.evaluate((node, to) => void (/** @type {HTMLIFrameElement} */ (node).src = to), address);
}

played('link: the chat asks, a tap binds, and nothing is typed', async (phones) => {
  await phones.getCode();
  await phones.tap('打开客服会话');
  await phones.hears('确认绑定');
  await phones.reads('#rows .row-answer .text', '请不要确认');
  await phones.picture('way-link-1-question');
  await chatTaps(phones, '确认绑定');
  await phones.sees('绑定成功');
  await phones.sees('客服链接');
  await phones.settles();
  await phones.picture('way-link-2-bound');
});

played('link: a no binds nothing', async (phones) => {
  await phones.getCode();
  await phones.tap('打开客服会话');
  await phones.hears('确认绑定');
  await chatTaps(phones, '不绑定');
  await phones.hears('没有进行绑定');
  await phones.settles();
  assert.ok(!(await (await phones.mini()).evaluate(() => document.body.innerText.includes('绑定成功'))));
});

played('link: where WeChat loses what stands in it, the code still binds', async (phones) => {
  await phones.page.click('#drill-param');
  const code = await phones.getCode();
  await phones.tap('打开客服会话');
  await phones.says(code);
  await phones.sees('绑定成功');
  await phones.sees('发送绑定码');
});

played('window: where WeChat loses what stands in the link, who enters meanwhile is asked', async (phones) => {
  await phones.page.click('#drill-param');
  await phones.getCode();
  await phones.tap('打开客服会话');
  await phones.says('你好');
  await chatTaps(phones, '确认绑定');
  await phones.sees('绑定成功');
  await phones.sees('进入客服会话');
  await phones.picture('way-window');
});

played('card: whoever writes is invited, the mini program asks whose chat it is, and a tap binds', async (phones) => {
  await phones.says('你好');
  await chatTaps(phones, '点击绑定小程序账号');
  await phones.sees('绑定这个客服会话？');
  await phones.sees('微信昵称为“小李”');
  await phones.picture('way-card-1-question');
  await phones.tap('绑定');
  await phones.sees('绑定成功');
  await phones.sees('小程序卡片');
  await phones.picture('way-card-2-bound');
});

played(
  'card: forwarded to a stranger it names its owner, and is used up once it has bound',
  async (phones) => {
    await phones.says('你好');
    await chatTaps(phones, '点击绑定小程序账号');
    await phones.sees('微信昵称为“小李”');
    const address = await (await phones.shown('iframe')).evaluate((node) => String(node.getAttribute('src')));
    await openAt(phones, '小王', address);
    await phones.sees('如果您不是“小李”，或者卡片是别人转发给您的，请不要绑定');
    await phones.picture('way-card-3-forwarded');
    await phones.tap('不绑定');
    await phones.sees('没有用这张卡片绑定');
    await phones.choose('小李');
    await phones.tap('绑定');
    await phones.sees('绑定成功');
    await openAt(phones, '小王', `${address}&again`);
    await phones.sees('卡片已失效');
  },
  { but: REFUSED },
);

played('staff: a card from the third phone', async (phones) => {
  await phones.says('你好');
  await phones.settles();
  await phones.page.click('#staff');
  await workSees(phones, '未绑定');
  await workTaps(phones, '发送卡片到会话');
  await workSees(phones, '卡片已发送');
  await phones.picture('way-staff-1-card');
  assert.deepEqual((await phones.sums())[0], '1', 'the card is nothing that the customer said');
  await chatTaps(phones, '点开这里，绑定您的账号');
  await phones.sees('微信昵称为“小李”');
  await phones.tap('绑定');
  await phones.sees('绑定成功');
  await phones.sees('客服人员协助');
  await workTaps(phones, '刷新');
  await workSees(phones, '已绑定');
  await phones.picture('way-staff-2-bound');
});

played(
  'staff: a code that is read out, mistaken once',
  async (phones) => {
    const code = await phones.getCode();
    await phones.says('你好');
    await phones.settles();
    await phones.page.click('#staff');
    await workSees(phones, '未绑定');
    for (const [typed, said] of [
      [String(code) === '000000' ? '000001' : '000000', '绑定码不对'],
      [code, '绑定成功'],
    ]) {
      const field = await (await work(phones)).waitForSelector('input');
      await field?.click({ count: 3 });
      await field?.type(typed);
      await workTaps(phones, '绑定');
      await (await (await work(phones)).waitForSelector('.client-modal button:last-child'))?.click();
      await workSees(phones, said);
    }
    await phones.sees('绑定成功');
    await phones.sees('客服人员协助');
  },
  { but: REFUSED },
);

played('unionid: known to both sides, a person who writes is bound without a word', async (phones) => {
  await phones.choose('小陈');
  await phones.sees('获取绑定码');
  await phones.says('你好');
  await phones.sees('绑定成功');
  await phones.sees('微信自动识别');
  await phones.picture('way-unionid');
});
