/** What the ways to the states have in common: taps, what is seen, and what the server is doing. */

/** @typedef {import('puppeteer-core').Page} Page */
/** @typedef {import('../../test/fake_server').FakeServer} FakeServer */
/** @typedef {{ name: string, host?: object, before?: (server: FakeServer) => void, play?: (page: Page, server: FakeServer) => Promise<void>, sees: string }} State */

/** @param {Page} page @param {string} text on a button */
async function tap(page, text) {
  const button = await page.waitForSelector(`::-p-xpath(//button[contains(., "${text}")])`);
  await button?.click();
}

/** @param {Page} page @param {string} text anywhere */
async function see(page, text) {
  await page.waitForFunction((/** @type {string} */ wanted) => document.body.innerText.includes(wanted), {}, text);
}

/** A fault is for the next call, whichever it is: it must not be the poll's. @param {FakeServer} server */
async function polled(server) {
  const deadline = Date.now() + 10_000;
  while (server.waits.length === 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
}

module.exports = { polled, see, tap };
