//! Code recognition for tests: what the registry finds, and what the outside contract's rule 5.5 says is there.
//!
//! [`expected`] is the rule once more, written from the contract and not from `registry/recognise.rs`: it tries every
//! stretch of the text against each sentence of the rule. Slow, and meant to share nothing with what it is held
//! against but NFKC, the categories of characters and the list of words.

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use crate::{
    policy::CodeFormat,
    registry::{
        recognise::{Lengths, recognise},
        words,
    },
};

/// A text of more characters is talk.
pub const TEXT_CHARS_MAX: usize = 64;

/// The codes of a text in stored form and in their order, and how many characters other than spaces and codes stand
/// beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recognised {
    /// What could be a code.
    pub codes: Vec<(CodeFormat, String)>,
    /// Characters beside them.
    pub beside: usize,
}

/// What the registry finds in this text while codes of these formats and lengths are in use.
#[must_use]
pub fn found(text: &str, in_use: &[(CodeFormat, usize)]) -> Recognised {
    let mut lengths = Lengths::default();
    for (format, length) in in_use {
        lengths.insert(*format, *length);
    }
    let found = recognise(text, &lengths);
    let codes = found.codes.into_iter().map(|hit| (hit.format, hit.code.as_str().to_owned())).collect();
    Recognised { codes, beside: found.beside }
}

/// The text after NFKC.
#[must_use]
pub fn normal(text: &str) -> String {
    text.nfkc().collect()
}

/// The characters that the rule looks at: after NFKC, without those of category Cf.
#[must_use]
pub fn cleaned(text: &str) -> Vec<char> {
    text.nfkc().filter(|c| c.general_category() != GeneralCategory::Format).collect()
}

/// What the rule says is to be found.
#[must_use]
pub fn expected(text: &str, in_use: &[(CodeFormat, usize)]) -> Recognised {
    let text = cleaned(text);
    if text.len() > TEXT_CHARS_MAX {
        return Recognised::default();
    }
    let in_use = |format, length: usize| in_use.contains(&(format, length));
    let sheet = Sheet { text: &text, in_use: &in_use };
    let mut codes = Vec::new();
    let mut is_code = vec![false; text.len()];
    for from in 0..text.len() {
        for to in from + 1..=text.len() {
            let hits = [sheet.digits(from, to), sheet.alphanumeric(from, to), sheet.words(from, to)];
            for (format, begin, end, code) in hits.into_iter().flatten() {
                codes.push((begin, format, code));
                is_code.iter_mut().take(end).skip(begin).for_each(|mark| *mark = true);
            }
        }
    }
    codes.sort_by_key(|(begin, ..)| *begin);
    let beside = text.iter().zip(&is_code).filter(|(c, is_code)| !**is_code && !c.is_whitespace()).count();
    Recognised { codes: codes.into_iter().map(|(_, format, code)| (format, code)).collect(), beside }
}

type Hits = Vec<(CodeFormat, usize, usize, String)>;

struct Sheet<'a> {
    text: &'a [char],
    in_use: &'a dyn Fn(CodeFormat, usize) -> bool,
}

