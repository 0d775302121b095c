//! Each rule of the outside contract's section 5, with its borders, on plain maps.

use super::{
    super::records::AuditKind,
    ANSWER_AGE_S_MAX, ANSWERS_KEPT_MAX, FRESH_START_S, LOCK_S_MAX, Saying, WRONG_TOTAL_MAX,
    world::{World, message},
};
use crate::{
    ids::{BindCode, ExternalUserId, MenuId, OpenId, Timestamp},
    policy::{OnConflict, Rate},
    ports::{KfContent, MessageKind},
};

mod month;
mod ways;

/// When codes are made.
const T: u64 = 1_800_000_000;
const DAY: u64 = 24 * 3600;

fn world() -> World {
    let mut world = World::default();
    world.issue("oA", "482913", T);
    world
}

fn replacing() -> World {
    let mut world = World::default();
    world.policy.on_conflict = OnConflict::Replace;
    world
}

// ---- 5.2: a code is judged by the message's send_time ----

#[test]
fn a_code_binds_from_a_minute_before_it_was_made_up_to_the_second_before_it_ends() {
    for (sent, binds) in
        [(T - 61, false), (T - 60, true), (T, true), (T + 599, true), (T + 600, false), (T + 601, false)]
    {
        let mut world = world();
        let heard = world.says("wmA", "482913", sent);
        assert_eq!(heard.bound_at(), binds.then_some(sent), "sent {}", sent.cast_signed() - T.cast_signed());
        let said = if binds { Saying::Bound } else { Saying::ExpiredCode };
        assert_eq!(heard.answer(), Some(said));
        assert_eq!(world.guesses, 0, "an expired code is not counted as wrong");
    }
}

#[test]
fn a_revoked_code_binds_up_to_the_second_before_it_was_revoked() {
    for (sent, binds) in [(T + 99, true), (T + 100, false), (T + 101, false)] {
        let mut world = world();
        world.issue("oA", "111111", T + 100);
        let heard = world.reads("wmA", "482913", sent, T + 150);
        assert_eq!(heard.bound_at().is_some(), binds, "sent {}", sent - T);
        if !binds {
            assert_eq!(heard.answer(), Some(Saying::ExpiredCode));
        }
    }
}

#[test]
fn a_code_revoked_after_its_end_ends_when_it_ends() {
    let mut world = world();
    world.issue("oA", "111111", T + 700);
    assert_eq!(world.says("wmA", "482913", T + 650).answer(), Some(Saying::ExpiredCode));
}

#[test]
fn the_older_and_the_newer_code_bind_only_once_together() {
    let mut world = world();
    world.issue("oA", "111111", T + 100);
    assert!(world.reads("wmA", "482913", T + 99, T + 200).bound_at().is_some());
    let heard = world.reads("wmB", "111111", T + 150, T + 200);
    assert_eq!(heard.answer(), Some(Saying::ExpiredCode), "the user's codes died with the binding");
    assert_eq!(world.pairs(), [("oA", "wmA")]);
}

#[test]
fn a_message_sent_in_time_binds_after_an_outage_of_days_and_dates_from_its_sending() {
    let mut world = world();
    let heard = world.reads("wmA", "482913", T + 599, T + 3 * DAY);
    assert_eq!(heard.bound_at(), Some(T + 599));
    assert_eq!(heard.answer(), None);
    assert_eq!(heard.silent(), Some("too_old"));
}

// ---- 5.3: a code binds once ----

#[test]
fn a_code_binds_once() {
    let mut world = world();
    assert_eq!(world.says("wmA", "482913", T + 1).answer(), Some(Saying::Bound));
    let heard = world.says("wmB", "482913", T + 2);
    assert_eq!((heard.answer(), heard.rejected()), (Some(Saying::ExpiredCode), vec!["expired"]));
    assert_eq!(world.pairs(), [("oA", "wmA")]);
}

