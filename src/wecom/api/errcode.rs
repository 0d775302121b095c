//! WeCom's error codes, as far as one of them changes what we do (document 90313).
//!
//! Numbers and the hints for the operator; what follows from a code is decided in `client/verdict.rs`.

/// The system is busy.
pub const BUSY: i64 = -1;
/// A version conflict inside WeCom.
pub const VERSION_CONFLICT: i64 = 6000;
/// `gettoken`: the secret is wrong, or not of this corp. Elsewhere: the access token is not taken.
pub const BAD_SECRET: i64 = 40001;
/// The corp id is wrong.
pub const BAD_CORP_ID: i64 = 40013;
/// The access token is invalid.
pub const BAD_ACCESS_TOKEN: i64 = 40014;
/// The login code is invalid, expired or used.
pub const BAD_LOGIN_CODE: i64 = 40029;
/// The login code has been used: WeChat's code, in case WeCom comes to say the same.
pub const LOGIN_CODE_USED: i64 = 40163;
/// The access token has expired.
pub const ACCESS_TOKEN_EXPIRED: i64 = 42001;
/// Too many calls; the block lasts as long as the window that was exceeded, at least a minute.
pub const TOO_MANY_CALLS: i64 = 45009;
/// Too many calls at the same time.
pub const TOO_MANY_AT_ONCE: i64 = 45033;
/// A write conflict inside WeCom.
pub const WRITE_CONFLICT: i64 = 45035;
/// The app may not use this call.
pub const API_FORBIDDEN: i64 = 48002;
/// The kf account is not given to the app.
pub const ACCOUNT_NOT_AUTHORISED: i64 = 48007;
/// Our TLS is too old.
pub const TLS_TOO_OLD: i64 = 48010;
/// The app is disabled.
pub const APP_DISABLED: i64 = 50003;
/// Our address is not among the app's trusted ones.
pub const ADDRESS_NOT_TRUSTED: i64 = 60020;
/// Outside the app's visible range.
pub const OUT_OF_RANGE: i64 = 60030;
/// The app may not call the API.
pub const API_CALLS_FORBIDDEN: i64 = 60031;
/// The sync token is illegal or expired.
pub const BAD_SYNC_TOKEN: i64 = 95007;
/// The corp uses kf inside WeCom, the access token is of the stand-alone edition.
pub const WRONG_EDITION_INSIDE: i64 = 95011;
/// The reverse of 95011.
pub const WRONG_EDITION_ALONE: i64 = 95012;
/// The API switch of the system app is off.
pub const API_SWITCH_OFF: i64 = 95017;
/// The `msgid` was used before.
pub const MSGID_REPEATED: i64 = 95033;
/// Our address is not on the list.
pub const ADDRESS_NOT_LISTED: i64 = 301_042;

/// What the operator can do about a code that only a console cures; `None` for all other codes.
#[must_use]
pub fn console_hint(errcode: i64, errmsg: &str) -> Option<String> {
    let hint = match errcode {
        ADDRESS_NOT_TRUSTED | ADDRESS_NOT_LISTED => {
            let address = address_in(errmsg).unwrap_or("this server's outgoing address");
            return Some(format!(
                "add {address} to the app's trusted IPs (企业可信IP) in the WeCom console; it takes about a minute; \
                 without a fixed address set wecom.proxy"
            ));
        }
        API_FORBIDDEN => {
            "add the app to 微信客服 → API → 可调用接口的应用 in the WeCom console, and check that wecom.secret is \
             this app's"
        }
        ACCOUNT_NOT_AUTHORISED => {
            "assign the kf account to the app: 微信客服 → API → 通过API管理微信客服账号 → 企业内部开发"
        }
        TLS_TOO_OLD => {
            "WeCom wants a newer TLS: a proxy in between (wecom.proxy) must offer TLS 1.2 or later"
        }
        APP_DISABLED => "switch the app on again in the WeCom console (应用管理)",
        OUT_OF_RANGE => "put the account's servicers (接待人员) into the app's visible range (应用可见范围)",
        API_CALLS_FORBIDDEN => "allow the app to call the API in the WeCom console",
        WRONG_EDITION_INSIDE => {
            "the corp uses kf inside WeCom: set wecom.secret to the secret of the app in the WeCom console, not to \
             that of work.weixin.qq.com/kf"
        }
        WRONG_EDITION_ALONE => {
            "the corp uses the stand-alone kf: set wecom.secret to the one of work.weixin.qq.com/kf (开发配置)"
        }
        API_SWITCH_OFF => "switch the API on: 微信客服 → API in the WeCom console",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// The address in `…, from ip: 1.2.3.4, more info at …`. Part of a hint only: WeCom's words may change any day.
fn address_in(errmsg: &str) -> Option<&str> {
    let (_, rest) = errmsg.split_once("from ip:")?;
    let address = rest.trim_start().split([',', ' ', ';']).next()?;
    address.parse::<std::net::IpAddr>().ok().map(|_| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_shows_the_address_that_wecom_saw() {
        let errmsg =
            "not allow to access from your ip, hint: [1700000000123], from ip: 203.0.113.9, more info at x";
        let hint = console_hint(ADDRESS_NOT_TRUSTED, errmsg).unwrap();
        assert!(hint.contains("203.0.113.9"), "{hint}");
        let hint = console_hint(ADDRESS_NOT_TRUSTED, "from ip: 2001:db8::1").unwrap();
        assert!(hint.contains("2001:db8::1"), "{hint}");
    }

    #[test]
    fn a_hint_survives_other_words() {
        for errmsg in ["", "from ip:", "from ip: nowhere", "your address is 1.2.3.4"] {
            let hint = console_hint(ADDRESS_NOT_LISTED, errmsg).unwrap();
            assert!(hint.contains("outgoing address"), "{hint}");
        }
    }

    #[test]
    fn other_codes_have_no_hint() {
        for errcode in [0, BUSY, BAD_SECRET, TOO_MANY_CALLS, 95018, BAD_SYNC_TOKEN] {
            assert_eq!(console_hint(errcode, ""), None);
        }
    }
}
