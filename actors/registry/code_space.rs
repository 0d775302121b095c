//! How codes look and how many there are: alphabets, lengths, drawing one, and showing it.
//!
//! Knows nothing of who has which code; recognising codes in what people write is `recognise.rs`'s work.

use super::words::WORDS;
use crate::{policy::CodeFormat, ports::Entropy};

/// One guess may meet a live code once in so many, at most.
const GUESSES_PER_HIT_MIN: u128 = 100_000;
/// Codes never grow beyond this, whatever the crowd: a code must still fit in a message.
const LENGTH_MAX: usize = 12;

const DIGITS: &[u8] = b"0123456789";
/// Without 0/O and 1/I/L, which people confuse.
const SYMBOLS: &[u8] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
const SYMBOL_DIGITS: u128 = 8;
const SYMBOL_LETTERS: u128 = 23;

/// The years in which eight digits can be a date.
const DATE_YEARS: std::ops::RangeInclusive<u32> = 1900..=2099;
/// The days in them.
const DATES: u128 = 73_049;

/// The length of a code while few are live and nobody guesses.
pub(crate) const fn shortest(format: CodeFormat) -> usize {
    match format {
        CodeFormat::Digits => 6,
        CodeFormat::Alphanumeric => 4,
        CodeFormat::Words => 3,
    }
}

/// How many codes of this length there are.
pub(crate) fn size(format: CodeFormat, length: usize) -> u128 {
    let Ok(exponent) = u32::try_from(length) else { return 0 };
    match format {
        CodeFormat::Digits => {
            let all = 10_u128.pow(exponent);
            if length == 8 { all - DATES } else { all }
        }
        CodeFormat::Alphanumeric => {
            (SYMBOL_DIGITS + SYMBOL_LETTERS).pow(exponent)
                - SYMBOL_DIGITS.pow(exponent)
                - SYMBOL_LETTERS.pow(exponent)
        }
        CodeFormat::Words => (WORDS.len() as u128).pow(exponent),
    }
}

/// The length of the next code: long enough that one guess meets any of `live` codes at most once in 100,000, and
/// one place more for each order of magnitude of guessing: over 100 wrong codes within a day, over 1,000, and so on.
pub(crate) fn length_for(format: CodeFormat, live: u64, wrong_codes_in_a_day: u64) -> usize {
    let mut length = shortest(format);
    while length < LENGTH_MAX && size(format, length) < GUESSES_PER_HIT_MIN * u128::from(live.max(1)) {
        length += 1;
    }
    (length + extra_places(wrong_codes_in_a_day)).min(LENGTH_MAX)
}

/// See [`length_for`].
pub(crate) fn extra_places(wrong_codes_in_a_day: u64) -> usize {
    let mut places = 0;
    let mut bound = 100;
    while wrong_codes_in_a_day > bound {
        places += 1;
        bound *= 10;
    }
    places
}

/// Draws a code of this length, each as likely as any other.
pub(crate) fn draw(format: CodeFormat, length: usize, entropy: &dyn Entropy) -> String {
    loop {
        let code = match format {
            CodeFormat::Digits => draw_symbols(DIGITS, length, entropy),
            CodeFormat::Alphanumeric => draw_symbols(SYMBOLS, length, entropy),
            CodeFormat::Words => (0..length)
                .filter_map(|_| WORDS.get(below(WORDS.len(), entropy)).copied())
                .collect::<Vec<_>>()
                .join("-"),
        };
        let usable = match format {
            CodeFormat::Digits => !is_date(&code),
            CodeFormat::Alphanumeric => is_mixed(&code),
            CodeFormat::Words => true,
        };
        if usable {
            return code;
        }
    }
}

fn draw_symbols(alphabet: &[u8], length: usize, entropy: &dyn Entropy) -> String {
    (0..length).filter_map(|_| alphabet.get(below(alphabet.len(), entropy)).map(|b| char::from(*b))).collect()
}

/// A number below `bound` (at most 65,536), without bias.
fn below(bound: usize, entropy: &dyn Entropy) -> usize {
    let fair = 65_536 - 65_536 % bound;
    loop {
        let mut bytes = [0; 2];
        entropy.fill(&mut bytes);
        let number = usize::from(u16::from_be_bytes(bytes));
        if number < fair {
            return number % bound;
        }
    }
}

