//! What the business back end is to hear of: keeps each event with what it tells of, until it is told or given up.
//!
//! Part of the ledger: an event and the binding that it tells of land in one batch, so neither is without the other.
//! Sending is `webhooks.rs`'s work.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

use super::{
    erasure::{ErasedIds, Kind},
    ledger::{Ledger, next},
    records::{
        BindingRecord, DeadLetterRecord, Method, UserRecord, WebhookKindTag, WebhookRecord, decode, number,
    },
    rules::Known as _,
    store::{Store, StoreError, TreeId},
};
use crate::{
    ids::{ExternalUserId, OpenId, Timestamp},
    messages::{DeadLetter, DeadLetterPage, WebhookBinding, WebhookEntry, WebhookFate},
};

/// What the ids of events begin with.
const ID_PREFIX: &str = "evt_";
/// The characters at their end by which a store knows its own.
const ID_MARK_CHARS: usize = 8;

impl Ledger<'_> {
    /// A binding was made or has ended.
    pub(super) fn announce(
        &mut self,
        kind: WebhookKindTag,
        openid: &OpenId,
        user: &UserRecord,
        binding: &BindingRecord,
    ) -> Result<(), StoreError> {
        if !self.desk.policy.announces {
            return Ok(());
        }
        let event = WebhookRecord {
            kind,
            queued_at: self.now(),
            happened_at: self.now(),
            origin: 0,
            openid: openid.clone(),
            customer: binding.customer.clone(),
            unionid: binding.unionid.clone().or_else(|| user.unionid.clone()),
            account: binding.account.clone(),
            method: Some(binding.method),
            bound_at: Some(binding.bound_at),
            nickname: binding.nickname.clone(),
            label: user.label.clone(),
        };
        self.queue_event(event)
    }

    /// Two were not bound, because either is bound elsewhere.
    pub(super) fn announce_conflict(
        &mut self,
        openid: &OpenId,
        customer: &ExternalUserId,
        method: Option<Method>,
    ) -> Result<(), StoreError> {
        if !self.desk.policy.announces {
            return Ok(());
        }
        let user = self.overlay.user_or_default(openid)?;
        let person = self.overlay.person(customer)?;
        let event = WebhookRecord {
            kind: WebhookKindTag::Conflict,
            queued_at: self.now(),
            happened_at: self.now(),
            origin: 0,
            openid: openid.clone(),
            customer: customer.clone(),
            unionid: person.unionid.or(user.unionid),
            account: person.account,
            method,
            bound_at: None,
            nickname: person.nickname,
            label: user.label,
        };
        self.queue_event(event)
    }

    fn queue_event(&mut self, mut event: WebhookRecord) -> Result<(), StoreError> {
        let seq = next(&mut self.desk.sequences.webhooks, self.now_ms);
        if event.origin == 0 {
            event.origin = seq;
        }
        self.overlay.put(TreeId::Webhooks, &seq.to_be_bytes(), &event)?;
        self.desk.webhooks += 1;
        self.webhooks_grew = true;
        Ok(())
    }

    /// Takes events out that are done with; those given up become dead letters.
    pub(crate) fn settle_webhooks(&mut self, settled: &[(u64, WebhookFate)]) -> Result<(), StoreError> {
        for (seq, fate) in settled {
            let key = seq.to_be_bytes();
            let Some(event) = self.overlay.get::<WebhookRecord>(TreeId::Webhooks, &key)? else { continue };
            self.overlay.remove(TreeId::Webhooks, &key);
            self.desk.webhooks -= 1;
            let WebhookFate::GivenUp { why, attempts } = fate else { continue };
            if self.desk.erased.names(&event) {
                // Of whom nothing is kept, no letter is.
                continue;
            }
            let origin = event.origin;
            let letter =
                DeadLetterRecord { event, given_up_at: self.now(), attempts: *attempts, error: why.clone() };
            let key = origin.to_be_bytes();
            let is_new = self.overlay.get::<DeadLetterRecord>(TreeId::DeadLetters, &key)?.is_none();
            self.overlay.put(TreeId::DeadLetters, &key, &letter)?;
            self.desk.dead_letters += i64::from(is_new);
        }
        Ok(())
    }

    /// Puts a dead letter among the events that wait, behind all others; whether there is one.
    pub(crate) fn resend(&mut self, id: &str) -> Result<bool, StoreError> {
        // Without a receiver it would wait for ever; it stays where it is.
        let origin = origin_of(&self.desk.instance_key, id).filter(|_| self.desk.policy.announces);
        let Some(origin) = origin else { return Ok(false) };
        let key = origin.to_be_bytes();
        let Some(letter) = self.overlay.get::<DeadLetterRecord>(TreeId::DeadLetters, &key)? else {
            return Ok(false);
        };
        self.overlay.remove(TreeId::DeadLetters, &key);
        self.desk.dead_letters -= 1;
        let now = self.now();
        self.queue_event(WebhookRecord { queued_at: now, ..letter.event })?;
        Ok(true)
    }
}