#[test]
fn only_what_had_an_effect_or_held_a_code_is_remembered() {
    let world = world();
    let remembered = |text: &str| world.decide(&message("wmA", text, T), Timestamp(T)).remember;
    assert!(remembered("482913"), "a code");
    assert!(remembered("111111"), "a wrong code");
    assert!(!remembered("hello"));
    assert!(!remembered("13800138000"));
}

#[test]
fn a_code_of_a_locked_customer_is_remembered_too() {
    let mut world = world();
    let locked = super::CustomerRecord { locked_until: Timestamp(T + 100), ..Default::default() };
    world.customers.insert(ExternalUserId::new("wmA"), locked);
    let verdict = world.decide(&message("wmA", "482913", T), Timestamp(T));
    assert!(verdict.remember);
}

// ---- 5.4: one to one ----

#[test]
fn the_same_pair_again_is_already_bound_also_by_the_code_that_bound_it() {
    let mut world = world();
    world.says("wmA", "482913", T + 1);
    let before = world.clone();
    let heard = world.says("wmA", "482913", T + 2);
    assert_eq!(heard.answer(), Some(Saying::AlreadyBound));
    assert_eq!(heard.named().0, Some("oA"), "the account may be named");
    assert_eq!(world.bindings, before.bindings, "the date stays");
    assert!(heard.rejected().is_empty());
    assert_eq!(world.audits, [AuditKind::Bound]);
}

#[test]
fn a_customer_bound_elsewhere_is_a_conflict_that_changes_nothing_and_leaves_the_code_alive() {
    let mut world = world();
    world.issue("oB", "111111", T);
    world.says("wmA", "482913", T + 1);
    let heard = world.says("wmA", "111111", T + 2);
    assert_eq!((heard.answer(), heard.rejected()), (Some(Saying::Conflict), vec!["conflict"]));
    assert_eq!(heard.named().0, Some("oA"), "the customer's own account, not that of the code");
    assert_eq!(world.guesses, 0);
    assert_eq!(world.pairs(), [("oA", "wmA")]);
    assert_eq!(world.says("wmB", "111111", T + 3).answer(), Some(Saying::Bound), "the code lives on");
}

#[test]
fn a_conflict_is_audited_once_per_code_and_customer() {
    let mut world = world();
    for (openid, code) in [("oB", "111111"), ("oC", "222222")] {
        world.issue(openid, code, T);
    }
    world.says("wmA", "482913", T + 1);
    for text in ["111111", "111111", "111111 111111", "222222", "222222"] {
        assert_eq!(world.says("wmA", text, T + 2).answer(), Some(Saying::Conflict));
    }
    assert_eq!(world.audits, [AuditKind::Bound, AuditKind::Conflict, AuditKind::Conflict]);
}

#[test]
fn replacing_removes_the_customers_old_binding_and_makes_the_new_in_one_step() {
    let mut world = replacing();
    world.issue("oA", "482913", T);
    world.issue("oB", "111111", T);
    world.says("wmA", "482913", T + 1);
    assert_eq!(world.says("wmA", "111111", T + 2).answer(), Some(Saying::Bound));
    assert_eq!(world.pairs(), [("oB", "wmA")]);
}

#[test]
fn a_message_older_than_the_binding_does_not_replace_it() {
    for (sent, replaces) in [(T + 99, false), (T + 100, true), (T + 101, true)] {
        let mut world = replacing();
        world.issue("oA", "482913", T);
        world.issue("oB", "111111", T);
        world.says("wmA", "482913", T + 100);
        let heard = world.reads("wmA", "111111", sent, T + 200);
        let said = if replaces { Saying::Bound } else { Saying::Conflict };
        assert_eq!(heard.answer(), Some(said), "sent {}", sent - T);
        assert_eq!(world.pairs(), [(if replaces { "oB" } else { "oA" }, "wmA")]);
    }
}