impl Sheet<'_> {
    fn at(&self, at: Option<usize>) -> Option<char> {
        self.text.get(at?).copied()
    }

    /// The `n`th character before a stretch that begins at `from`.
    fn before(&self, from: usize, n: usize) -> Option<char> {
        self.at(from.checked_sub(n))
    }

    /// The `n`th character behind a stretch that ends before `to`.
    fn behind(&self, to: usize, n: usize) -> Option<char> {
        self.at(to.checked_add(n - 1))
    }

    fn stretch(&self, from: usize, to: usize) -> &[char] {
        self.text.get(from..to).unwrap_or_default()
    }

    /// "ASCII digits, joined by single spaces or hyphens, are one group."
    fn is_group(&self, from: usize, to: usize) -> bool {
        let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let is_join = |c: Option<char>| matches!(c, Some(' ' | '-'));
        let is_inside = |at: usize| {
            let joins = is_join(self.at(Some(at)))
                && at > from
                && at + 1 < to
                && is_digit(self.at(Some(at - 1)))
                && is_digit(self.at(Some(at + 1)));
            is_digit(self.at(Some(at))) || joins
        };
        let goes_on = || {
            is_digit(self.before(from, 1))
                || is_join(self.before(from, 1)) && is_digit(self.before(from, 2))
                || is_digit(self.behind(to, 1))
                || is_join(self.behind(to, 1)) && is_digit(self.behind(to, 2))
        };
        (from..to).all(is_inside) && !goes_on()
    }

    /// "None: a group touched by an ASCII letter or `_`, after a currency sign, with `.` `,` `/` `:` or `-` between it
    /// and another digit". Spaces may stand behind a currency sign.
    fn is_something_else(&self, from: usize, to: usize) -> bool {
        let touches = |c: Option<char>| matches!(c, Some('A'..='Z' | 'a'..='z' | '_'));
        let points = |c: Option<char>| matches!(c, Some('.' | ',' | '/' | ':' | '-'));
        let is_any_digit =
            |c: Option<char>| c.is_some_and(|c| c.general_category() == GeneralCategory::DecimalNumber);
        let sign = self.stretch(0, from).iter().rev().find(|c| !c.is_whitespace());
        touches(self.before(from, 1))
            || touches(self.behind(to, 1))
            || sign.is_some_and(|c| c.general_category() == GeneralCategory::CurrencySymbol)
            || points(self.before(from, 1)) && is_any_digit(self.before(from, 2))
            || points(self.behind(to, 1)) && is_any_digit(self.behind(to, 2))
    }

    fn digits(&self, from: usize, to: usize) -> Hits {
        if !self.is_group(from, to) || self.is_something_else(from, to) {
            return Vec::new();
        }
        let text: String = self.stretch(from, to).iter().collect();
        let whole = text.replace([' ', '-'], "");
        if is_date(&whole) {
            return Vec::new();
        }
        let (head, tail) = whole.split_at(whole.len() / 2);
        let shown = [whole.clone(), format!("{head} {tail}"), format!("{head}-{tail}")];
        if (self.in_use)(CodeFormat::Digits, whole.len()) && shown.contains(&text) {
            return vec![(CodeFormat::Digits, from, to, whole)];
        }
        let parts: Vec<&str> = text.split([' ', '-']).collect();
        if !parts.iter().all(|part| (self.in_use)(CodeFormat::Digits, part.len())) {
            return Vec::new();
        }
        let mut hits = Vec::new();
        let mut begin = from;
        for part in parts {
            if !is_date(part) {
                hits.push((CodeFormat::Digits, begin, begin + part.len(), part.to_owned()));
            }
            begin += part.len() + 1;
        }
        hits
    }

    /// "A maximal run of ASCII letters and digits of a length in use, any case, with at least one letter and one
    /// digit".
    fn alphanumeric(&self, from: usize, to: usize) -> Hits {
        let belongs = |c: char| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9');
        let run = self.stretch(from, to);
        let is_code = !self.before(from, 1).is_some_and(belongs)
            && !self.behind(to, 1).is_some_and(belongs)
            && run.iter().all(|c| belongs(*c))
            && (self.in_use)(CodeFormat::Alphanumeric, run.len())
            && run.iter().any(char::is_ascii_digit)
            && run.iter().any(char::is_ascii_alphabetic);
        if !is_code {
            return Vec::new();
        }
        vec![(CodeFormat::Alphanumeric, from, to, run.iter().map(char::to_ascii_uppercase).collect())]
    }

    /// "A maximal run of words of the list, exactly as many as a code has, with spaces or hyphens, any case."
    fn words(&self, from: usize, to: usize) -> Hits {
        let Some(words) = self.listed(from, to) else { return Vec::new() };
        let longer = (0..from).any(|begin| self.listed(begin, to).is_some())
            || (to + 1..=self.text.len()).any(|end| self.listed(from, end).is_some());
        if longer || !(self.in_use)(CodeFormat::Words, words.len()) {
            return Vec::new();
        }
        vec![(CodeFormat::Words, from, to, words.join("-"))]
    }

    /// The words of a stretch of listed words alone; `None` if it is none.
    fn listed(&self, from: usize, to: usize) -> Option<Vec<String>> {
        let gap = |c: &char| c.is_whitespace() || *c == '-';
        let run = self.stretch(from, to);
        let begins = run.first().is_some_and(char::is_ascii_alphabetic);
        let ends = run.last().is_some_and(char::is_ascii_alphabetic);
        if !begins
            || !ends
            || self.before(from, 1).is_some_and(in_word)
            || self.behind(to, 1).is_some_and(in_word)
        {
            return None;
        }
        let words = run.split(gap).filter(|word| !word.is_empty());
        let words: Vec<String> =
            words.map(|word| word.iter().map(char::to_ascii_lowercase).collect()).collect();
        words.iter().all(|word| words::contains(word)).then_some(words)
    }
}

/// What makes another word of a word that it touches: letters of scripts that know upper and lower case, digits, `_`.
/// Chinese letters may touch.
fn in_word(c: char) -> bool {
    c.is_ascii_digit() || c == '_' || c.is_lowercase() || c.is_uppercase()
}

/// "8 digits that are a date": a day of the calendar in the years 1900 to 2099.
#[must_use]
pub fn is_date(digits: &str) -> bool {
    let Ok(number) = digits.parse::<u32>() else { return false };
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    let is_leap = year % 400 == 0 || year % 4 == 0 && year % 100 != 0;
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    digits.len() == 8 && (1900..2100).contains(&year) && 1 <= day && day <= days
}
