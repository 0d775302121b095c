//! Rule 5 of binding: what counts as a code in a customer's text, and what is answered.

use kfbind::sim::Customer;

use crate::support::{Options, TestApp, heard, hears};

/// Whether a customer who writes `{}` filled in with the code's display form (or `[]` with its digits) is bound.
async fn binds(app: &TestApp, name: &str, template: &str) -> bool {
    let phone = app.login(name).await;
    let code = phone.issue().await;
    let text = template.replace("{}", &code.display).replace("[]", &code.text);
    app.sim.customer(name).says(&app.account(), &text);
    app.settled().await;
    let bound = phone.status().await == "bound";
    // A code that stays alive would make the next ones longer.
    phone.unbind().await;
    bound
}

/// How a customer types a code that is shown like this.
type Form<'a> = &'a dyn Fn(&str) -> String;

#[tokio::test]
async fn digits_are_a_code_however_they_are_typed() {
    let app = TestApp::start().await;
    let texts = [
        "[]",
        "{}",
        "  {}\n",
        "验证码：[]",
        "我的绑定码是{}，谢谢",
        "[]。",
        "\u{200b}[]\u{200b}",
        "\u{202e}[]\u{202c}",
        "\u{2067}{}\u{2069}",
        "👉[]👈",
        "code [] please",
        "（[]）",
    ];
    for (number, text) in texts.iter().enumerate() {
        assert!(binds(&app, &format!("user {number}"), text).await, "{text:?}");
    }
}

#[tokio::test]
async fn full_width_digits_hyphens_and_zero_width_characters_inside_are_a_code() {
    let app = TestApp::start().await;
    let wide = |text: &str| -> String {
        let shift = |c: char| c.to_digit(10).map_or(c, |d| char::from_u32(0xFF10 + d).unwrap());
        text.chars().map(shift).collect()
    };
    let forms: [(&str, Form<'_>); 4] = [
        ("full width", &|display| wide(display)),
        ("a full-width hyphen", &|display| wide(display).replace(' ', "－")),
        ("a hyphen", &|display| display.replace(' ', "-")),
        ("zero-width characters", &|display| {
            display.replace(' ', "").chars().flat_map(|digit| [digit, '\u{feff}']).collect()
        }),
    ];
    for (name, form) in forms {
        let phone = app.login(name).await;
        let code = phone.issue().await;
        app.sim.customer(name).says(&app.account(), &form(&code.display));
        app.settled().await;
        assert_eq!(phone.status().await, "bound", "{name}");
    }
}

#[tokio::test]
async fn what_only_looks_like_a_code_is_left_alone() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let digits = code.text.as_str();
    let (head, tail) = digits.split_at(2);
    let (first, last) = digits.split_at(3);
    let customer = app.sim.customer("c");
    let long = "长".repeat(60);
    let texts = [
        format!("DD{digits}"),
        format!("{digits}abc"),
        format!("_{digits}"),
        format!("¥{digits}"),
        format!("￥{digits}"),
        format!("${digits}"),
        format!("€{digits}"),
        format!("{digits}.50"),
        format!("1,{digits}"),
        format!("{digits}/2"),
        format!("12:{digits}"),
        format!("{digits}:30"),
        format!("{head} {tail}"),
        format!("{first}  {last}"),
        format!("{first} - {last}"),
        format!("{digits}0"),
        format!("0{digits}"),
        "13800138000".to_owned(),
        "+86 138 0013 8000".to_owned(),
        "0755-26001234".to_owned(),
        "2026-11-24".to_owned(),
        "20261124".to_owned(),
        format!("{long}{digits}"),
        "你好，请问什么时候发货？".to_owned(),
        "👍".to_owned(),
        String::new(),
    ];
    for text in &texts {
        customer.says(&app.account(), text);
    }
    customer.sends_image(&app.account());
    app.settled().await;
    assert_eq!(phone.status().await, "pending");
    assert_eq!(heard(&customer), [""; 0], "talk gets no answer");
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"wrong\"}").await, 0.0);
    customer.says(&app.account(), digits);
    phone.until("bound").await;
}