#[test]
fn no_code_of_before_an_unbinding_binds_that_user_again() {
    let mut world = world();
    world.issue("oA", "111111", T + 10);
    world.unbind(&OpenId::new("oA"));
    for (text, sent) in [("482913", T + 5), ("111111", T + 15), ("111111", T + 500)] {
        let heard = world.reads("wmA", text, sent, T + 500);
        assert_eq!(heard.answer(), Some(Saying::ExpiredCode), "{text} sent {}", sent - T);
        assert_eq!(world.guesses, 0, "it is known, so it is not wrong");
    }
    world.issue("oA", "222222", T + 500);
    assert_eq!(world.says("wmA", "222222", T + 500).answer(), Some(Saying::Bound));
}

#[test]
fn nothing_sent_before_undoing_in_the_chat_binds_that_customer() {
    for (sent, binds) in [(T + 19, false), (T + 20, true), (T + 21, true)] {
        let mut world = world();
        world.issue("oB", "111111", T);
        world.says("wmA", "482913", T + 1);
        world.says("wmA", "解绑", T + 20);
        let heard = world.reads("wmA", "111111", sent, T + 30);
        assert_eq!(heard.bound_at().is_some(), binds, "sent {}", sent - T);
        if !binds {
            assert_eq!((heard.answer(), world.guesses), (Some(Saying::ExpiredCode), 0));
            assert!(world.says("wmB", "111111", T + 31).bound_at().is_some(), "the code lives on for others");
        }
    }
}

#[test]
fn an_older_undoing_does_not_take_back_the_newer_one() {
    let mut world = world();
    world.issue("oB", "111111", T);
    world.issue("oC", "222222", T);
    world.says("wmA", "482913", T + 1);
    world.says("wmA", "解绑", T + 50);
    world.says("wmA", "111111", T + 60);
    // A binding may be dated before that by the back end.
    world.bindings.get_mut(&OpenId::new("oB")).unwrap().bound_at = Timestamp(T + 2);
    world.reads("wmA", "解绑", T + 20, T + 70);
    assert!(world.pairs().is_empty());
    assert_eq!(world.reads("wmA", "222222", T + 49, T + 70).bound_at(), None);
}

// ---- 5.5: answers ----

#[test]
fn several_codes_are_tried_in_order_until_one_binds() {
    let mut world = world();
    world.issue("oB", "111111", T);
    let heard = world.says("wmA", "999999 482913 111111", T + 1);
    assert_eq!((heard.answer(), heard.rejected()), (Some(Saying::Bound), vec!["wrong"]));
    assert_eq!(world.guesses, 1);
    assert_eq!(world.pairs(), [("oA", "wmA")]);
}

#[test]
fn several_codes_are_tried_until_the_customer_is_locked() {
    let mut world = world();
    world.policy.wrong_codes_per_customer = Rate { count: 2, window_s: 600 };
    let heard = world.says("wmA", "999999 888888 482913 777777", T + 1);
    assert_eq!(heard.answer(), Some(Saying::Locked));
    assert_eq!(world.guesses, 2);
    assert!(world.pairs().is_empty());
}

#[test]
fn each_wrong_code_of_a_message_counts() {
    let mut world = World::default();
    world.says("wmA", "999999 999999，还有 888888", T);
    assert_eq!(world.guesses, 3);
    assert_eq!(world.customers[&ExternalUserId::new("wmA")].wrong_total, 3);
}

