/**
 * The state at a glance: what is wrong in plain words, the tiles, and the kf accounts. All of it follows from
 * `/readyz`, `/metrics` and the totals of the stats; what there is no number for is shown as unknown.
 */

import { ago, byId, element, pairs, redraw, say, size, tint, whole } from './dom.js';
import { CALLBACKS, errcodeHint, word } from './texts.js';

/** @typedef {import('./metrics.js').Metrics} Metrics */
/** @typedef {{ bindings: number, codes_live: number, outbox: number, webhooks_waiting: number, dead_letters: number }} Totals */
/** @typedef {{ ready: any, metrics: Metrics, totals: Totals | null }} Seen */
/** @typedef {{ bad: boolean, what: string, todo?: string }} Problem */
/** @typedef {{ name: string, value: string, tone: string, rows: Array<[string, string, string?]> }} Tile of a row: its name, what it says, and when that was */

/** Codes fail beyond 60; the service speaks up from here on. */
const CLOCK_SKEW_S_MAX = 30;
const UNKNOWN = '—';
const REFUSED = ['bad_signature', 'bad_receiveid', 'bad_padding', 'malformed', 'too_large', 'unavailable'];
const ERRORS_SHOWN_MAX = 3;

/** @param {any} ready @returns {Problem[]} what keeps the service from all, the worst first, as the service itself orders it */
export function problemsOf(ready) {
  const told = ready.problems ?? [];
  const found = [...inside(ready, told), ...wecomProblems(ready.wecom ?? {}, ready.callbacks ?? {}), ...pullProblems(ready)];
  found.sort((one, other) => Number(other.bad) - Number(one.bad));
  // Of the rest there are only the service's own words; a newer service may have more of them.
  return found.length > 0 ? found : told.map((/** @type {string} */ what) => ({ bad: ready.status === 'unavailable', what }));
}

/** @param {any} ready @param {string[]} told @returns {Problem[]} */
function inside({ store, actors }, told) {
  /** @type {Problem[]} */
  const found = [];
  if (told.includes('the service is stopping')) found.push({ bad: true, what: '服务正在停止' });
  if (store?.writable === false) found.push({ bad: true, what: '数据写不进去', todo: '给 store.path 所在的磁盘腾出空间' });
  for (const actor of actors?.silent ?? []) found.push({ bad: true, what: `内部组件 ${actor} 没有回应`, todo: '看日志；重启会接着原来的进度' });
  return found;
}

/** @param {any} wecom @param {any} callbacks @returns {Problem[]} */
function wecomProblems({ access_token_had: had, stopped, last_error: error, clock_skew_s: skew }, { key_to_check: key }) {
  /** @type {Problem[]} */
  const found = [];
  if (had === false) found.push({ bad: true, what: '还没有拿到过 access_token', todo: '检查 wecom.corp_id、wecom.secret，以及到 wecom.api_base 的网络' });
  if (key) found.push({ bad: false, what: '企业微信的回调被拒收', todo: `检查 ${key}` });
  if (stopped) found.push({ bad: false, what: '对企业微信的调用已经停下，免得 IP 被封', todo: '改对 wecom.corp_id 和 wecom.secret，再重启' });
  else if (error) found.push({ bad: false, what: `上一次调用企业微信失败：${error}`, todo: '恢复以后会接着拉取，消息不会丢' });
  if (Math.abs(skew ?? 0) > CLOCK_SKEW_S_MAX) found.push({ bad: false, what: `服务器的时钟和企业微信差 ${Math.abs(skew)} 秒`, todo: '校准时钟；差 60 秒以上绑定码就不认了' });
  return found;
}

/** @param {any} ready @returns {Problem[]} */
function pullProblems({ accounts_known: known, accounts = [] }) {
  /** @type {Map<string, string[]>} */
  const failing = new Map();
  for (const { last_error: error, name, open_kfid: id } of accounts) if (error) failing.set(error, [...(failing.get(error) ?? []), name ?? id]);
  /** @type {Problem[]} */
  const found = known === false ? [{ bad: false, what: '还不知道有哪些客服账号' }] : [];
  for (const [error, names] of failing) found.push({ bad: false, what: `${names.join('、')} 的消息拉不下来：${error}` });
  return found;
}

