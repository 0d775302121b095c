/**
 * Everything that users read, but for the titles above the pages, which WeChat wants in their `.json`, and for what
 * employees read, which is in `pages/staff-bind/texts.js`. Plain
 * sentences; the thing is called 绑定码 throughout, never 验证码 or 密码. What stands in braces is filled in.
 */

const texts = {
  starting: '正在登录…',

  unbound: {
    title: '绑定客服会话',
    lead: '绑定后，客服就知道是您，处理问题更快捷。',
    steps: ['获取一个绑定码', '打开客服会话', '发送绑定码，自动完成绑定'],
    note: '绑定后可以随时解除。',
  },

  get: '获取绑定码',
  getAgain: '重新获取绑定码',
  getting: '正在获取…',

  pending: {
    label: '您的绑定码',
    expiresIn: '{left} 后过期',
    renew: '换一个',
    renewing: '正在更换…',
    renewIn: '{seconds} 秒后可换',
    copy: '复制绑定码',
    copyAgain: '再次复制绑定码',
    open: '打开客服会话',
    openAgain: '再次打开客服会话',
    stepsTitle: '绑定步骤',
    steps: ['复制绑定码', '打开客服会话', '粘贴并发送绑定码'],
    status: {
      fresh: '发送绑定码后，这里会自动显示结果。',
      copied: '已复制。请打开客服会话，粘贴并发送。',
      waiting: '正在等待结果。会话中如询问是否绑定，请确认；否则请发送绑定码。',
    },
    safety: '绑定码只给从本页打开的会话里的客服，\n请不要告诉其他任何人。',
  },

  link: {
    unsupported: '当前微信版本不能直接打开客服会话。请更新微信，或者使用客服链接。',
    failed: '用链接也能进入客服会话：复制链接，发给“文件传输助手”，再点开。',
    label: '客服链接',
    copy: '复制客服链接',
    copyAgain: '再次复制客服链接',
    steps: ['复制客服链接，发给“文件传输助手”，点开链接', '回到这里复制绑定码，或者直接记住它', '在客服会话中发送绑定码'],
    copied: '链接已复制。请发给“文件传输助手”并点开，再回到这里复制绑定码。',
  },

  expired: {
    title: '绑定码已过期',
    lead: '如果您在过期前已经发送，请稍等，结果会自动显示在这里。没有发送的话，请重新获取。',
  },
  revoked: { title: '绑定码已失效', lead: '这个绑定码已被取消，请重新获取一个。' },

  /** A card from the chat opened the page. It may have been forwarded: say plainly whose chat it would bind. */
  card: {
    title: '绑定这个客服会话？',
    lead: '绑定后，微信昵称为“{nickname}”的客服会话，会与您当前登录的账号关联。',
    leadUnnamed: '绑定后，收到这张卡片的客服会话，会与您当前登录的账号关联。没有取得那个会话的微信昵称。',
    chat: '客服会话',
    unnamed: '没有取得昵称',
    account: '绑定到',
    thisAccount: '当前微信登录的账号',
    until: '有效期至',
    accept: '绑定',
    accepting: '正在绑定…',
    decline: '不绑定',
    warning: '如果您不是“{nickname}”，或者卡片是别人转发给您的，请不要绑定：绑定后，对方的客服会话会被当作您本人。',
    warningUnnamed: '只有您自己在客服会话中收到这张卡片时，才可以绑定。如果是别人转发给您的，请不要绑定：绑定后，对方的客服会话会被当作您本人。',
    /** @type {Record<Bind.Refusal, { title: string, lead: string }>} */
    refusals: {
      invalid: { title: '卡片已失效', lead: '这张卡片已经用过，或者已经过期。没有做任何改动。' },
      off: { title: '卡片不能使用', lead: '现在不支持用卡片绑定，请使用绑定码。没有做任何改动。' },
      conflict: { title: '没有绑定', lead: '这个客服会话，或者您的账号，已经有别的绑定。需要更换的话，请先解除原来的绑定。' },
      'other-person': { title: '没有绑定', lead: '这张卡片属于另一位微信用户的客服会话，不能绑定到您的账号。请在您自己的客服会话中操作。' },
    },
    goOn: '查看我的绑定',
  },

  bound: {
    justTitle: '绑定成功',
    title: '已绑定',
    lead: '客服会话已与您的账号关联，可以返回了。',
    nickname: '微信昵称',
    boundAt: '绑定时间',
    method: '绑定方式',
    /** @type {Record<string, string>} */
    methods: {
      code: '发送绑定码',
      link: '客服链接',
      card: '小程序卡片',
      unionid: '微信自动识别',
      window: '进入客服会话',
      staff: '客服人员协助',
      admin: '后台绑定',
    },
    undo: '需要解除时，可以在客服会话中发送“{word}”，\n也可以点按下面的按钮。',
    undoHere: '需要解除时，可以点按下面的按钮。',
    unbind: '解除绑定',
    unbinding: '正在解除…',
    confirm: {
      title: '解除绑定？',
      content: '解除后，客服将不再知道这个会话属于您的账号。您可以随时重新绑定。',
      yes: '解除绑定',
      no: '暂不解除',
    },
  },

  retry: '立即重试',
  retrying: '正在重试…',
  retryIn: '{seconds} 秒后自动重试',
  wait: '请稍候（{seconds} 秒）',

  /** What went wrong, and what to do for the whole page. @type {Record<Bind.Problem, { title: string, lead: string }>} */
  problems: {
    offline: { title: '网络连接不上', lead: '请检查手机的网络。\n恢复后，这里会自动继续。' },
    timeout: { title: '服务器没有回应', lead: '可能是网络较慢。\n请稍候，或者换个网络再试。' },
    busy: { title: '操作太频繁', lead: '请稍等一会儿再试。' },
    wecom: { title: '客服系统暂时连不上', lead: '您的账号没有问题，请稍后再试。' },
    wechat: { title: '微信登录暂时不可用', lead: '微信的服务没有回应，请稍后再试。' },
    refused: { title: '微信拒绝了这次登录', lead: '微信认为当前账号有风险。\n请稍后重试，或者换个网络再试。' },
    server: { title: '服务暂时出了点问题', lead: '我们的服务正在恢复，请稍候。' },
    session: { title: '登录没有成功', lead: '请重试。如果一直这样，\n请关闭小程序后重新打开。' },
    unexpected: { title: '没有得到正确的结果', lead: '请检查网络后重试。如果一直这样，\n请关闭小程序后重新打开。' },
  },
  /** A tap came to nothing. */
  tapFailed: '{problem}，请稍后再试。',

  notices: {
    'code-copy-failed': '没能自动复制。请长按绑定码复制，或者直接在会话中输入。',
    'link-copy-failed': '没能自动复制。请长按链接复制。',
    'chat-failed': '没能打开客服会话。请再试一次，或者使用下面的链接。',
    unbound: '已解除绑定。',
    undone: '绑定已被解除。',
    declined: '没有用这张卡片绑定。需要时，可以用绑定码。',
    'already-bound': '这个客服会话早已绑定到您的账号。',
  },

  /** The page that leads on. */
  opening: '正在打开…',

  /** For screen readers. */
  spoken: {
    code: '绑定码 {code}，点按复制',
    left: '剩余 {minutes} 分 {seconds} 秒',
    step: '第 {number} 步：{text}',
    stepDone: '第 {number} 步：{text}，已完成',
  },

  time: '{year} 年 {month} 月 {day} 日 {clock}',
};

module.exports = texts;
