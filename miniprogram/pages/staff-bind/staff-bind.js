/**
 * The page of employees, inside WeCom: ties the parts together, as `bind-account.js` does.
 */

const config = require('../../config');
const { changes } = require('../../shared/format');
const common = require('../../texts');
const wechat = require('../../wechat');
const { initialState, step } = require('./machine');
const texts = require('./texts');
const { view } = require('./view');
const wecom = require('./wecom');

Page({
  data: { texts, common, ...view(initialState(), 0) },

  state: initialState(),
  /** @type {Staff.Untimed[]} */
  events: [],
  busy: false,
  /** @type {ReturnType<typeof wecom.connect> | null} */
  phone: null,

  onLoad() {
    this.state = initialState();
    this.events = [];
    this.phone = wecom.connect(config, (event) => this.dispatch(event));
    this.dispatch({ type: 'load', inWecom: wechat.inWecom() });
  },

  onShow() {
    this.dispatch({ type: 'show' });
  },

  onHide() {
    this.dispatch({ type: 'hide' });
  },

  onUnload() {
    this.dispatch({ type: 'hide' });
    this.phone?.close();
    this.phone = null;
  },

  /** @param {{ detail: { value: string } }} event */
  onType({ detail }) {
    this.dispatch({ type: 'typed', text: detail.value });
  },

  onRefresh() {
    this.dispatch({ type: 'refresh' });
  },

  onSendCard() {
    this.dispatch({ type: 'send-card' });
  },

  onBind() {
    this.dispatch({ type: 'bind' });
  },

  /** An event that an effect brings at once waits for its turn. @param {Staff.Untimed} first */
  dispatch(first) {
    this.events.push(first);
    if (this.busy) return;
    this.busy = true;
    const now = Date.now();
    try {
      for (let event = this.events.shift(); event !== undefined; event = this.events.shift()) {
        const { state, effects } = step(this.state, { ...event, now });
        this.state = state;
        effects.forEach((effect) => this.phone?.run(effect));
      }
    } finally {
      this.busy = false;
    }
    const fresh = changes(this.data, view(this.state, now));
    if (this.phone !== null && Object.keys(fresh).length > 0) this.setData(fresh);
  },
});
