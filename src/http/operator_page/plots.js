/**
 * Plots by the day, as SVG drawn to the pixel: grouped columns, stacked ones, lines. The legend tells the values of one
 * day, today's unless the pointer or the arrow keys are on another; a table says the same in words.
 */

import { byId, dayName, drawn, element, say } from './dom.js';

/** @typedef {Record<string, any> & { day: string }} Day */
/** @typedef {{ name: string, colour: string, of: (day: Day) => number | null }} Series `colour`: c1 … c8 */
/** @typedef {{ title: string, kind: 'columns' | 'stack' | 'lines', series: Series[], write: (value: number) => string, axis?: (value: number) => string, unit?: (top: number) => number }} Spec */

const HEIGHT = 208;
const TOP = 14;
const BOTTOM = 26;
const RIGHT = 4;
/** What a number on the left takes: by its letters. */
const LETTER_WIDTH = 7.2;
const DAY_LABEL_WIDTH = 46;
const GAP = 1;
const STEPS = [1, 2, 5];
const TICKS_MAX = 4;

/** The distance of the lines behind a plot whose largest value is this. @param {number} most @param {number} [unit] values are multiples of it */
export function stepFor(most, unit = 1) {
  const wanted = Math.max(most / unit, 1) / TICKS_MAX;
  const ten = 10 ** Math.floor(Math.log10(wanted));
  const step = STEPS.map((part) => part * ten).find((part) => part >= wanted) ?? 10 * ten;
  return Math.max(1, step) * unit;
}

export class Plot {
  /** @param {string} host its id @param {Spec} spec */
  constructor(host, spec) {
    this.spec = spec;
    /** @type {Day[]} */
    this.days = [];
    /** @type {number | null} */
    this.chosen = null;
    this.day = element('span', 'plot-day');
    this.values = spec.series.map(() => element('span', 'plot-value'));
    const legend = element('div', 'legend', this.day, ...spec.series.map(({ name, colour }, at) => element('span', `key ${colour}`, element('i', ''), name, this.values[at])));
    this.area = element('div', 'plot-area');
    this.area.tabIndex = 0;
    this.area.setAttribute('role', 'slider');
    this.area.setAttribute('aria-label', `${spec.title}，左右键换一天`);
    this.area.setAttribute('aria-valuemin', '1');
    this.table = element('table', '');
    const details = element('details', 'plot-table', element('summary', '', '看数字'), element('div', 'table-scroll', this.table));
    byId(host).append(element('h3', 'plot-title', spec.title), legend, this.area, details);
    this.area.addEventListener('pointermove', (event) => this.choose(this.dayAt(event.offsetX)));
    this.area.addEventListener('pointerdown', (event) => this.choose(this.dayAt(event.offsetX)));
    this.area.addEventListener('pointerleave', () => this.choose(null));
    this.area.addEventListener('keydown', (event) => this.pressed(event));
    this.area.addEventListener('blur', () => this.choose(null));
    new window.ResizeObserver(() => this.draw()).observe(this.area);
    this.tell();
  }

  /** @param {Day[]} days the oldest first */
  show(days) {
    this.days = days;
    if (this.chosen !== null && this.chosen >= days.length) this.chosen = null;
    this.draw();
    const head = element('tr', '', element('th', '', '日期'), ...this.spec.series.map(({ name }) => element('th', '', name)));
    const rows = [...days].reverse().map((day) => element('tr', '', element('th', '', dayName(day.day)), ...this.spec.series.map(({ of }) => element('td', '', this.written(of(day))))));
    this.table.replaceChildren(element('thead', '', head), element('tbody', '', ...rows));
  }

