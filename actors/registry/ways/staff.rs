//! `staff`: an employee, in the kf toolbar of WeCom, types the code that a customer reads out. (7.7)
//!
//! Guards: the employee logged in with WeCom, WeCom knows the customer, wrong codes are counted per employee, and the
//! audit trail names both. That the employee means the right chat is trusted. Cards that employees send are `card.rs`'s.

use crate::{
    ids::{BindCode, ExternalUserId, OpenId, Timestamp},
    policy::Policy,
    registry::{
        recognise::{Candidate, Lengths, recognise},
        records::{CodeRecord, Subject},
        rules::{
            Case, Known,
            joining::{Standing, is_live, standing},
        },
    },
};

/// Remembers in which account a customer is: an employee's page may not know it, and whoever is bound by another's hand
/// is told so there.
#[expect(clippy::unnecessary_wraps, reason = "the form of all ways")]
pub(crate) fn hear<K: Known>(case: &mut Case<'_, K>) -> Result<(), K::Error> {
    if case.person.account.as_ref() != Some(&case.message.account) {
        case.person.account = Some(case.message.account.clone());
    }
    Ok(())
}

/// What a typed code would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typing {
    /// Bind, once these have given way.
    Binds { code: BindCode, openid: OpenId, replaces: Vec<OpenId> },
    /// It was never made: counted.
    Wrong,
    /// It is over, or no code at all.
    Invalid,
    /// Bound to each other already.
    AlreadyBound,
    /// One side is bound elsewhere.
    Conflict { code: BindCode, record: CodeRecord },
    /// Different people.
    OtherPerson { code: BindCode, record: CodeRecord },
}

/// Judges what an employee has typed for a customer.
pub(crate) fn judge<K: Known>(
    known: &K,
    policy: &Policy,
    lengths: &Lengths,
    typed: &str,
    customer: &ExternalUserId,
    now: Timestamp,
) -> Result<Typing, K::Error> {
    let found = recognise(typed, lengths);
    let [Candidate { code, .. }] = found.codes.as_slice() else { return Ok(Typing::Invalid) };
    let Some(record) = known.code(code)? else { return Ok(Typing::Wrong) };
    let openid = record.openid.clone();
    let state = standing(known, policy, &openid, customer, now)?;
    if state == Standing::Same {
        return Ok(Typing::AlreadyBound);
    }
    let typed = Subject::Code(code.clone());
    let has_declined = known.person(customer)?.declined.iter().any(|(declined, _)| declined.is_same(&typed));
    if has_declined || !is_live(known, &record, &known.customer(customer)?, now)? {
        return Ok(Typing::Invalid);
    }
    Ok(match state {
        Standing::Free { replaces } => Typing::Binds { code: code.clone(), openid, replaces },
        Standing::Same => Typing::AlreadyBound,
        Standing::Elsewhere { .. } => Typing::Conflict { code: code.clone(), record },
        Standing::OtherPerson => Typing::OtherPerson { code: code.clone(), record },
    })
}
