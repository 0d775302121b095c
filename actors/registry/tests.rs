//! The registry on a real store: codes, versions, restarts, forgetting.

use std::{path::Path, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    records::{AuditKind, AuditRecord, CodeRecord, CustomerRecord, StoreMeta, decode, encode, number},
    store::{Store, StoreError, TreeId},
};
use crate::{
    ids::{ExternalUserId, OpenId, Timestamp, UnionId},
    messages::{BindingQuery, BindingStatus, IssueOutcome, PendingCode},
    policy::{CodeFormat, Rate},
    ports::{Clock as _, Entropy},
    system::StartError,
    testing::{
        ScriptedWeCom,
        rig::{ACCOUNT, BEGIN, Rig, Setup, eventually},
    },
};

mod erasure;
mod model;
mod walk;
mod ways;

const DAY: u64 = 24 * 3600;
const HOUR: u64 = 3600;

/// Opens a store that was just closed, whose threads may hold it a moment longer.
async fn open(path: &Path) -> Store {
    let mut open = None;
    eventually("the store can be opened", async || !matches!(Store::open(path), Err(StoreError::Locked(_))))
        .await;
    while open.is_none() {
        open = Store::open(path).ok();
    }
    open.unwrap()
}

/// The records of a tree. The rig must be down.
async fn records<T: DeserializeOwned>(rig: &Rig, tree: TreeId) -> Vec<(Vec<u8>, T)> {
    let store = open(rig.path()).await;
    let entries = store.range(tree, &[]).unwrap();
    entries.map(|entry| entry.unwrap()).map(|(k, v)| (k.to_vec(), decode(tree, &v).unwrap())).collect()
}

/// All keys and values. The rig must be down.
async fn everything(rig: &Rig) -> Vec<(TreeId, Vec<u8>, Vec<u8>)> {
    let store = open(rig.path()).await;
    let entries = |tree| store.range(tree, &[]).unwrap().map(move |entry| (tree, entry.unwrap()));
    TreeId::ALL
        .into_iter()
        .flat_map(entries)
        .map(|(tree, (key, value))| (tree, key.to_vec(), value.to_vec()))
        .collect()
}

/// Puts a record into a tree. The rig must be down.
async fn put<T: Serialize>(rig: &Rig, tree: TreeId, key: &[u8], record: &T) {
    let change = [(key.to_vec(), Some(encode(tree, record).unwrap()))];
    open(rig.path()).await.commit(&[(tree, change.into())].into()).unwrap();
}

fn issued(outcome: IssueOutcome) -> PendingCode {
    match outcome {
        IssueOutcome::Issued(code) => code,
        other => panic!("no new code: {other:?}"),
    }
}

// ---- Codes ----------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_code_with_more_than_half_its_life_left_is_given_again() {
    let rig = Rig::start().await;
    let first = issued(rig.issue("oA").await);
    assert_eq!(first.expires_at, Timestamp(BEGIN + 600));
    assert_eq!(first.display.replace(' ', ""), first.code.as_str());
    rig.clock.set(BEGIN + 299);
    assert_eq!(rig.issue("oA").await, IssueOutcome::Again(first.clone()));
    rig.clock.set(BEGIN + 300);
    let second = issued(rig.issue("oA").await);
    assert_ne!(second.code, first.code);
    assert_eq!(second.expires_at, Timestamp(BEGIN + 900));
}

#[tokio::test(start_paused = true)]
async fn a_new_code_revokes_the_old_one() {
    let mut rig = Rig::start().await;
    let first = rig.new_code("oA").await;
    rig.clock.advance(1);
    let second = rig.new_code("oA").await;
    assert_ne!(first.code, second.code);
    assert!(matches!(rig.status("oA").await, BindingStatus::Pending(code) if code.code == second.code));
    rig.chat("wmA", first.code.as_str()).await;
    assert_eq!(rig.bound_to("oA").await, None);
    assert_eq!(rig.heard("wmA"), [format!("expired {}", first.display)]);
    rig.chat("wmA", second.code.as_str()).await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
}

#[tokio::test(start_paused = true)]
async fn the_sixth_code_within_a_minute_has_to_wait() {
    let rig = Rig::start().await;
    let handles = rig.handles();
    let again = || handles.issue(OpenId::new("oA"), None, true);
    for second in 0..5 {
        rig.clock.set(BEGIN + second * 10);
        issued(again().await.unwrap());
    }
    let live = issued(rig.issue("oB").await);
    rig.clock.set(BEGIN + 59);
    assert_eq!(again().await.unwrap(), IssueOutcome::TooMany { retry_after_s: 1 });
    rig.clock.set(BEGIN + 41);
    assert_eq!(again().await.unwrap(), IssueOutcome::TooMany { retry_after_s: 19 });
    assert!(matches!(rig.issue("oA").await, IssueOutcome::Again(_)), "the live one is still given");
    assert_eq!(rig.issue("oB").await, IssueOutcome::Again(live), "others are not limited");
    rig.clock.set(BEGIN + 60);
    issued(again().await.unwrap());
    assert_eq!(again().await.unwrap(), IssueOutcome::TooMany { retry_after_s: 10 });
}

