//! `window`: exactly one user announced the chat, exactly one unbound customer came, and that one says yes. (7.6)
//!
//! The weakest way, off by default. Guards: a second intent or a second customer within the time, up to the tap, and
//! nothing binds; what is known only in part counts as more than one; the customer is asked, and the account named.

use crate::{
    ids::{ExternalUserId, OpenId, OpenKfId, Timestamp},
    ports::{KfContent, MessageKind},
    registry::{
        records::{CustomerPerson, Intent, Subject, WindowRecord},
        rules::{
            ANSWER_AGE_S_MAX, Ask, Case, EARLY_S, Effect, Known,
            joining::{Standing, standing},
        },
    },
};

/// So many intents and so many arrivals are kept for an account; of more, the oldest are forgotten, and the time
/// before that counts as unknown.
const KEPT_MAX: usize = 256;

/// A no to one intent of a user is a no to all that the user opens within so long: otherwise whoever opens one after the
/// other could have a customer asked until they give in. Seconds.
const NO_LASTS_S: u64 = 24 * 3600;

/// An unbound customer enters or writes.
pub(crate) fn hear<K: Known>(case: &mut Case<'_, K>) -> Result<(), K::Error> {
    let is_arrival = matches!(
        case.message.content,
        KfContent::Text { .. } | KfContent::EnterSession { .. } | KfContent::Other(MessageKind::Media)
    );
    if !is_arrival || case.known.user_of(case.customer)?.is_some() {
        return Ok(());
    }
    let (account, sent) = (&case.message.account, case.sent());
    let mut record = case.known.window(account)?;
    if case.circumstances.now.since(sent) > kept_s(case.policy().window_s) {
        // Too old to be asked; that somebody came then is all that can still matter.
        if record.complete_since <= sent {
            record.complete_since = sent.plus(1);
            case.effects.insert(0, Effect::Window(Box::new(record)));
        }
        return Ok(());
    }
    record.forget(case.circumstances.now, case.policy().window_s);
    record.arrive(case.customer, sent);
    let candidates: Vec<Intent> = record.open_at(sent).cloned().collect();
    // Before a binding, which ends intents.
    case.effects.insert(0, Effect::Window(Box::new(record.clone())));
    if case.settled {
        return Ok(());
    }
    let [intent] = candidates.as_slice() else { return Ok(()) };
    let subject = Subject::Window(intent.openid.clone(), intent.opened_at);
    let is_asked = case.person.questions.iter().try_fold(false, |found, id| {
        let question = case.known.question(*id)?;
        Ok(found || question.is_some_and(|question| question.subject == subject && !question.answered))
    })?;
    if case.acted
        || is_asked
        || has_declined(&case.person, intent, sent)
        || sent < case.record.undone_at
        || !record.is_alone(intent, case.customer, sent)
        || is_over(case.known, intent)?
    {
        return Ok(());
    }
    let openid = intent.openid.clone();
    if let Standing::Free { replaces } = standing(case.known, case.policy(), &openid, case.customer, sent)?
        && replaces.is_empty()
    {
        case.ask(openid, Ask { subject, until: intent.expires_at, again: None });
    }
    Ok(())
}

/// For so long an intent and an arrival may mean something to a message that is read late. Seconds.
fn kept_s(window_s: u64) -> u64 {
    window_s + EARLY_S + ANSWER_AGE_S_MAX
}

/// Whether the customer has said no to this user lately.
fn has_declined(person: &CustomerPerson, intent: &Intent, sent: Timestamp) -> bool {
    person.declined.iter().any(|(declined, until)| {
        matches!(declined, Subject::Window(openid, _) if *openid == intent.openid)
            && sent < until.plus(NO_LASTS_S)
    })
}

