//! `card`: a mini-program card in the chat, whose ticket stands for the customer. (7.5)
//!
//! Guards: the ticket has 128 random bits and binds once; whoever opens the card is shown whose chat it is and must
//! agree; it dies with every binding and unbinding of that customer. Employees' cards (`staff.rs`) are redeemed here too.

use crate::{
    ids::{OpenId, Ticket, Timestamp},
    messages::TicketRefusal,
    policy::Policy,
    ports::{KfContent, MessageKind},
    registry::{
        records::{Method, TicketRecord},
        rules::{
            Case, Known, Saying,
            joining::{Standing, standing},
        },
    },
};

/// One invitation in so long, over all accounts. Seconds.
const INVITED_AGAIN_AFTER_S: u64 = 48 * 3600;

/// Invites an unbound customer who enters, or writes something that isn't ours.
pub(crate) fn hear<K: Known>(case: &mut Case<'_, K>) -> Result<(), K::Error> {
    let invites = match &case.message.content {
        KfContent::EnterSession { welcome_code, .. } => welcome_code.is_some(),
        KfContent::Text { .. } | KfContent::Other(MessageKind::Media) => !case.acted,
        _ => false,
    };
    let sent = case.sent();
    let was_invited = case.person.invited_at.is_some_and(|at| sent < at.plus(INVITED_AGAIN_AFTER_S));
    if !invites || was_invited || case.is_old() || case.known.user_of(case.customer)?.is_some() {
        return Ok(());
    }
    case.propose(Saying::Invitation, None, None);
    Ok(())
}

/// What a ticket would do for a user now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Redeeming {
    /// Bind, once these have given way.
    Binds { record: TicketRecord, replaces: Vec<OpenId> },
    /// It has bound this very user, who asks again.
    Done,
    /// Nothing.
    Refused {
        refusal: TicketRefusal,
        /// Where it is to be audited.
        record: Option<TicketRecord>,
    },
}

/// Judges a ticket in the hands of a user.
pub(crate) fn redeem<K: Known>(
    known: &K,
    policy: &Policy,
    ticket: &Ticket,
    openid: &OpenId,
    now: Timestamp,
) -> Result<Redeeming, K::Error> {
    let refused = |refusal| Redeeming::Refused { refusal, record: None };
    let is_on = |method| match method {
        Method::Card => policy.ways.card,
        Method::Staff => policy.ways.staff,
        _ => false,
    };
    let Some(record) = known.ticket(ticket)?.filter(|record| is_on(record.method)) else {
        return Ok(refused(TicketRefusal::Invalid));
    };
    let is_pair = known.binding(openid)?.is_some_and(|binding| binding.customer == record.customer);
    if record.used_by.as_ref() == Some(openid) && is_pair {
        return Ok(Redeeming::Done);
    }
    if record.used_by.is_some() || now >= record.expires_at {
        return Ok(refused(TicketRefusal::Invalid));
    }
    if is_pair {
        return Ok(refused(TicketRefusal::AlreadyBound));
    }
    let is_dead = record.epoch != known.person(&record.customer)?.epoch
        || record.made_ms <= known.user_person(openid)?.unbound_ms;
    if is_dead {
        return Ok(refused(TicketRefusal::Invalid));
    }
    Ok(match standing(known, policy, openid, &record.customer, now)? {
        Standing::Free { replaces } => Redeeming::Binds { record, replaces },
        Standing::Same => refused(TicketRefusal::AlreadyBound),
        Standing::OtherPerson => {
            Redeeming::Refused { refusal: TicketRefusal::OtherPerson, record: Some(record) }
        }
        Standing::Elsewhere { .. } => {
            Redeeming::Refused { refusal: TicketRefusal::Conflict, record: Some(record) }
        }
    })
}
