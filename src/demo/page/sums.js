/**
 * Sums up whether anything is lost: what customers sent, what is decided and on the disk, what was answered.
 */

import { find, isStaffs } from './dom.js';
import { effectsOf } from './wire.js';

/** @typedef {import('./dom.js').Told} Told */

export class Sums {
  constructor() {
    /** Messages that customers sent; true once they are decided and on the disk. @type {Map<string, boolean>} */
    this.said = new Map();
    /** What was pulled and not yet committed, by account. @type {Map<string, string[]>} */
    this.pulled = new Map();
    this.decided = 0;
    this.owed = 0;
    this.heard = 0;
    this.lost = false;
    this.down = false;
    this.serviceUp = true;
  }

  /** @param {Told} event */
  take(event) {
    switch (event.type) {
      case 'said':
        if (!event.event && event.msgid && !isStaffs(event)) this.said.set(event.msgid, false);
        return;
      case 'pull':
        if (event.fault || event.errcode) return;
        this.pulled.set(event.account, [...(this.pulled.get(event.account) ?? []), ...idsOf(event.answer)]);
        return;
      case 'commit':
        this.decide(event);
        return;
      case 'heard':
        this.heard += 1;
        return;
      case 'callback-lost':
        this.lost = true;
        return;
      case 'wecom':
        this.down = event.down === true;
        return;
      case 'service':
        this.serviceUp = event.state === 'up';
    }
  }

  /** @param {Told} event */
  decide(event) {
    for (const id of this.pulled.get(event.account) ?? []) {
      if (this.said.get(id) === false) {
        this.said.set(id, true);
        this.decided += 1;
      }
    }
    this.pulled.delete(event.account);
    this.owed += effectsOf(event).replies;
    if (this.waiting() === 0) this.lost = false;
  }

  waiting() {
    return this.said.size - this.decided;
  }

  /** Answers on their way. Events of long ago may be gone, so this is never below 0. */
  answersWaiting() {
    return Math.max(0, this.owed - this.heard);
  }

  /** Whether anything is on its way. */
  open() {
    return this.waiting() > 0 || this.answersWaiting() > 0;
  }

  draw() {
    find('#count-said').textContent = String(this.said.size);
    find('#count-decided').textContent = String(this.decided);
    find('#count-answered').textContent = this.owed > this.heard ? `${this.heard} / ${this.owed}` : String(this.heard);
    const verdict = find('#verdict');
    const text = this.verdict();
    if (verdict.textContent !== text) verdict.textContent = text;
    find('#tally').dataset.tone = this.said.size === 0 ? 'calm' : this.open() ? 'wait' : 'good';
  }

  verdict() {
    const [waiting, answers] = [this.waiting(), this.answersWaiting()];
    if (this.said.size === 0) return '客户还没有发消息。';
    if (!this.open()) return '全部处理完，没有丢失。';
    const what = waiting > 0 ? `${waiting} 条消息` : `${answers} 条应答`;
    if (this.down) return `企业微信断网，${what}在等；恢复后补上。`;
    if (!this.serviceUp) return `kfbind 在重启，${what}在等；起来后补上。`;
    if (this.lost && waiting > 0) return `回调丢了，${what}等下一次拉取。`;
    return `${what}在路上…`;
  }
}

/** The messages of a page. @param {any} answer of `kf/sync_msg` @returns {string[]} */
function idsOf(answer) {
  return Array.isArray(answer?.msg_list) ? answer.msg_list.map((/** @type {{ msgid: string }} */ { msgid }) => msgid) : [];
}
