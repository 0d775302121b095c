/** How people come to be bound: the funnel of today and of all days shown, day by day, by way, and how long it took. */

import { byId, element, pairs, redraw, span, whole } from './dom.js';
import { Plot } from './plots.js';
import { METHODS, REJECTIONS } from './texts.js';

/** @typedef {import('./plots.js').Day} Day */

export const DAYS = 14;
/** @typedef {{ name: string, colour: string, of: (day: Day) => number }} Step */
/** @type {Step[]} */
const STEPS = [
  { name: '登录', colour: 'c1', of: (day) => day.logins },
  { name: '取码', colour: 'c2', of: (day) => day.codes },
  { name: '发来', colour: 'c3', of: (day) => day.messages },
  { name: '绑定', colour: 'c4', of: bound },
];
const WAY_COLOURS = ['c4', 'c2', 'c3', 'c5', 'c6', 'c7', 'c1'];

/** @param {Day} day */
function bound(day) {
  return Object.values(day.bound ?? {}).reduce((all, count) => all + count, 0);
}

export class Funnel {
  constructor() {
    this.plots = [
      new Plot('plot-days', { title: `近 ${DAYS} 天`, kind: 'columns', series: STEPS, write: whole }),
      new Plot('plot-ways', {
        title: '按方式的绑定',
        kind: 'stack',
        series: Object.entries(METHODS).map(([way, name], at) => ({ name, colour: WAY_COLOURS[at], of: (day) => day.bound?.[way] ?? 0 })),
        write: whole,
      }),
      new Plot('plot-times', {
        title: '从取码到绑定的时间',
        kind: 'lines',
        series: [
          { name: '一半的人', colour: 'c4', of: (day) => day.seconds_to_bind?.p50 ?? null },
          { name: '95% 的人', colour: 'c2', of: (day) => day.seconds_to_bind?.p95 ?? null },
        ],
        write: span,
        axis: (seconds) => (seconds === 0 ? '0' : seconds % 3600 === 0 ? `${seconds / 3600} 小时` : seconds % 60 === 0 ? `${seconds / 60} 分钟` : `${seconds} 秒`),
        unit: (most) => (most > 6000 ? 3600 : most > 100 ? 60 : 1),
      }),
    ];
  }

  /** @param {{ days: Day[] }} stats */
  show({ days }) {
    const today = days.slice(-1);
    redraw(byId('funnels'), days, () => [funnelOf('今天', today), funnelOf(`${days.length} 天合计`, days)]);
    if (this.shown !== JSON.stringify(days)) {
      this.shown = JSON.stringify(days);
      for (const plot of this.plots) plot.show(days);
    }
    redraw(byId('leftovers'), days, () => [leftoversOf('今天', today), leftoversOf(`${days.length} 天合计`, days)]);
  }
}

/** @param {Day[]} days @param {(day: Day) => number | null | undefined} of */
function sum(days, of) {
  return days.reduce((all, day) => all + (of(day) ?? 0), 0);
}

/** @param {string} title @param {Day[]} days */
function funnelOf(title, days) {
  const counts = STEPS.map(({ of }) => sum(days, of));
  const most = Math.max(1, ...counts);
  const steps = STEPS.map(({ name, colour }, at) => {
    const bar = element('i', `funnel-bar ${colour}`);
    bar.style.width = `${(counts[at] / most) * 100}%`;
    const before = counts[at - 1] ?? 0;
    // People log in for a week, and some are bound without a code: a step may be larger than the one before.
    const share = at > 0 && before > 0 && counts[at] <= before ? `${Math.round((counts[at] / before) * 100)}%` : '';
    return element('li', 'funnel-step', element('span', 'funnel-name', name), element('span', 'funnel-track', bar), element('strong', 'funnel-count', whole(counts[at])), element('span', 'funnel-share soft', share));
  });
  return element('div', 'funnel', element('h3', 'plot-title', title), element('ol', '', ...steps));
}

/** @param {string} title @param {Day[]} days */
function leftoversOf(title, days) {
  /** @type {Array<[string, string]>} */
  const rows = Object.entries(REJECTIONS).map(([reason, name]) => [name, whole(sum(days, (day) => day.rejected?.[reason]))]);
  // Of all ways; among the codes there are only those that were typed.
  rows.push(['绑定冲突', whole(sum(days, (day) => day.conflicts))], ['解绑', whole(sum(days, (day) => day.unbound))]);
  return element('div', 'leftover', element('h3', 'plot-title', `没绑上的和解绑的 · ${title}`), element('dl', 'facts', ...pairs(rows)));
}
