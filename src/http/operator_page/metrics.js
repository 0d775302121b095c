/** Reads Prometheus's text form, as far as this page needs it: numbers by name and labels. It judges nothing. */

/** @typedef {{ labels: Record<string, string>, value: number }} Sample */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
/** @type {Record<string, string>} */
const ESCAPED = { n: '\n' };

export class Metrics {
  /** @param {string} text */
  constructor(text) {
    /** @type {Map<string, Sample[]>} */
    this.families = new Map();
    for (const line of text.split('\n')) {
      const [, name, inside = '', number] = LINE.exec(line) ?? [];
      if (name === undefined) continue;
      /** @type {Record<string, string>} */
      const labels = {};
      for (const [, label, value] of inside.matchAll(LABEL)) labels[label] = value.replace(/\\(.)/g, (_, mark) => ESCAPED[mark] ?? mark);
      const samples = this.families.get(name) ?? [];
      samples.push({ labels, value: Number(number) });
      this.families.set(name, samples);
    }
  }

  /** @param {string} name without the prefix @returns {Sample[]} */
  all(name) {
    return this.families.get(`kfbind_${name}`) ?? [];
  }

  /** The sum over all labels; `null` where there is no such number. @param {string} name @returns {number | null} */
  sum(name) {
    const samples = this.all(name);
    return samples.length === 0 ? null : samples.reduce((sum, { value }) => sum + value, 0);
  }

  /** The numbers that aren't 0, by the value of a label, the largest first. @param {string} name @param {string} label @returns {Array<[string, number]>} */
  by(name, label) {
    return this.all(name)
      .filter(({ value }) => value > 0)
      .map(({ labels, value }) => /** @type {[string, number]} */ ([labels[label] ?? '', value]))
      .sort((one, other) => other[1] - one[1]);
  }

  /** Of a histogram, in seconds. @param {string} name @returns {number | null} */
  mean(name) {
    const count = this.sum(`${name}_count`);
    return count === null || count === 0 ? null : (this.sum(`${name}_sum`) ?? 0) / count;
  }
}
