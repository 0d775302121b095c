//! Subscribe messages of the mini program: who has agreed, and what WeChat takes in a field.

use serde_json::{Value, json};

use super::{
    gate::Request,
    world::{Answer, Refused, World},
};

/// A subscribe message that WeChat took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeMessage {
    /// The user.
    pub openid: String,
    /// The template.
    pub template_id: String,
    /// The page that a tap opens; empty = none.
    pub page: String,
    /// The template's keys with their values.
    pub data: Value,
}

impl World {
    /// `cgi-bin/message/subscribe/send`: one accept, one message; then 43101.
    pub(super) fn subscribe_send(&mut self, request: &Request) -> Answer {
        let openid = request.text("touser")?.to_owned();
        let template_id = request.text("template_id")?.to_owned();
        if openid.is_empty() {
            return Err(Refused::new(40003, "invalid openid"));
        }
        if template_id.is_empty() {
            return Err(Refused::new(40037, "invalid template_id"));
        }
        let page = request.text("page")?.to_owned();
        // In `app.json` no page has the ending that kf wants.
        if page.split('?').next().is_some_and(|path| path.strip_suffix(".html").is_some()) {
            return Err(Refused::new(41030, "invalid page"));
        }
        // The newest document requires both.
        let one_of = |name, allowed: &[&str]| match request.text(name) {
            Ok(value) if allowed.contains(&value) => Ok(()),
            _ => Err(Refused::new(40097, format!("invalid args: {name}"))),
        };
        one_of("miniprogram_state", &["developer", "trial", "formal"])?;
        one_of("lang", &["zh_CN", "en_US", "zh_HK", "zh_TW"])?;
        let data = request.field("data").and_then(Value::as_object).filter(|data| !data.is_empty());
        let data = data.ok_or_else(|| Refused::new(47003, "argument invalid! data"))?;
        for (key, item) in data {
            let value = item.get("value").and_then(Value::as_str).unwrap_or_default();
            if !fits(key, value) {
                return Err(Refused::new(47003, format!("argument invalid! data.{key}.value invalid")));
            }
        }
        let data = Value::Object(data.clone());
        let accepted = self.accepted.get_mut(&(openid.clone(), template_id.clone()));
        match accepted {
            Some(left) if *left > 0 => *left -= 1,
            _ => return Err(Refused::new(43101, "user refuse to accept the msg")),
        }
        self.subscribe_messages.push(SubscribeMessage { openid, template_id, page, data });
        Ok(json!({}))
    }
}

/// Whether WeChat takes this text in a field of this name, which begins with its kind.
fn fits(key: &str, value: &str) -> bool {
    let chars = value.chars().count();
    let kind = key.trim_end_matches(|one: char| one.is_ascii_digit());
    chars > 0
        && !value.chars().any(char::is_control)
        && match kind {
            "thing" => chars <= 20,
            "character_string" => chars <= 32 && value.is_ascii(),
            "letter" => chars <= 32 && value.chars().all(|one| one.is_ascii_alphabetic()),
            "number" => chars <= 32 && value.chars().all(|one| one.is_ascii_digit() || one == '.'),
            "name" => chars <= if value.is_ascii() { 20 } else { 10 },
            "phrase" => chars <= 5 && !value.is_ascii(),
            "time" | "date" => is_time(value),
            _ => true,
        }
}

/// `15:01`, `2019年10月1日` or `2019年10月1日 15:01`.
fn is_time(value: &str) -> bool {
    let is_number = |text: &str, most: u32| text.parse::<u32>().is_ok_and(|number| number <= most);
    let is_clock = |text: &str| {
        text.split_once(':')
            .is_some_and(|(hour, minute)| is_number(hour, 23) && minute.len() == 2 && is_number(minute, 59))
    };
    let is_day = |text: &str| {
        let month = text.split_once('年').filter(|(year, _)| year.len() == 4 && is_number(year, 9999));
        let day = month.and_then(|(_, rest)| rest.split_once('月')).filter(|(month, _)| is_number(month, 12));
        day.is_some_and(|(_, rest)| rest.strip_suffix('日').is_some_and(|day| is_number(day, 31)))
    };
    match value.split_once(' ') {
        Some((day, clock)) => is_day(day) && is_clock(clock),
        None => is_day(value) || is_clock(value),
    }
}