/** @param {Seen} seen */
export function showState({ ready, metrics, totals }) {
  const problems = problemsOf(ready);
  const tone = { ok: 'good', degraded: 'warn' }[/** @type {string} */ (ready.status)] ?? 'bad';
  tint(byId('verdict'), tone);
  say(byId('verdict-title'), verdict(ready.status, problems.length));
  redraw(byId('problems'), problems, () =>
    problems.map(({ bad, what, todo }) => element('li', bad ? 'problem bad' : 'problem', element('strong', '', what), todo ? element('span', 'soft', todo) : null)),
  );
  redraw(byId('tiles'), tilesOf(ready, metrics, totals), (tiles) => tiles.map(tileOf));
  showAccounts(ready);
}

/** @param {string} status @param {number} count */
function verdict(status, count) {
  if (status === 'ok') return '一切正常';
  if (status === 'degraded') return `在运行，有 ${count} 处要留意`;
  return count > 1 ? `不能正常服务，${count} 个原因` : '不能正常服务';
}

/** @param {Tile} tile */
function tileOf({ name, value, tone, rows }) {
  const facts = rows.map(([term, what, at]) => /** @type {[string, Node | string]} */ ([term, at === undefined ? what : element('span', '', `${what} · `, ago(at))]));
  const made = element('article', 'tile', element('h3', '', name), element('p', 'tile-value', value), element('dl', 'pairs', ...pairs(facts)));
  made.dataset.tone = tone;
  return made;
}

/** @param {number | null | undefined} count */
function counted(count) {
  return count === null || count === undefined ? UNKNOWN : whole(count);
}

/** @param {any} ready @param {Metrics} metrics @param {Totals | null} totals @returns {Tile[]} */
function tilesOf(ready, metrics, totals) {
  return [wecomTile(ready.wecom ?? {}), callbackTile(ready.callbacks ?? {}, metrics), errorTile(metrics), outboxTile(metrics, totals), storeTile(ready.store ?? {}, metrics), bindingTile(metrics, totals)];
}

/** @param {any} wecom @returns {Tile} */
function wecomTile({ access_token_had: had, stopped, last_error: error, clock_skew_s: skew }) {
  const [value, tone] = wecomWord(had, stopped, error);
  const off = skew === null || skew === undefined ? UNKNOWN : Math.abs(skew) < 2 ? '准' : `${skew > 0 ? '快' : '慢'} ${Math.abs(skew)} 秒`;
  return { name: '企业微信', value, tone, rows: [['access_token', had ? '有' : '没有'], ['时钟', off]] };
}

/** @param {boolean} had @param {boolean} stopped @param {string | null} error @returns {[string, string]} */
function wecomWord(had, stopped, error) {
  if (stopped) return ['已停止调用', 'bad'];
  if (error) return ['调用失败', had ? 'warn' : 'bad'];
  return had ? ['连得上', 'good'] : ['还没连上', 'bad'];
}

/** @param {any} callbacks @param {Metrics} metrics @returns {Tile} */
function callbackTile({ key_to_check: key, last_refusal: last }, metrics) {
  const results = new Map(metrics.by('callbacks_total', 'result'));
  const taken = ['accepted', 'duplicate'].reduce((sum, result) => sum + (results.get(result) ?? 0), 0);
  const refused = REFUSED.reduce((sum, result) => sum + (results.get(result) ?? 0), 0);
  /** @type {Tile['rows']} */
  const rows = [['拒收', `${whole(refused)} 次`]];
  if (last) rows.push(['上次拒收', word(CALLBACKS, last.reason), last.at]);
  return { name: '回调', value: `${whole(taken)} 次`, tone: key ? 'warn' : 'calm', rows };
}

/** @param {Metrics} metrics @returns {Tile} */
function errorTile(metrics) {
  const samples = metrics.all('wecom_api_errors_total').filter(({ value }) => value > 0);
  samples.sort((one, other) => other.value - one.value);
  const sum = metrics.sum('wecom_api_errors_total') ?? 0;
  /** @type {Array<[string, string]>} */
  const rows = samples.slice(0, ERRORS_SHOWN_MAX).map(({ labels, value }) => {
    const hint = errcodeHint(labels.errcode);
    return [`${labels.api} ${labels.errcode}`, `${whole(value)} 次${hint === '' ? '' : ` · ${hint}`}`];
  });
  if (samples.length > ERRORS_SHOWN_MAX) rows.push(['还有', `${samples.length - ERRORS_SHOWN_MAX} 种，见 /metrics`]);
  return { name: '企业微信接口错误', value: `${whole(sum)} 次`, tone: 'calm', rows: rows.length === 0 ? [['启动以来', '没有']] : rows };
}

