/**
 * What differs from one company to the next. All else is in `texts.js` and in the server's own configuration.
 */

/** @type {Bind.Config} */
const config = {
  /**
   * Where kfbind answers, without a slash at the end. On phones it must be https, and stand with the very same port
   * in the console: 开发管理 → 服务器域名 → request 合法域名. For the address below, tick 不校验合法域名 in WeChat
   * DevTools (详情 → 本地设置).
   */
  apiBase: 'http://127.0.0.1:8080',

  /** `binding.unbind_word` of the server; empty where nobody can undo a binding from the chat. */
  unbindWord: '解绑',

  /**
   * The id of a one-off subscribe message that says "bound": the same as `miniprogram.subscribe_template_id` of the
   * server. The user is asked once, on the tap that gets a code. Empty: nobody is asked.
   */
  subscribeTemplateId: '',

  /** The picture on the cards that employees send, 5:4, by https. WeCom wants one. */
  cardImage: '',

  /**
   * Null: the page logs in by `wx.login`. A mini program that logs its users in itself puts a function here that
   * promises a session, as its own back end got it from `POST /api/admin/sessions`. It is called again when that
   * session has ended.
   */
  getSession: null,
};

module.exports = config;
