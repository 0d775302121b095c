//! What a single value must look like to make sense for its key. Each function takes the text and gives back the
//! usable value, or says what is wrong; none quotes a secret.
//!
//! Only sure mistakes are refused: tests and relays use hosts and ids that production never shows.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use super::value::Fault;

/// The exact length of an `EncodingAESKey`.
const AES_KEY_CHARS: usize = 43;
/// The most characters of a callback Token.
const TOKEN_CHARS_MAX: usize = 32;
/// The fewest characters of an admin key: fewer can be guessed.
pub(super) const ADMIN_KEY_CHARS_MIN: usize = 16;
/// How long the key may be with which webhooks are signed, by the Standard Webhooks conventions.
const WEBHOOK_KEY_BYTES: RangeInclusive<usize> = 24..=64;
/// The placeholders of the chat's texts.
pub(super) const MESSAGE_PLACEHOLDERS: [&str; 5] = ["nickname", "account", "code", "minutes", "unbind_word"];
/// The placeholders of the subscribe message.
pub(super) const SUBSCRIBE_PLACEHOLDERS: [&str; 3] = ["account", "nickname", "time"];

pub(super) fn address(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    match text.strip_prefix("localhost:").map(str::parse) {
        Some(Ok(port)) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        _ => Err(Fault::new(
            format!("is {text:?}, not an address and a port"),
            "write it like \"127.0.0.1:8080\", or \"0.0.0.0:8080\" for all addresses of this machine",
        )),
    }
}

pub(super) fn network(text: &str) -> Result<IpNet, Fault> {
    text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
        Fault::new(
            format!("has {text:?}, neither an address nor a network"),
            "write addresses like \"10.0.0.1\" or networks like \"10.0.0.0/8\"; names are not looked up",
        )
    })
}

#[expect(clippy::unnecessary_wraps, reason = "has the form of the other checks")]
pub(super) fn path(text: &str) -> Result<PathBuf, Fault> {
    Ok(PathBuf::from(text))
}

pub(super) fn api_base(text: &str) -> Result<String, Fault> {
    let url = http_url(text)?;
    if text.ends_with('/') {
        return Err(Fault::new("ends with a slash", "remove the slash at the end"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Fault::new("has a query or a fragment", "end it before the ? or #"));
    }
    Ok(text.to_owned())
}

/// Another program that callbacks are passed on to.
pub(super) fn target(text: &str) -> Result<String, Fault> {
    if http_url(text)?.fragment().is_some() {
        return Err(Fault::new("has a fragment", "end each URL before the #"));
    }
    Ok(text.to_owned())
}

pub(super) fn proxy(text: &str) -> Result<SecretString, Fault> {
    let fix = "write it like \"http://10.0.0.5:3128\", \"https://…\" or \"socks5://…\"; in a user's name or password \
               write / as %2F, ? as %3F and # as %23";
    let url = url(text, fix)?;
    // As it is written: the parser also takes other spellings, which the HTTP client does not.
    if !["http://", "https://", "socks5://"].iter().any(|start| text.starts_with(start)) {
        return Err(Fault::new("does not begin with http://, https:// or socks5://", fix));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Fault::new("names no host", fix));
    }
    if !["", "/"].contains(&url.path()) || url.query().is_some() || url.fragment().is_some() {
        return Err(Fault::new("goes on behind the host and port", fix));
    }
    Ok(SecretString::from(text))
}

pub(super) fn kf_url(text: &str) -> Result<String, Fault> {
    let fix = "paste the whole link of the kf account, for example \"https://work.weixin.qq.com/kfid/kfc…\", \
               or leave it empty to have one made";
    if text.starts_with("kfc") || text.starts_with("wk") {
        return Err(Fault::new("is an id, not a link", fix));
    }
    let url = http_url(text).map_err(|fault| Fault::new(fault.what, fix))?;
    let is_wecom = url.host_str() == Some("work.weixin.qq.com");
    if is_wecom && !["/kf/kfc", "/kfid/kfc"].iter().any(|start| url.path().starts_with(start)) {
        return Err(Fault::new("is a WeCom address, but not a kf link", fix));
    }
    Ok(text.to_owned())
}

