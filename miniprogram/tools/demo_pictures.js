/**
 * The pictures of the READMEs: `npm run demo-pictures` plays the built program's demo and writes `pictures/`. With
 * `pngquant` at hand they become as small as READMEs want them; without it they are refused where they are larger.
 */

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { FakeService } = require('../test/browser/fake_service');
const { Operator, answered } = require('../test/browser/operator_stage');
const { Phones, browser, startDemo } = require('../test/browser/stage');

const OUT = path.join(__dirname, '..', 'pictures');
const BYTES_MAX = 200 * 1000;
const WIDTH = 1280;
/** From the state down to the days. */
const OPERATORS_HEIGHT = 1180;
/** As sharp as the limit allows. */
const SCALE = 1.25;
const COLOURS = '96';

/** @param {string} name @param {'light' | 'dark'} theme @param {(phones: Phones) => Promise<void>} play */
async function shoot(name, theme, play) {
  const demo = await startDemo();
  const page = await opened(theme, 900);
  await page.goto(`${demo.url}?down=30`);
  await play(new Phones(page, demo));
  await keep(page, name, true);
  await demo.stop();
}

/** The operators' page after two weeks, which a fake makes up. */
async function shootOperators() {
  const demo = await startDemo();
  const page = await opened('light', OPERATORS_HEIGHT);
  const fake = FakeService.healthy();
  await page.setRequestInterception(true);
  page.on('request', (request) => void answered(request, fake));
  const operator = new Operator(page, demo.url, fake.key);
  await operator.enter();
  await operator.reads('#plot-days .legend', '今天');
  await keep(page, 'operators', false);
  await demo.stop();
}

/** @param {'light' | 'dark'} theme @param {number} height */
async function opened(theme, height) {
  const page = await (await browser()).newPage();
  await page.setViewport({ width: WIDTH, height, deviceScaleFactor: SCALE });
  await page.emulateMediaFeatures([
    { name: 'prefers-color-scheme', value: theme },
    { name: 'prefers-reduced-motion', value: 'reduce' },
  ]);
  return page;
}

/** Keeps what is seen, in a file that is small enough, and closes the page. @param {import('puppeteer-core').Page} page @param {string} name @param {boolean} fullPage */
async function keep(page, name, fullPage) {
  await page.evaluate(() => /** @type {HTMLElement} */ (document.activeElement)?.blur());
  const file = /** @type {`${string}.png`} */ (path.join(OUT, `${name}.png`));
  fs.mkdirSync(OUT, { recursive: true });
  await page.screenshot({ path: file, fullPage });
  await page.close();
  spawnSync('pngquant', [COLOURS, '--force', '--strip', '--speed', '1', '--output', file, '--', file]);
  const { size } = fs.statSync(file);
  if (size >= BYTES_MAX) throw new Error(`${file} has ${size} bytes, ${BYTES_MAX} are the limit: install pngquant`);
}

/** @param {Phones} phones */
async function bind(phones) {
  await phones.getCode();
  await phones.tap('复制绑定码');
  await phones.tap('打开客服会话');
  await phones.hears('确认绑定');
  await (await phones.shown('::-p-xpath(//ol//button[normalize-space(.)="确认绑定"])')).click();
  await phones.sees('绑定成功');
  await phones.sees('小李');
  await phones.settles();
  await phones.reads('#rows .row-answer .result', '已接受');
  await noToast(phones);
}

/** @param {Phones} phones */
async function noToast(phones) {
  await (await phones.mini()).waitForFunction(() => document.querySelector('.client-toast') === null);
}

async function main() {
  await shootOperators();
  await shoot('two-phones', 'light', bind);
  await shoot('outage', 'dark', async (phones) => {
    await phones.getCode();
    await phones.tap('复制绑定码');
    await phones.page.click('#drill-down');
    await phones.reads('#lamp-wecom strong', '断网');
    await (await phones.shown('.paste')).click();
    await (await phones.shown('.send')).click();
    await phones.reads('#verdict', '1 条消息在等');
    await phones.reads('#rows .row-hung-up .result', '× 2');
    await noToast(phones);
  });
}

main()
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(async () => (await browser()).close());
