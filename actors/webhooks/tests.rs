//! The actor between a real registry and a scripted receiver: told in order, again, once it is back; and dead letters.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::schedule::{GIVE_UP_AFTER_S, SENDS_MAX};
use crate::{
    ids::OpenId,
    messages::{DeadLetter, WebhookEntry, WebhookKind},
    ports::{BackEnd, BoxFuture, Undelivered},
    testing::rig::{ACCOUNT, BEGIN, Rig, eventually},
};

const HOUR_S: u64 = 3600;

/// A back end that does what it is told, and keeps what it got.
struct Receiver {
    calls: Mutex<Vec<WebhookEntry>>,
    taken: Mutex<Vec<WebhookEntry>>,
    is_down: watch::Sender<bool>,
    is_held: watch::Sender<bool>,
}

impl Receiver {
    fn calls(&self) -> Vec<WebhookEntry> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn taken(&self) -> Vec<WebhookEntry> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What came of this user, in its order, each event once.
    fn heard_of(&self, openid: &str) -> Vec<&'static str> {
        let mut known = BTreeSet::new();
        let of_user = self.taken().into_iter().filter(|event| event.binding.openid.as_str() == openid);
        of_user.filter(|event| known.insert(event.id.clone())).map(|event| event.kind.name()).collect()
    }
}

impl BackEnd for Receiver {
    fn deliver(&self, event: WebhookEntry) -> BoxFuture<'_, Result<(), Undelivered>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
        Box::pin(async move {
            if *self.is_down.borrow() {
                return Err(Undelivered::Down { why: "test".to_owned(), wait: None });
            }
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            let _ = self.is_held.subscribe().wait_for(|is_held| !is_held).await;
            Ok(())
        })
    }
}

async fn start() -> (Rig, Arc<Receiver>) {
    let receiver = Arc::new(Receiver {
        calls: Mutex::default(),
        taken: Mutex::default(),
        is_down: watch::Sender::new(false),
        is_held: watch::Sender::new(false),
    });
    let back_end = Arc::clone(&receiver);
    let rig = Rig::start_with(
        |setup| {
            setup.policy.announces = true;
            setup.back_end = Some(back_end);
        },
        &[ACCOUNT],
    )
    .await;
    (rig, receiver)
}

async fn waiting(rig: &Rig) -> u64 {
    rig.handles().stats(1).await.unwrap().webhooks_waiting
}

async fn all_told(rig: &Rig) {
    eventually("nothing waits to be told", async || waiting(rig).await == 0).await;
}

/// Time passes until nothing waits to be told; not much more than it may take.
async fn all_told_in_time(rig: &Rig) {
    for _ in 0..60 {
        if waiting(rig).await == 0 {
            return;
        }
        rig.pass_ms(5_000).await;
    }
    all_told(rig).await;
}

async fn unbind(rig: &Rig, openid: &str) {
    rig.handles().unbind(OpenId::new(openid)).await.unwrap();
}

async fn dead_letters(rig: &Rig) -> Vec<DeadLetter> {
    rig.handles().dead_letters(None, 100).await.unwrap().unwrap().letters
}

fn results(rig: &Rig, result: &str) -> f64 {
    rig.metric(&format!("kfbind_webhooks_total{{result=\"{result}\"}}"))
}

fn is(value: f64, expected: u32) -> bool {
    (value - f64::from(expected)).abs() < 0.1
}

