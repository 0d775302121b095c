//! The examples of the outside contract's rule 5.5, both ways, and what must never or always be found.

use proptest::prelude::*;

use super::*;
use crate::{
    registry::code_space::{display, draw, shortest},
    testing::{SeededEntropy, recognition},
};

fn lengths(all: &[(CodeFormat, usize)]) -> Lengths {
    let mut lengths = Lengths::default();
    for (format, length) in all {
        lengths.insert(*format, *length);
    }
    lengths
}

fn found(text: &str, all: &[(CodeFormat, usize)]) -> Vec<String> {
    recognise(text, &lengths(all)).codes.into_iter().map(|c| c.code.as_str().to_owned()).collect()
}

/// Digits of these lengths.
fn digits(text: &str, all: &[usize]) -> Vec<String> {
    let all: Vec<_> = all.iter().map(|length| (CodeFormat::Digits, *length)).collect();
    found(text, &all)
}

const ALPHANUMERIC: &[(CodeFormat, usize)] = &[(CodeFormat::Alphanumeric, 4)];
const WORDS: &[(CodeFormat, usize)] = &[(CodeFormat::Words, 3)];
const NONE: [&str; 0] = [];

#[test]
fn six_digits_are_a_code_whole_or_split_in_the_middle() {
    for text in [
        "482913",
        "482 913",
        "482-913",
        "４８２-９１３",
        "４８２９１３",
        "４８２　９１３",
        "４８２－９１３",
        "482\u{a0}913",
        "4\u{200b}82\u{200d}91\u{feff}3",
        "\u{2066}482913\u{2069}",
        "482\u{ad}913",
        " 482913\n",
        "验证码：482913",
        "我的码是482913谢谢",
        "(482913)",
        "“482913”。",
        "482913.",
        "482913, 谢谢",
        "码:482913",
        "-482913",
        "#482913",
        "482913元",
        "A-482913",
        "x 482913 y",
    ] {
        assert_eq!(digits(text, &[6]), ["482913"], "{text:?}");
    }
}

#[test]
fn digits_split_elsewhere_or_by_anything_else_are_no_code() {
    for text in [
        "48 2913",
        "4829 13",
        "4 8 2 9 1 3",
        "48 29 13",
        "482  913",
        "482--913",
        "482 - 913",
        "482_913",
        "482.913",
        "482,913",
        "482/913",
        "482:913",
        "482，913",
        "482\n913",
        "482\t913",
        "482a913",
        "482、913",
    ] {
        assert_eq!(digits(text, &[6]), NONE, "{text:?}");
    }
}

#[test]
fn longer_and_shorter_groups_are_no_code() {
    for text in
        ["48291", "4829137", "48291370", "13800138000", "1 482913", "482913 1", "482 913 1", "482-9137"]
    {
        assert_eq!(digits(text, &[6]), NONE, "{text:?}");
    }
}

#[test]
fn a_code_of_each_length_is_split_where_it_is_displayed() {
    for (length, shown, other) in [
        (7, "482 9137", "4829 137"),
        (8, "4829 1375", "482 91375"),
        (9, "4829 13756", "48291 3756"),
        (10, "48291 37560", "4829 137560"),
    ] {
        assert_eq!(digits(shown, &[6, length]), [shown.replace(' ', "")], "{shown}");
        assert_eq!(digits(other, &[6, length]), NONE, "{other}");
        assert_eq!(digits(shown, &[6]), NONE, "{length} is not in use");
    }
}

#[test]
fn where_every_part_has_a_length_in_use_each_part_is_a_code() {
    assert_eq!(digits("111111 482913", &[6]), ["111111", "482913"]);
    assert_eq!(digits("111111-482913-222222", &[6]), ["111111", "482913", "222222"]);
    assert_eq!(digits("111111 4829137", &[6, 7]), ["111111", "4829137"]);
    assert_eq!(digits("111111 4829137", &[6]), NONE, "one part has no length in use");
    assert_eq!(digits("111111 482 913", &[6]), NONE, "the parts of a group are not put together by twos");
    assert_eq!(digits("111111 482913", &[6, 12]), ["111111482913"], "split just where it is displayed");
    assert_eq!(digits("111111，482913", &[6]), NONE, "a comma between digits");
    assert_eq!(digits("111111、482913", &[6]), ["111111", "482913"], "another sign ends a group");
    assert_eq!(digits("111111  482913", &[6]), ["111111", "482913"], "so do two spaces");
}