pub(super) fn corp_id(text: &str) -> Result<String, Fault> {
    let fix = "copy 企业ID from the WeCom console, 我的企业; it begins with ww";
    if text.starts_with("wk") || text.starts_with("kfc") {
        return Err(Fault::new("is the id of a kf account or link, not of the company", fix));
    }
    id(text, fix)
}

pub(super) fn app_id(text: &str) -> Result<String, Fault> {
    let fix = "copy AppID from the WeChat console, 开发管理; it begins with wx";
    if text.starts_with("gh_") {
        return Err(Fault::new("is the mini program's original id (gh_…), not its AppID", fix));
    }
    if text.starts_with("ww") {
        return Err(Fault::new("is the id of a WeCom company (ww…), not an AppID", fix));
    }
    id(text, fix)
}

pub(super) fn account(text: &str) -> Result<String, Fault> {
    let fix =
        "write the open_kfid, which begins with wk; `kfbind check --online` with an empty list shows all";
    if text.starts_with("kfc") || text.contains("/kfc") {
        return Err(Fault::new(format!("has {text:?}: kfc… is the id of a link, not of an account"), fix));
    }
    id(text, fix)
}

/// WeCom's form of a userid; upper and lower case are kept as they are.
pub(super) fn userid(text: &str) -> Result<String, Fault> {
    let in_form = |one: char| one.is_ascii_alphanumeric() || "_-@.".contains(one);
    if !text.is_empty() && text.chars().all(in_form) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(
        format!("has {text:?}, which can't be a userid"),
        "copy 账号 from the member's page in the WeCom console, 通讯录; a name is none",
    ))
}

/// One field of the subscribe message.
pub(super) fn subscribe_field(field: &str, text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new(
            format!("has nothing in the field {field:?}, which WeChat refuses"),
            "write words or a placeholder into it",
        ));
    }
    placeholders(text, &SUBSCRIBE_PLACEHOLDERS)
}

pub(super) fn token(text: &str) -> Result<SecretString, Fault> {
    let fix =
        "copy Token from 接收消息, 设置API接收, or make one with `kfbind keygen` and paste it there, too";
    let length = text.chars().count();
    if length > TOKEN_CHARS_MAX {
        return Err(Fault::new(format!("has {length} characters, more than {TOKEN_CHARS_MAX}"), fix));
    }
    secret(text)
}

pub(super) fn aes_key(text: &str) -> Result<SecretString, Fault> {
    let fix = "copy EncodingAESKey from 接收消息, 设置API接收, or make one with `kfbind keygen` and paste it there, too";
    let length = text.chars().count();
    if length != AES_KEY_CHARS {
        return Err(Fault::new(format!("has {length} characters instead of exactly {AES_KEY_CHARS}"), fix));
    }
    letters_and_digits(text, fix)
}

pub(super) fn secret(text: &str) -> Result<SecretString, Fault> {
    // None of WeCom's and WeChat's has others, and what a page or an editor adds often can't be seen.
    if !text.chars().all(|character| character.is_ascii_graphic()) {
        return Err(Fault::new(
            "contains white space, or a character that is not ASCII, perhaps one that can't be seen",
            "paste it again, without anything before or behind it",
        ));
    }
    Ok(SecretString::from(text))
}

pub(super) fn admin_key(text: &str) -> Result<SecretString, Fault> {
    let fix = "take one from `kfbind keygen`";
    if !text.chars().all(|character| character.is_ascii_graphic()) {
        return Err(Fault::new("has characters that a header can't carry", fix));
    }
    Ok(SecretString::from(text))
}