/// Whether a text has at least one letter and one digit, as all alphanumeric codes have.
pub(crate) fn is_mixed(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit()) && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Whether eight digits are a day of the calendar, such as `20261124`.
pub(crate) fn is_date(digits: &str) -> bool {
    if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let number = |range: std::ops::Range<usize>| -> u32 {
        digits.get(range).and_then(|part| part.parse().ok()).unwrap_or(0)
    };
    let (year, month, day) = (number(0..4), number(4..6), number(6..8));
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    DATE_YEARS.contains(&year) && (1..=days).contains(&day)
}

/// How many digits stand before the gap when a digit code is shown in two groups.
pub(crate) const fn first_group(length: usize) -> usize {
    length / 2
}

/// The code as the eye likes it: digits split near the middle, other formats not at all.
pub(crate) fn display(format: CodeFormat, code: &str) -> String {
    match format {
        CodeFormat::Digits => match code.split_at_checked(first_group(code.len())) {
            Some((first, second)) => format!("{first} {second}"),
            None => code.to_owned(),
        },
        CodeFormat::Alphanumeric | CodeFormat::Words => code.to_owned(),
    }
}

/// The length of a stored code, in the unit of its format: digits, symbols or words.
pub(crate) fn length_of(format: CodeFormat, code: &str) -> usize {
    match format {
        CodeFormat::Digits | CodeFormat::Alphanumeric => code.len(),
        CodeFormat::Words => code.split('-').count(),
    }
}

/// Bits of [`to_number`] that hold the code itself; above them stand its length and its format.
const NUMBER_BITS: u32 = 58;
const LENGTH_BITS: u32 = 4;

/// A stored code as a number, which holds format and length too. `None` where it doesn't fit: alphanumeric codes of 12
/// places, and more than five words.
pub(crate) fn to_number(format: CodeFormat, code: &str) -> Option<u64> {
    let (tag, base, places) = match format {
        CodeFormat::Digits => (0, 10, code.bytes().map(|b| place_in(DIGITS, b)).collect::<Option<Vec<_>>>()?),
        CodeFormat::Alphanumeric => {
            (1, SYMBOLS.len() as u64, code.bytes().map(|b| place_in(SYMBOLS, b)).collect::<Option<Vec<_>>>()?)
        }
        CodeFormat::Words => {
            let place = |word: &str| WORDS.binary_search(&word).ok().map(|place| place as u64);
            (2, WORDS.len() as u64, code.split('-').map(place).collect::<Option<Vec<_>>>()?)
        }
    };
    let number = places.iter().try_fold(0_u64, |n, place| n.checked_mul(base)?.checked_add(*place))?;
    let length = u64::try_from(places.len()).ok().filter(|length| *length < 1 << LENGTH_BITS)?;
    (number < 1 << NUMBER_BITS).then_some((tag << LENGTH_BITS | length) << NUMBER_BITS | number)
}

/// The stored code that a number holds.
pub(crate) fn from_number(number: u64) -> Option<String> {
    let mut rest = number & ((1 << NUMBER_BITS) - 1);
    let length = usize::try_from(number >> NUMBER_BITS & ((1 << LENGTH_BITS) - 1)).ok()?;
    let mut places = Vec::with_capacity(length);
    let mut take = |base: usize| {
        for _ in 0..length {
            let base = base as u64;
            places.push(usize::try_from(rest % base).ok()?);
            rest /= base;
        }
        places.reverse();
        (rest == 0).then(|| std::mem::take(&mut places))
    };
    let symbols = |alphabet: &[u8], places: Vec<usize>| {
        places.into_iter().filter_map(|place| alphabet.get(place).map(|b| char::from(*b))).collect::<String>()
    };
    match number >> (NUMBER_BITS + LENGTH_BITS) {
        0 => take(DIGITS.len()).map(|places| symbols(DIGITS, places)),
        1 => take(SYMBOLS.len()).map(|places| symbols(SYMBOLS, places)),
        2 => take(WORDS.len()).map(|places| {
            places.into_iter().filter_map(|place| WORDS.get(place).copied()).collect::<Vec<_>>().join("-")
        }),
        _ => None,
    }
}

