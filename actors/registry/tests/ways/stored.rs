//! What the further ways leave on the disk: nothing where they are off, nothing for ever, and all of it in an export.

use super::{Ways, all_ways, look, rig};
use crate::{
    archive::{Archive, Restore},
    ids::{
        BindCode, ExternalUserId, MenuId, OpenId, OpenKfId, ReplyId, Ticket, Timestamp, UnionId, UserId,
        WelcomeCode,
    },
    messages::{
        IssuedTicket, KfLink, Notify, OutboxTask, Say, StaffBindRequest, StaffTicketRequest, TicketRequest,
        Welcome,
    },
    policy::{Handover, OnConflict},
    ports::{MenuItem, Notice, Profile, Reply, Words},
    registry::{
        SCHEMA,
        marker::{self, Marker},
        records::{
            CUSTOMER, CustomerPerson, Delivery, Method, OutboxTaskRecord, QuestionId, QuestionRecord, SAME,
            SayRecord, StoreMeta, Subject, TicketRecord, USER, WordsRecord, decode, encode,
        },
        store::TreeId,
        tests::{DAY, everything, open, put},
    },
    testing::rig::{ACCOUNT, BEGIN, Rig},
};

const NEW_TREES: [TreeId; 4] = [TreeId::People, TreeId::Tickets, TreeId::Questions, TreeId::Windows];

async fn everything_on() -> Rig {
    Rig::start_with(
        |setup| {
            setup.policy.ways = all_ways();
            setup.policy.handover = Handover::Pool;
            setup.policy.confirm_code = true;
        },
        &[ACCOUNT],
    )
    .await
}

