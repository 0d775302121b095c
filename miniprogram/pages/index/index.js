/**
 * Where the mini program starts without a path: it leads on, to the users' page in WeChat and to the employees' in WeCom.
 * A company's own mini program has its own first page, and takes the two others over as they are.
 */

const texts = require('../../texts');
const wechat = require('../../wechat');

Page({
  data: { texts, failed: false },

  onShow() {
    this.goOn();
  },

  onRetry() {
    this.goOn();
  },

  goOn() {
    this.setData({ failed: false });
    const page = wechat.inWecom() ? '/pages/staff-bind/staff-bind' : '/pages/bind-account/bind-account';
    wechat.goTo(page, () => this.setData({ failed: true }));
  },
});