fn place_in(alphabet: &[u8], symbol: u8) -> Option<u64> {
    alphabet.iter().position(|known| *known == symbol).map(|place| place as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededEntropy;

    #[test]
    fn every_code_that_fits_is_read_back_from_its_number() {
        let entropy = SeededEntropy::new(11);
        let longest = [(CodeFormat::Digits, 12), (CodeFormat::Alphanumeric, 11), (CodeFormat::Words, 5)];
        for (format, longest) in longest {
            for length in shortest(format)..=longest {
                for _ in 0..200 {
                    let code = draw(format, length, &entropy);
                    let number = to_number(format, &code).unwrap();
                    assert_eq!(from_number(number), Some(code));
                }
            }
        }
        let longest = [WORDS[WORDS.len() - 1]; 6].join("-");
        assert_eq!(to_number(CodeFormat::Words, &longest), None);
        assert_eq!(to_number(CodeFormat::Digits, "48291x"), None);
        assert_eq!(from_number(to_number(CodeFormat::Digits, "000000").unwrap()).as_deref(), Some("000000"));
        for junk in [u64::MAX, 3 << 62, (1 << 58) - 1] {
            // Whatever a forged ticket holds, it is no code or one that its seal doesn't fit.
            let _ = from_number(junk);
        }
    }

    #[test]
    fn digits_grow_with_the_crowd() {
        for (live, length) in [(0, 6), (1, 6), (10, 6), (11, 7), (100, 7), (101, 8), (999, 8), (1_001, 9)] {
            assert_eq!(length_for(CodeFormat::Digits, live, 0), length, "{live} live codes");
        }
    }

    #[test]
    fn one_guess_meets_a_live_code_at_most_once_in_a_hundred_thousand() {
        for format in [CodeFormat::Digits, CodeFormat::Alphanumeric, CodeFormat::Words] {
            for live in [1, 6, 7, 10, 11, 999, 1_000, 10_737, 10_738, 1_000_000] {
                let length = length_for(format, live, 0);
                assert!(size(format, length) >= GUESSES_PER_HIT_MIN * u128::from(live), "{format:?} {live}");
                assert!(
                    length == shortest(format)
                        || size(format, length - 1) < GUESSES_PER_HIT_MIN * u128::from(live),
                    "{format:?} {live} is longer than needed"
                );
            }
        }
    }

    #[test]
    fn codes_grow_with_guessing() {
        for (wrong, places) in [(0, 0), (100, 0), (101, 1), (1_000, 1), (1_001, 2), (10_001, 3)] {
            assert_eq!(extra_places(wrong), places, "{wrong} wrong codes");
            assert_eq!(length_for(CodeFormat::Digits, 1, wrong), 6 + places);
        }
    }

    #[test]
    fn the_count_of_dates_is_right() {
        let dates = (19_000_000..21_000_000_u32).filter(|n| is_date(&n.to_string())).count();
        assert_eq!(dates as u128, DATES);
        assert!(is_date("20261124") && !is_date("20261131") && !is_date("20270229") && is_date("20280229"));
    }

    #[test]
    fn no_code_is_a_date_and_every_mixed_one_is_mixed() {
        let entropy = SeededEntropy::new(7);
        for _ in 0..20_000 {
            assert!(!is_date(&draw(CodeFormat::Digits, 8, &entropy)));
            let code = draw(CodeFormat::Alphanumeric, 4, &entropy);
            assert!(is_mixed(&code) && !code.contains(['0', 'O', '1', 'I', 'L']), "{code}");
        }
    }

    #[test]
    fn a_code_is_shown_in_two_groups_only_if_it_is_digits() {
        assert_eq!(display(CodeFormat::Digits, "482913"), "482 913");
        assert_eq!(display(CodeFormat::Digits, "4829137"), "482 9137");
        assert_eq!(display(CodeFormat::Alphanumeric, "A7B2"), "A7B2");
        assert_eq!(display(CodeFormat::Words, "apple-blue-cat"), "apple-blue-cat");
    }
}
