//! What stands before every call: the method, the access token, the caller's address, and how often and how many at
//! once. WeCom's refusals here are about the caller, never about the content.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::{Value, json};

use super::{
    record::Api,
    switches::TokenHabit,
    world::{Answer, Refused, World},
};

/// The life of an access token, in seconds.
pub(super) const ACCESS_TOKEN_LIFE_S: u64 = 7200;
/// From so long before its end `stable_token` gives another token, in milliseconds.
const STABLE_TOKEN_RENEWAL_MS: u64 = 5 * 60 * 1000;
/// So many pulls with a missing or wrong sync token block the interface for a minute.
const TOKENLESS_PULLS_PER_MINUTE_MAX: usize = 10;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;

/// A call as it came in.
pub(super) struct Request {
    pub(super) is_post: bool,
    pub(super) query: Vec<(String, String)>,
    /// `None`: no body, or one that is no JSON.
    pub(super) body: Option<Value>,
}

impl Request {
    /// A query parameter, "" if it isn't there.
    pub(super) fn param(&self, name: &str) -> &str {
        self.query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// A text in the body: absent is "", another type is refused.
    pub(super) fn text(&self, name: &str) -> Result<&str, Refused> {
        match self.field(name) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Refused::parameter(name)),
        }
    }

    /// A text that has to be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, Refused> {
        match self.text(name)? {
            "" => Err(Refused::parameter(name)),
            text => Ok(text),
        }
    }

    /// A number of 32 bits in the body: absent is `default`, another type is refused.
    pub(super) fn number(&self, name: &str, default: u32) -> Result<u32, Refused> {
        match self.field(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .ok_or_else(|| Refused::parameter(name)),
        }
    }

    /// Anything in the body.
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.body.as_ref().and_then(|body| body.get(name))
    }
}

/// Whose access token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum TokenOf {
    App,
    StaffApp,
    MiniProgram,
}

struct AccessToken {
    of: TokenOf,
    expires_ms: u64,
    /// Made before the app was given a right: calls are refused with this code.
    stale: Option<i64>,
}

/// Tokens, and how often and how many at once.
#[derive(Default)]
pub(super) struct Gate {
    tokens: HashMap<String, AccessToken>,
    current: BTreeMap<TokenOf, String>,
    open: BTreeMap<Api, usize>,
    pub(super) open_max: BTreeMap<Api, usize>,
    minutes: BTreeMap<Api, (u64, u32)>,
    tokenless_pulls_ms: VecDeque<u64>,
    pulls_blocked_until_ms: u64,
    wrong_secrets_ms: VecDeque<u64>,
    banned_until_ms: u64,
}

impl Gate {
    /// Counts a call in; how many of this interface are open now.
    pub(super) fn enter(&mut self, api: Api) -> usize {
        let open = self.open.entry(api).or_default();
        *open += 1;
        let most = self.open_max.entry(api).or_default();
        *most = (*most).max(*open);
        *open
    }

    pub(super) fn leave(&mut self, api: Api) {
        if let Some(open) = self.open.get_mut(&api) {
            *open = open.saturating_sub(1);
        }
    }

    /// How many calls of this interface are open.
    #[cfg(test)]
    pub(super) fn open_now(&self, api: Api) -> usize {
        self.open.get(&api).copied().unwrap_or(0)
    }

    /// The next call with any of today's tokens finds it expired (42001).
    pub(super) fn expire_tokens(&mut self) {
        for token in self.tokens.values_mut() {
            token.expires_ms = 0;
        }
        self.current.clear();
    }

    /// Today's tokens are forgotten (40014).
    pub(super) fn revoke_tokens(&mut self) {
        self.tokens.clear();
        self.current.clear();
    }

    /// Calls with today's tokens are refused with `errcode`; a new one is good.
    pub(super) fn stale_tokens(&mut self, errcode: i64) {
        for token in self.tokens.values_mut() {
            token.stale = Some(errcode);
        }
        self.current.clear();
    }

    /// One token ends: by its time (42001), else without a trace.
    pub(super) fn end_token(&mut self, token: &str, by_time: bool) {
        self.current.retain(|_, current| current != token);
        if by_time {
            if let Some(token) = self.tokens.get_mut(token) {
                token.expires_ms = 0;
            }
        } else {
            self.tokens.remove(token);
        }
    }
}

impl World {
    /// Whether the call may pass; what it asks for is looked at later.
    pub(super) fn admit(&mut self, api: Api, request: &Request, parallel: usize) -> Result<(), Refused> {
        match (api.is_post(), request.is_post) {
            (true, false) => return Err(Refused::new(43002, "require POST method")),
            (false, true) => return Err(Refused::new(43001, "require GET method")),
            _ => {}
        }
        let token_of = match api {
            Api::GetToken | Api::Code2Session | Api::StableToken => None,
            Api::SubscribeSend | Api::KfWorkGet => Some(TokenOf::MiniProgram),
            Api::StaffCode2Session => Some(TokenOf::StaffApp),
            _ => Some(TokenOf::App),
        };
        if let Some(wanted) = token_of {
            self.check_token(api, request.param("access_token"), wanted)?;
        }
        if api.is_wechat() {
            return check_body(api, request);
        }
        if let Some(address) = self.switches.untrusted_ip.as_ref().filter(|_| api != Api::GetToken) {
            return Err(Refused::new(
                60020,
                format!(
                    "not allow to access from your ip, hint: [1700000000000000000000000], from ip: {address}, \
                     more info at https://open.work.weixin.qq.com/devtool/query?e=60020"
                ),
            ));
        }
        if parallel > self.switches.parallel_calls_max {
            return Err(Refused::new(45033, "api concurrent out of limit"));
        }
        self.check_rate(api)?;
        check_body(api, request)
    }