pub(super) fn webhook_url(text: &str) -> Result<SecretString, Fault> {
    let url = http_url(text)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Fault::new(
            "has a user or a password",
            "take it out: what comes is signed with webhooks.secret, and the receiver checks that",
        ));
    }
    Ok(SecretString::from(text))
}

pub(super) fn webhook_secret(text: &str) -> Result<SecretString, Fault> {
    let fix = "take one from `kfbind keygen`, and give it to the receiver, too";
    let Some(encoded) = text.strip_prefix("whsec_") else {
        return Err(Fault::new("does not begin with whsec_", fix));
    };
    let Ok(key) = STANDARD.decode(encoded) else {
        return Err(Fault::new("is not base64 behind whsec_", fix));
    };
    if !WEBHOOK_KEY_BYTES.contains(&key.len()) {
        let (least, most) = WEBHOOK_KEY_BYTES.into_inner();
        return Err(Fault::new(format!("holds {} bytes, not {least} to {most}", key.len()), fix));
    }
    Ok(SecretString::from(text))
}

pub(super) fn card_path(text: &str) -> Result<String, Fault> {
    if text.starts_with('/') || text.contains('?') || text.strip_suffix(".html").is_none_or(str::is_empty) {
        return Err(Fault::new(
            format!("is {text:?}"),
            "write the page's path without a slash before it and without a query, ending in .html",
        ));
    }
    Ok(text.to_owned())
}

/// A word that must be the whole message: spaces around it would never match.
pub(super) fn word(text: &str) -> Result<String, Fault> {
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err(Fault::new("has spaces around it or a control character", "write the bare word"));
    }
    Ok(text.to_owned())
}

pub(super) fn message(text: &str, bytes_max: usize) -> Result<String, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new("is blank, which WeCom refuses", "write a sentence"));
    }
    if text.len() > bytes_max {
        return Err(Fault::new(
            format!("has {} bytes, more than {bytes_max}", text.len()),
            "shorten it; a Chinese character has three bytes",
        ));
    }
    placeholders(text, &MESSAGE_PLACEHOLDERS)?;
    Ok(text.to_owned())
}

/// Whether all `{names}` in the text are among those allowed. Braces around anything but a name are plain text.
pub(super) fn placeholders(text: &str, allowed: &[&str]) -> Result<(), Fault> {
    for (start, _) in text.match_indices('{') {
        let Some((inside, _)) = text.get(start..).and_then(|rest| rest.get(1..)?.split_once('}')) else {
            break;
        };
        let name = inside.trim();
        let is_name = !name.is_empty() && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_');
        if is_name && !allowed.contains(&inside) {
            let names = allowed.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ");
            return Err(Fault::new(
                format!("has the unknown placeholder {{{inside}}}"),
                format!("use only {names}"),
            ));
        }
    }
    Ok(())
}

/// The parser drops white space where it finds it; whoever gets the text as it is would not.
fn url(text: &str, fix: &str) -> Result<Url, Fault> {
    if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return Err(Fault::new("contains white space", fix));
    }
    Url::parse(text).map_err(|error| Fault::new(format!("is not a URL ({error})"), fix))
}

fn http_url(text: &str) -> Result<Url, Fault> {
    let fix = "write it like \"https://host\" or \"http://host:port\"";
    let url = url(text, fix)?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(Fault::new(format!("has the scheme {:?}", url.scheme()), fix));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Fault::new("names no host", fix));
    }
    Ok(url)
}

fn id(text: &str, fix: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(Fault::new("has an empty id", fix));
    }
    if text.chars().all(|one| one.is_ascii_alphanumeric() || one == '_' || one == '-') {
        return Ok(text.to_owned());
    }
    Err(Fault::new(format!("has {text:?}, which can't be an id"), fix))
}