#[test]
fn of_several_answers_the_most_important_is_given() {
    let order = [
        Saying::Bound,
        Saying::Unbound,
        Saying::AlreadyBound,
        Saying::Conflict,
        Saying::Locked,
        Saying::WrongCode,
        Saying::ExpiredCode,
    ];
    assert!(order.is_sorted());
    let mut world = world();
    world.issue("oB", "111111", T);
    world.issue("oC", "222222", T - 1000);
    // wmA is bound to oA; 111111 is a conflict, 222222 has expired, 999999 is wrong.
    world.says("wmA", "482913", T + 1);
    for (text, said) in [
        ("222222 999999", Saying::WrongCode),
        ("999999 222222", Saying::WrongCode),
        ("999999 222222 111111", Saying::Conflict),
        ("111111 482913", Saying::AlreadyBound),
        ("222222", Saying::ExpiredCode),
    ] {
        let mut world = world.clone();
        assert_eq!(world.says("wmA", text, T + 2).answer(), Some(said), "{text}");
    }
    world.policy.wrong_codes_per_customer.count = 1;
    assert_eq!(world.clone().says("wmA", "222222 999999", T + 2).answer(), Some(Saying::Locked));
    assert_eq!(world.clone().says("wmA", "111111 999999", T + 2).answer(), Some(Saying::Conflict));
}

#[test]
fn a_wrong_or_expired_code_is_answered_only_with_little_else_in_the_text() {
    for (beside, answered) in [("", true), ("一二三四五六七八九十", true), ("一二三四五六七八九十多", false)]
    {
        let mut world = world();
        let wrong = world.says("wmA", &format!("{beside} 999999 "), T);
        assert_eq!(wrong.answer(), answered.then_some(Saying::WrongCode), "{beside}");
        assert_eq!(world.guesses, 1, "counted all the same");
        let expired = world.says("wmB", &format!("{beside} 482913"), T + 700);
        assert_eq!(expired.answer(), answered.then_some(Saying::ExpiredCode), "{beside}");
    }
}

#[test]
fn all_other_answers_come_whatever_else_stands_in_the_text() {
    let talk = "你好，我想把我的小程序账号绑定一下，码是";
    let mut world = world();
    world.issue("oB", "111111", T);
    world.policy.wrong_codes_per_customer.count = 1;
    for (text, said) in [
        ("482913", Saying::Bound),
        ("482913", Saying::AlreadyBound),
        ("111111", Saying::Conflict),
        ("999999", Saying::Locked),
    ] {
        assert_eq!(world.says("wmA", &format!("{talk}{text}"), T + 1).answer(), Some(said));
    }
}

#[test]
fn talk_gets_no_answer_and_leaves_nothing() {
    let mut world = world();
    for text in ["", "你好", "13800138000", "2026-11-24", "¥482913", "订单 DD482913", "解绑吧", "please 解绑"]
    {
        assert!(world.says("wmA", text, T).is_talk(), "{text}");
    }
}

#[test]
fn only_words_of_customers_are_decided() {
    let world = world();
    let mut tapped = message("wmA", "482913", T);
    tapped.content = KfContent::Text { content: "482913".to_owned(), menu_id: Some(MenuId::new("x")) };
    let mut media = message("wmA", "", T);
    media.content = KfContent::Other(MessageKind::Media);
    let mut nobody = message("wmA", "482913", T);
    nobody.customer = None;
    for message in [tapped, media, nobody] {
        assert_eq!(world.decide(&message, Timestamp(T)), super::Verdict::default(), "{message:?}");
    }
}

#[test]
fn the_eleventh_answer_in_ten_minutes_is_not_given_unless_it_binds_or_unbinds() {
    let mut world = world();
    world.issue("oC", "222222", T - 1000);
    for n in 0..10 {
        assert_eq!(world.says("wmA", "222222", T + n).answer(), Some(Saying::ExpiredCode), "answer {n}");
    }
    let eleventh = world.says("wmA", "222222", T + 20);
    assert_eq!((eleventh.answer(), eleventh.silent()), (None, Some("muted")));
    assert_eq!(world.says("wmB", "222222", T + 20).answer(), Some(Saying::ExpiredCode), "others hear on");
    assert_eq!(world.says("wmA", "482913", T + 30).answer(), Some(Saying::Bound));
    assert_eq!(world.says("wmA", "482913", T + 31).answer(), None, "already_bound is muted");
    assert_eq!(world.says("wmA", "解绑", T + 40).answer(), Some(Saying::Unbound));
    assert!(world.customers[&ExternalUserId::new("wmA")].answered.len() <= ANSWERS_KEPT_MAX);
}