#[tokio::test(start_paused = true)]
async fn a_binding_its_end_and_a_refused_one_are_told() {
    let (mut rig, receiver) = start().await;
    rig.bind("oA", "wmA").await;
    let code = rig.new_code("oB").await;
    rig.chat("wmA", code.code.as_str()).await;
    unbind(&rig, "oA").await;
    all_told(&rig).await;
    assert_eq!(receiver.heard_of("oA"), ["binding.created", "binding.removed"]);
    assert_eq!(receiver.heard_of("oB"), ["binding.conflict"]);
    let created = receiver.taken().into_iter().find(|event| event.kind == WebhookKind::Created).unwrap();
    assert!(created.id.starts_with("evt_"), "{created:?}");
    assert_eq!(created.binding.customer.as_str(), "wmA");
    assert_eq!((created.binding.method, created.binding.bound_at), (Some("code"), Some(rig.now())));
    assert!(is(results(&rig, "delivered"), 3));
    assert!(is(rig.metric("kfbind_webhooks_waiting"), 0));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_was_down_for_an_hour_gets_every_event_in_order_for_each_user() {
    let (mut rig, receiver) = start().await;
    receiver.is_down.send_replace(true);
    let mut happened: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for minute in 0..60_u64 {
        let openid = format!("o{}", minute % 7);
        rig.bind_unsettled(&openid, &format!("wm{}", minute % 5)).await;
        unbind(&rig, &openid).await;
        happened.entry(openid).or_default().extend(["binding.created", "binding.removed"]);
        if minute == 30 {
            rig.restart().await;
        }
        rig.pass_ms(30_000).await;
        rig.pass_ms(30_000).await;
    }
    assert_eq!(waiting(&rig).await, 120);
    assert!(is(rig.metric("kfbind_webhooks_waiting"), 120));
    assert!(receiver.taken().is_empty());
    assert!(receiver.calls().len() < 120, "{} calls", receiver.calls().len());
    receiver.is_down.send_replace(false);
    all_told_in_time(&rig).await;
    for (openid, events) in happened {
        assert_eq!(receiver.heard_of(&openid), events, "{openid}");
    }
    assert_eq!(receiver.taken().len(), 120);
    assert!(dead_letters(&rig).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_for_three_days_is_a_dead_letter_and_can_be_sent_again() {
    let (mut rig, receiver) = start().await;
    receiver.is_down.send_replace(true);
    rig.bind_unsettled("oA", "wmA").await;
    eventually("it was tried", async || !receiver.calls().is_empty()).await;
    let id = receiver.calls()[0].id.clone();
    rig.clock.set(BEGIN + GIVE_UP_AFTER_S - 200);
    rig.pass_ms(100_000).await;
    assert_eq!((waiting(&rig).await, dead_letters(&rig).await.len()), (1, 0));
    all_told_in_time(&rig).await;
    let letters = dead_letters(&rig).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].entry.id.as_str(), letters[0].error.as_str()), (id.as_str(), "test"));
    assert!(letters[0].attempts >= 2, "{letters:?}");
    assert!(is(results(&rig, "gave_up"), 1));

    receiver.is_down.send_replace(false);
    assert!(rig.handles().resend(id.clone()).await.unwrap());
    all_told_in_time(&rig).await;
    assert_eq!(receiver.taken().iter().map(|event| event.id.clone()).collect::<Vec<_>>(), [id]);
    assert!(dead_letters(&rig).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_hid_is_told_again_under_the_same_id() {
    let (mut rig, receiver) = start().await;
    receiver.is_held.send_replace(true);
    rig.bind_unsettled("oA", "wmA").await;
    eventually("it is on its way", async || receiver.taken().len() == 1).await;
    let stopping = rig.take_system();
    let stop = tokio::spawn(async move {
        stopping.drain(Duration::from_secs(1)).await;
        stopping.stop().await;
    });
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    stop.await.unwrap();
    receiver.is_held.send_replace(false);
    rig.up().await.unwrap();
    all_told(&rig).await;
    let taken = receiver.taken();
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[0], taken[1]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_on_its_way_and_begins_nothing() {
    let (mut rig, receiver) = start().await;
    receiver.is_held.send_replace(true);
    rig.bind_unsettled("oA", "wmA").await;
    unbind(&rig, "oA").await;
    eventually("it is on its way", async || receiver.taken().len() == 1).await;
    let stopping = rig.take_system();
    let stop = tokio::spawn(async move {
        stopping.drain(Duration::from_secs(10)).await;
        stopping.stop().await;
    });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!stop.is_finished());
    receiver.is_held.send_replace(false);
    stop.await.unwrap();
    assert_eq!(receiver.calls().len(), 1);
    rig.up().await.unwrap();
    all_told(&rig).await;
    assert_eq!(receiver.taken().len(), 2, "the first is not told again");
}

#[tokio::test(start_paused = true)]
async fn only_a_few_are_on_their_way_at_once_and_more_than_one_load_is_worked_off() {
    let (mut rig, receiver) = start().await;
    receiver.is_held.send_replace(true);
    let mut codes = Vec::new();
    for n in 0..600 {
        codes.push(rig.new_code(&format!("o{n}")).await);
    }
    let now = rig.now();
    for (n, code) in codes.iter().enumerate() {
        rig.says(&format!("wm{n}"), code.code.as_str(), now);
    }
    rig.nudge().await;
    rig.decided().await;
    eventually("some are on their way", async || receiver.calls().len() == SENDS_MAX).await;
    rig.breathe().await;
    assert_eq!((waiting(&rig).await, receiver.calls().len()), (600, SENDS_MAX));
    receiver.is_held.send_replace(false);
    all_told(&rig).await;
    let ids: BTreeSet<String> = receiver.taken().into_iter().map(|event| event.id).collect();
    assert_eq!((ids.len(), receiver.calls().len()), (600, 600));
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_a_former_process_is_worked_off_though_nobody_speaks_of_it() {
    let (mut rig, receiver) = start().await;
    receiver.is_down.send_replace(true);
    for n in 0..300 {
        rig.bind_unsettled(&format!("o{n}"), &format!("wm{n}")).await;
    }
    rig.down().await;
    receiver.is_down.send_replace(false);
    rig.up().await.unwrap();
    all_told(&rig).await;
    assert_eq!(receiver.taken().len(), 300);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_wants_to_be_told_nothing_waits() {
    let mut rig = Rig::start().await;
    rig.bind("oA", "wmA").await;
    unbind(&rig, "oA").await;
    rig.pass_ms(HOUR_S * 1000).await;
    assert_eq!(waiting(&rig).await, 0);
}