/// Whether the intent that a question asks for still stands alone, up to a tap that is sent then.
pub(crate) fn stands<K: Known>(
    known: &K,
    account: &OpenKfId,
    openid: &OpenId,
    opened_at: Timestamp,
    customer: &ExternalUserId,
    sent: Timestamp,
) -> Result<bool, K::Error> {
    let record = known.window(account)?;
    // One that was ended and one that was opened anew may be of the same second.
    let asked_for =
        record.intents.iter().filter(|intent| intent.openid == *openid && intent.opened_at == opened_at);
    for intent in asked_for {
        if intent.is_open_at(sent) && record.is_alone(intent, customer, sent) && !is_over(known, intent)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// After a binding and after an unbinding no intent of before binds.
fn is_over<K: Known>(known: &K, intent: &Intent) -> Result<bool, K::Error> {
    let epoch = known.user_epoch(&intent.openid)?;
    let unbound_ms = known.user_person(&intent.openid)?.unbound_ms;
    Ok(epoch != intent.epoch || unbound_ms >= intent.opened_ms)
}

impl Intent {
    /// From when on an arrival may mean it.
    fn begins_at(&self) -> Timestamp {
        self.opened_at.minus(EARLY_S)
    }

    /// When it ends, or has ended.
    fn ends_at(&self) -> Timestamp {
        self.ended_at.map_or(self.expires_at, |at| at.min(self.expires_at))
    }

    fn is_open_at(&self, at: Timestamp) -> bool {
        self.begins_at() <= at && at < self.ends_at()
    }
}

impl WindowRecord {
    /// The intents that are open then.
    fn open_at(&self, at: Timestamp) -> impl Iterator<Item = &Intent> {
        self.intents.iter().filter(move |intent| intent.is_open_at(at))
    }

    /// Whether from the beginning of this intent until then there was no other intent and no other customer.
    fn is_alone(&self, intent: &Intent, customer: &ExternalUserId, until: Timestamp) -> bool {
        let from = intent.begins_at();
        let other_intent = self.intents.iter().any(|other| {
            other.openid != intent.openid && other.begins_at() <= until && from < other.ends_at()
        });
        // An arrival that was pulled late may lie behind the message at hand.
        let other_customer = self
            .arrivals
            .iter()
            .any(|(other, at)| other != customer && from <= *at && *at < intent.ends_at());
        from >= self.complete_since && !other_intent && !other_customer
    }

    /// A user announces the chat: until then. One who has done so already goes on.
    pub(crate) fn announce(&mut self, openid: &OpenId, epoch: u32, now_ms: u64, expires_at: Timestamp) {
        let now = Timestamp(now_ms / 1000);
        let is_open = |intent: &&mut Intent| {
            intent.openid == *openid && intent.epoch == epoch && intent.is_open_at(now)
        };
        let open = self.intents.iter_mut().find(is_open);
        if let Some(intent) = open {
            intent.expires_at = intent.expires_at.max(expires_at);
            return;
        }
        let intent = Intent {
            openid: openid.clone(),
            epoch,
            opened_at: now,
            opened_ms: now_ms,
            expires_at,
            ended_at: None,
        };
        self.intents.push(intent);
        while self.intents.len() > KEPT_MAX {
            let gone = self.intents.remove(0);
            self.complete_since = self.complete_since.max(gone.expires_at);
        }
    }

    /// A user's intents end: bound or unbound.
    pub(crate) fn end(&mut self, openid: &OpenId, now: Timestamp) -> bool {
        let mut ended = false;
        for intent in &mut self.intents {
            if intent.openid == *openid && intent.ended_at.is_none() && now < intent.expires_at {
                intent.ended_at = Some(now);
                ended = true;
            }
        }
        ended
    }

    pub(crate) fn arrive(&mut self, customer: &ExternalUserId, sent: Timestamp) {
        if self.arrivals.iter().any(|(other, at)| other == customer && *at == sent) {
            return;
        }
        self.arrivals.push((customer.clone(), sent));
        while self.arrivals.len() > KEPT_MAX {
            let (_, at) = self.arrivals.remove(0);
            self.complete_since = self.complete_since.max(at.plus(1));
        }
    }

    /// Forgets what no message can mean any more that would still be answered.
    pub(crate) fn forget(&mut self, now: Timestamp, window_s: u64) {
        let kept_s = kept_s(window_s);
        // A tap may still come for what is forgotten, as late as it likes: what is not known counts as against it.
        for intent in &self.intents {
            if now >= intent.expires_at.plus(kept_s) {
                self.complete_since = self.complete_since.max(intent.expires_at);
            }
        }
        for (_, at) in &self.arrivals {
            if now >= at.plus(kept_s) {
                self.complete_since = self.complete_since.max(at.plus(1));
            }
        }
        self.intents.retain(|intent| now < intent.expires_at.plus(kept_s));
        self.arrivals.retain(|(_, at)| now < at.plus(kept_s));
    }
}