  /** @param {number | null} value */
  written(value) {
    return value === null ? '—' : this.spec.write(value);
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const last = this.days.length - 1;
    const now = this.chosen ?? last;
    /** @type {Record<string, number>} */
    const to = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: last };
    if (!Object.hasOwn(to, event.key)) return;
    event.preventDefault();
    this.choose(Math.min(Math.max(to[event.key], 0), last));
  }

  /** @param {number} x */
  dayAt(x) {
    const { left, each } = this.frame ?? { left: 0, each: 1 };
    return Math.min(Math.max(Math.floor((x - left) / each), 0), this.days.length - 1);
  }

  /** @param {number | null} at */
  choose(at) {
    if (this.chosen === at) return;
    this.chosen = at;
    this.mark();
    this.tell();
  }

  tell() {
    const at = this.chosen ?? this.days.length - 1;
    const day = this.days[at];
    const values = this.spec.series.map(({ of }) => (day === undefined ? '' : this.written(of(day))));
    say(this.day, day === undefined ? '' : at === this.days.length - 1 ? '今天' : dayName(day.day));
    values.forEach((value, index) => say(this.values[index], value));
    this.area.setAttribute('aria-valuemax', String(Math.max(this.days.length, 1)));
    this.area.setAttribute('aria-valuenow', String(at + 1));
    this.area.setAttribute('aria-valuetext', day === undefined ? '没有数据' : `${dayName(day.day)}：${this.spec.series.map(({ name }, index) => `${name} ${values[index]}`).join('，')}`);
  }

  /** The largest value, of a stack the largest sum. */
  most() {
    const heights = this.days.map((day) => {
      const values = this.spec.series.map(({ of }) => of(day) ?? 0);
      return this.spec.kind === 'stack' ? values.reduce((sum, value) => sum + value, 0) : Math.max(...values);
    });
    return Math.max(0, ...heights);
  }

  draw() {
    const width = Math.floor(this.area.clientWidth);
    if (width === 0 || this.days.length === 0) return;
    const { spec, days } = this;
    const most = this.most();
    const step = stepFor(most, spec.unit?.(most));
    const top = Math.max(step, Math.ceil(most / step) * step);
    const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, at) => at * step);
    const axis = spec.axis ?? spec.write;
    const left = Math.ceil(Math.max(...ticks.map((tick) => [...axis(tick)].reduce((sum, letter) => sum + (letter > '~' ? 2 : 1), 0))) * LETTER_WIDTH) + 8;
    const each = (width - left - RIGHT) / days.length;
    this.frame = { left, each };
    const y = (/** @type {number} */ value) => Math.round(HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM));
    this.band = drawn('rect', { class: 'band', y: TOP - 6, width: each.toFixed(1), height: HEIGHT - BOTTOM - TOP + 6, rx: 4 });
    const svg = drawn('svg', { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, 'aria-hidden': 'true', focusable: 'false' }, this.band);
    for (const tick of ticks) {
      svg.append(drawn('line', { class: tick === 0 ? 'axis' : 'grid', x1: left, x2: width - RIGHT, y1: y(tick) + 0.5, y2: y(tick) + 0.5 }));
      svg.append(drawn('text', { class: 'tick', x: left - 6, y: y(tick) + 4, 'text-anchor': 'end' }, axis(tick)));
    }
    svg.append(...this.dayLabels(left, each));
    svg.append(...(spec.kind === 'lines' ? this.lines(left, each, y) : this.columns(left, each, y)));
    if (days.every((day) => spec.series.every(({ of }) => spec.kind === 'lines' ? of(day) === null : !of(day)))) svg.append(drawn('text', { class: 'nothing', x: left + (width - left) / 2, y: HEIGHT / 2, 'text-anchor': 'middle' }, '这些天还没有'));
    this.area.replaceChildren(svg);
    this.mark();
    this.tell();
  }

  /** As many as there is room for, today's always. @param {number} left @param {number} each */
  dayLabels(left, each) {
    const skip = Math.max(1, Math.ceil(DAY_LABEL_WIDTH / each));
    const last = this.days.length - 1;
    return this.days.flatMap(({ day }, at) => {
      if ((last - at) % skip !== 0) return [];
      const [, month, date] = day.split('-').map(Number);
      const text = at === last ? '今天' : `${month}/${date}`;
      return [drawn('text', { class: 'tick', x: (left + (at + 0.5) * each).toFixed(1), y: HEIGHT - 7, 'text-anchor': 'middle' }, text)];
    });
  }

  /** @param {number} left @param {number} each @param {(value: number) => number} y */
  columns(left, each, y) {
    const { series, kind } = this.spec;
    const side = kind === 'stack' ? 1 : series.length;
    const wide = Math.max(1, Math.min(kind === 'stack' ? 34 : 15, Math.floor((each * 0.78) / side)));
    return this.days.flatMap((day, at) => {
      const begin = Math.round(left + (at + 0.5) * each - (wide * side) / 2);
      let below = 0;
      return series.flatMap(({ of, colour }, index) => {
        const value = of(day) ?? 0;
        if (value <= 0) return [];
        const [from, to] = kind === 'stack' ? [below, below + value] : [0, value];
        below += value;
        const x = kind === 'stack' ? begin : begin + index * wide;
        // However little, it is seen.
        const height = Math.max(1, y(from) - y(to) - (from > 0 ? GAP : 0));
        return [drawn('rect', { class: `bar ${colour}`, x, y: y(to), width: Math.max(1, wide - (side > 1 ? GAP : 0)), height, rx: Math.min(2, wide / 4) })];
      });
    });
  }

  /** @param {number} left @param {number} each @param {(value: number) => number} y */
  lines(left, each, y) {
    return this.spec.series.flatMap(({ of, colour }) => {
      /** @type {string[]} */
      const path = [];
      /** @type {Node[]} */
      const dots = [];
      let isDown = false;
      this.days.forEach((day, at) => {
        const value = of(day);
        if (value !== null) {
          const [x, height] = [(left + (at + 0.5) * each).toFixed(1), y(value)];
          path.push(`${isDown ? 'L' : 'M'}${x} ${height}`);
          dots.push(drawn('circle', { class: `point ${colour}`, cx: x, cy: height, r: 3 }));
        }
        isDown = value !== null;
      });
      return path.length === 0 ? [] : [drawn('path', { class: `line ${colour}`, d: path.join('') }), ...dots];
    });
  }

  mark() {
    if (this.band === undefined || this.frame === undefined) return;
    const { left, each } = this.frame;
    this.band.setAttribute('x', (left + (this.chosen ?? 0) * each).toFixed(1));
    this.band.setAttribute('visibility', this.chosen === null ? 'hidden' : 'visible');
  }
}
