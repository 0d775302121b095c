//! The configuration in force as TOML, with secrets masked and the source of each value beside it.

use std::{borrow::Cow, fmt::Write as _};

use super::{
    keys::{KEYS, Key},
    layers::{Settings, Source},
    value::{Value, show_time},
};

/// What stands in place of a secret.
const MASK: &str = "***";

/// Every key in the order of `config.toml`.
pub(super) fn effective(settings: &Settings) -> String {
    let mut shown = String::new();
    let mut section = "";
    for key in KEYS {
        let (of, name) = key.parts();
        let Some(value) = settings.value(key.name) else { continue };
        if of != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            section = of;
            // Writing to a String cannot fail.
            let _ = writeln!(shown, "{gap}[{section}]");
        }
        let masked = if key.secret && !matches!(value, Value::Text(text) if text.is_empty()) {
            quoted(MASK)
        } else {
            literal(&without_queries(key, value))
        };
        let source = match settings.source(key.name) {
            Some(Source::Environment(variable)) => variable.as_str(),
            Some(Source::File) => "file",
            _ => "default",
        };
        let _ = writeln!(shown, "{name} = {masked}  # {source}");
    }
    shown
}

/// The value as it may be shown; userinfo is taken out of everything.
fn without_queries<'v>(key: &Key, value: &'v Value) -> Cow<'v, Value> {
    let hidden = |item: &String| match item.split_once('?') {
        Some((before, _)) => format!("{before}?{MASK}"),
        None => item.clone(),
    };
    match value {
        Value::List(items) if key.query_hidden => Cow::Owned(Value::List(items.iter().map(hidden).collect())),
        Value::Text(text) if key.query_hidden => Cow::Owned(Value::Text(hidden(text))),
        _ => Cow::Borrowed(value),
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Flag(flag) => flag.to_string(),
        Value::Count(count) => count.to_string(),
        Value::Time(time) => quoted(&show_time(*time)),
        Value::Rate { count, window } => quoted(&format!("{count}/{}", show_time(*window))),
        Value::List(items) => {
            format!("[{}]", items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
        }
        Value::Table(items) if items.is_empty() => "{}".to_owned(),
        Value::Table(items) => {
            let pairs = items.iter().map(|(name, item)| format!("{} = {}", quoted(name), quoted(item)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The text as a TOML string on one line, its URL's user and password masked.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in without_userinfo(text).chars() {
        match character {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\t' => literal.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(literal, "\\u{:04X}", u32::from(control));
            }
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

fn without_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{path}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_password_is_masked() {
        assert_eq!(without_userinfo("socks5://me:pass@10.0.0.5:1080"), "socks5://***@10.0.0.5:1080");
        assert_eq!(without_userinfo("http://host/a@b"), "http://host/a@b");
    }

    #[test]
    fn odd_texts_come_back_out_of_their_literals() {
        for text in ["", "\"quoted\"", "back\\slash", "two\nlines\ttab", "\u{1}\u{7f}\r", "请回复“解绑”"]
        {
            let document = format!("a = {}", quoted(text));
            let parsed: Option<toml::Table> = toml::from_str(&document).ok();
            assert_eq!(parsed.as_ref().and_then(|table| table.get("a")?.as_str()), Some(text), "{document}");
        }
    }
}
