//! Nothing names a person any more who was erased, nothing of before comes back to life, and what they do afterwards is
//! kept.

use std::sync::Arc;

use ractor::RpcReplyPort;

use crate::{
    ids::{ExternalUserId, MessageId, OpenId, OpenKfId, Timestamp, UnionId, UserId},
    messages::{
        AdminBindOutcome, AdminBindRequest, IssueOutcome, IssueRequest, KfLink, Learned, PageCommit, Person,
        Refusal, RegistryMessage, StaffTicketRequest,
    },
    policy::Ways,
    ports::{KfContent, KfMessage, Page, Profile},
    registry::{Opened, RegistryOptions, open as open_registry, records::ErasureRecord, store::TreeId},
    tally::Tally,
    testing::{
        ManualClock, SeededEntropy, policy,
        rig::{ACCOUNT, BEGIN},
    },
};

const WAYS: Ways = Ways { link: true, card: true, unionid: true, window: true, staff: true };

fn user(openid: &str) -> Person {
    Person::User(OpenId::new(openid))
}

fn customer(customer: &str) -> Person {
    Person::Customer(ExternalUserId::new(customer))
}

// ---- Batches, by hand -------------------------------------------------------------------------------------------

/// A writer whose batches are made by hand.
struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    opened: Opened,
}

fn opened(path: &std::path::Path, clock: &Arc<ManualClock>) -> Opened {
    let options = RegistryOptions {
        path: path.to_owned(),
        corp_id: "ww1".to_owned(),
        policy: crate::policy::Policy { ways: WAYS, announces: true, ..policy() },
        clock: Arc::<ManualClock>::clone(clock),
        entropy: Arc::new(SeededEntropy::new(1)),
        tally: Tally::default(),
    };
    open_registry(options).unwrap()
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::at(BEGIN));
        let mut bench = Self { opened: opened(dir.path(), &clock), dir, clock };
        let link =
            KfLink { url: "https://e.com/kf?enc_scene=E".to_owned(), account: Some(OpenKfId::new(ACCOUNT)) };
        let (command, _) = ask(|reply| RegistryMessage::SaveLink(link, reply));
        bench.batch(vec![command]);
        bench
    }

    fn batch(&mut self, commands: Vec<RegistryMessage>) {
        let (sender, queue) = std::sync::mpsc::channel();
        for command in commands {
            sender.send(command).unwrap();
        }
        drop(sender);
        self.opened.writer.run(&queue).unwrap();
    }

    fn naming(&self, names: &[&str]) -> Vec<TreeId> {
        let store = &self.opened.writer.store;
        let holds = |bytes: &[u8], name: &str| bytes.windows(name.len()).any(|part| part == name.as_bytes());
        let mut found = Vec::new();
        for tree in TreeId::ALL {
            for entry in store.range(tree, &[]).unwrap() {
                let (key, value) = entry.unwrap();
                if names.iter().any(|name| holds(&key, name) || holds(&value, name)) {
                    found.push(tree);
                }
            }
        }
        found
    }
}

type Answer<T> = ractor::concurrency::OneshotReceiver<T>;

fn ask<T>(build: impl FnOnce(RpcReplyPort<T>) -> RegistryMessage) -> (RegistryMessage, Answer<T>) {
    let (reply, answer) = ractor::concurrency::oneshot();
    (build(RpcReplyPort::from(reply)), answer)
}

fn erase(person: Person) -> (RegistryMessage, Answer<Result<bool, Refusal>>) {
    ask(|reply| RegistryMessage::Erase(person, reply))
}

fn put_binding(openid: &str, customer: &str) -> (RegistryMessage, Answer<Result<AdminBindOutcome, Refusal>>) {
    let request = AdminBindRequest {
        openid: OpenId::new(openid),
        customer: ExternalUserId::new(customer),
        account: None,
    };
    ask(|reply| RegistryMessage::BindForAdmin(request, reply))
}

fn issue(openid: &str) -> (RegistryMessage, Answer<Result<IssueOutcome, Refusal>>) {
    let request = IssueRequest { openid: OpenId::new(openid), unionid: None, renew: true };
    ask(|reply| RegistryMessage::Issue(request, reply))
}

fn page(messages: Vec<KfMessage>, unreadable: Vec<String>) -> RegistryMessage {
    let page = Page { messages, unreadable, ..Page::default() };
    let commit =
        PageCommit { account: OpenKfId::new(ACCOUNT), page, sync_token: None, learned: Learned::default() };
    ask(|reply| RegistryMessage::CommitPage(Box::new(commit), reply)).0
}

fn text(msgid: &str, customer: &str, text: &str, sent: u64) -> KfMessage {
    KfMessage {
        msgid: MessageId::new(msgid),
        account: OpenKfId::new(ACCOUNT),
        customer: Some(ExternalUserId::new(customer)),
        send_time: Timestamp(sent),
        content: KfContent::Text { content: text.to_owned(), menu_id: None },
    }
}

