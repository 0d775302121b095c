/** The names of things in the service, as operators read them, and what to do about WeCom's errors. Only words. */

/** @type {Record<string, string>} */
export const METHODS = {
  code: '绑定码',
  link: '链接',
  card: '卡片',
  unionid: 'unionid',
  window: '进入时间',
  staff: '员工',
  admin: '后台',
};

/** Events of the audit trail, in the order of the filter. @type {Record<string, string>} */
export const EVENTS = {
  bound: '绑定',
  unbound: '解绑',
  conflict: '冲突',
  locked: '锁定',
  other_person: '不是本人',
  undelivered: '没送到',
};

/** @type {Record<string, string>} */
const DOERS = {
  customer: '客户',
  user: '小程序用户',
  admin: '后台',
  replaced: '被新绑定替换',
  wecom: '企业微信',
};

/** Of typed codes; conflicts are counted over all ways. @type {Record<string, string>} */
export const REJECTIONS = {
  wrong: '码不存在',
  expired: '码已失效',
  locked: '已锁定',
  other_person: '不是本人',
};

/** @type {Record<string, string>} */
export const CALLBACKS = {
  bad_signature: '签名不对',
  bad_receiveid: 'corp_id 不对',
  bad_padding: '解不开',
  malformed: '格式不对',
  too_large: '太长',
  unavailable: '忙或正在停止',
  unreadable: '内容读不懂',
};

/** @type {Record<string, string>} */
export const WEBHOOKS = {
  'binding.created': '新绑定',
  'binding.removed': '解除绑定',
  'binding.conflict': '绑定冲突',
};

/** What WeCom's numbers mean, and where to look. @type {Record<string, string>} */
const ERRCODES = {
  '-1': '企业微信繁忙',
  40001: '密钥不对：检查 wecom.secret',
  40013: '企业 ID 不对：检查 wecom.corp_id',
  40014: 'access_token 无效',
  42001: 'access_token 过期',
  45009: '调用太频繁',
  45033: '并发太多',
  48002: '应用没有这个接口的权限',
  48007: '没有授权这个客服账号',
  50003: '应用已停用',
  60020: '出口 IP 不在企业可信 IP 里',
  60030: '接待人员不在应用的可见范围里',
  60031: '应用不允许调用接口',
  301042: '出口 IP 不在企业可信 IP 里',
  95000: 'open_kfid 不对（wk…，不是 kfc…）',
  95001: '一条来消息最多回 5 条',
  95002: '客户 48 小时没有来消息',
  95004: '没有这个客服账号',
  95007: '回调里的 token 过期',
  95013: '会话已经结束',
  95014: '不是接待人员',
  95016: '会话状态不能这样变',
  95017: 'API 开关没有打开',
  95018: '会话归人工，或者已结束',
  95019: '接待人员停止接待',
  95033: '同一条已经发过',
  timeout: '超时',
  connect: '连不上',
};

/** @param {string | undefined} by */
export function doer(by) {
  if (by === undefined) return '';
  return by.startsWith('staff:') ? `员工 ${by.slice(6)}` : (DOERS[by] ?? by);
}

/** @param {string} errcode */
export function errcodeHint(errcode) {
  return ERRCODES[errcode] ?? (errcode.startsWith('http_') ? `HTTP ${errcode.slice(5)}` : '');
}

/** @param {Record<string, string>} words @param {string} name what has no word yet is shown as it is */
export function word(words, name) {
  return Object.hasOwn(words, name) ? words[name] : name;
}
