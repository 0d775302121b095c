/**
 * The buttons that break something, and the lamps that say how service and WeCom are.
 */

import { ask, find } from './dom.js';

/** @typedef {import('./dom.js').Told} Told */

export class Drills {
  constructor() {
    this.seconds = Number(new URLSearchParams(window.location.search).get('down')) || 30;
    /** @type {HTMLButtonElement} */
    this.down = find('#drill-down');
    /** @type {HTMLButtonElement} */
    this.lose = find('#drill-lose');
    /** @type {HTMLButtonElement} */
    this.restart = find('#drill-restart');
    this.untilMs = 0;
    this.timer = 0;
    this.service = 'up';
    this.label(this.down, '', false);
    this.on(this.down, 'wecom-down', { seconds: this.seconds });
    this.on(this.lose, 'lose-callback', {});
    this.on(this.restart, 'restart', {});
    const param = find('#drill-param');
    param.addEventListener('click', () => param.setAttribute('aria-pressed', String(!losesParam())));
  }

  /** @param {HTMLButtonElement} button @param {string} control @param {object} body */
  on(button, control, body) {
    button.addEventListener('click', async () => {
      if (button.getAttribute('aria-disabled') === 'true') return;
      find('#drill-error').textContent = '';
      await ask(control, body).catch((error) => {
        find('#drill-error').textContent = `没有成功：${error.message}`;
      });
    });
  }

  /** What a button says while its drill runs; empty: as it is at rest. @param {HTMLButtonElement} button @param {string} text @param {boolean} busy */
  label(button, text, busy) {
    const resting = { [this.down.id]: `企业微信断网 ${this.seconds} 秒`, [this.lose.id]: '丢掉下一次回调', [this.restart.id]: '重启 kfbind' }[button.id];
    button.textContent = text === '' ? resting : text;
    // Not `disabled`: who pressed it by key would lose the focus.
    button.setAttribute('aria-disabled', String(busy));
  }

  /** @param {Told} event */
  take(event) {
    if (event.type === 'stage') {
      this.light();
    } else if (event.type === 'wecom') {
      this.untilMs = event.down ? event.until_ms : 0;
      window.clearInterval(this.timer);
      if (event.down) this.timer = window.setInterval(() => this.count(), 250);
      this.count();
    } else if (event.type === 'service') {
      this.service = event.state;
      this.light();
    } else if (event.type === 'loss-armed') {
      this.label(this.lose, '下一次回调会丢', true);
    } else if (event.type === 'callback-lost') {
      this.label(this.lose, '', false);
    }
  }

  /** Shows how things stand, as far as was told. */
  light() {
    this.count();
    const text = { up: '运行中', stopping: '正在停止', down: '已停，马上启动' }[this.service] ?? '没有启动成功';
    lamp('service', this.service === 'up' ? 'good' : 'bad', text);
    const busy = this.service === 'stopping' || this.service === 'down';
    this.label(this.restart, busy ? `${text}…` : '', busy);
  }

  count() {
    const left = Math.max(0, Math.ceil((this.untilMs - Date.now()) / 1000));
    const down = this.untilMs > 0;
    lamp('wecom', down ? 'bad' : 'good', down ? `断网 ${left} 秒` : '正常');
    this.label(this.down, down ? `断网中，还有 ${left} 秒` : '', down);
  }
}

/** Whether WeChat opens the chat without what we put into the link. */
export function losesParam() {
  return find('#drill-param').getAttribute('aria-pressed') === 'true';
}

/** @param {string} name @param {'good' | 'bad' | 'wait'} tone @param {string} text */
export function lamp(name, tone, text) {
  const shown = find(`#lamp-${name}`);
  shown.dataset.tone = tone;
  find('strong', shown).textContent = text;
}