#[tokio::test(start_paused = true)]
async fn the_limit_on_codes_survives_unbinding_and_a_restart() {
    let mut rig =
        Rig::start_with(|s| s.policy.codes_per_openid = Rate { count: 2, window_s: 60 }, &[ACCOUNT]).await;
    rig.new_code("oA").await;
    rig.new_code("oA").await;
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    rig.restart().await;
    assert_eq!(rig.issue("oA").await, IssueOutcome::TooMany { retry_after_s: 60 });
}

#[tokio::test(start_paused = true)]
async fn a_code_made_while_our_clock_was_ahead_is_not_given_again_once_the_clock_is_right() {
    let mut rig = Rig::start().await;
    rig.clock.set(BEGIN + DAY);
    let ahead = issued(rig.issue("oA").await);
    rig.clock.set(BEGIN + 10);
    let code = issued(rig.issue("oA").await);
    assert_ne!(code.code, ahead.code);
    rig.chat("wmA", code.code.as_str()).await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
}

#[tokio::test(start_paused = true)]
async fn codes_made_while_our_clock_was_ahead_count_for_no_longer_than_others() {
    let rig = Rig::start().await;
    rig.clock.set(BEGIN + DAY);
    for _ in 0..5 {
        rig.new_code("oA").await;
    }
    // A step back by seconds, as time services make them, lifts no limit.
    rig.clock.set(BEGIN + DAY - 2);
    let outcome = rig.handles().issue(OpenId::new("oA"), None, true).await.unwrap();
    assert!(matches!(outcome, IssueOutcome::TooMany { retry_after_s: 62 }), "{outcome:?}");
    rig.clock.set(BEGIN + 10);
    rig.new_code("oA").await;
}

#[tokio::test(start_paused = true)]
async fn guesses_that_wecom_dates_far_ahead_make_codes_longer_for_a_day_and_no_longer() {
    let mut rig = Rig::start().await;
    for n in 0..101 {
        rig.says(&format!("wm{n}"), "999999", Timestamp(BEGIN + 300 * DAY));
    }
    rig.nudge().await;
    rig.settled().await;
    assert!((rig.metric("kfbind_guessing") - 1.0).abs() < 0.1);
    assert_eq!(rig.new_code("oA").await.code.as_str().len(), 7);
    rig.clock.advance(DAY + 60);
    rig.pass(1).await;
    assert_eq!(rig.new_code("oB").await.code.as_str().len(), 6);
    assert!(rig.metric("kfbind_guessing").abs() < 0.1, "a day later");
}

#[tokio::test(start_paused = true)]
async fn codes_grow_with_the_crowd_and_shrink_again() {
    let rig = Rig::start().await;
    for n in 1..=10 {
        assert_eq!(rig.new_code(&format!("o{n}")).await.code.as_str().len(), 6, "code {n}");
    }
    assert_eq!(rig.new_code("o10").await.code.as_str().len(), 6, "one took the place of another");
    assert_eq!(rig.new_code("o11").await.code.as_str().len(), 7);
    rig.handles().unbind(OpenId::new("o1")).await.unwrap();
    rig.handles().unbind(OpenId::new("o2")).await.unwrap();
    assert_eq!(rig.new_code("o12").await.code.as_str().len(), 6, "two died");
    assert!((rig.metric("kfbind_codes_live") - 10.0).abs() < 0.1);
    rig.clock.advance(600);
    assert_eq!(rig.new_code("o13").await.code.as_str().len(), 6, "all others have expired");
}

/// Always the same.
#[derive(Debug)]
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_digits_are_given_out_twice_while_a_message_could_still_mean_them() {
    let mut rig = Rig::start_with(|setup| setup.entropy = Arc::new(NoEntropy), &[ACCOUNT]).await;
    // The rig's own question for a code took 000000.
    let ends = BEGIN + 600;
    assert_eq!(rig.new_code("oA").await.code.as_str(), "0000000");
    assert_eq!(rig.new_code("oB").await.code.as_str(), "00000000");
    rig.restart().await;
    assert_eq!(rig.new_code("oC").await.code.as_str(), "0000000000", "the restart asked once more");
    rig.clock.set(ends + 3 * DAY);
    rig.pass_ms(1).await;
    rig.pass(1).await;
    assert_eq!(rig.new_code("oD").await.code.as_str().len(), 11, "a message of three days ago may mean them");
    rig.clock.set(ends + 3 * DAY + HOUR + 1);
    rig.pass(2).await;
    assert_eq!(rig.new_code("oE").await.code.as_str(), "000000");
}