#[test]
fn a_late_message_makes_no_room_for_more_answers() {
    let mut world = World::default();
    world.issue("oC", "222222", T - 2000);
    for n in 0..10 {
        assert_eq!(world.says("wmA", "222222", T + n).answer(), Some(Saying::ExpiredCode), "answer {n}");
    }
    // Another account's page brings one from ten minutes ago.
    assert_eq!(world.reads("wmA", "222222", T - 591, T + 9).answer(), Some(Saying::ExpiredCode));
    assert_eq!(world.says("wmA", "222222", T + 10).silent(), Some("muted"));
}

#[test]
fn the_mute_ends_ten_minutes_after_the_first_of_the_answers() {
    let mut world = World::default();
    world.issue("oC", "222222", T - 1000);
    for n in 0..10 {
        world.says("wmA", "222222", T + n);
    }
    assert_eq!(world.says("wmA", "222222", T + 599).answer(), None);
    assert_eq!(world.says("wmA", "222222", T + 600).answer(), Some(Saying::ExpiredCode));
    assert_eq!(world.says("wmA", "222222", T + 600).answer(), None, "the second of them still counts");
}

// ---- 5.6: wrong codes ----

#[test]
fn the_wrong_code_that_reaches_the_limit_locks_for_the_rest_of_the_window() {
    let mut world = world();
    for n in 0..4 {
        assert_eq!(world.says("wmA", "999999", T + n * 10).answer(), Some(Saying::WrongCode));
    }
    let fifth = world.says("wmA", "999999", T + 100);
    assert_eq!(fifth.answer(), Some(Saying::Locked));
    assert_eq!(fifth.named().1, 9, "500 s are 9 minutes, rounded up");
    assert_eq!(world.audits, [AuditKind::Locked]);
    let during = world.says("wmA", "482913", T + 599);
    assert_eq!((during.answer(), during.rejected()), (None, vec!["locked"]));
    assert!(world.says("wmA", "999999", T + 599).answer().is_none());
    assert_eq!(world.guesses, 5, "not counted while locked");
    assert_eq!(
        world.says("wmB", "999999", T + 200).answer(),
        Some(Saying::WrongCode),
        "others aren't locked"
    );
    // The window began with the first wrong code, so it ends ten minutes after that.
    world.issue("oB", "111111", T + 600);
    assert_eq!(world.says("wmA", "111111", T + 600).answer(), Some(Saying::Bound));
}

#[test]
fn a_window_begins_with_its_first_wrong_code_and_a_new_one_counts_afresh() {
    let mut world = World::default();
    for sent in [T, T + 1, T + 2, T + 599] {
        assert_eq!(world.says("wmA", "999999", sent).answer(), Some(Saying::WrongCode));
    }
    for sent in [T + 600, T + 601, T + 602, T + 603] {
        assert_eq!(world.says("wmA", "999999", sent).answer(), Some(Saying::WrongCode), "{}", sent - T);
    }
    assert_eq!(world.says("wmA", "999999", T + 604).answer(), Some(Saying::Locked));
}

/// Locks a customer from `sent` on; when the lock ends.
fn lock(world: &mut World, customer: &str, sent: u64) -> u64 {
    let count = world.policy.wrong_codes_per_customer.count;
    for n in 1..=count {
        let said = if n == count { Saying::Locked } else { Saying::WrongCode };
        assert_eq!(world.says(customer, "999999", sent).answer(), Some(said), "wrong code {n}");
    }
    world.customers[&ExternalUserId::new(customer)].locked_until.0
}