    fn check_token(&self, api: Api, text: &str, wanted: TokenOf) -> Result<(), Refused> {
        if text.is_empty() {
            return Err(Refused::new(41001, "access_token missing"));
        }
        let wechats = wanted == TokenOf::MiniProgram;
        let Some(token) =
            self.gate.tokens.get(text).filter(|token| (token.of == TokenOf::MiniProgram) == wechats)
        else {
            // WeChat's 40001 is about the token, WeCom's about the secret.
            return Err(Refused::new(if wechats { 40001 } else { 40014 }, "invalid access_token"));
        };
        if self.now_ms() >= token.expires_ms {
            return Err(Refused::new(42001, "access_token expired"));
        }
        if token.of != wanted {
            let errcode = if api.is_kf() { 48002 } else { 40014 };
            return Err(Refused::new(errcode, "api forbidden for this app's access_token"));
        }
        match token.stale {
            Some(errcode) if api.is_kf() => Err(Refused::new(errcode, "api forbidden for this access_token")),
            _ => Ok(()),
        }
    }

    fn check_rate(&mut self, api: Api) -> Result<(), Refused> {
        let now_ms = self.now_ms();
        let limited = Refused::new(45009, "reach max api minute quota limit");
        if api == Api::SyncMsg && now_ms < self.gate.pulls_blocked_until_ms {
            return Err(limited);
        }
        let Some(most) = self.switches.calls_per_minute_max else { return Ok(()) };
        let (minute, count) = self.gate.minutes.entry(api).or_default();
        if *minute != now_ms / MINUTE_MS {
            (*minute, *count) = (now_ms / MINUTE_MS, 0);
        }
        *count = count.saturating_add(1);
        if *count > most { Err(limited) } else { Ok(()) }
    }

    /// Counts a pull with a missing or wrong sync token; the tenth within a minute blocks the interface for the next.
    pub(super) fn count_tokenless_pull(&mut self) {
        let now_ms = self.now_ms();
        let pulls = &mut self.gate.tokenless_pulls_ms;
        pulls.push_back(now_ms);
        pulls.retain(|at| now_ms < at + MINUTE_MS);
        if pulls.len() >= TOKENLESS_PULLS_PER_MINUTE_MAX {
            pulls.clear();
            self.gate.pulls_blocked_until_ms = now_ms + MINUTE_MS;
        }
    }

    /// `gettoken`
    pub(super) fn get_token(&mut self, request: &Request) -> Answer {
        let now_ms = self.now_ms();
        let (corp_id, secret) = (request.param("corpid"), request.param("corpsecret"));
        if now_ms < self.gate.banned_until_ms {
            return Err(Refused::new(45009, "api freq out of limit"));
        }
        if corp_id.is_empty() {
            return Err(Refused::new(41002, "corpid missing"));
        }
        if corp_id != self.options.corp_id {
            return Err(Refused::new(40013, "invalid corpid"));
        }
        if secret.is_empty() {
            return Err(Refused::new(41004, "corpsecret missing"));
        }
        let of = if secret == self.options.secret {
            TokenOf::App
        } else if secret == self.options.staff_secret {
            TokenOf::StaffApp
        } else {
            let wrong = &mut self.gate.wrong_secrets_ms;
            wrong.push_back(now_ms);
            wrong.retain(|at| now_ms < at + HOUR_MS);
            if wrong.len() >= self.options.wrong_secrets_max {
                wrong.clear();
                self.gate.banned_until_ms = now_ms + HOUR_MS;
            }
            return Err(Refused::new(
                40001,
                "invalid credential, hint: [1700000000000000000000000], from ip: 127.0.0.1, more info at \
                 https://open.work.weixin.qq.com/devtool/query?e=40001",
            ));
        };
        let (access_token, expires_in) = self.access_token(of, self.switches.token_habit);
        Ok(json!({"access_token": access_token, "expires_in": expires_in}))
    }

    /// A token and the seconds that it still lives.
    pub(super) fn access_token(&mut self, of: TokenOf, habit: TokenHabit) -> (String, u64) {
        let now_ms = self.now_ms();
        let current = self.gate.current.get(&of).cloned();
        if let Some(text) = current {
            let left_ms =
                self.gate.tokens.get(&text).map_or(0, |token| token.expires_ms.saturating_sub(now_ms));
            // WeChat's `stable_token` gives a new one in the last minutes, and both are good.
            let least_ms = if of == TokenOf::MiniProgram { STABLE_TOKEN_RENEWAL_MS } else { 1000 };
            if habit == TokenHabit::Same && left_ms >= least_ms {
                return (text, left_ms / 1000);
            }
            if habit == TokenHabit::NewKillsOld {
                self.gate.tokens.remove(&text);
            }
        }
        // Real ones are long: room for 512 bytes is asked for.
        let text = self.ids.next("access_token", "", 214);
        let expires_ms = now_ms + ACCESS_TOKEN_LIFE_S * 1000;
        self.gate.tokens.insert(text.clone(), AccessToken { of, expires_ms, stale: None });
        self.gate.current.insert(of, text.clone());
        (text, ACCESS_TOKEN_LIFE_S)
    }
}

fn check_body(api: Api, request: &Request) -> Result<(), Refused> {
    if api.is_post() && !request.body.as_ref().is_some_and(Value::is_object) {
        return Err(Refused::new(47001, "data format error. Warning: wrong json format."));
    }
    Ok(())
}