#[tokio::test]
async fn what_servicers_and_menus_say_is_no_code() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let customer = app.sim.customer("c");
    customer.says(&app.account(), "你好");
    app.sim.servicer_says(&customer, &app.account(), "zhangsan", &code.text);
    let tap = serde_json::json!({"content": code.text, "menu_id": "somebody-elses"});
    customer.sends(&app.account(), "text", tap);
    app.settled().await;
    assert_eq!(phone.status().await, "pending");
    assert_eq!(heard(&customer), [""; 0]);
    assert_eq!(app.metric("kfbind_sync_messages_total{kind=\"servicer\"}").await, 1.0);
}

#[tokio::test]
async fn alphanumeric_codes_have_a_letter_and_a_digit_and_are_read_in_any_case() {
    let app = TestApp::with(&[("binding.code_format", "\"alphanumeric\"")]).await;
    for (number, template) in ["[]", "绑定码[]", "我的码：[] 谢谢"].into_iter().enumerate() {
        assert!(binds(&app, &format!("user {number}"), template).await, "{template}");
    }
    let phone = app.login("u").await;
    let code = phone.issue().await;
    assert_eq!(code.display, code.text, "it is shown as it is");
    let has = |test: fn(&char) -> bool| code.text.chars().any(|c| test(&c));
    assert!(code.text.len() == 4 && has(char::is_ascii_digit) && has(char::is_ascii_uppercase), "{code:?}");
    assert!(!code.text.contains(['0', 'O', '1', 'I', 'L']), "{code:?}");
    let customer = app.sim.customer("c");
    customer.says(&app.account(), "good");
    customer.says(&app.account(), "2026");
    customer.says(&app.account(), &format!("X{}", code.text));
    app.settled().await;
    assert_eq!(heard(&customer), [""; 0]);
    customer.says(&app.account(), &code.text.to_lowercase());
    phone.until("bound").await;
}

#[tokio::test]
async fn words_are_read_in_any_case_with_hyphens_or_spaces() {
    let app = TestApp::with(&[("binding.code_format", "\"words\"")]).await;
    for (number, change) in
        [str::to_owned, str::to_uppercase, |text: &str| text.replace('-', " ")].into_iter().enumerate()
    {
        let name = format!("user {number}");
        let phone = app.login(&name).await;
        let code = phone.issue().await;
        assert_eq!((code.text.split('-').count(), &code.display), (3, &code.text));
        app.sim.customer(&name).says(&app.account(), &change(&code.text));
        phone.until("bound").await;
    }
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let customer = app.sim.customer("c");
    let (first_two, last) = code.text.rsplit_once('-').unwrap();
    customer.says(&app.account(), first_two);
    customer.says(&app.account(), &format!("{first_two}-{last}-{last}"));
    customer.says(&app.account(), "i want an apple");
    app.settled().await;
    assert_eq!((phone.status().await.as_str(), heard(&customer).len()), ("pending", 0));
}

#[tokio::test]
async fn another_format_is_read_as_long_as_a_code_of_it_may_be_meant() {
    let mut app = TestApp::start().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    app.restart_with(&[("binding.code_format", "\"words\"")]).await;
    let customer = app.sim.customer("c");
    customer.says(&app.account(), &code.other(0));
    assert_eq!(hears(&customer, 1).await, ["wrong_code"]);
    customer.says(&app.account(), &code.text);
    phone.until("bound").await;
    // Ten minutes of life and three days on the way are over.
    app.clock.advance(600 + 3 * 24 * 3600 + 1);
    customer.says(&app.account(), &code.other(1));
    app.settled().await;
    assert_eq!(heard(&customer), ["wrong_code", "bound"]);
}

