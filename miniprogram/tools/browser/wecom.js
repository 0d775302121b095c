/**
 * What WeCom's client has beside WeChat's: `wx.qy`, with callbacks only. As strict as WeCom: nothing before a login, no
 * customer outside a customer-service chat, no card whose page does not end in `.html`.
 */

/**
 * @typedef {object} Wecom what `wx.qy` says; each may throw, or return a promise
 * @property {() => any} loginCode
 * @property {() => any} entry
 * @property {() => any} customer
 * @property {(message: any) => any} send
 */

/** @param {string} name @param {string} why @returns {any} */
function refusal(name, why) {
  return { errMsg: `${name}:fail ${why}` };
}

/** What only WeCom has: callbacks, after a while. @param {Wecom} wecom */
function qyOf(wecom) {
  let loggedIn = false;
  /** @param {string} name @param {(options: any) => any} answer */
  const offer = (name, answer) => (/** @type {any} */ options) => {
    Promise.resolve(options)
      .then((given) => {
        if (!loggedIn && name !== 'login') throw new Error('not login');
        return answer(given);
      })
      .then(
        (result) => options.success({ errMsg: `${name}:ok`, ...result }),
        (error) => options.fail(refusal(name, error.message)),
      );
  };
  const inKf = async () => {
    if ((await wecom.entry()) !== 'single_kf_tools') throw new Error('without context of external contact');
  };
  return {
    login: offer('login', async () => {
      const code = await wecom.loginCode();
      loggedIn = true;
      return { code };
    }),
    getContext: offer('getContext', async () => ({ entry: await wecom.entry() })),
    getCurExternalContact: offer('getCurExternalContact', async () => {
      await inKf();
      return { userId: await wecom.customer() };
    }),
    sendChatMessage: offer('sendChatMessage', async ({ msgtype, miniprogram }) => {
      await inKf();
      if (msgtype !== 'miniprogram' || !/\.html(\?|$)/.test(miniprogram.page)) throw new Error('invalid page');
      await wecom.send({ msgtype, miniprogram });
    }),
  };
}

module.exports = { qyOf, refusal };
