//! Finds bind codes in what people write, and leaves alone what only looks like one: phone numbers, dates, prices.
//!
//! Pure text work: it says what could be a code, not whether there is such a code.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use super::{
    code_space::{first_group, is_date, is_mixed},
    words,
};
use crate::{ids::BindCode, policy::CodeFormat};

/// A longer text, after cleaning, is talk.
const TEXT_CHARS_MAX: usize = 64;
/// A longer text, before cleaning, can't be a short one after it; WeCom's own limit is below this.
const RAW_BYTES_MAX: usize = 16 * 1024;

/// The formats and lengths that a code can have now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lengths(BTreeSet<(CodeFormat, usize)>);

impl Lengths {
    /// Adds one.
    pub(crate) fn insert(&mut self, format: CodeFormat, length: usize) {
        self.0.insert((format, length));
    }

    fn has(&self, format: CodeFormat, length: usize) -> bool {
        self.0.contains(&(format, length))
    }

    fn any(&self, format: CodeFormat) -> bool {
        self.0.iter().any(|(f, _)| *f == format)
    }
}

/// What was found in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The possible codes, in the order of the text.
    pub(crate) codes: Vec<Candidate>,
    /// How many characters other than spaces and codes stand there.
    pub(crate) beside: usize,
}

/// A possible code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// In stored form.
    pub(crate) code: BindCode,
    /// How it looks.
    pub(crate) format: CodeFormat,
}

impl Candidate {
    /// A code that was made: its stored form tells the format.
    pub(crate) fn of(code: &BindCode) -> Self {
        let text = code.as_str();
        let format = if text.bytes().all(|b| b.is_ascii_digit()) {
            CodeFormat::Digits
        } else if text.bytes().any(|b| b.is_ascii_lowercase()) {
            CodeFormat::Words
        } else {
            CodeFormat::Alphanumeric
        };
        Self { code: code.clone(), format }
    }
}

/// Finds the possible codes of these lengths in a customer's text.
pub(crate) fn recognise(text: &str, lengths: &Lengths) -> Found {
    let Some(text) = clean(text) else { return Found::default() };
    let mut hits: Vec<Hit> = Vec::new();
    if lengths.any(CodeFormat::Digits) {
        digit_codes(&text, lengths, &mut hits);
    }
    if lengths.any(CodeFormat::Alphanumeric) {
        alphanumeric_codes(&text, lengths, &mut hits);
    }
    if lengths.any(CodeFormat::Words) {
        word_codes(&text, lengths, &mut hits);
    }
    hits.sort_by_key(|hit| hit.from);
    let beside = text
        .iter()
        .enumerate()
        .filter(|(i, c)| !c.is_whitespace() && !hits.iter().any(|hit| (hit.from..hit.to).contains(i)))
        .count();
    Found {
        codes: hits
            .into_iter()
            .map(|hit| Candidate { code: BindCode::new(hit.stored), format: hit.format })
            .collect(),
        beside,
    }
}

/// The characters after NFKC and without those of category Cf (zero-width ones); `None` if that is no short text.
fn clean(text: &str) -> Option<Vec<char>> {
    if text.len() > RAW_BYTES_MAX {
        return None;
    }
    let is_visible = |c: &char| c.general_category() != GeneralCategory::Format;
    let chars: Vec<char> = text.nfkc().filter(is_visible).take(TEXT_CHARS_MAX + 1).collect();
    (chars.len() <= TEXT_CHARS_MAX).then_some(chars)
}

/// A possible code and where it stands.
struct Hit {
    from: usize,
    to: usize,
    stored: String,
    format: CodeFormat,
}

/// A maximal run of characters of one kind.
#[derive(Clone, Copy)]
struct Run {
    from: usize,
    to: usize,
}

fn runs(text: &[char], belongs: impl Fn(char) -> bool) -> Vec<Run> {
    let mut found: Vec<Run> = Vec::new();
    for (i, c) in text.iter().enumerate() {
        if !belongs(*c) {
            continue;
        }
        match found.last_mut() {
            Some(run) if run.to == i => run.to = i + 1,
            _ => found.push(Run { from: i, to: i + 1 }),
        }
    }
    found
}

/// Runs joined by single separators, as groups of parts.
fn groups(text: &[char], runs: Vec<Run>, joins: impl Fn(char) -> bool) -> Vec<Vec<Run>> {
    let mut found: Vec<Vec<Run>> = Vec::new();
    for run in runs {
        match found.last_mut() {
            Some(group)
                if group.last().is_some_and(|last| {
                    last.to + 1 == run.from && text.get(last.to).is_some_and(|c| joins(*c))
                }) =>
            {
                group.push(run);
            }
            _ => found.push(vec![run]),
        }
    }
    found
}