#[tokio::test(start_paused = true)]
async fn no_code_is_made_while_no_link_is_known_and_none_for_who_is_bound() {
    let wecom = Arc::new(ScriptedWeCom::new(&[ACCOUNT]));
    let unreachable = || crate::ports::CallError::Unreachable("test".to_owned());
    wecom.script_links([unreachable(), unreachable()]);
    let mut rig = Rig::without_system(Setup::default(), wecom);
    rig.up().await.unwrap();
    assert_eq!(rig.issue("oA").await, IssueOutcome::NoLink);
    assert_eq!(rig.version("oA").await, 0);
    rig.pass(10).await;
    rig.has_link().await;
    rig.bind("oA", "wmA").await;
    assert_eq!(rig.issue("oA").await, IssueOutcome::AlreadyBound);
}

#[tokio::test(start_paused = true)]
async fn a_code_of_a_former_format_still_binds() {
    let mut rig = Rig::start().await;
    let digits = rig.new_code("oA").await;
    rig.restart_with(|setup| setup.policy.code_format = CodeFormat::Words).await;
    let words = rig.new_code("oB").await;
    assert_eq!(words.code.as_str().split('-').count(), 3);
    rig.chat("wmA", &digits.display).await;
    rig.chat("wmB", &words.display).await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    assert_eq!(rig.bound_to("oB").await.as_deref(), Some("wmB"));
    rig.chat("wmC", "482914").await;
    assert_eq!(rig.heard("wmC"), ["wrong 482 914"], "digits were in use within three days");
    rig.clock.advance(600 + 3 * DAY);
    rig.chat("wmD", "482914").await;
    assert!(rig.heard("wmD").is_empty(), "and are no longer");
}

// ---- Versions -------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn the_version_grows_with_every_change_of_what_the_user_sees() {
    let mut rig = Rig::start().await;
    let mut last = rig.version("oA").await;
    assert_eq!(last, 0, "never seen");
    assert_eq!(rig.status("oA").await, BindingStatus::Unbound);
    let grows = async |rig: &Rig, what: &str, last: &mut u64| {
        let version = rig.version("oA").await;
        assert!(version > *last, "{what}: {version} after {last}");
        assert_eq!(rig.version("oA").await, version, "{what}: looking changes nothing");
        *last = version;
    };
    rig.new_code("oA").await;
    grows(&rig, "a code", &mut last).await;
    assert_eq!(rig.issue("oA").await, IssueOutcome::Again(pending(&rig).await));
    assert_eq!(rig.version("oA").await, last, "the same code again is no change");
    rig.new_code("oA").await;
    grows(&rig, "another code", &mut last).await;
    rig.clock.advance(600);
    assert_eq!(rig.status("oA").await, BindingStatus::Unbound);
    grows(&rig, "its end", &mut last).await;
    let code = rig.new_code("oA").await;
    grows(&rig, "a code after that", &mut last).await;
    rig.chat("wmA", code.code.as_str()).await;
    grows(&rig, "a binding", &mut last).await;
    rig.restart().await;
    assert_eq!(rig.version("oA").await, last, "a restart is no change");
    rig.wecom.set_profile("wmA", "late", None);
    save_profile(&rig, "wmA", Some("late"), None).await;
    grows(&rig, "a late nickname", &mut last).await;
    save_profile(&rig, "wmA", Some("late"), None).await;
    assert_eq!(rig.version("oA").await, last, "the same name again is no change");
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    grows(&rig, "an unbinding", &mut last).await;
    rig.new_code("oA").await;
    grows(&rig, "a code again", &mut last).await;
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    assert_eq!(rig.status("oA").await, BindingStatus::Unbound);
    grows(&rig, "its death", &mut last).await;
    rig.restart_with(|setup| setup.sync_policy.own_link = Some("https://example.com/kf".to_owned())).await;
    rig.new_code("oA").await;
    grows(&rig, "another link", &mut last).await;
}

async fn pending(rig: &Rig) -> PendingCode {
    match rig.status("oA").await {
        BindingStatus::Pending(code) => code,
        other => panic!("{other:?}"),
    }
}

