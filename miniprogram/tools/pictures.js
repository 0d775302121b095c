/**
 * Pictures of every state, taken in headless Chromium: `node tools/pictures.js --out DIR [--chromium FILE]`. For looking
 * at, not for comparing: see that nothing is cut, overlaps or jumps.
 */

const fs = require('node:fs');
const path = require('node:path');
const { HEIGHT, STATES, launch, openState, variants } = require('./states');

const SCALE = 2;

/** @param {string} name @param {string} otherwise */
function option(name, otherwise) {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : process.argv[at + 1];
}

/** Makes the phone as long as what it shows: a picture has no scrolling. @param {import('puppeteer-core').Page} page @param {number} width */
async function stretch(page, width) {
  const below = await page.$eval('page', (shown) => shown.scrollHeight - shown.clientHeight);
  await page.setViewport({ width, height: HEIGHT + below, deviceScaleFactor: SCALE });
}

async function main() {
  const out = option('--out', 'out/pictures');
  fs.mkdirSync(out, { recursive: true });
  const browser = await launch(option('--chromium', '/usr/bin/chromium'));
  const only = option('--only', '');
  for (const state of STATES.filter(({ name }) => only === '' || name === only)) {
    for (const variant of variants(state.name)) {
      const prepare = (/** @type {import('puppeteer-core').Page} */ page) => {
        page.on('pageerror', (error) => console.error(`${state.name}: ${error}`));
      };
      const { page, close } = await openState(browser, state, variant, { scale: SCALE, prepare });
      const size = variant.fontSize === undefined ? '' : '-large';
      await stretch(page, variant.width);
      await page.screenshot({ path: path.join(out, `${state.name}-${variant.width}-${variant.theme}${size}.png`) });
      await close();
    }
  }
  await browser.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