#[test]
fn a_group_touched_by_a_letter_is_no_code() {
    for text in
        ["DD482913", "482913a", "_482913", "482913_", "ＤＤ482913", "a482 913", "482 913Z", "No482913"]
    {
        assert_eq!(digits(text, &[6]), NONE, "{text:?}");
    }
}

#[test]
fn a_group_after_a_currency_sign_is_no_code() {
    for text in
        ["¥482913", "￥482913", "¥ 482913", "$482 913", "€482913", "共¥482913元", "￡482913", "₩ 482913"]
    {
        assert_eq!(digits(text, &[6]), NONE, "{text:?}");
    }
}

#[test]
fn a_group_with_a_point_between_it_and_another_digit_is_no_code() {
    for text in [
        "482913.50",
        "482913,50",
        "1,482913",
        "3/482913",
        "482913/3",
        "10:482913",
        "482913:10",
        "0.482913",
        "482 913.5",
        "1.482 913",
        "482913．50",
        "482913：10",
    ] {
        assert_eq!(digits(text, &[6]), NONE, "{text:?}");
    }
}

#[test]
fn eight_digits_that_are_a_date_are_no_code() {
    for text in ["20261124", "2026 1124", "2026-1124", "２０２６１１２４", "19000101", "20991231", "20240229"]
    {
        assert_eq!(digits(text, &[6, 8]), NONE, "{text:?}");
    }
    for code in ["20261131", "20261324", "20250229", "21000101", "18991231", "20260001", "20260100"] {
        assert_eq!(digits(code, &[6, 8]), [code], "no day of the calendar");
    }
    assert_eq!(digits("20261124 48291375", &[6, 8]), ["48291375"], "the date beside a code stays a date");
}

#[test]
fn four_letters_and_digits_are_a_code_in_any_case() {
    for text in [
        "A1B2",
        "a1b2",
        "Ａ１Ｂ２",
        "码a1B2。",
        "A1B2!",
        "(a1b2)",
        "a\u{200b}1b2",
        "A1B2-",
        "我A1B2你",
        "A1B2_x",
    ] {
        assert_eq!(found(text, ALPHANUMERIC), ["A1B2"], "{text:?}");
    }
    assert_eq!(found("A1B2 c3d4", ALPHANUMERIC), ["A1B2", "C3D4"]);
}

#[test]
fn plain_words_plain_numbers_and_longer_runs_are_no_alphanumeric_code() {
    for text in ["good", "GOOD", "2026", "A1B", "A1B2C", "A1 B2", "A1-B2", "中文四字", "é1b2"] {
        assert_eq!(found(text, ALPHANUMERIC), NONE, "{text:?}");
    }
}

#[test]
fn three_words_of_the_list_are_a_code_in_any_case_with_spaces_or_hyphens() {
    for text in [
        "apple-blue-cat",
        "apple blue cat",
        "Apple Blue-CAT",
        "APPLE  BLUE  CAT",
        "apple - blue - cat",
        "ａｐｐｌｅ－ｂｌｕｅ－ｃａｔ",
        "apple\u{3000}blue\u{3000}cat",
        "验证码：apple-blue-cat",
        "我的码是apple-blue-cat谢谢",
        "“apple-blue-cat”",
        "apple-blue-cat.",
        "my code is apple-blue-cat",
        "apple-blue-cat-dog1",
        "app\u{200b}le-blue-cat",
    ] {
        assert_eq!(found(text, WORDS), ["apple-blue-cat"], "{text:?}");
    }
}

#[test]
fn more_or_fewer_words_or_words_of_other_lists_are_no_code() {
    for text in [
        "apple-blue",
        "apple-blue-cat-zebra",
        "zebra apple-blue-cat",
        "apple-blue-cats",
        "apple,blue,cat",
        "apple的blue的cat",
        "apple-blue-cat_",
        "apple-blue-1cat",
        "apple-blue-caté",
        "applebluecat",
    ] {
        assert_eq!(found(text, WORDS), NONE, "{text:?}");
    }
    assert_eq!(found("apple-blue-cat-zebra", &[(CodeFormat::Words, 4)]), ["apple-blue-cat-zebra"]);
    assert_eq!(found("apple-blue-cat; zebra-onion-music", WORDS), ["apple-blue-cat", "zebra-onion-music"]);
}