fn letters_and_digits(text: &str, fix: &str) -> Result<SecretString, Fault> {
    if text.chars().all(|character| character.is_ascii_alphanumeric()) {
        return Ok(SecretString::from(text));
    }
    Err(Fault::new("has characters other than A-Z, a-z and 0-9", fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port() {
        for text in ["127.0.0.1:0", "0.0.0.0:8080", "[::1]:8080", "localhost:8080"] {
            assert!(address(text).is_ok(), "{text}");
        }
        for text in ["", "8080", ":8080", "127.0.0.1", "localhost", "localhost:99999", "example.com:80"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_may_be_single_addresses() {
        assert_eq!(network("::1").map(|net| net.to_string()), Ok("::1/128".to_owned()));
        assert_eq!(network("127.0.0.0/8").map(|net| net.to_string()), Ok("127.0.0.0/8".to_owned()));
        for text in ["", "proxy", "10.0.0.0/33", "10.0.0"] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_interface_has_no_slash_at_the_end() {
        for text in ["https://qyapi.weixin.qq.com", "http://127.0.0.1:1234", "http://127.0.0.1:1/sim"] {
            assert!(api_base(text).is_ok(), "{text}");
        }
        for text in
            ["https://qyapi.weixin.qq.com/", "qyapi.weixin.qq.com", "ftp://host", "http://h?a=b", "http://"]
        {
            assert!(api_base(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_proxy_has_one_of_three_schemes() {
        for text in ["http://10.0.0.5:3128", "https://proxy", "socks5://user:pass@10.0.0.5:1080"] {
            assert!(proxy(text).is_ok(), "{text}");
        }
        for text in ["10.0.0.5:1080", "proxy", "socks4://host", "socks5://", "HTTP://host", "http:host"] {
            assert!(proxy(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_proxy_whose_password_would_be_taken_for_something_else_is_refused_without_it() {
        for text in [
            "http:me:SECRET@host",
            "http:/me:SECRET@host",
            "http:\\\\me:SECRET@host",
            "http://me:1/SECRET@host",
            "http://me:1?SECRET@host",
            "http://me:1#SECRET@host",
            "socks5://me:1/SECRET@host",
        ] {
            let Err(fault) = proxy(text) else { panic!("{text} was taken") };
            assert!(!fault.what.contains("SECRET") && !fault.fix.contains("SECRET"), "{fault:?}");
        }
        assert!(proxy("http://me:SE%2FCRET@host:3128/").is_ok());
    }

    #[test]
    fn a_kf_link_is_told_from_ids_and_other_pages() {
        for text in [
            "https://work.weixin.qq.com/kfid/kfc6fac668195f8389e",
            "https://work.weixin.qq.com/kf/kfc6fac668195f8389e?enc_scene=ENC1",
            "http://127.0.0.1:9000/anything",
        ] {
            assert!(kf_url(text).is_ok(), "{text}");
        }
        for text in [
            "kfc6fac668195f8389e",
            "wkAJ2GCAAA",
            "https://work.weixin.qq.com/ca/cawcde",
            "ftp://host/kf/kfc1",
        ] {
            assert!(kf_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_id_of_a_link_is_no_account() {
        assert!(account("wkAJ2GCAAASSm4_FhToWMFea0xAFfd3Q").is_ok());
        for text in ["kfc6fac668195f8389e", "https://work.weixin.qq.com/kfid/kfc6fac668195f8389e"] {
            assert!(
                account(text).is_err_and(|fault| fault.what.contains("link") && fault.fix.contains("wk")),
                "{text}"
            );
        }
        assert!(account("").is_err());
        assert!(account("wk A").is_err());
    }

    #[test]
    fn ids_of_the_wrong_kind_are_recognised() {
        assert!(corp_id("wwedab3d5fc43636d8").is_ok());
        assert!(corp_id("wx49f0ab532d5d035a").is_ok(), "old companies have such ids");
        assert!(corp_id("wkAJ2GCAAA").is_err());
        assert!(app_id("wx0123456789abcdef").is_ok());
        assert!(app_id("gh_0123456789ab").is_err());
        assert!(app_id("wwedab3d5fc43636d8").is_err());
    }

    #[test]
    fn a_callback_token_has_at_most_32_characters_and_no_space() {
        for (text, good) in [
            ("123456", true),
            ("a".repeat(32).as_str(), true),
            ("a".repeat(33).as_str(), false),
            ("a b", false),
        ] {
            assert_eq!(token(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn what_can_not_be_seen_in_a_pasted_secret_is_refused() {
        for text in
            ["SECRET ", "\u{200b}SECRET", "SECRET\u{feff}", "SEC\u{ad}RET", "SECRET\u{2028}", "SECRET。"]
        {
            let Err(fault) = secret(text) else { panic!("{text:?} was taken") };
            assert!(!fault.what.contains("SECRET"), "{fault:?}");
            assert!(token(text).is_err() && webhook_secret(&format!("whsec_{text}")).is_err(), "{text:?}");
        }
        assert!(secret("aB3-_+/=.~").is_ok());
    }

    #[test]
    fn a_webhook_secret_is_whsec_and_24_to_64_bytes_in_base64() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![b'S'; bytes]));
        assert!(webhook_secret(&of(24)).is_ok() && webhook_secret(&of(64)).is_ok());
        for (text, what) in [
            (of(23), "23 bytes"),
            (of(65), "65 bytes"),
            (of(32).replace('=', ""), "base64"),
            (of(24).replace("whsec_", "whsec-"), "whsec_"),
            ("whsec_".to_owned(), "0 bytes"),
        ] {
            let Err(fault) = webhook_secret(&text) else { panic!("{text} was taken") };
            assert!(fault.what.contains(what) && fault.fix.contains("keygen"), "{text}: {fault:?}");
        }
    }

    #[test]
    fn webhooks_go_to_an_http_address_without_a_password() {
        for text in ["https://example.com/hooks?token=1", "http://127.0.0.1:9000"] {
            assert!(webhook_url(text).is_ok(), "{text}");
        }
        for text in
            ["example.com", "ftp://example.com", "https://me:SECRET@example.com", "https://me@example.com"]
        {
            assert!(webhook_url(text).is_err_and(|fault| !fault.what.contains("SECRET")), "{text}");
        }
    }

    #[test]
    fn an_address_with_white_space_in_it_is_refused() {
        for text in [
            "https://host/kfid/kfc1 ",
            " https://host",
            "https://host\n",
            "https://ho\tst",
            "https://host/a b",
        ] {
            assert!(api_base(text).is_err() && kf_url(text).is_err() && proxy(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_aes_key_of_another_length_is_told_its_length() {
        assert!(aes_key("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C").is_ok());
        assert!(aes_key(&"a".repeat(42)).is_err_and(|fault| fault.what.contains("42")));
        assert!(aes_key(&"a".repeat(44)).is_err_and(|fault| fault.what.contains("44")));
        assert!(aes_key(&format!("{}=", "a".repeat(42))).is_err());
    }

    #[test]
    fn unknown_placeholders_are_named_with_those_allowed() {
        for text in ["{account}已关联", "no braces", "{}", "a { b", "{不是}", "{{account}}"] {
            assert!(message(text, 2048).is_ok(), "{text}");
        }
        for text in ["{name}", "{ account }", "{Account}", "{x{name}", "{account}{minute}"] {
            let fault = message(text, 2048).err();
            assert!(fault.is_some_and(|fault| fault.fix.contains("{nickname}, {account}")), "{text}");
        }
    }

    #[test]
    fn messages_are_neither_blank_nor_too_long() {
        assert!(message(&"好".repeat(682), 2048).is_ok());
        assert!(message(&"好".repeat(683), 2048).is_err());
        assert!(message("  ", 2048).is_err());
    }
}