#[test]
fn each_lock_doubles_up_to_a_day() {
    let mut world = World::default();
    let mut now = T;
    for lasts in [600, 1200, 2400, 4800, 9600, 19_200, 38_400, 76_800, DAY, DAY, DAY] {
        let until = lock(&mut world, "wmA", now);
        assert_eq!(until - now, lasts);
        assert!(world.says("wmA", "999999", until - 1).answer().is_none());
        now = until;
    }
    assert_eq!(LOCK_S_MAX, DAY);
}

#[test]
fn a_binding_does_not_start_afresh() {
    let mut world = World::default();
    let until = lock(&mut world, "wmA", T);
    world.issue("oA", "482913", until);
    assert_eq!(world.says("wmA", "482913", until).answer(), Some(Saying::Bound));
    assert_eq!(world.says("wmA", "解绑", until + 1).answer(), Some(Saying::Unbound));
    assert_eq!(lock(&mut world, "wmA", until + 2) - (until + 2), 1200, "the second lock");
}

#[test]
fn thirty_days_without_a_wrong_code_start_afresh() {
    for (idle, lasts) in [(FRESH_START_S - 1, 1200), (FRESH_START_S, 600)] {
        let mut world = World::default();
        lock(&mut world, "wmA", T);
        assert_eq!(lock(&mut world, "wmA", T + idle) - (T + idle), lasts, "after {idle} s");
    }
}

#[test]
fn the_hundredth_wrong_code_locks_for_good() {
    let mut world = World::default();
    world.policy.wrong_codes_per_customer = Rate { count: 1000, window_s: 600 };
    for n in 0..99 {
        assert_ne!(world.says("wmA", "999999", T + n * 3600).answer(), Some(Saying::Locked), "code {n}");
    }
    let hundredth = world.says("wmA", "999999", T + 99 * 3600);
    assert_eq!(hundredth.answer(), Some(Saying::Locked));
    assert_eq!(world.audits, [AuditKind::Locked]);
    let later = T + 99 * 3600 + 10 * FRESH_START_S;
    world.issue("oA", "482913", later);
    assert_eq!(world.says("wmA", "482913", later).rejected(), ["locked"], "ten months later still");
    assert_eq!(WRONG_TOTAL_MAX, 100);
}

#[test]
fn what_was_sent_before_the_store_was_made_is_answered_but_not_counted() {
    let mut world = World { store_created_at: Timestamp(T), ..World::default() };
    for _ in 0..9 {
        world.reads("wmA", "999999", T - 1, T);
    }
    assert_eq!(world.guesses, 0);
    assert!(!world.audits.contains(&AuditKind::Locked));
    assert_eq!(world.reads("wmB", "999999", T - 1, T).answer(), Some(Saying::WrongCode));
    world.says("wmA", "999999", T);
    assert_eq!(world.guesses, 1);
}

#[test]
fn late_messages_count_in_the_window_that_is_open() {
    let mut world = World::default();
    world.says("wmA", "999999", T + 100);
    for n in 0..3 {
        world.reads("wmA", "999999", T + n, T + 100);
    }
    assert_eq!(world.reads("wmA", "999999", T + 50, T + 100).answer(), Some(Saying::Locked));
}

// ---- 5.9: undoing in the chat ----

#[test]
fn the_word_unbinds_only_as_the_whole_text() {
    for (text, unbinds) in [
        ("解绑", true),
        ("  解绑\n", true),
        ("解绑。", false),
        ("请解绑", false),
        ("解 绑", false),
        ("", false),
    ] {
        let mut world = world();
        world.says("wmA", "482913", T + 1);
        let heard = world.says("wmA", text, T + 2);
        assert_eq!(world.pairs().is_empty(), unbinds, "{text:?}");
        assert_eq!(heard.answer(), unbinds.then_some(Saying::Unbound));
        assert_eq!(world.audits.contains(&AuditKind::Unbound), unbinds);
    }
}

#[test]
fn the_word_of_somebody_who_is_not_bound_does_nothing() {
    let mut world = world();
    let heard = world.says("wmA", "解绑", T + 1);
    assert_eq!(heard.answer(), None);
    assert!(world.customers.is_empty() && world.audits.is_empty());
    assert!(world.reads("wmA", "482913", T, T + 2).bound_at().is_some(), "no undoing, so no border");
}