#[test]
fn only_formats_in_use_are_found() {
    assert_eq!(found("482913 A1B2 apple-blue-cat", WORDS), ["apple-blue-cat"]);
    assert_eq!(found("482913 A1B2 apple-blue-cat", ALPHANUMERIC), ["A1B2"]);
    assert_eq!(digits("482913 A1B2 apple-blue-cat", &[6]), ["482913"]);
    let all = [(CodeFormat::Digits, 6), (CodeFormat::Alphanumeric, 4), (CodeFormat::Words, 3)];
    assert_eq!(found("482913，a1b2，apple-blue-cat", &all), ["482913", "A1B2", "apple-blue-cat"]);
    assert_eq!(found("a1b2 或 482913", &all), ["A1B2", "482913"], "in the order of the text");
    assert_eq!(found("482913", &[]), NONE);
}

#[test]
fn a_text_of_more_than_64_characters_holds_no_code() {
    let padded = |n: usize| format!("{}482913", "说".repeat(n));
    assert_eq!(digits(&padded(58), &[6]), ["482913"]);
    assert_eq!(digits(&padded(59), &[6]), NONE);
    let invisible = format!("{}482913", "\u{200b}".repeat(500));
    assert_eq!(digits(&invisible, &[6]), ["482913"], "zero-width characters don't count");
    assert_eq!(digits(&"9".repeat(1 << 20), &[6]), NONE);
}

#[test]
fn what_stands_beside_the_codes_is_counted_without_spaces_and_codes() {
    let beside = |text: &str| recognise(text, &lengths(&[(CodeFormat::Digits, 6)])).beside;
    for (text, count) in [
        ("482913", 0),
        (" 482 913 ", 0),
        ("验证码：482913", 4),
        ("482-913", 0),
        ("111111 482913!", 1),
        ("好 的 482913", 2),
    ] {
        assert_eq!(beside(text), count, "{text:?}");
    }
}

/// Everything that a shop's customers write and that is no code, while codes of 6 to 8 digits are in use.
fn no_code() -> impl Strategy<Value = String> {
    prop_oneof![
        phone_number(),
        order_number(),
        date_or_time(),
        money(),
        "v?[0-9]{1,6}\\.[0-9]{1,6}\\.[0-9]{1,6}"
    ]
}

/// Mobile numbers bare, grouped and with the country's code; landlines with and without extension; service numbers.
fn phone_number() -> impl Strategy<Value = String> {
    prop_oneof![
        "1[3-9][0-9]{9}",
        "1[3-9][0-9][ -][0-9]{4}[ -][0-9]{4}",
        "1[3-9][0-9]{2}[ -][0-9]{3}[ -][0-9]{4}",
        "1[3-9][0-9][ -][0-9]{8}",
        "(\\+|00)86[ -]?1[3-9][0-9]{9}",
        "(\\+|00)86[ -]?1[3-9][0-9][ -][0-9]{4}[ -][0-9]{4}",
        "\\(\\+86\\) ?1[3-9][0-9]{9}",
        "1[3-9][0-9]\\*{4}[0-9]{4}",
        "0[1-9][0-9]-[0-9]{8}",
        "0[1-9][0-9]-[0-9]{4} [0-9]{4}",
        "0[1-9][0-9]{2}-[0-9]{7}",
        "0[1-9][0-9]-[0-9]{8}-[0-9]{1,4}",
        "[48]00-[0-9]{3}-[0-9]{4}",
        "[48]00 [0-9]{3} [0-9]{4}",
        "[48]00-[0-9]{4}-[0-9]{3}",
        "[48]00[0-9]{7}",
        "(10086|95[0-9]{3}|12345|110)",
    ]
}

/// Order, parcel, card and identity numbers.
fn order_number() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{9,30}",
        "20[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-8])[0-9]{4,16}",
        "[A-Z]{1,4}[0-9]{6,20}",
        "(No|NO|ID|_)[0-9]{6,8}",
        "[0-9]{6,8}[A-Za-z_][0-9]{0,4}",
        "SF[0-9]{13}",
        "[0-9]{4} [0-9]{4} [0-9]{4} [0-9]{4}",
        "[0-9]{4} [0-9]{4} [0-9]{4} [0-9]{4} [0-9]{3}",
        "[0-9]{6}(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-8])[0-9]{3}[0-9X]",
        "[0-9]{3}-[0-9]{7}-[0-9]{7}",
    ]
}