#[tokio::test]
async fn several_codes_are_tried_in_order_and_answered_once() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let customer = app.sim.customer("c");
    customer.says(&app.account(), &format!("{} {} {}", code.other(0), code.text, code.other(1)));
    assert_eq!(hears(&customer, 1).await, ["bound"]);
    app.settled().await;
    assert_eq!(heard(&customer), ["bound"]);
    let wrong = app.metric("kfbind_rejected_codes_total{reason=\"wrong\"}").await;
    assert_eq!(wrong, 1.0, "what stands behind the code that binds is not tried");
}

#[tokio::test]
async fn of_several_answers_the_most_important_is_given() {
    let app = TestApp::start().await;
    let (_, bound, spent) = app.bound("u").await;
    let customer = app.sim.customer("c");
    customer.says(&app.account(), &format!("{} {}", spent.text, spent.other(0)));
    assert_eq!(hears(&customer, 1).await, ["wrong_code"]);
    bound.says(&app.account(), &format!("{} {}", spent.other(0), spent.text));
    assert_eq!(hears(&bound, 2).await[1], "already_bound");
}

#[tokio::test]
async fn a_wrong_code_in_a_longer_text_is_counted_in_silence() {
    let app = TestApp::start().await;
    let phone = app.login("u").await;
    let code = phone.issue().await;
    let customer = app.sim.customer("c");
    customer.says(&app.account(), &format!("一二三四五六七八九十 {}", code.other(0)));
    assert_eq!(hears(&customer, 1).await, ["wrong_code"], "ten characters beside it");
    customer.says(&app.account(), &format!("一二三四五六七八九十一 {}", code.other(1)));
    app.settled().await;
    assert_eq!(heard(&customer).len(), 1, "eleven characters beside it");
    assert_eq!(app.metric("kfbind_rejected_codes_total{reason=\"wrong\"}").await, 2.0);
    // A right one binds and is answered whatever stands beside it.
    customer.says(&app.account(), &format!("一二三四五六七八九十一二三四五六 {}", code.text));
    assert_eq!(hears(&customer, 2).await[1], "bound");
}

#[tokio::test]
async fn after_ten_answers_in_ten_minutes_only_bound_and_unbound_are_said() {
    let app = TestApp::start().await;
    let (phone, customer, code) = app.bound("u").await;
    for count in 2..=10 {
        customer.says(&app.account(), &code.text);
        hears(&customer, count).await;
    }
    customer.says(&app.account(), &code.text);
    app.settled().await;
    assert_eq!(heard(&customer).len(), 10);
    assert_eq!(app.metric("kfbind_replies_total{result=\"muted\"}").await, 1.0);
    customer.says(&app.account(), "解绑");
    assert_eq!(hears(&customer, 11).await[10], "unbound");
    phone.until("unbound").await;
    let fresh = phone.issue().await;
    customer.says(&app.account(), &fresh.text);
    assert_eq!(hears(&customer, 12).await[11], "bound");
    app.clock.advance(600);
    customer.says(&app.account(), &fresh.text);
    assert_eq!(hears(&customer, 13).await[12], "already_bound");
}

#[tokio::test]
async fn texts_of_every_kind_up_to_2048_bytes_do_no_harm() {
    let app = TestApp::open(Options::default()).await;
    let customer = app.sim.customer("c");
    let texts = [
        "9".repeat(2048),
        "1 ".repeat(1024),
        "🀄".repeat(512),
        "\u{200b}".repeat(680),
        "\u{fdfa}".repeat(682),
        "e\u{301}".repeat(600),
        "\u{202e}".to_owned(),
        "\0\u{1}\u{7f}".to_owned(),
        "<![CDATA[]]>&amp;\"'\\".to_owned(),
        "{nickname}{account}{code}".to_owned(),
        "٤٨٢٩١٣".to_owned(),
        "四八二九一三".to_owned(),
    ];
    for text in &texts {
        customer.says(&app.account(), text);
    }
    app.settled().await;
    assert_eq!(heard(&customer), [""; 0]);
    still_binds(&app, &app.sim.customer("later")).await;
}

async fn still_binds(app: &TestApp, customer: &Customer) {
    let phone = app.login("later").await;
    customer.says(&app.account(), &phone.issue().await.text);
    phone.until("bound").await;
}