fn code_of(mut answer: Answer<Result<IssueOutcome, Refusal>>) -> String {
    match answer.try_recv().unwrap().unwrap() {
        IssueOutcome::Issued(code) => code.code.as_str().to_owned(),
        other => panic!("no new code: {other:?}"),
    }
}

#[test]
fn what_names_somebody_within_the_very_batch_of_their_erasure_is_found_too() {
    let mut bench = Bench::new();
    let (bind, _) = put_binding("oErased", "wmErased");
    let came = page(
        vec![text("m1", "wmErased", "999999", BEGIN), text("m2", "wmErased", "你好", BEGIN)],
        vec!["{wmErased".to_owned()],
    );
    let (gone, mut answer) = erase(user("oErased"));
    bench.batch(vec![came, bind, gone]);
    bench.batch(vec![RegistryMessage::Sweep]);
    assert_eq!(answer.try_recv().unwrap(), Ok(true));
    // That they were bound and are no more is still to be told to the back end.
    assert_eq!(bench.naming(&["oErased", "wmErased"]), [TreeId::Webhooks; 2]);
}

#[test]
fn who_is_erased_twice_within_a_second_has_nothing_left_of_the_time_between() {
    let mut bench = Bench::new();
    let (bind, _) = put_binding("oErased", "wmErased");
    let (first, _) = erase(user("oErased"));
    let (again, _) = put_binding("oErased", "wmErased");
    let (second, mut answer) = erase(user("oErased"));
    bench.batch(vec![bind, first, again, second]);
    bench.batch(vec![RegistryMessage::Sweep]);
    assert_eq!(answer.try_recv().unwrap(), Ok(true));
    assert_eq!(bench.naming(&["oErased", "wmErased"]), [TreeId::Webhooks; 4]);
    for (_, record) in records_of::<ErasureRecord>(&bench, TreeId::Erasures) {
        assert!(record.is_done, "nothing is left to do at the next start");
    }
}

fn records_of<T: serde::de::DeserializeOwned>(bench: &Bench, tree: TreeId) -> Vec<(Vec<u8>, T)> {
    let entries = bench.opened.writer.store.range(tree, &[]).unwrap().map(Result::unwrap);
    entries
        .map(|(key, value)| (key.to_vec(), crate::registry::records::decode(tree, &value).unwrap()))
        .collect()
}

#[test]
fn no_code_of_between_two_erasures_within_a_second_comes_back_to_life() {
    let mut bench = Bench::new();
    let (first, _) = erase(user("oErased"));
    bench.batch(vec![first]);
    let (made, answer) = issue("oErased");
    bench.batch(vec![made]);
    let code = code_of(answer);
    let (second, mut answer) = erase(user("oErased"));
    bench.batch(vec![second]);
    bench.batch(vec![RegistryMessage::Sweep]);
    assert_eq!(answer.try_recv().unwrap(), Ok(true));
    assert_eq!(bench.naming(&["oErased"]), []);
    let (made, _) = issue("oErased");
    bench.batch(vec![made]);
    bench.batch(vec![page(vec![text("m1", "wmB", &code, BEGIN)], Vec::new())]);
    assert_eq!(bench.opened.writer.store.count(TreeId::Bindings).unwrap(), 0);
}

#[test]
fn nobody_who_is_unknown_is_erased_whatever_else_there_is() {
    let mut bench = Bench::new();
    let card = StaffTicketRequest {
        userid: UserId::new("s1"),
        customer: ExternalUserId::new("wmOther"),
        account: Some(OpenKfId::new(ACCOUNT)),
    };
    let (made, _) = ask(|reply| RegistryMessage::MakeTicket(card, reply));
    bench.batch(vec![made, page(vec![text("m1", "wmOther", "你好", BEGIN)], Vec::new())]);
    for person in [user("oNobody"), customer("wmNobody")] {
        let (gone, mut answer) = erase(person.clone());
        bench.batch(vec![gone]);
        bench.batch(vec![RegistryMessage::Sweep]);
        assert_eq!(answer.try_recv().unwrap(), Ok(false), "{person:?}");
    }
}

#[test]
fn what_an_erased_customer_sent_before_leaves_nothing_when_it_is_read_late() {
    let mut bench = Bench::new();
    bench.batch(vec![page(vec![text("m1", "wmErased", "你好", BEGIN)], Vec::new())]);
    bench.clock.advance(10);
    let (gone, mut answer) = erase(customer("wmErased"));
    bench.batch(vec![gone]);
    bench.batch(vec![RegistryMessage::Sweep]);
    assert_eq!(answer.try_recv().unwrap(), Ok(true));
    let late = vec![text("m2", "wmErased", "999999", BEGIN + 1), text("m3", "wmErased", "在吗", BEGIN + 2)];
    let learned =
        Learned { asked: vec![ExternalUserId::new("wmErased")], profiles: vec![profile("wmErased")] };
    let commit = PageCommit {
        account: OpenKfId::new(ACCOUNT),
        page: Page { messages: late, ..Page::default() },
        sync_token: None,
        learned,
    };
    bench.batch(vec![ask(|reply| RegistryMessage::CommitPage(Box::new(commit), reply)).0]);
    assert_eq!(bench.naming(&["wmErased"]), []);
    // What is sent afterwards counts.
    bench.batch(vec![page(vec![text("m4", "wmErased", "999998", BEGIN + 10)], Vec::new())]);
    assert!(bench.naming(&["wmErased"]).contains(&TreeId::Attempts));
}