fn date_or_time() -> impl Strategy<Value = String> {
    prop_oneof![
        "20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-8])",
        "20[0-9]{2}/(0[1-9]|1[0-2])/(0[1-9]|[12][0-8])",
        "20[0-9]{2}\\.(0[1-9]|1[0-2])\\.(0[1-9]|[12][0-8])",
        "20[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-8])",
        "20[0-9]{2}年(0?[1-9]|1[0-2])月(0?[1-9]|[12][0-8])日",
        "20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-8]) [0-2][0-9]:[0-5][0-9]",
        "20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-8])T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z",
        "[0-2][0-9]:[0-5][0-9](:[0-5][0-9])?(\\.[0-9]{3,6})?",
        "(0?[1-9]|1[0-2])月(0?[1-9]|[12][0-8])[日号] ?[0-9]{1,2}点",
    ]
}

/// With a currency sign, with decimals, or with commas between the thousands. A plain `482913元` is a code by the rule.
fn money() -> impl Strategy<Value = String> {
    prop_oneof![
        "[¥￥$€£￡₩] ?[0-9]{1,8}",
        "[¥￥$€£￡₩] ?[0-9]{1,8}\\.[0-9]{2}",
        "[¥￥$€£￡₩] ?[0-9]{1,3}(,[0-9]{3}){1,3}(\\.[0-9]{2})?元?",
        "(RMB|CNY|USD|US\\$)[0-9]{6,8}",
        "[0-9]{1,8}\\.[0-9]{1,2}元?",
        "[0-9]{1,3}(,[0-9]{3}){1,3}(\\.[0-9]{2})?元?",
        "[0-9]{1,3}(，[0-9]{3}){1,3}元",
        "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}",
    ]
}

