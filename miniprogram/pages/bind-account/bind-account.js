/**
 * Ties the parts together: taps and the page's life go to the state machine, its effects to WeChat, and what it looks
 * like to the screen.
 */

const config = require('../../config');
const texts = require('../../texts');
const wechat = require('../../wechat');
const { changes } = require('../../shared/format');
const { initialState, step } = require('./machine');
const { view } = require('./view');

Page({
  data: { texts, ...view(initialState(), 0, config) },

  state: initialState(),
  /** @type {Bind.Untimed[]} */
  events: [],
  busy: false,
  /** @type {ReturnType<typeof wechat.connect> | null} */
  phone: null,

  /** A card of the chat brings a ticket. @param {{ ticket?: string }} query */
  onLoad({ ticket }) {
    this.state = initialState();
    this.events = [];
    this.phone = wechat.connect(config, (event) => this.dispatch(event));
    this.dispatch({ type: 'load', ...wechat.present(config), ticket: ticket || null });
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

  onGetCode() {
    this.dispatch({ type: 'get-code' });
  },

  onNewCode() {
    this.dispatch({ type: 'new-code' });
  },

  onCopyCode() {
    this.dispatch({ type: 'copy-code' });
  },

  onCopyLink() {
    this.dispatch({ type: 'copy-link' });
  },

  onOpenChat() {
    this.dispatch({ type: 'open-chat' });
  },

  onUnbind() {
    this.dispatch({ type: 'unbind' });
  },

  onAccept() {
    this.dispatch({ type: 'accept' });
  },

  onDecline() {
    this.dispatch({ type: 'decline' });
  },

  onRetry() {
    this.dispatch({ type: 'retry' });
  },

  /**
   * Within a tap the effects run before this returns: WeChat opens chats and writes the clipboard in taps only. An
   * event that an effect brings at once waits for its turn.
   * @param {Bind.Untimed} first
   */
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
    const fresh = changes(this.data, view(this.state, now, config));
    if (this.phone !== null && Object.keys(fresh).length > 0) this.setData(fresh);
  },
});