fn between(text: &[char], run: Run) -> String {
    text.get(run.from..run.to).unwrap_or_default().iter().collect()
}

fn is_join(c: char) -> bool {
    c == ' ' || c == '-'
}

fn digit_codes(text: &[char], lengths: &Lengths, hits: &mut Vec<Hit>) {
    for parts in groups(text, runs(text, |c| c.is_ascii_digit()), is_join) {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { continue };
        if is_touched(text, first.from, last.to) {
            continue;
        }
        let texts: Vec<String> = parts.iter().map(|part| between(text, *part)).collect();
        let whole: String = texts.concat();
        let as_shown = match texts.as_slice() {
            [_] => true,
            [head, _] => head.len() == first_group(whole.len()),
            _ => false,
        };
        if is_date(&whole) {
            continue;
        }
        if as_shown && lengths.has(CodeFormat::Digits, whole.len()) {
            hits.push(Hit { from: first.from, to: last.to, stored: whole, format: CodeFormat::Digits });
        } else if texts.len() > 1 && texts.iter().all(|t| lengths.has(CodeFormat::Digits, t.len())) {
            hits.extend(parts.iter().zip(texts).filter(|(_, t)| !is_date(t)).map(|(part, stored)| Hit {
                from: part.from,
                to: part.to,
                stored,
                format: CodeFormat::Digits,
            }));
        }
    }
}

/// Whether what stands right before or after a group of digits makes it part of something else.
fn is_touched(text: &[char], from: usize, to: usize) -> bool {
    let before = |n: usize| from.checked_sub(n).and_then(|i| text.get(i)).copied();
    let after = |n: usize| text.get(to + n).copied();
    let is_word = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_point = |c: char| matches!(c, '.' | ',' | '/' | ':' | '-');
    let is_digit =
        |c: Option<char>| c.is_some_and(|c| c.general_category() == GeneralCategory::DecimalNumber);
    let priced = text
        .get(..from)
        .unwrap_or_default()
        .iter()
        .rfind(|c| !c.is_whitespace())
        .is_some_and(|c| c.general_category() == GeneralCategory::CurrencySymbol);
    before(1).is_some_and(is_word)
        || after(0).is_some_and(is_word)
        || priced
        || (before(1).is_some_and(is_point) && is_digit(before(2)))
        || (after(0).is_some_and(is_point) && is_digit(after(1)))
}

fn alphanumeric_codes(text: &[char], lengths: &Lengths, hits: &mut Vec<Hit>) {
    for run in runs(text, |c| c.is_ascii_alphanumeric()) {
        let stored = between(text, run).to_ascii_uppercase();
        if lengths.has(CodeFormat::Alphanumeric, stored.len()) && is_mixed(&stored) {
            hits.push(Hit { from: run.from, to: run.to, stored, format: CodeFormat::Alphanumeric });
        }
    }
}

fn word_codes(text: &[char], lengths: &Lengths, hits: &mut Vec<Hit>) {
    // Words are joined by any number of spaces or hyphens; whatever else stands between them ends the run.
    let mut sentence: Vec<(Run, String)> = Vec::new();
    let mut close = |sentence: &mut Vec<(Run, String)>| {
        if let (Some(first), Some(last)) = (sentence.first(), sentence.last())
            && lengths.has(CodeFormat::Words, sentence.len())
        {
            let (from, to) = (first.0.from, last.0.to);
            let stored = sentence.iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>().join("-");
            hits.push(Hit { from, to, stored, format: CodeFormat::Words });
        }
        sentence.clear();
    };
    // Letters without case, Chinese ones above all, may touch a word as they may touch digits.
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c.is_lowercase() || c.is_uppercase();
    for run in runs(text, is_part) {
        let joined = sentence.last().is_none_or(|(last, _)| {
            text.get(last.to..run.from).unwrap_or_default().iter().all(|c| c.is_whitespace() || *c == '-')
        });
        if !joined {
            close(&mut sentence);
        }
        let word = between(text, run).to_ascii_lowercase();
        if words::contains(&word) {
            sentence.push((run, word));
        } else {
            close(&mut sentence);
        }
    }
    close(&mut sentence);
}

#[cfg(test)]
mod tests;
