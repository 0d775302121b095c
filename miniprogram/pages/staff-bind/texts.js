/** What employees read, but for the title above the page. Plain sentences; what stands in braces is filled in. */

const texts = {
  starting: '正在确认客户…',

  label: '客户',
  unnamed: '没有取得昵称',
  status: '绑定状态',
  bound: '已绑定',
  unbound: '未绑定',
  boundAt: '绑定时间',
  method: '绑定方式',
  account: '账号',
  refresh: '刷新',
  refreshing: '正在刷新…',

  card: {
    title: '发送绑定卡片',
    lead: '客户点开卡片、确认之后，就会绑定。卡片只对这位客户有效。',
    send: '发送卡片到会话',
    sending: '正在发送…',
  },

  code: {
    title: '客户念出绑定码',
    lead: '请客户打开小程序，获取绑定码，念给您。',
    field: '绑定码',
    placeholder: '输入绑定码',
    bind: '绑定',
    binding: '正在绑定…',
    confirm: {
      title: '绑定这位客户？',
      content: '绑定码 {code} 的账号，将和“{nickname}”的会话绑定。请确认绑定码是这位客户本人念给您的。',
      contentUnnamed: '绑定码 {code} 的账号，将和当前会话的客户绑定。请确认绑定码是这位客户本人念给您的。',
      yes: '绑定',
      no: '取消',
      calm: true,
    },
  },

  /** Why nothing can be done here; a problem of the network or the server is told as on the other page. */
  stops: {
    outside: { title: '请在企业微信中打开', lead: '这个页面给客服人员使用，\n只能在企业微信的客服会话中打开。' },
    outdated: { title: '请更新企业微信', lead: '当前版本的企业微信太旧，\n更新后再打开。' },
    misplaced: { title: '请从客服会话打开', lead: '请进入与客户的微信客服会话，\n从会话的工具栏打开这个小程序。' },
    'no-customer': { title: '没有找到客户', lead: '企业微信没有说明当前会话的客户是谁。\n请回到会话，重新打开。' },
    'no-permission': { title: '没有权限', lead: '企业微信不允许您在这里使用这个小程序。\n请联系管理员。' },
    'not-staff': { title: '没有权限', lead: '您不在可以为客户绑定的人员名单中。\n请联系管理员。' },
    off: { title: '没有开启', lead: '现在不支持由客服人员绑定。\n请联系管理员。' },
    unknown: { title: '查不到这位客户', lead: '这位客户最近没有联系过客服。\n请等客户发来消息后再试。' },
  },

  notices: {
    sent: '卡片已发送。客户确认后，点“刷新”查看结果。',
    'not-sent': '卡片没有发出去。请看一下会话，再试一次。',
    bound: '绑定成功。',
    switched: '会话已经换成另一位客户，没有做任何改动。',
    'code-invalid': '绑定码不对，或者已经过期。请客户重新念一遍，或者换一个。',
    conflict: '没有绑定：这位客户，或者绑定码的账号，已经有别的绑定。',
    'already-bound': '这位客户早已和这个账号绑定。',
    'other-person': '没有绑定：绑定码属于另一位微信用户，请客户用自己的微信获取绑定码。',
  },

  /** The title of the card in the chat. */
  cardTitle: '点开这里，绑定您的账号',
};

module.exports = texts;