fn profile(customer: &str) -> Profile {
    Profile {
        customer: ExternalUserId::new(customer),
        nickname: Some("Ann".to_owned()),
        unionid: Some(UnionId::new("uErased")),
        entered_with: None,
    }
}

#[test]
fn what_wecom_was_asked_for_a_binding_of_before_the_erasure_is_not_taken_up() {
    let mut bench = Bench::new();
    let (bind, _) = put_binding("oErased", "wmErased");
    bench.batch(vec![bind]);
    let (gone, _) = erase(user("oErased"));
    bench.batch(vec![gone]);
    let (told, mut kept) =
        ask(|reply| RegistryMessage::SaveProfilesOfBound(vec![profile("wmErased")], reply));
    bench.batch(vec![told]);
    assert_eq!(kept.try_recv().unwrap(), Ok(()));
    assert_eq!(bench.naming(&["wmErased", "uErased"]), [TreeId::Webhooks; 2]);
}

#[test]
fn an_erasure_while_our_clock_was_a_year_ahead_shuts_nobody_out_for_a_year() {
    let mut bench = Bench::new();
    bench.clock.advance(365 * 24 * 3600);
    let (gone, _) = erase(customer("wmErased"));
    bench.batch(vec![gone]);
    bench.clock.set(BEGIN);
    let (made, answer) = issue("oB");
    bench.batch(vec![made]);
    let code = code_of(answer);
    bench.batch(vec![page(vec![text("m1", "wmErased", &code, BEGIN)], Vec::new())]);
    assert_eq!(bench.opened.writer.store.count(TreeId::Bindings).unwrap(), 1);
}

#[test]
fn an_erasure_cut_short_goes_on_after_the_start() {
    let mut bench = Bench::new();
    for (openid, other) in [("oErased", "wmErased"), ("oOther", "wmOther")] {
        let (bind, _) = put_binding(openid, other);
        bench.batch(vec![bind]);
    }
    let (gone, mut answer) = erase(user("oErased"));
    // The batch is committed, and the pass has not begun.
    bench.opened.writer.batch(vec![gone]).unwrap();
    assert!(answer.try_recv().is_err(), "nobody is told before the pass is over");
    assert!(bench.naming(&["oErased"]).contains(&TreeId::Audit));
    let image = tempfile::TempDir::new().unwrap();
    super::copy(bench.dir.path(), image.path());
    let mut bench = Bench { opened: opened(image.path(), &bench.clock), dir: image, clock: bench.clock };
    bench.batch(vec![RegistryMessage::Sweep]);
    assert_eq!(bench.naming(&["oErased", "wmErased"]), [TreeId::Webhooks; 2]);
    assert!(bench.naming(&["oOther"]).contains(&TreeId::Audit), "others stay");
    assert_eq!(bench.opened.writer.desk.outbox, 1, "{:?}", bench.dir.path());
}

fn announce(openid: &str) -> RegistryMessage {
    ask(|reply| RegistryMessage::OpenIntent(OpenId::new(openid), None, reply)).0
}

#[test]
fn who_was_erased_can_announce_themselves_at_once() {
    let mut bench = Bench::new();
    bench.batch(vec![issue("oErased").0]);
    bench.batch(vec![erase(user("oErased")).0]);
    bench.clock.advance(70);
    bench.batch(vec![announce("oErased")]);
    bench.batch(vec![page(vec![text("m1", "wmA", "你好", BEGIN + 70)], Vec::new())]);
    assert_eq!(bench.opened.writer.store.count(TreeId::Questions).unwrap(), 1, "they are asked for");
}

#[test]
fn that_an_erased_customer_came_still_counts_against_who_came_beside_them() {
    let mut bench = Bench::new();
    bench.clock.advance(100);
    bench.batch(vec![announce("oA")]);
    bench.clock.advance(10);
    bench.batch(vec![erase(customer("wmErased")).0]);
    bench.batch(vec![page(vec![text("m1", "wmErased", "你好", BEGIN + 105)], Vec::new())]);
    bench.batch(vec![page(vec![text("m2", "wmA", "你好", BEGIN + 110)], Vec::new())]);
    assert_eq!(bench.opened.writer.store.count(TreeId::Questions).unwrap(), 0);
    assert_eq!(bench.naming(&["wmErased"]), []);
}