/// Something in every tree.
async fn live(rig: &mut Rig) {
    rig.wecom.set_profile("wmA", "Ann", Some("u1"));
    rig.wecom.set_profile("wmC", "Cat", Some("u3"));
    rig.handles().meet(OpenId::new("oA"), UnionId::new("u1")).await.unwrap();
    rig.handles().open_intent(OpenId::new("oB"), None).await.unwrap();
    rig.chat("wmA", "你好").await;
    let code = rig.new_code("oC").await;
    rig.chat("wmB", code.code.as_str()).await;
    rig.chat("wmC", "你好").await;
    rig.chat("wmD", "999999").await;
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_everything_off_not_one_record_more_is_written_but_at_an_unbinding() {
    let mut rig = rig(Ways::default()).await;
    rig.wecom.enters(ACCOUNT, "wmB", Some(&Ticket::new("T")), Some("W"), rig.now());
    rig.wecom.taps(ACCOUNT, "wmB", &MenuId::new("101"), rig.now());
    rig.chat("wmB", "你好").await;
    rig.bind("oA", "wmA").await;
    rig.chat("wmA", "999999").await;
    rig.handles().unbind(OpenId::new("oZ")).await.unwrap();
    rig.down().await;
    let of_the_ways = |all: Vec<(TreeId, Vec<u8>, Vec<u8>)>| {
        all.into_iter().filter(|(tree, ..)| NEW_TREES.contains(tree)).count()
    };
    assert_eq!(of_the_ways(everything(&rig).await), 0);
    rig.up().await.unwrap();
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    rig.down().await;
    // Whom the same unionid must not bind again, should that way be switched on.
    assert_eq!(of_the_ways(everything(&rig).await), 1);
}

#[tokio::test(start_paused = true)]
async fn people_of_whom_nothing_matters_any_more_are_forgotten_and_their_unionid_with_them() {
    let mut rig = everything_on().await;
    live(&mut rig).await;
    rig.settled().await;
    rig.clock.advance(32 * DAY);
    rig.pass(3).await;
    rig.down().await;
    let before = records_of_people(&rig).await;
    assert!(before.contains(&(CUSTOMER, "wmC".to_owned())) && before.contains(&(SAME, "u3".to_owned())));
    rig.up().await.unwrap();
    rig.clock.advance(2 * DAY);
    rig.pass(3).await;
    rig.down().await;
    let kept = records_of_people(&rig).await;
    let expected = [
        (CUSTOMER, "wmA"), // was unbound from somebody
        (USER, "oA"),      // a user with a unionid is waited for
        (SAME, "u1"),
    ];
    let expected: Vec<(u8, String)> = expected.into_iter().map(|(kind, id)| (kind, id.to_owned())).collect();
    assert_eq!(kept, expected);
    assert!(
        everything(&rig)
            .await
            .iter()
            .all(|(tree, ..)| { !matches!(tree, TreeId::Tickets | TreeId::Questions) })
    );
}

async fn records_of_people(rig: &Rig) -> Vec<(u8, String)> {
    let all = everything(rig).await.into_iter().filter(|(tree, ..)| *tree == TreeId::People);
    all.map(|(_, key, _)| (key[0], String::from_utf8(key[1..].to_vec()).unwrap())).collect()
}

#[tokio::test(start_paused = true)]
async fn who_is_bound_is_not_forgotten_and_a_long_lived_ticket_stays_dead() {
    let mut rig = Rig::start_with(
        |setup| {
            setup.policy.ways = Ways { card: true, ..Ways::default() };
            setup.policy.card_ttl_s = 60 * DAY;
            setup.policy.on_conflict = OnConflict::Replace;
        },
        &[ACCOUNT],
    )
    .await;
    rig.chat("wmA", "你好").await;
    let card = rig.wecom.card("wmA").unwrap().split_once("?ticket=").unwrap().1.to_owned();
    rig.bind("oA", "wmA").await;
    rig.clock.advance(40 * DAY);
    rig.pass(3).await;
    let request = TicketRequest { openid: OpenId::new("oB"), unionid: None, ticket: Ticket::new(card) };
    assert!(rig.handles().redeem_ticket(request).await.unwrap().is_err());
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
}

#[tokio::test(start_paused = true)]
async fn an_export_brings_all_of_it_over() {
    let mut rig = everything_on().await;
    live(&mut rig).await;
    rig.settled().await;
    rig.down().await;
    let before = everything(&rig).await;
    for tree in NEW_TREES {
        assert!(before.iter().any(|(of, ..)| *of == tree), "nothing in {tree:?}");
    }
    let target = tempfile::TempDir::new().unwrap();
    let mut archive = Archive::open(rig.path()).unwrap();
    let mut restore = Restore::begin(target.path(), Timestamp(BEGIN)).unwrap();
    loop {
        let chunk = archive.chunk().unwrap();
        if chunk.is_empty() {
            break;
        }
        for record in chunk {
            let mut value = record.value;
            if record.key == b"store" {
                // As an export of the first layout would have it.
                let meta: StoreMeta = decode(TreeId::Meta, &value).unwrap();
                value = encode(TreeId::Meta, &StoreMeta { schema: 1, ..meta }).unwrap();
            }
            restore.add(record.tree, record.key, value).unwrap();
        }
    }
    restore.finish().unwrap();
    let store = open(target.path()).await;
    for (tree, key, value) in before {
        let found = store.get(tree, &key).unwrap().expect("a record").to_vec();
        if key == b"store" {
            let meta: StoreMeta = decode(TreeId::Meta, &found).unwrap();
            assert_eq!(meta.schema, SCHEMA);
        } else {
            assert_eq!(found, value, "{tree:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_of_the_first_layout_opens_and_is_one_of_this_layout_from_then_on() {
    let mut rig = rig(Ways::default()).await;
    rig.bind("oA", "wmA").await;
    rig.down().await;
    let bytes = open(rig.path()).await.get(TreeId::Meta, b"store").unwrap().expect("whose store it is");
    let meta: StoreMeta = decode(TreeId::Meta, &bytes).unwrap();
    put(&rig, TreeId::Meta, b"store", &StoreMeta { schema: 1, ..meta }).await;
    marker::write(rig.path(), Marker::Ready(1)).unwrap();
    rig.setup.policy.ways = all_ways();
    rig.up().await.unwrap();
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    rig.chat("wmB", "你好").await;
    rig.down().await;
    assert_eq!(marker::read(rig.path()).unwrap(), Some(Marker::Ready(SCHEMA)));
    assert_eq!(Archive::open(rig.path()).unwrap().head().schema, SCHEMA);
}

#[tokio::test(start_paused = true)]
async fn a_tap_and_its_page_twice_have_their_effect_once_across_a_restart() {
    let mut rig = everything_on().await;
    let code = rig.new_code("oC").await;
    rig.chat("wmB", code.code.as_str()).await;
    let (yes, _) = rig.wecom.question("wmB").unwrap();
    rig.wecom.taps(ACCOUNT, "wmB", &yes, rig.now());
    look(&mut rig).await;
    assert_eq!(rig.bound_to("oC").await.as_deref(), Some("wmB"));
    let (heard, moved) = (rig.heard("wmB").len(), rig.wecom.transfers().len());
    rig.down().await;
    // The cursor is lost: everything is read once more.
    let store = open(rig.path()).await;
    let key = ACCOUNT.as_bytes().to_vec();
    store.commit(&[(TreeId::Cursors, [(key, None)].into())].into()).unwrap();
    drop(store);
    rig.up().await.unwrap();
    rig.has_link().await;
    look(&mut rig).await;
    assert_eq!(rig.bound_to("oC").await.as_deref(), Some("wmB"));
    assert_eq!((rig.heard("wmB").len(), rig.wecom.transfers().len()), (heard, moved));
}

#[test]
fn debug_of_what_is_to_be_said_shows_no_right_to_speak_no_answer_and_no_text() {
    let hush = || "Hush".to_owned();
    let (account, customer) = (OpenKfId::new("wkA"), ExternalUserId::new("wmA"));
    let openid = OpenId::new("oA");
    let reply = Reply {
        account: account.clone(),
        customer: customer.clone(),
        reply_id: ReplyId::new("r"),
        words: Words::Menu {
            head: hush(),
            items: vec![
                MenuItem::Click { id: MenuId::new("Hush"), label: hush() },
                MenuItem::Page { path: hush(), label: hush() },
            ],
        },
    };
    let welcome = Welcome { code: WelcomeCode::new("Hush"), entered_at: Timestamp(1) };
    let say = OutboxTask::Say(Box::new(Say { reply, welcome: Some(welcome), begun: false }));
    let data = vec![("thing1".to_owned(), hush())];
    let notice = Notice { openid, template_id: "t".to_owned(), data, bound_at: Timestamp(1) };
    let notify = OutboxTask::Notify(Box::new(Notify { notice, customer: customer.clone(), begun: false }));
    let stored = OutboxTaskRecord::Say(Box::new(SayRecord {
        account: account.clone(),
        customer: customer.clone(),
        reply_id: ReplyId::new("r"),
        words: WordsRecord::Text(hush()),
        welcome: Some((WelcomeCode::new("Hush"), Timestamp(1))),
        question: Some(QuestionId(*b"HushHushHushHush")),
        begun: false,
    }));
    assert_hushed(&format!("{say:?} {notify:?} {stored:?}"));
}

#[test]
fn debug_of_what_opens_something_does_not_show_it() {
    let (account, customer) = (OpenKfId::new("wkA"), ExternalUserId::new("wmA"));
    let (openid, userid) = (OpenId::new("oA"), UserId::new("s1"));
    let ticket = || Ticket::new("Hush");
    let question = QuestionRecord {
        customer: customer.clone(),
        epoch: 0,
        openid: openid.clone(),
        subject: Subject::Link(BindCode::new("Hush")),
        account: account.clone(),
        until: Timestamp(1),
        answered: false,
        delivery: Delivery::Said,
    };
    let person = CustomerPerson {
        declined: vec![(Subject::Code(BindCode::new("Hush")), Timestamp(1))],
        questions: vec![QuestionId(*b"HushHushHushHush")],
        ..CustomerPerson::default()
    };
    let record = TicketRecord {
        customer: customer.clone(),
        epoch: 0,
        account: Some(account.clone()),
        method: Method::Card,
        by: None,
        made_ms: 1,
        expires_at: Timestamp(1),
        used_by: None,
        conflicts: vec![],
    };
    let issued =
        IssuedTicket { ticket: ticket(), path: "p.html?ticket=Hush".to_owned(), expires_at: Timestamp(1) };
    let request = TicketRequest { openid, unionid: None, ticket: ticket() };
    let typed = StaffBindRequest {
        userid: userid.clone(),
        customer: customer.clone(),
        code: BindCode::new("Hush"),
        account: None,
    };
    let card = StaffTicketRequest { userid, customer: customer.clone(), account: None };
    let link = KfLink { url: "https://x/kf?enc_scene=E&scene_param=Hush".to_owned(), account: Some(account) };
    let profile = Profile { customer, nickname: None, unionid: None, entered_with: Some(ticket()) };
    let shown = format!(
        "{question:?} {person:?} {record:?} {issued:?} {request:?} {typed:?} {card:?} {link:?} {profile:?}"
    );
    assert_hushed(&shown);
    assert!(shown.contains("https://x/kf"), "{shown}");
}

fn assert_hushed(shown: &str) {
    let bytes = format!("{:?}", b"Hush");
    assert!(!shown.contains("Hush") && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    assert!(shown.contains("wmA"), "{shown}");
}
