/**
 * What a page looks like, measured in the browser: contrast, and what is cut or overlaps. The functions run inside the
 * page and use nothing from here.
 */

/** Texts whose contrast on their ground is below that, by WCAG 2; also what can't be seen for want of opacity. @param {number} least */
function faintTexts(least) {
  /** @typedef {[number, number, number, number]} Colour red, green, blue in 0..255, opacity in 0..1 */
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  /** @param {string} css @returns {Colour} */
  const read = (css) => {
    const parts = /^rgba?\(([\d., ]+)\)$/.exec(css)?.[1].split(',').map(Number);
    if (parts !== undefined) return [parts[0], parts[1], parts[2], parts[3] ?? 1];
    if (canvas === null) throw new Error('no canvas');
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = css;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  /** @param {Colour} above @param {Colour} below @returns {Colour} */
  const over = (above, below) => {
    const mix = (/** @type {0 | 1 | 2} */ at) => above[at] * above[3] + below[at] * (1 - above[3]);
    return [mix(0), mix(1), mix(2), 1];
  };
  /** @param {Colour} colour */
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  /** @param {Element | null} node @returns {Element[]} with itself, from the inside to the outside */
  const ancestors = (node) => (node === null ? [] : [node, ...ancestors(node.parentElement)]);
  const dark = window.matchMedia('(prefers-color-scheme: dark)').matches;
  /** @type {string[]} */
  const faint = [];
  const walker = document.createTreeWalker(document.body, 4);
  for (let text = walker.nextNode(); text !== null; text = walker.nextNode()) {
    const holder = text.parentElement;
    const said = String(text.textContent).trim();
    if (holder === null || said === '' || ['SCRIPT', 'STYLE', 'TEMPLATE', 'NOSCRIPT'].includes(holder.tagName)) continue;
    if (!holder.checkVisibility() || holder.closest('.unseen') !== null) continue;
    const chain = ancestors(holder);
    const style = window.getComputedStyle(holder);
    /** @type {Colour} */
    let ground = dark ? [18, 18, 18, 1] : [255, 255, 255, 1];
    let opacity = 1;
    for (const node of chain.reverse()) {
      const its = window.getComputedStyle(node);
      opacity *= Number(its.opacity);
      ground = over(read(its.backgroundColor), ground);
    }
    const [r, g, b, a] = read(style.color);
    const ink = over([r, g, b, a * opacity], ground);
    const lights = [light(ink), light(ground)];
    const ratio = (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
    const hidden = style.visibility !== 'visible' || Number.parseFloat(style.fontSize) < 12;
    if (ratio < least || hidden) faint.push(`${said.slice(0, 24)} (${holder.className || holder.tagName}): ${ratio.toFixed(2)}, ${style.fontSize}`);
  }
  return faint;
}

/** What leaves the screen sideways, is cut, or lies over another text. */
function crampedTexts() {
  /** @type {string[]} */
  const cramped = [];
  const veil = document.querySelector('.client-veil');
  const root = veil ?? document.body;
  const wide = document.querySelector('page') ?? document.documentElement;
  if (wide.scrollWidth > wide.clientWidth) cramped.push(`the page is ${wide.scrollWidth} wide on ${wide.clientWidth}`);
  /** What is seen of a box: some texts are cut on purpose, others lie in a box that scrolls. @param {Element} holder @param {DOMRect} box */
  const seen = (holder, box) => {
    let { left, right, top, bottom } = box;
    for (let node = /** @type {Element | null} */ (holder); node !== null && node.tagName !== 'PAGE'; node = node.parentElement) {
      const { textOverflow, overflowY } = window.getComputedStyle(node);
      if ((textOverflow !== 'ellipsis' && overflowY !== 'auto') || node === document.body) continue;
      const frame = node.getBoundingClientRect();
      [left, right] = [Math.max(left, frame.left), Math.min(right, frame.right)];
      [top, bottom] = [Math.max(top, frame.top), Math.min(bottom, frame.bottom)];
    }
    return { left, right, top, bottom, width: right - left, height: bottom - top };
  };
  /** @type {Array<{ text: Node, said: string, box: ReturnType<typeof seen> }>} */
  const boxes = [];
  const walker = document.createTreeWalker(root, 4);
  for (let text = walker.nextNode(); text !== null; text = walker.nextNode()) {
    const holder = text.parentElement;
    const said = String(text.textContent).trim();
    if (holder === null || said === '' || ['SCRIPT', 'STYLE', 'TEMPLATE', 'NOSCRIPT'].includes(holder.tagName)) continue;
    if (!holder.checkVisibility() || holder.closest('.unseen') !== null) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    for (const drawn of range.getClientRects()) {
      const box = seen(holder, drawn);
      if (box.width < 1 || box.height < 1) continue;
      if (box.left < -0.5 || box.right > window.innerWidth + 0.5) cramped.push(`${said.slice(0, 24)} leaves the screen`);
      boxes.push({ text, said, box });
    }
  }
  for (const node of root.querySelectorAll('button, [role="button"], .card, .status')) {
    if (!node.checkVisibility()) continue;
    if (window.getComputedStyle(node).textOverflow === 'ellipsis') continue;
    if (node.scrollWidth > node.clientWidth + 1 || node.scrollHeight > node.clientHeight + 1) {
      cramped.push(`${String(node.textContent).trim().slice(0, 24)} is cut: ${node.scrollWidth} × ${node.scrollHeight} in ${node.clientWidth} × ${node.clientHeight}`);
    }
  }
  boxes.forEach((one, at) => {
    for (const other of boxes.slice(at + 1)) {
      const across = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
      const down = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
      // Lines touch; a text over another one overlaps by much. One that is cut short has its cut part in the same place.
      if (one.text !== other.text && across > 2 && down > Math.min(one.box.height, other.box.height) / 2) cramped.push(`${one.said.slice(0, 24)} lies over ${other.said.slice(0, 24)}`);
    }
  });
  return cramped;
}

/** What one taps and is too small for a finger. @param {number} least in CSS pixels */
function smallTargets(least) {
  return [...document.querySelectorAll('button, [role="button"]')]
    .filter((node) => node.checkVisibility() && node.getBoundingClientRect().height < least)
    .map((node) => `${String(node.textContent).trim()}: ${node.getBoundingClientRect().height} px`);
}

module.exports = { crampedTexts, faintTexts, smallTargets };
