//! Turns what stands in a file or in the environment into values of the type that their key has.
//!
//! Only the form is judged here (a duration, a list, one of these words); whether a value makes sense for its key is
//! the business of `checks`.

use std::{collections::BTreeMap, time::Duration};

/// The type of a key, with the bounds that belong to the type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number within these bounds, both included.
    Count { min: u64, max: u64 },
    /// A length of time within these bounds, both included, in milliseconds. With a least length of a second or more
    /// it must be whole seconds.
    Time { min_ms: u64, max_ms: u64 },
    /// COUNT/DURATION.
    Rate,
    /// Texts in an order.
    List,
    /// Texts by name.
    Table,
}

/// A value of one of the kinds. It may be a secret, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Flag(bool),
    Count(u64),
    Time(Duration),
    Rate { count: u32, window: Duration },
    List(Vec<String>),
    Table(BTreeMap<String, String>),
}

/// What is wrong with a value and how to mend it; never contains the value of a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) fix: String,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// The units of a duration, the longest first.
const UNITS_MS: [(&str, u64); 5] =
    [("d", DAY_MS), ("h", HOUR_MS), ("m", MINUTE_MS), ("s", SECOND_MS), ("ms", 1)];
/// The most that one window of a rate may count.
const RATE_COUNT_MAX: u32 = 1_000_000;
const RATE_FORM: &str = "write COUNT/DURATION, for example \"5/1m\"";

/// Types what a TOML file holds.
pub(super) fn from_toml(kind: Kind, value: &toml::Value) -> Result<Value, Fault> {
    use toml::Value as Toml;
    match (kind, value) {
        (Kind::Text | Kind::Word(_) | Kind::Time { .. } | Kind::Rate, Toml::String(text)) => {
            from_text(kind, text)
        }
        (Kind::Flag, Toml::Boolean(flag)) => Ok(Value::Flag(*flag)),
        (Kind::Count { min, max }, Toml::Integer(number)) => {
            count(u64::try_from(*number).ok(), &number.to_string(), min, max)
        }
        (Kind::List, Toml::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong_item(item.type_str())))
            .collect::<Result<_, _>>()
            .map(Value::List),
        (Kind::Table, Toml::Table(items)) => items
            .iter()
            .map(|(name, item)| match item.as_str() {
                Some(text) => Ok((name.clone(), text.to_owned())),
                None => Err(wrong_item(item.type_str())),
            })
            .collect::<Result<_, _>>()
            .map(Value::Table),
        (_, other) => Err(wrong_type(kind, other.type_str())),
    }
}

