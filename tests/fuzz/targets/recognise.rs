//! Code recognition over any text while codes of any formats and lengths are in use: always what the slow reading of
//! the contract's rule 5.5 finds, and what must hold of every code that is found.

use actors::{
    policy::CodeFormat,
    testing::recognition::{Recognised, TEXT_CHARS_MAX, cleaned, expected, found, is_date, normal},
};

use super::text;

/// A longer input teaches nothing: only short texts hold codes.
const TEXT_BYTES_MAX: usize = 1024;

/// The first three bytes choose the lengths in use, the rest is the text.
pub fn run(data: &[u8]) {
    let Some(([digits, alphanumeric, words], rest)) = data.split_first_chunk() else { return };
    let rest = &rest[..rest.len().min(TEXT_BYTES_MAX)];
    let chosen = [
        (CodeFormat::Digits, 6, *digits),
        (CodeFormat::Alphanumeric, 4, *alphanumeric),
        (CodeFormat::Words, 3, *words),
    ];
    let in_use: Vec<(CodeFormat, usize)> = chosen
        .into_iter()
        .flat_map(|(format, shortest, bits)| {
            (0..8).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| (format, shortest + bit))
        })
        .collect();
    check(&text(rest), &in_use);
}

fn check(text: &str, in_use: &[(CodeFormat, usize)]) {
    let read = found(text, in_use);
    assert_eq!(read, expected(text, in_use), "{text:?} {in_use:?}");

    let clean = cleaned(text);
    let clean_text: String = clean.iter().collect();
    assert!(read.codes.is_empty() || clean.len() <= TEXT_CHARS_MAX);
    let mut rest = clean_text.as_str();
    let mut in_codes = 0;
    for (format, code) in &read.codes {
        let length = match format {
            CodeFormat::Words => code.split('-').count(),
            CodeFormat::Digits | CodeFormat::Alphanumeric => code.len(),
        };
        assert!(in_use.contains(&(*format, length)), "{code} has no length in use");
        match format {
            CodeFormat::Digits => assert!(code.bytes().all(|b| b.is_ascii_digit()) && !is_date(code)),
            CodeFormat::Alphanumeric => {
                assert!(code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
            }
            CodeFormat::Words => assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')),
        }
        // Its characters stand in the text, in this order and behind those of the code before.
        for symbol in code.chars().filter(|c| *c != '-') {
            let at =
                rest.find(|c: char| c.eq_ignore_ascii_case(&symbol)).expect("a code is part of its text");
            rest = &rest[at + 1..];
            in_codes += 1;
        }
    }
    let solid = clean.iter().filter(|c| !c.is_whitespace()).count();
    assert!(clean.len() > TEXT_CHARS_MAX || read.beside + in_codes <= solid);

    // NFKC changes nothing that is NFKC already, and so nothing that was found; nor does an invisible character.
    assert_eq!(found(&normal(text), in_use), read, "{text:?}");
    assert_eq!(found(&format!("\u{feff}{text}\u{200b}"), in_use), read, "{text:?}");
    // No format hides another's codes.
    for format in [CodeFormat::Digits, CodeFormat::Alphanumeric, CodeFormat::Words] {
        let only: Vec<_> = in_use.iter().copied().filter(|(f, _)| *f == format).collect();
        let alone = found(text, &only).codes;
        assert_eq!(alone, of_format(&read, format), "{text:?}");
    }
    // A letter at either end of a group makes an order number of it.
    if in_use.iter().all(|(format, _)| *format == CodeFormat::Digits)
        && clean.iter().all(|c| c.is_ascii_digit() || *c == '-')
        && !clean_text.contains("--")
        && clean.first().is_some_and(char::is_ascii_digit)
        && clean.last().is_some_and(char::is_ascii_digit)
    {
        for touched in [format!("DD{clean_text}"), format!("{clean_text}a"), format!("¥{clean_text}")] {
            assert!(found(&touched, in_use).codes.is_empty(), "{touched:?}");
        }
    }
}

fn of_format(read: &Recognised, format: CodeFormat) -> Vec<(CodeFormat, String)> {
    read.codes.iter().filter(|(f, _)| *f == format).cloned().collect()
}
