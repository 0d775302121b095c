//! Reads Rust text just far enough for the repository's checks: code without comments and literals, the paths that
//! it names, its length without tests. No parser: macros and conditional compilation are taken as they stand.

/// The code with comments and the insides of literals blanked out; line breaks stay where they are.
pub(crate) fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let hidden = match code.chars().next_back() {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => block_comment_bytes(rest),
            Some(before) if is_word(before) && first != '"' => 0,
            _ => literal_bytes(rest),
        };
        let (taken, left) = rest.split_at(if hidden == 0 { first.len_utf8() } else { hidden });
        if hidden == 0 {
            code.push(first);
        } else {
            code.push(' ');
            code.extend(taken.chars().filter(|letter| *letter == '\n'));
        }
        rest = left;
    }
    code
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The length of the block comment that the text begins with; such comments nest.
fn block_comment_bytes(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the text or character literal that the text begins with; 0 if it begins with none.
fn literal_bytes(text: &str) -> usize {
    let raw = text.trim_start_matches(['b', 'c']);
    if let Some(hashes) = raw.strip_prefix('r').map(|rest| rest.len() - rest.trim_start_matches('#').len())
        && raw.get(1 + hashes..).is_some_and(|rest| rest.starts_with('"'))
    {
        let opening = text.len() - raw.len() + hashes + 2;
        let closing = format!("\"{}", "#".repeat(hashes));
        return text
            .get(opening..)
            .and_then(|rest| rest.find(&closing))
            .map_or(text.len(), |inside| opening + inside + closing.len());
    }
    let mut letters = text.char_indices();
    match letters.next().map(|(_, quote)| quote) {
        Some('"') => {
            while let Some((at, letter)) = letters.next() {
                match letter {
                    '\\' => drop(letters.next()),
                    '"' => return at + 1,
                    _ => {}
                }
            }
            text.len()
        }
        // A lifetime has no second quote right after its first letter.
        Some('\'') => match (letters.next(), letters.next()) {
            (Some((_, '\\')), Some(_)) => {
                letters.find(|(_, letter)| *letter == '\'').map_or(0, |(at, _)| at + 1)
            }
            (Some(_), Some((at, '\''))) => at + 1,
            _ => 0,
        },
        _ => 0,
    }
}

/// The code without the items that stand under `#[cfg(test)]`. Wants the answer of [`code_only`].
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let (before, item) = rest.split_at(at);
        kept.push_str(before);
        let mut depth = 0_usize;
        let end = item.char_indices().skip(MARK.len()).find(|(_, letter)| {
            match letter {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(letter, '}' | ';')
        });
        rest = end.and_then(|(last, _)| item.get(last + 1..)).unwrap_or("");
    }
    kept + rest
}

/// The paths of the code that begin with one of these words; groups are taken apart, so that `crate::{a, b::c}` is
/// `crate::a` and `crate::b::c`. Wants the answer of [`code_only`].
pub(crate) fn paths(code: &str, roots: &[&str]) -> Vec<String> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let follows_a_path = at > 0 && tokens.get(at - 1).is_some_and(|before| before == "::");
        let begins_a_path = tokens.get(at + 1).is_some_and(|after| after == "::");
        if roots.contains(&token.as_str()) && begins_a_path && !follows_a_path {
            let mut rest = tokens.iter().skip(at).map(String::as_str).peekable();
            take_path(&mut rest, "", &mut found);
        }
    }
    found
}

/// Whether the code names this word.
pub(crate) fn names(code: &str, word: &str) -> bool {
    tokens(code).iter().any(|token| token == word)
}

fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut grows = false;
    for letter in code.chars() {
        let joins = is_word(letter) || (letter == ':' && tokens.last().is_some_and(|last| last == ":"));
        match tokens.last_mut() {
            Some(last) if grows && joins && is_word(letter) == last.starts_with(is_word) => last.push(letter),
            _ if letter.is_whitespace() => {}
            _ => tokens.push(letter.to_string()),
        }
        grows = !letter.is_whitespace();
    }
    tokens
}

/// Takes one path, or a group of them, off the tokens and adds what it names behind `so_far`.
fn take_path<'a>(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    so_far: &str,
    found: &mut Vec<String>,
) {
    let mut path = so_far.to_owned();
    while let Some(token) = tokens.next() {
        if token == "{" {
            while tokens.peek().is_some_and(|next| *next != "}") {
                take_path(tokens, &path, found);
                if tokens.peek() == Some(&",") {
                    tokens.next();
                }
            }
            tokens.next();
            return;
        }
        if !path.is_empty() {
            path.push_str("::");
        }
        path.push_str(token);
        if tokens.peek() != Some(&"::") {
            break;
        }
        tokens.next();
    }
    if tokens.peek() == Some(&"as") {
        tokens.next();
        tokens.next();
    }
    found.push(path);
}

#[test]
fn comments_and_literals_are_no_code() {
    let source = "a // crate::x\n/* crate::y /* z */ w */ b \"crate::q\\\" r\" r#\"say \"no\"\"# c '\"' d &'e f '\\'' g";
    let code = code_only(source);
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "c", "d", "&'e", "f", "g"]);
    assert_eq!(code.lines().count(), source.lines().count());
}

#[test]
fn what_stands_under_cfg_test_is_left_out() {
    let code = "one\n#[cfg(test)]\nmod tests {\n fn f() { g() }\n}\ntwo\n#[cfg(test)]\nmod more;\nthree";
    assert_eq!(without_tests(code).split_whitespace().collect::<Vec<_>>(), ["one", "two", "three"]);
}

#[test]
fn groups_are_taken_apart_and_paths_in_expressions_are_found() {
    let code =
        "use crate::{a, b::{c, d as e}, f::*}; fn g() -> super::h::I { x::crate::no(crate::j::k(actors.l)) }";
    assert_eq!(
        paths(code, &["crate", "super", "actors"]),
        ["crate::a", "crate::b::c", "crate::b::d", "crate::f::*", "super::h::I", "crate::j::k"]
    );
}

#[test]
fn a_word_is_named_only_as_a_whole() {
    assert!(names("use sled::Db;", "sled") && names("a(sled)", "sled"));
    assert!(!names("let unsettled = sledge::new();", "sled"));
}