async fn save_profile(rig: &Rig, customer: &str, nickname: Option<&str>, unionid: Option<&str>) {
    let profile = crate::ports::Profile {
        entered_with: None,
        customer: ExternalUserId::new(customer),
        nickname: nickname.map(str::to_owned),
        unionid: unionid.map(UnionId::new),
    };
    let build = |reply| crate::messages::RegistryMessage::SaveProfiles(vec![profile], reply);
    ractor::call_t!(rig.system().registry(), build, 60_000).unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_view_of_a_pending_user_changes_when_the_link_does() {
    let mut rig = Rig::start().await;
    let code = rig.new_code("oA").await;
    let before = rig.version("oA").await;
    rig.restart_with(|setup| setup.sync_policy.own_link = Some("https://example.com/kf".to_owned())).await;
    eventually("the own link is shown", async || {
        matches!(rig.status("oA").await, BindingStatus::Pending(p) if p.link.url == "https://example.com/kf")
    })
    .await;
    assert!(rig.version("oA").await > before);
    assert_eq!(pending(&rig).await.code, code.code);
}

// ---- Commit and restart ---------------------------------------------------------------------------------------

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What a crash at this moment would leave.
fn image(rig: &Rig) -> tempfile::TempDir {
    let dir = tempfile::TempDir::new().unwrap();
    copy(rig.path(), dir.path());
    dir
}

#[tokio::test(start_paused = true)]
async fn of_many_concurrent_codes_all_that_were_answered_outlive_a_crash() {
    let rig = Rig::start().await;
    let tasks: Vec<_> = (0..300)
        .map(|n| {
            let handles = rig.handles();
            tokio::spawn(async move { handles.issue(OpenId::new(format!("o{n}")), None, false).await })
        })
        .collect();
    let mut codes = Vec::new();
    for task in tasks {
        codes.push(issued(task.await.unwrap().unwrap()));
    }
    let image = image(&rig);
    let mut options = rig.options().registry;
    options.path = image.path().to_owned();
    let opened = super::open(options).unwrap();
    for (n, code) in codes.iter().enumerate() {
        let user = OpenId::new(format!("o{n}"));
        let (view, _) = opened.reader.view(&user, rig.now()).unwrap().unwrap();
        assert!(matches!(view.status, BindingStatus::Pending(p) if p == *code), "{user}");
    }
    let distinct: std::collections::BTreeSet<_> = codes.iter().map(|code| &code.code).collect();
    assert_eq!(distinct.len(), codes.len());
    assert!((rig.metric("kfbind_codes_issued_total") - 301.0).abs() < 0.1, "with that of the rig");
}

#[tokio::test(start_paused = true)]
async fn a_second_process_on_the_store_is_refused() {
    let rig = Rig::start().await;
    let error = super::open(rig.options().registry).err().unwrap();
    assert!(matches!(&error, StoreError::Locked(path) if path == rig.path()), "{error}");
    assert!(error.to_string().contains("store.path"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_store_of_another_company_is_refused_with_the_way_out() {
    let mut rig = Rig::start().await;
    rig.down().await;
    rig.setup.corp_id = "ww2".to_owned();
    let error = rig.up().await.err().unwrap().to_string();
    assert!(error.contains("ww1") && error.contains("ww2") && error.contains("wecom.corp_id"), "{error}");
    rig.setup.corp_id = "ww1".to_owned();
    rig.up().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_of_a_newer_version_is_refused() {
    let mut rig = Rig::start().await;
    rig.down().await;
    let stored = open(rig.path()).await.get(TreeId::Meta, super::META_STORE).unwrap().unwrap();
    let meta: StoreMeta = decode(TreeId::Meta, &stored).unwrap();
    put(&rig, TreeId::Meta, super::META_STORE, &StoreMeta { schema: super::SCHEMA + 1, ..meta }).await;
    let before = everything(&rig).await;
    let error = rig.up().await.err().unwrap();
    assert!(
        matches!(error, StartError::Store(StoreError::Newer { found, known }) if found == known + 1),
        "{error}"
    );
    assert_eq!(everything(&rig).await, before, "it is left as it was");
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_newer_version_is_refused_with_the_way_out() {
    let mut rig = Rig::start().await;
    rig.new_code("oA").await;
    rig.down().await;
    let store = open(rig.path()).await;
    let (key, value) = store.last(TreeId::Codes).unwrap().unwrap();
    let newer = [&[value[0] + 1], &value[1..]].concat();
    store.commit(&[(TreeId::Codes, [(key.to_vec(), Some(newer))].into())].into()).unwrap();
    drop(store);
    let error = rig.up().await.err().unwrap().to_string();
    assert!(error.contains("codes") && error.contains("newer"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn damaged_bytes_are_an_error_and_no_panic() {
    let good = encode(TreeId::Codes, &Timestamp(BEGIN)).unwrap();
    assert!(decode::<Timestamp>(TreeId::Codes, &good).is_ok());
    for bad in [&good[..good.len() - 1], &[good.as_slice(), &[0]].concat(), &[], &[1], &[1, 0xff, 0xff]] {
        assert!(decode::<CodeRecord>(TreeId::Codes, bad).is_err());
    }
    assert!(decode::<Timestamp>(TreeId::Codes, &[good.as_slice(), &[0]].concat()).is_err(), "trailing bytes");
    assert!(number(TreeId::Audit, b"1234567").is_err());
}

#[tokio::test(start_paused = true)]
async fn the_directory_is_for_its_owner_alone_and_the_key_stays() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut rig = Rig::start().await;
    let mut options = rig.options().registry;
    options.path = rig.path().join("made");
    drop(super::open(options).unwrap());
    let mode = std::fs::metadata(rig.path().join("made")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let key = rig.handles().instance_key();
    rig.restart().await;
    assert_eq!(rig.handles().instance_key(), key);
    assert_ne!(key, [0; 32]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_knows_how_many_codes_are_live() {
    let mut rig = Rig::start().await;
    let live = async |rig: &Rig, count: f64| {
        rig.breathe().await;
        assert!((rig.metric("kfbind_codes_live") - count).abs() < 0.1, "{}", rig.metric("kfbind_codes_live"));
    };
    let first = rig.new_code("oA").await;
    rig.clock.advance(1);
    rig.new_code("oA").await;
    rig.new_code("oB").await;
    rig.new_code("oC").await;
    rig.handles().unbind(OpenId::new("oC")).await.unwrap();
    live(&rig, 2.0).await;
    // The revoked code binds, because it was sent in time: its successor dies with it.
    rig.says("wmA", first.code.as_str(), Timestamp(BEGIN));
    rig.nudge().await;
    rig.settled().await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    live(&rig, 1.0).await;
    rig.restart().await;
    live(&rig, 1.0).await;
    rig.clock.advance(600);
    rig.pass(1).await;
    live(&rig, 0.0).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_knows_the_lengths_in_use_and_the_guesses() {
    let mut rig = Rig::start_with(
        |setup| setup.policy.wrong_codes_per_customer = Rate { count: 1000, window_s: 600 },
        &[ACCOUNT],
    )
    .await;
    for n in 0..11 {
        rig.new_code(&format!("o{n}")).await;
    }
    let seven = rig.new_code("o10").await.code;
    assert_eq!(seven.as_str().len(), 7);
    for n in 0..101 {
        let now = rig.now();
        rig.says(&format!("wm{n}"), "999999", now);
    }
    rig.nudge().await;
    rig.settled().await;
    assert!((rig.metric("kfbind_guessing") - 1.0).abs() < 0.1);
    rig.restart().await;
    rig.breathe().await;
    assert!((rig.metric("kfbind_guessing") - 1.0).abs() < 0.1);
    assert_eq!(rig.new_code("oZ").await.code.as_str().len(), 8, "7 for the crowd and one for the guessing");
    rig.chat("wmA", seven.as_str()).await;
    assert_eq!(rig.bound_to("o10").await.as_deref(), Some("wmA"));
    rig.clock.advance(DAY + 60);
    rig.pass(1).await;
    assert!(rig.metric("kfbind_guessing").abs() < 0.1, "a day later");
    assert_eq!(rig.new_code("oY").await.code.as_str().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn one_more_than_a_hundred_wrong_codes_are_guessing() {
    let mut rig = Rig::start().await;
    for n in 0..100 {
        let now = rig.now();
        rig.says(&format!("wm{n}"), "999999", now);
    }
    rig.nudge().await;
    rig.settled().await;
    assert!(rig.metric("kfbind_guessing").abs() < 0.1);
    assert_eq!(rig.new_code("oA").await.code.as_str().len(), 6);
    rig.chat("wmX", "999999").await;
    assert!((rig.metric("kfbind_guessing") - 1.0).abs() < 0.1);
    assert_eq!(rig.new_code("oB").await.code.as_str().len(), 7);
}

// ---- Pages ----------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn the_same_message_acts_once_whichever_page_brings_it_and_across_a_restart() {
    let mut rig = Rig::start().await;
    let now = rig.now();
    let wrong = rig.wecom.says(ACCOUNT, "wmA", "999999", now);
    let again = crate::ports::KfMessage {
        msgid: wrong,
        account: crate::ids::OpenKfId::new(ACCOUNT),
        customer: Some(ExternalUserId::new("wmA")),
        send_time: now,
        content: crate::ports::KfContent::Text { content: "999999".to_owned(), menu_id: None },
    };
    rig.wecom.puts(ACCOUNT, again.clone());
    rig.nudge().await;
    rig.settled().await;
    rig.restart().await;
    rig.wecom.puts(ACCOUNT, again.clone());
    rig.nudge().await;
    rig.settled().await;
    assert_eq!(rig.wecom.sends().len(), 1);
    assert!((rig.metric("kfbind_sync_messages_total{kind=\"repeated\"}") - 1.0).abs() < 0.1);
    // The same id in another account is another message.
    let elsewhere = crate::ports::KfMessage { account: crate::ids::OpenKfId::new("wkB"), ..again };
    rig.wecom.puts(ACCOUNT, elsewhere);
    rig.nudge().await;
    rig.settled().await;
    rig.down().await;
    let customer: CustomerRecord = records(&rig, TreeId::Attempts).await.remove(0).1;
    assert_eq!(customer.wrong_total, 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_answer_of_ours_is_counted_and_audited_once_and_others_are_not() {
    let mut rig = Rig::start().await;
    rig.chat("wmA", "999999").await;
    let ours = rig.wecom.said().remove(0).reply_id;
    let failed =
        |fail_msgid: crate::ids::ReplyId| crate::ports::KfContent::SendFailed { fail_msgid, fail_type: 13 };
    let now = rig.now();
    let foreign = crate::ids::ReplyId::new("somebody-elses");
    rig.wecom.happens(ACCOUNT, Some("wmA"), failed(foreign), now);
    rig.wecom.happens(ACCOUNT, Some("wmB"), failed(ours.clone()), now);
    let msgid = rig.wecom.happens(ACCOUNT, Some("wmA"), failed(ours.clone()), now);
    let again = crate::ports::KfMessage {
        msgid,
        account: crate::ids::OpenKfId::new(ACCOUNT),
        customer: Some(ExternalUserId::new("wmA")),
        send_time: now,
        content: failed(ours),
    };
    rig.wecom.puts(ACCOUNT, again);
    rig.nudge().await;
    rig.settled().await;
    assert!((rig.metric("kfbind_replies_total{result=\"undelivered\"}") - 1.0).abs() < 0.1);
    assert_eq!(audits(&mut rig).await, [AuditKind::Undelivered]);
}

/// The audit trail, while the rig is down.
async fn audits(rig: &mut Rig) -> Vec<AuditKind> {
    rig.down().await;
    let all: Vec<(_, AuditRecord)> = records(rig, TreeId::Audit).await;
    all.into_iter().map(|(_, record)| record.what).collect()
}

#[tokio::test(start_paused = true)]
async fn the_audit_trail_says_who_when_how_and_which_message() {
    let mut rig = Rig::start().await;
    rig.bind("oA", "wmA").await;
    let code = rig.new_code("oB").await;
    rig.chat("wmA", code.code.as_str()).await;
    rig.clock.advance(5);
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    assert!(!rig.handles().unbind_by_admin(OpenId::new("oA")).await.unwrap());
    rig.down().await;
    let all: Vec<(_, AuditRecord)> = records(&rig, TreeId::Audit).await;
    let kinds: Vec<_> = all.iter().map(|(_, record)| record.what).collect();
    assert_eq!(kinds, [AuditKind::Bound, AuditKind::Conflict, AuditKind::Unbound]);
    let bound = &all[0].1;
    assert_eq!(bound.openid.as_ref().unwrap().as_str(), "oA");
    assert_eq!(bound.customer.as_ref().unwrap().as_str(), "wmA");
    assert_eq!(bound.method.unwrap().name(), "code");
    assert_eq!(bound.at, Timestamp(BEGIN));
    assert_eq!(bound.message.as_ref().unwrap().1, "m0");
    assert_eq!(all[1].1.openid.as_ref().unwrap().as_str(), "oB");
    assert_eq!((all[2].1.at, &all[2].1.message), (Timestamp(BEGIN + 5), &None));
    assert!((rig.metric("kfbind_rejected_codes_total{reason=\"conflict\"}") - 1.0).abs() < 0.1);
}

#[tokio::test(start_paused = true)]
async fn audit_ids_grow_also_when_the_clock_goes_back_over_a_restart() {
    let mut rig = Rig::start().await;
    rig.bind("oA", "wmA").await;
    rig.clock.set(BEGIN - 1000);
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    rig.restart().await;
    rig.bind("oB", "wmB").await;
    rig.down().await;
    let all: Vec<(_, AuditRecord)> = records(&rig, TreeId::Audit).await;
    let kinds: Vec<_> = all.iter().map(|(_, record)| record.what).collect();
    assert_eq!(kinds, [AuditKind::Bound, AuditKind::Unbound, AuditKind::Bound], "in the order of the ids");
}

#[tokio::test(start_paused = true)]
async fn unreadable_messages_are_kept_capped_and_passed() {
    let mut rig = Rig::start().await;
    let long = "读".repeat(5000);
    for _ in 0..150 {
        rig.wecom.mumbles(ACCOUNT, &long);
    }
    let code = rig.new_code("oA").await;
    let now = rig.now();
    rig.says("wmA", code.code.as_str(), now);
    rig.nudge().await;
    rig.settled().await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    assert!((rig.metric("kfbind_sync_messages_total{kind=\"unreadable\"}") - 150.0).abs() < 0.1);
    rig.down().await;
    let kept: Vec<(_, (Timestamp, String))> = records(&rig, TreeId::Unreadable).await;
    assert_eq!(kept.len(), 100);
    assert!(
        kept.iter().all(|(_, (at, raw))| *at == Timestamp(BEGIN) && raw.len() <= 4096 && raw.len() > 4000)
    );
}

// ---- Forgetting -----------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn codes_and_seen_messages_are_forgotten_after_three_days_and_nothing_earlier() {
    let mut rig = Rig::start().await;
    rig.bind("oA", "wmA").await;
    let counts = async |rig: &mut Rig| {
        rig.down().await;
        let codes = records::<CodeRecord>(rig, TreeId::Codes).await.len();
        let seen = records::<Timestamp>(rig, TreeId::Seen).await.len();
        (codes, seen)
    };
    rig.clock.set(BEGIN + 600 + 3 * DAY);
    rig.pass(2).await;
    assert_eq!(counts(&mut rig).await, (2, 1), "with the rig's own code");
    rig.up().await.unwrap();
    rig.clock.set(BEGIN + 600 + 3 * DAY + HOUR + 1);
    rig.pass(2).await;
    assert_eq!(counts(&mut rig).await, (0, 0));
    rig.up().await.unwrap();
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"), "bindings stay");
}

#[tokio::test(start_paused = true)]
async fn attempts_are_kept_as_long_as_a_message_could_count_with_them() {
    let mut rig = Rig::start().await;
    rig.chat("wmA", "999999").await;
    // A message sent before the thirty days are over may arrive three days later.
    rig.clock.set(BEGIN + 32 * DAY);
    rig.pass(2).await;
    rig.down().await;
    assert_eq!(records::<CustomerRecord>(&rig, TreeId::Attempts).await.len(), 1);
    rig.up().await.unwrap();
    rig.clock.set(BEGIN + 33 * DAY + 2 * HOUR);
    rig.pass(2).await;
    rig.down().await;
    assert!(records::<CustomerRecord>(&rig, TreeId::Attempts).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lock_for_good_and_a_young_undoing_are_not_forgotten() {
    let mut rig = Rig::start().await;
    rig.down().await;
    let locked = CustomerRecord {
        wrong_total: 100,
        last_wrong_at: Timestamp(BEGIN - 100 * DAY),
        locked_for_good: true,
        ..CustomerRecord::default()
    };
    let undone = CustomerRecord { undone_at: Timestamp(BEGIN - 3 * DAY), ..CustomerRecord::default() };
    let over = CustomerRecord { undone_at: Timestamp(BEGIN - 4 * DAY), ..CustomerRecord::default() };
    for (key, record) in [("wmLocked", locked), ("wmUndone", undone), ("wmOver", over)] {
        put(&rig, TreeId::Attempts, key.as_bytes(), &record).await;
    }
    rig.up().await.unwrap();
    rig.pass(2).await;
    rig.down().await;
    let kept: Vec<(Vec<u8>, CustomerRecord)> = records(&rig, TreeId::Attempts).await;
    let keys: Vec<_> = kept.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
    assert_eq!(keys, ["wmLocked", "wmUndone"]);
}

#[tokio::test(start_paused = true)]
async fn the_sweep_comes_round_in_a_store_of_many_records() {
    let mut rig = Rig::start().await;
    rig.down().await;
    let old = Timestamp(BEGIN - 10 * DAY);
    let seen = (0..500).map(|n| {
        let at = if n % 2 == 0 { old } else { Timestamp(BEGIN) };
        (format!("wkA\0m{n:03}").into_bytes(), Some(encode(TreeId::Seen, &at).unwrap()))
    });
    open(rig.path()).await.commit(&[(TreeId::Seen, seen.collect())].into()).unwrap();
    rig.up().await.unwrap();
    rig.pass(10).await;
    rig.down().await;
    let kept: Vec<(_, Timestamp)> = records(&rig, TreeId::Seen).await;
    assert_eq!(kept.len(), 250);
    assert!(kept.iter().all(|(_, at)| *at == Timestamp(BEGIN)));
}

// ---- Customers ------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn wrong_codes_count_also_in_a_store_that_was_made_while_our_clock_was_ahead() {
    let mut rig = Rig::without_system(Setup::default(), Arc::new(ScriptedWeCom::new(&[ACCOUNT])));
    rig.clock.set(BEGIN + DAY);
    rig.up().await.unwrap();
    rig.has_link().await;
    rig.clock.set(BEGIN);
    rig.pass(2).await;
    for _ in 0..5 {
        rig.chat("wmA", "111111").await;
    }
    assert_eq!(rig.heard("wmA").last().map(String::as_str), Some("locked 10"));
}

#[tokio::test(start_paused = true)]
async fn the_back_end_lifts_a_lock() {
    let mut rig = Rig::start().await;
    for _ in 0..5 {
        rig.chat("wmA", "999999").await;
    }
    assert_eq!(rig.heard("wmA").last().unwrap(), "locked 10");
    let code = rig.new_code("oA").await;
    rig.chat("wmA", code.code.as_str()).await;
    assert_eq!(rig.bound_to("oA").await, None);
    rig.handles().lift_lock(ExternalUserId::new("wmA")).await.unwrap();
    rig.restart().await;
    rig.chat("wmA", code.code.as_str()).await;
    assert_eq!(rig.bound_to("oA").await.as_deref(), Some("wmA"));
    rig.handles().lift_lock(ExternalUserId::new("nobody")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lifted_lock_leaves_nothing_that_puts_off_the_fresh_start() {
    let mut rig = Rig::start().await;
    // By a clock that is a little ahead of ours.
    rig.says("wmA", "999999", Timestamp(BEGIN + 50));
    rig.nudge().await;
    rig.settled().await;
    rig.handles().lift_lock(ExternalUserId::new("wmA")).await.unwrap();
    for _ in 0..5 {
        rig.chat("wmA", "999999").await;
    }
    assert_eq!(rig.heard("wmA").last().unwrap(), "locked 10");
    rig.clock.set(BEGIN + 30 * DAY);
    for _ in 0..5 {
        rig.chat("wmA", "999999").await;
    }
    assert_eq!(rig.heard("wmA").last().unwrap(), "locked 10", "thirty days later it is the first lock again");
}

#[tokio::test(start_paused = true)]
async fn what_wecom_tells_of_customers_is_kept_with_their_binding() {
    let mut rig = Rig::start().await;
    rig.bind("oA", "wmA").await;
    save_profile(&rig, "wmA", Some("小明"), Some("u1")).await;
    save_profile(&rig, "wmA", None, None).await;
    save_profile(&rig, "wmZ", Some("nobody"), None).await;
    let info = rig.binding("oA").await.unwrap();
    assert_eq!((info.nickname.as_deref(), info.unionid), (Some("小明"), Some(UnionId::new("u1"))));
    let query = |nickname: &str| BindingQuery {
        nickname: Some(nickname.to_owned()),
        limit: 10,
        ..BindingQuery::default()
    };
    assert_eq!(rig.handles().bindings(query("小明")).await.unwrap().bindings.len(), 1);
    assert!(rig.handles().bindings(query("小")).await.unwrap().bindings.is_empty());
    rig.chat("wmA", "解绑").await;
    assert!(rig.bindings().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn bindings_are_listed_in_pages_by_openid() {
    let mut rig = Rig::start().await;
    for n in [3, 1, 2, 5, 4] {
        rig.bind(&format!("o{n}"), &format!("wm{n}")).await;
    }
    let mut after = None;
    let mut listed = Vec::new();
    loop {
        let query = BindingQuery { after, limit: 2, ..BindingQuery::default() };
        let page = rig.handles().bindings(query).await.unwrap();
        assert!(page.bindings.len() <= 2);
        listed.extend(page.bindings.into_iter().map(|b| (b.openid.as_str().to_owned(), b.customer)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<_> =
        (1..=5).map(|n| (format!("o{n}"), ExternalUserId::new(format!("wm{n}")))).collect();
    assert_eq!(listed, expected);
    assert_eq!(rig.user_of("wm3").await.as_deref(), Some("o3"));
    assert_eq!(rig.user_of("wm9").await, None);
    assert!((rig.metric("kfbind_bindings") - 5.0).abs() < 0.1);
}

#[tokio::test(start_paused = true)]
async fn the_answers_name_the_label_of_the_account() {
    let mut rig = Rig::start().await;
    rig.bind("oA", "wmA").await;
    rig.down().await;
    let users: Vec<(Vec<u8>, super::records::UserRecord)> = records(&rig, TreeId::Users).await;
    let (key, user) = users.into_iter().find(|(key, _)| key == b"oA").unwrap();
    let labelled = super::records::UserRecord { label: Some("138****8000".to_owned()), ..user };
    put(&rig, TreeId::Users, &key, &labelled).await;
    rig.up().await.unwrap();
    rig.has_link().await;
    rig.chat("wmA", "解绑").await;
    assert_eq!(rig.heard("wmA").last().unwrap(), "unbound 138****8000");
    let code = rig.new_code("oA").await;
    rig.chat("wmA", code.code.as_str()).await;
    assert_eq!(rig.heard("wmA").last().unwrap(), "bound 您 138****8000 解绑");
    assert_eq!(rig.binding("oA").await.unwrap().label.as_deref(), Some("138****8000"));
}

#[tokio::test(start_paused = true)]
async fn unbinding_kills_a_pending_code_also_one_that_has_expired_by_our_clock() {
    let mut rig = Rig::start().await;
    let code = rig.new_code("oA").await;
    rig.clock.advance(700);
    rig.handles().unbind(OpenId::new("oA")).await.unwrap();
    rig.says("wmA", code.code.as_str(), Timestamp(BEGIN + 100));
    rig.nudge().await;
    rig.settled().await;
    assert_eq!(rig.bound_to("oA").await, None);
    rig.handles().unbind(OpenId::new("stranger")).await.unwrap();
    assert_eq!(rig.version("stranger").await, 0, "nothing is kept of a stranger");
    assert!(rig.clock.now() > Timestamp(BEGIN));
}

#[test]
fn debug_of_records_shows_neither_the_instance_key_nor_texts() {
    let meta = super::records::StoreMeta {
        schema: 1,
        corp_id: "ww1".to_owned(),
        instance_key: [201; 32],
        created_at: Timestamp(1),
    };
    let task = super::records::OutboxTaskRecord::Reply {
        account: crate::ids::OpenKfId::new("wkA"),
        customer: ExternalUserId::new("wmA"),
        reply_id: crate::ids::ReplyId::new("r1"),
        text: "Hush".to_owned(),
    };
    let shown = format!("{meta:?} {task:?}");
    assert!(!shown.contains("201") && !shown.contains("Hush"), "{shown}");
}