impl ErasedIds {
    /// Whether an event is about somebody who was erased since.
    fn names(&self, event: &WebhookRecord) -> bool {
        let since = |kind, name| self.at(kind, name).is_some_and(|at_ms| at_ms / 1000 >= event.happened_at.0);
        since(Kind::User, event.openid.as_str()) || since(Kind::Customer, event.customer.as_str())
    }
}

/// The id of the event with this number. It grows with the number, and is another in every store.
fn event_id(instance_key: &[u8; 32], origin: u64) -> String {
    format!("{ID_PREFIX}{origin:x}{:08x}", mark(instance_key, origin))
}

/// The number in an id of ours.
fn origin_of(instance_key: &[u8; 32], id: &str) -> Option<u64> {
    let digits = id.strip_prefix(ID_PREFIX)?;
    let (origin, _) = digits.split_at_checked(digits.len().checked_sub(ID_MARK_CHARS)?)?;
    let origin = u64::from_str_radix(origin, 16).ok()?;
    (event_id(instance_key, origin) == id).then_some(origin)
}

/// Not to keep anybody out: two services may tell the same back end.
fn mark(instance_key: &[u8; 32], origin: u64) -> u32 {
    let mut hasher = SipHasher24::new();
    hasher.write(b"kfbind event\0");
    hasher.write(instance_key);
    hasher.write(&origin.to_be_bytes());
    let [a, b, c, d, ..] = hasher.finish().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The events from `from` on, as they are on the disk.
pub(crate) fn waiting(
    store: &Store,
    instance_key: &[u8; 32],
    from: u64,
    limit: usize,
) -> Result<Vec<WebhookEntry>, StoreError> {
    store
        .range(TreeId::Webhooks, &from.to_be_bytes())?
        .take(limit)
        .map(|entry| {
            let (key, value) = entry?;
            let seq = number(TreeId::Webhooks, &key)?;
            Ok(told(instance_key, seq, decode(TreeId::Webhooks, &value)?))
        })
        .collect()
}

/// A part of the dead letters; `None` where `after` is no id of ours.
pub(crate) fn dead_letters(
    store: &Store,
    instance_key: &[u8; 32],
    after: Option<&str>,
    limit: usize,
) -> Result<Option<DeadLetterPage>, StoreError> {
    let from = match after.map(|after| origin_of(instance_key, after)) {
        None => 0,
        Some(Some(origin)) => origin + 1,
        Some(None) => return Ok(None),
    };
    let mut page = DeadLetterPage::default();
    for entry in store.range(TreeId::DeadLetters, &from.to_be_bytes())? {
        let (key, value) = entry?;
        if page.letters.len() == limit {
            page.next = page.letters.last().map(|last| last.entry.id.clone());
            break;
        }
        let record: DeadLetterRecord = decode(TreeId::DeadLetters, &value)?;
        page.letters.push(DeadLetter {
            entry: told(instance_key, number(TreeId::DeadLetters, &key)?, record.event),
            given_up_at: record.given_up_at,
            attempts: record.attempts,
            error: record.error,
        });
    }
    Ok(Some(page))
}

/// A stored event, as told to the outside.
fn told(instance_key: &[u8; 32], seq: u64, event: WebhookRecord) -> WebhookEntry {
    WebhookEntry {
        seq,
        id: event_id(instance_key, event.origin),
        queued_at: event.queued_at,
        happened_at: event.happened_at,
        kind: event.kind.into(),
        binding: WebhookBinding {
            openid: event.openid,
            customer: event.customer,
            unionid: event.unionid,
            account: event.account,
            method: event.method.map(Method::name),
            bound_at: event.bound_at,
            nickname: event.nickname,
            label: event.label,
        },
    }
}

/// Dead letters are kept for so long. Seconds.
pub(crate) const DEAD_LETTERS_KEPT_S: u64 = 30 * 24 * 3600;

/// Whether a dead letter is over.
pub(crate) fn is_over(letter: &DeadLetterRecord, now: Timestamp) -> bool {
    now > letter.given_up_at.plus(DEAD_LETTERS_KEPT_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_again_by_its_own_store_alone() {
        let (mine, other) = ([1; 32], [2; 32]);
        let id = event_id(&mine, 1_795_622_400_000_123);
        assert_eq!(origin_of(&mine, &id), Some(1_795_622_400_000_123));
        assert_eq!(origin_of(&other, &id), None);
        for id in ["", "evt_", "evt_zz", "evt_0123456", "msg_1", &id[..id.len() - 1], &id.to_uppercase()] {
            assert_eq!(origin_of(&mine, id), None, "{id}");
        }
    }
}
