//! The logins of both mini programs, and the access token of WeChat's.

use serde_json::{Value, json};

use super::{
    gate::{Request, TokenOf},
    switches::{BoundCorp, TokenHabit},
    world::{Answer, Refused, World},
};

/// The life of a login code, in milliseconds.
const LOGIN_CODE_LIFE_MS: u64 = 5 * 60 * 1000;

/// Who logs in with a code.
#[derive(Clone)]
pub(super) enum Visitor {
    User { openid: String, unionid: Option<String> },
    Employee { userid: String },
}

/// A code of `wx.login` or `wx.qy.login`.
pub(super) struct LoginCode {
    visitor: Visitor,
    made_ms: u64,
    used: bool,
}

impl World {
    pub(super) fn login_code(&mut self, visitor: Visitor) -> String {
        let code = self.ids.next("login_code", "0", 32);
        let made_ms = self.now_ms();
        self.login_codes.insert(code.clone(), LoginCode { visitor, made_ms, used: false });
        code
    }

    /// `sns/jscode2session`: no `errcode` where all is well.
    pub(super) fn code2session(&mut self, request: &Request) -> Answer {
        for (name, errcode) in [("appid", 41002), ("secret", 41004), ("js_code", 41008)] {
            if request.param(name).is_empty() {
                return Err(Refused::new(errcode, format!("{name} missing")));
            }
        }
        if request.param("grant_type") != "authorization_code" {
            return Err(Refused::new(40002, "invalid grant_type"));
        }
        self.check_mini_program(request.param("appid"), request.param("secret"))?;
        if let Some(errcode) = self.switches.login_errcode {
            return Err(Refused::new(errcode, "refused by a switch"));
        }
        match self.use_login_code(request.param("js_code"), false)? {
            Visitor::User { openid, unionid } => {
                let session_key = self.ids.next("session_key", "", 22) + "==";
                let mut answer = json!({"openid": openid, "session_key": session_key});
                if let (Some(unionid), Some(fields)) = (unionid, answer.as_object_mut()) {
                    fields.insert("unionid".into(), json!(unionid));
                }
                Ok(answer)
            }
            Visitor::Employee { .. } => Err(Refused::new(40029, "invalid code")),
        }
    }

    /// `cgi-bin/miniprogram/jscode2session`
    pub(super) fn staff_code2session(&mut self, request: &Request) -> Answer {
        if request.param("grant_type") != "authorization_code" {
            return Err(Refused::parameter("grant_type"));
        }
        match self.use_login_code(request.param("js_code"), true)? {
            Visitor::Employee { userid } => {
                let session_key = self.ids.next("session_key", "", 22) + "==";
                Ok(json!({"corpid": self.options.corp_id, "userid": userid, "session_key": session_key}))
            }
            Visitor::User { .. } => Err(Refused::new(40029, "invalid code")),
        }
    }

    fn use_login_code(&mut self, code: &str, by_staff: bool) -> Result<Visitor, Refused> {
        let now_ms = self.now_ms();
        let invalid = || Refused::new(40029, "invalid code");
        let code = self.login_codes.get_mut(code).ok_or_else(invalid)?;
        if matches!(code.visitor, Visitor::Employee { .. }) != by_staff {
            return Err(invalid());
        }
        if code.used {
            return Err(if by_staff { invalid() } else { Refused::new(40163, "code been used") });
        }
        if now_ms >= code.made_ms + LOGIN_CODE_LIFE_MS {
            return Err(invalid());
        }
        code.used = true;
        Ok(code.visitor.clone())
    }

    fn check_mini_program(&self, app_id: &str, secret: &str) -> Result<(), Refused> {
        if app_id != self.options.app_id {
            return Err(Refused::new(40013, "invalid appid"));
        }
        if secret != self.options.app_secret {
            return Err(Refused::new(40125, "invalid appsecret"));
        }
        Ok(())
    }

    /// `customservice/work/get`: nothing of a company where there is none.
    pub(super) fn kf_work_get(&self) -> Value {
        let corp_id = match &self.switches.bound_corp {
            BoundCorp::Ours => &self.options.corp_id,
            BoundCorp::Other(corp_id) => corp_id,
            BoundCorp::Nobody => return json!({}),
        };
        json!({"entityName": "模拟公司", "corpid": corp_id, "bindTime": self.now_s()})
    }

    /// `cgi-bin/stable_token`
    pub(super) fn stable_token(&mut self, request: &Request) -> Answer {
        if request.text("grant_type")? != "client_credential" {
            return Err(Refused::new(40002, "invalid grant_type"));
        }
        self.check_mini_program(request.text("appid")?, request.text("secret")?)?;
        if let Some(address) = &self.switches.unlisted_ip {
            let errmsg = format!("invalid ip {address} ipv6 ::ffff:{address}, not in whitelist rid: 0-0-0");
            return Err(Refused::new(40164, errmsg));
        }
        let forced = request.field("force_refresh").and_then(Value::as_bool).unwrap_or(false);
        let habit = if forced { TokenHabit::NewKillsOld } else { TokenHabit::Same };
        let (access_token, expires_in) = self.access_token(TokenOf::MiniProgram, habit);
        Ok(json!({"access_token": access_token, "expires_in": expires_in}))
    }
}