/// Texts out of the pieces that the rule speaks of, so that they meet in every way: what the rule's author has not
/// thought of is found here.
fn pieces() -> impl Strategy<Value = String> {
    let digits = "[0-9]{1,9}".prop_map(|digits| digits.replace('9', "９"));
    let exact = prop_oneof![
        "[0-9]{3}",
        "[0-9]{4}",
        "[0-9]{6}",
        "[0-9]{7}",
        "[0-9]{8}",
        "(19|20)[0-9]{2}(0[1-9]|1[0-3])[0-3][0-9]"
    ];
    let join = "( |-|  |--|\u{3000}|－|\u{a0}|\u{2011}|\t|\n|_|，|,|\\.|/|:|：|、|\u{200b}|\u{ad})";
    let word = prop::sample::select(words::WORDS.to_vec()).prop_flat_map(|word| {
        prop_oneof![Just(word.to_owned()), Just(word.to_uppercase()), Just(format!("{word}s"))]
    });
    // What the rule is about stands here whole: chance alone would rarely put it together.
    let shown = "([0-9]{3}[ -][0-9]{3,4}|[0-9]{4}[ -][0-9]{3,5})";
    let priced = "([¥￥$€₩] ?[0-9]{6}|[0-9]{6}[.,/:-][0-9٣]|[٣0-9][.,/:-][0-9]{6})";
    let code_of_words = "(apple[ -]blue[ -]cat|BLUE  cat - Apple)[s1_éÉÄд的]?";
    let mixed = "([A-Za-z][0-9]|[0-9][A-Za-z]|[ＡＢａ１２]){2,3}";
    let sign = "[¥￥$€元年月日号码的A-Ca-c_#(é٣½①㏠\u{301}\u{200d}\u{e4}]";
    let piece = prop_oneof![
        3 => exact,
        2 => digits,
        4 => join,
        2 => word,
        1 => shown,
        1 => priced,
        1 => code_of_words,
        1 => mixed,
        1 => sign,
        1 => "\\PC",
    ];
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

/// Which codes are in use: the shortest of one format or more, and longer ones.
fn in_use() -> impl Strategy<Value = Vec<(CodeFormat, usize)>> {
    let one = (0..3_usize, prop_oneof![3 => Just(0_usize), 2 => 0..7_usize]).prop_map(|(at, more)| {
        let format = [CodeFormat::Digits, CodeFormat::Alphanumeric, CodeFormat::Words][at];
        (format, shortest(format) + more)
    });
    prop::collection::vec(one, 1..6)
}

/// Up to ten characters that people write around a code, and that don't touch digits or letters.
fn small_talk() -> impl Strategy<Value = String> {
    "[\u{4e00}-\u{4e80}。！？、；：，“”（）😀]{0,5}"
}

/// A code as it is displayed, mangled in the ways that leave it readable.
fn mangled(format: CodeFormat, length: usize) -> impl Strategy<Value = (String, String)> {
    let joins = match format {
        CodeFormat::Digits => vec!["", " ", "-", "\u{3000}", "－", "\u{a0}"],
        CodeFormat::Alphanumeric => vec![""],
        CodeFormat::Words => vec!["-", " ", "  ", " - ", "\u{3000}", "－"],
    };
    (any::<u64>(), prop::collection::vec(any::<(bool, bool, u8)>(), 64), prop::sample::select(joins))
        .prop_map(move |(seed, choices, join)| {
            let code = draw(format, length, &SeededEntropy::new(seed));
            let mut text = String::new();
            for (c, (wide, lower, invisible)) in display(format, &code).chars().zip(choices.iter().cycle()) {
                if matches!(c, ' ' | '-') {
                    text.push_str(join);
                    continue;
                }
                let c = if *lower { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
                let full = char::from_u32(u32::from(c) + 0xFEE0).filter(|_| *wide);
                text.push(full.unwrap_or(c));
                match invisible % 8 {
                    0 => text.push('\u{200b}'),
                    1 => text.push_str("\u{200d}\u{feff}"),
                    2 => text.push('\u{2060}'),
                    _ => {}
                }
            }
            (code, text)
        })
}

fn any_code() -> impl Strategy<Value = (CodeFormat, usize, String, String)> {
    let formats = vec![CodeFormat::Digits, CodeFormat::Alphanumeric, CodeFormat::Words];
    (prop::sample::select(formats), 0..3_usize).prop_flat_map(|(format, more)| {
        let length = shortest(format) + more;
        mangled(format, length).prop_map(move |(code, text)| (format, length, code, text))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn phone_numbers_orders_dates_prices_times_and_versions_are_left_alone(
        before in small_talk(), text in no_code(), after in small_talk(),
    ) {
        // A comma or a colon after digits is part of the small talk, not of the number.
        let text = format!("{before} {text} {after}");
        prop_assert_eq!(digits(&text, &[6, 7, 8]), NONE, "{}", text);
    }

    #[test]
    fn a_code_is_found_between_numbers_that_are_none(
        before in no_code(), (code, text) in (6..9_usize).prop_flat_map(|n| mangled(CodeFormat::Digits, n)),
        after in no_code(),
    ) {
        let text = format!("{before}。{text}。{after}");
        let is_short = recognition::cleaned(&text).len() <= TEXT_CHARS_MAX;
        let expected: &[String] = if is_short { &[code] } else { &[] };
        prop_assert_eq!(digits(&text, &[6, 7, 8]), expected, "{:?}", text);
    }

    #[test]
    fn a_displayed_code_is_always_found(
        before in small_talk(), (format, length, code, text) in any_code(), after in small_talk(),
    ) {
        let text = format!("{before}{text}{after}");
        let all = lengths(&[(format, shortest(format)), (format, length)]);
        let found = recognise(&text, &all);
        prop_assert_eq!(found.codes.len(), 1, "{:?}: {:?}", text, found);
        prop_assert_eq!(found.codes[0].code.as_str(), code, "{:?}", text);
        prop_assert!(found.beside <= 10, "{:?}", text);
    }

    #[test]
    fn no_text_panics(text: String, all in prop::collection::vec((0..3_u8, 0..14_usize), 0..6)) {
        let mut lengths = Lengths::default();
        for (format, length) in all {
            let formats = [CodeFormat::Digits, CodeFormat::Alphanumeric, CodeFormat::Words];
            lengths.insert(formats[usize::from(format)], length);
        }
        let found = recognise(&text, &lengths);
        prop_assert!(found.beside <= 64 && found.codes.len() <= 64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) })]

    #[test]
    fn what_is_recognised_is_what_the_contract_says(text in prop_oneof![9 => pieces(), 1 => any::<String>()], all in in_use()) {
        let text: String = text.chars().take(TEXT_CHARS_MAX + 4).collect();
        prop_assert_eq!(recognition::found(&text, &all), recognition::expected(&text, &all), "{:?} {:?}", text, all);
    }
}