/// Types what an environment variable or a secret's file holds.
pub(super) fn from_environment(kind: Kind, text: &str) -> Result<Value, Fault> {
    match kind {
        Kind::Text | Kind::Word(_) | Kind::Time { .. } | Kind::Rate => from_text(kind, text),
        Kind::Flag => match text {
            "true" => Ok(Value::Flag(true)),
            "false" => Ok(Value::Flag(false)),
            _ => Err(Fault::new(format!("is {text:?}"), "write true or false")),
        },
        Kind::Count { min, max } => count(text.parse().ok(), text, min, max),
        Kind::List if text.trim_start().starts_with('[') => serde_json::from_str(text)
            .map(Value::List)
            .map_err(|error| not_json("list of texts", &error, r#"["a", "b"]"#)),
        Kind::List => Ok(Value::List(
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect(),
        )),
        Kind::Table if text.trim().is_empty() => Ok(Value::Table(BTreeMap::new())),
        Kind::Table => serde_json::from_str(text)
            .map(Value::Table)
            .map_err(|error| not_json("object of texts", &error, r#"{"thing1": "text"}"#)),
    }
}

/// Writes a duration in the longest unit that divides it: `10m`, `90s`.
pub(super) fn show_time(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match UNITS_MS.iter().find(|(_, unit_ms)| ms > 0 && ms.is_multiple_of(*unit_ms)) {
        Some((unit, unit_ms)) => format!("{}{unit}", ms / unit_ms),
        None => "0s".to_owned(),
    }
}

fn from_text(kind: Kind, text: &str) -> Result<Value, Fault> {
    match kind {
        Kind::Word(words) if !words.contains(&text) => {
            Err(Fault::new(format!("is {text:?}"), format!("write one of {}", quoted(words))))
        }
        Kind::Time { min_ms, max_ms } => time(text, min_ms, max_ms).map(Value::Time),
        Kind::Rate => rate(text),
        _ => Ok(Value::Text(text.to_owned())),
    }
}

fn count(number: Option<u64>, written: &str, min: u64, max: u64) -> Result<Value, Fault> {
    number.filter(|number| (min..=max).contains(number)).map(Value::Count).ok_or_else(|| {
        Fault::new(format!("is {written:?}"), format!("write a whole number from {min} to {max}"))
    })
}

fn time(text: &str, min_ms: u64, max_ms: u64) -> Result<Duration, Fault> {
    let digits_end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let ms = UNITS_MS
        .iter()
        .find(|(name, _)| *name == unit)
        .and_then(|(_, unit_ms)| digits.parse::<u64>().ok()?.checked_mul(*unit_ms));
    let Some(ms) = ms else {
        return Err(Fault::new(
            format!("is {text:?}, not a duration"),
            "write a whole number and ms, s, m, h or d, for example \"90s\"",
        ));
    };
    if !(min_ms..=max_ms).contains(&ms) {
        let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(max_ms));
        return Err(Fault::new(
            format!("is {text:?}"),
            format!("write a duration from {} to {}", show_time(min), show_time(max)),
        ));
    }
    if min_ms >= SECOND_MS && !ms.is_multiple_of(SECOND_MS) {
        return Err(Fault::new(format!("is {text:?}"), "write whole seconds"));
    }
    Ok(Duration::from_millis(ms))
}

fn rate(text: &str) -> Result<Value, Fault> {
    let wrong = || Fault::new(format!("is {text:?}, not a limit"), RATE_FORM);
    let (count, window) = text.split_once('/').ok_or_else(wrong)?;
    let count: u32 = count.trim().parse().map_err(|_| wrong())?;
    if !(1..=RATE_COUNT_MAX).contains(&count) {
        return Err(Fault::new(
            format!("counts to {count}"),
            format!("write a count from 1 to {RATE_COUNT_MAX} before the slash"),
        ));
    }
    match time(window.trim(), SECOND_MS, DAY_MS) {
        Ok(window) => Ok(Value::Rate { count, window }),
        Err(fault) => Err(Fault::new(
            format!("has a window that {}", fault.what),
            format!("{RATE_FORM}; {}", fault.fix),
        )),
    }
}

fn wrong_type(kind: Kind, found: &str) -> Fault {
    let fix = match kind {
        Kind::Text => "put the value in quotes".to_owned(),
        Kind::Word(words) => format!("write one of {}", quoted(words)),
        Kind::Flag => "write true or false, without quotes".to_owned(),
        Kind::Count { min, max } => format!("write a whole number from {min} to {max}, without quotes"),
        Kind::Time { .. } => {
            "write a text of a whole number and ms, s, m, h or d, for example \"90s\"".to_owned()
        }
        Kind::Rate => RATE_FORM.to_owned(),
        Kind::List => "write a list in brackets, for example [\"a\", \"b\"]".to_owned(),
        Kind::Table => "write a table in braces, for example { thing1 = \"text\" }".to_owned(),
    };
    Fault::new(format!("has the wrong type ({found})"), fix)
}

fn wrong_item(found: &str) -> Fault {
    Fault::new(format!("has an item of the wrong type ({found})"), "put each item in quotes")
}

fn not_json(wanted: &str, error: &serde_json::Error, example: &str) -> Fault {
    Fault::new(format!("is no JSON {wanted} (column {})", error.column()), format!("write it like {example}"))
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY_TIME: Kind = Kind::Time { min_ms: 0, max_ms: 365 * DAY_MS };

    fn environment(kind: Kind, text: &str) -> Option<Value> {
        from_environment(kind, text).ok()
    }

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        for (text, ms) in [("250ms", 250), ("90s", 90_000), ("10m", 600_000), ("7d", 7 * DAY_MS), ("0s", 0)] {
            assert!(environment(ANY_TIME, text) == Some(Value::Time(Duration::from_millis(ms))), "{text}");
        }
        for text in ["", "10", "s", "1.5h", "-1s", "10 m", "10M", "1h30m", "99999999999999999999s", "１0s"] {
            assert!(environment(ANY_TIME, text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_duration_in_seconds_takes_no_fraction_and_keeps_its_bounds() {
        let kind = Kind::Time { min_ms: 1_000, max_ms: 60_000 };
        for (text, good) in [("1s", true), ("1m", true), ("999ms", false), ("1500ms", false), ("61s", false)]
        {
            assert_eq!(from_environment(kind, text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn durations_are_shown_as_they_are_written() {
        for text in ["250ms", "90s", "10m", "48h", "7d", "1500ms", "0s"] {
            let Some(Value::Time(time)) = environment(ANY_TIME, text) else {
                panic!("{text} is a duration");
            };
            let shown = if text == "48h" { "2d" } else { text };
            assert_eq!(show_time(time), shown);
        }
    }

    #[test]
    fn rates_are_a_count_and_a_window() {
        let wanted = Value::Rate { count: 5, window: Duration::from_mins(10) };
        assert!(environment(Kind::Rate, "5/10m") == Some(wanted));
        for text in ["5", "/1m", "5/", "0/1m", "5/0s", "5/2d", "-1/1m", "5/1m/2", "1000001/1m"] {
            assert!(environment(Kind::Rate, text).is_none(), "{text}");
        }
    }

    #[test]
    fn lists_of_the_environment_are_json_or_separated_by_commas() {
        let wanted = || Some(Value::List(vec!["wkA".to_owned(), "wkB".to_owned()]));
        for text in ["wkA,wkB", " wkA , wkB ,", r#"["wkA","wkB"]"#, r#" ["wkA", "wkB"] "#] {
            assert!(environment(Kind::List, text) == wanted(), "{text}");
        }
        assert!(environment(Kind::List, "") == Some(Value::List(Vec::new())));
        assert!(environment(Kind::List, "[1]").is_none());
        assert!(environment(Kind::List, "[\"a\"").is_none());
    }

    #[test]
    fn texts_stay_texts_whatever_they_look_like() {
        for text in ["123456", "true", "1e3", "[a]", "{}", " spaces ", ""] {
            assert!(environment(Kind::Text, text) == Some(Value::Text(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn words_name_the_ones_that_are_allowed() {
        let fault = from_environment(Kind::Word(&["reject", "replace"]), "Reject").err();
        assert!(fault.is_some_and(|fault| fault.fix == "write one of \"reject\", \"replace\""));
    }
}