#[test]
fn the_word_sent_before_the_binding_does_not_end_it() {
    for (sent, unbinds) in [(T + 99, false), (T + 100, true)] {
        let mut world = world();
        world.says("wmA", "482913", T + 100);
        world.reads("wmA", "解绑", sent, T + 200);
        assert_eq!(world.pairs().is_empty(), unbinds, "sent {}", sent - T);
    }
}

#[test]
fn a_locked_customer_can_still_unbind() {
    let mut world = world();
    world.says("wmA", "482913", T);
    lock(&mut world, "wmA", T + 1);
    assert_eq!(world.says("wmA", "解绑", T + 2).answer(), Some(Saying::Unbound));
    assert!(world.pairs().is_empty());
}

#[test]
fn without_a_word_nobody_unbinds_in_the_chat() {
    let mut world = world();
    world.policy.unbind_word = None;
    world.says("wmA", "482913", T);
    assert!(world.says("wmA", "解绑", T + 1).is_talk());
    assert!(world.says("wmA", "", T + 1).is_talk());
    assert_eq!(world.pairs(), [("oA", "wmA")]);
}

// ---- 5.10: old messages ----

#[test]
fn a_message_older_than_ten_minutes_is_acted_on_but_not_answered() {
    for (age, answered) in [(ANSWER_AGE_S_MAX, true), (ANSWER_AGE_S_MAX + 1, false)] {
        let mut world = world();
        let bound = world.reads("wmA", "482913", T, T + age);
        assert!(bound.bound_at().is_some());
        assert_eq!(bound.answer().is_some(), answered);
        let wrong = world.reads("wmB", "999999", T, T + age);
        assert_eq!((wrong.answer().is_some(), world.guesses), (answered, 1));
        world.reads("wmA", "解绑", T, T + age);
        assert!(world.pairs().is_empty());
    }
    assert_eq!(ANSWER_AGE_S_MAX, 600);
}

#[test]
fn an_unanswered_message_uses_up_no_answers() {
    let mut world = World::default();
    for n in 0..20 {
        world.reads("wmA", "482913 的码", T + n, T + 10_000);
    }
    assert!(world.customers[&ExternalUserId::new("wmA")].answered.is_empty());
}

mod random {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[0-9 \\-.,:/¥_A-Za-z解绑码\u{200b}]{0,40}",
            Just("482913".to_owned()),
            Just("解绑".to_owned()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_at_any_time_panics_or_gets_two_answers(
            texts in prop::collection::vec((text(), any::<u64>(), any::<u64>()), 1..20),
        ) {
            let mut world = world();
            for (text, sent, now) in texts {
                let heard = world.reads("wmA", &text, sent, now);
                let answers = heard.0.effects.iter().filter(|e| matches!(e, super::super::Effect::Answer(_)));
                prop_assert!(answers.count() <= 1);
            }
        }

        #[test]
        fn a_code_binds_at_most_once_whatever_is_said(
            steps in prop::collection::vec((0..3_u8, 0..4_u8, 0..800_u64), 1..40),
            replaces: bool,
        ) {
            let mut world = if replaces { replacing() } else { World::default() };
            for (openid, code) in [("oA", "111111"), ("oB", "222222"), ("oC", "333333")] {
                world.issue(openid, code, T);
            }
            let mut spent = std::collections::BTreeSet::new();
            for (customer, what, at) in steps {
                let text = ["111111", "222222", "333333", "解绑"][usize::from(what)];
                let heard = world.reads(["wmA", "wmB", "wmC"][usize::from(customer)], text, T + at, T + 800);
                if heard.bound_at().is_some() {
                    prop_assert!(spent.insert(BindCode::new(text)), "{} bound twice", text);
                }
            }
        }
    }
}