/** @param {Metrics} metrics @param {Totals | null} totals @returns {Tile} */
function outboxTile(metrics, totals) {
  const depth = totals?.outbox ?? metrics.sum('outbox_depth');
  const dead = totals?.dead_letters ?? 0;
  return {
    name: '发件箱',
    value: depth === null ? UNKNOWN : `${whole(depth)} 条在等`,
    tone: dead > 0 ? 'warn' : 'calm',
    rows: [['Webhook 在等', counted(totals?.webhooks_waiting)], ['死信', counted(totals?.dead_letters)]],
  };
}

/** @param {any} store @param {Metrics} metrics @returns {Tile} */
function storeTile({ writable }, metrics) {
  const bytes = metrics.sum('store_bytes');
  const flush = metrics.mean('store_flush_seconds');
  return {
    name: '数据',
    value: writable === false ? '写不进去' : '可写',
    tone: writable === false ? 'bad' : 'good',
    rows: [['大小', bytes === null || bytes === 0 ? UNKNOWN : size(bytes)], ['一次落盘', flush === null ? UNKNOWN : `${(flush * 1000).toFixed(1)} 毫秒`]],
  };
}

/** @param {Metrics} metrics @param {Totals | null} totals @returns {Tile} */
function bindingTile(metrics, totals) {
  const guessing = (metrics.sum('guessing') ?? 0) > 0;
  return {
    name: '绑定',
    value: `${counted(totals?.bindings ?? metrics.sum('bindings'))} 个`,
    tone: guessing ? 'warn' : 'calm',
    rows: [['有效的绑定码', counted(totals?.codes_live ?? metrics.sum('codes_live'))], ['有人在猜码', guessing ? '是，码已经加长' : '没有']],
  };
}

/** @param {any} ready */
function showAccounts(ready) {
  const accounts = ready.accounts ?? [];
  const unserved = ready.unserved_accounts ?? [];
  say(byId('accounts-note'), ready.accounts_known === false ? '还没有从企业微信读到' : `服务 ${accounts.length} 个${unserved.length > 0 ? `，另有 ${unserved.length} 个没有服务` : ''}`);
  redraw(byId('accounts'), { accounts, unserved, known: ready.accounts_known }, () => {
    const lines = [...accounts.map(servedLine), ...unserved.map(unservedLine)];
    if (lines.length > 0) return lines;
    const todo = '在企业微信后台打开：微信客服 → API → 通过 API 管理微信客服账号，勾选要用的账号。';
    return [element('p', 'empty', ready.accounts_known === false ? '正在等企业微信列出客服账号。' : `没有可以服务的客服账号。${todo}`)];
  });
}

/** @param {any} account */
function servedLine({ open_kfid: id, name, api_managed: managed, last_pull_at: at, last_error: error }) {
  const pulled = element('span', 'account-fact', element('span', 'soft', '上次拉取'), at ? ago(at) : element('span', '', '还没有'));
  return accountLine(id, name, error ? 'warn' : at ? 'good' : 'wait', '服务中', managed, pulled, error);
}

/** @param {any} account */
function unservedLine({ open_kfid: id, name, api_managed: managed }) {
  const why = managed ? '不在 wecom.accounts 里' : '没有勾选“通过 API 管理”';
  return accountLine(id, name, 'calm', '没有服务', managed, element('span', 'account-fact soft', why), null);
}

/** @param {string} id @param {string | null} name @param {string} tone @param {string} state @param {boolean | null} managed @param {Node} fact @param {string | null} error */
function accountLine(id, name, tone, state, managed, fact, error) {
  const api = managed === null || managed === undefined ? 'API 管理：未知' : managed ? 'API 管理：是' : 'API 管理：否';
  const who = element('span', 'account-who', element('strong', '', name ?? '（没有名字）'), element('code', 'id', id));
  const made = element('div', 'account', element('span', 'dot', ''), who, element('span', 'account-chips', element('span', 'chip', state), element('span', managed === false ? 'chip chip-warn' : 'chip', api)), fact, error ? element('p', 'account-error', error) : null);
  made.dataset.tone = tone;
  return made;
}

