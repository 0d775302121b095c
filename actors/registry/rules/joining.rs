//! Whether two may be bound at all: the guards that every way goes through. (5.2, 5.4, 7.3)

use super::{EARLY_S, Known};
use crate::{
    ids::{ExternalUserId, OpenId, Timestamp, UnionId},
    policy::{OnConflict, Policy},
    registry::records::{CodeRecord, CustomerRecord},
};

/// How a user and a customer stand to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing is in the way, or what is gives way.
    Free {
        /// The users whose bindings give way.
        replaces: Vec<OpenId>,
    },
    /// They are bound to each other.
    Same,
    /// One side is bound elsewhere.
    Elsewhere {
        /// The customer's own user.
        mine: Option<OpenId>,
    },
    /// Their unionids are known and differ.
    OtherPerson,
}

/// Judges a user and a customer who said `sent` something that would bind them.
pub(crate) fn standing<K: Known>(
    known: &K,
    policy: &Policy,
    openid: &OpenId,
    customer: &ExternalUserId,
    sent: Timestamp,
) -> Result<Standing, K::Error> {
    let theirs = known.binding(openid)?;
    if theirs.as_ref().is_some_and(|binding| binding.customer == *customer) {
        return Ok(Standing::Same);
    }
    if policy.ways.unionid && unionids(known, openid, customer)?.is_some_and(|(user, chat)| user != chat) {
        return Ok(Standing::OtherPerson);
    }
    let mine = known.user_of(customer)?;
    let mut replaces = Vec::new();
    let mut newest = Timestamp(0);
    for other in [mine.clone(), theirs.map(|_| openid.clone())].into_iter().flatten() {
        if let Some(binding) = known.binding(&other)? {
            newest = newest.max(binding.bound_at);
        }
        replaces.push(other);
    }
    // A late page of another account must not undo what was bound after it was sent.
    let gives_way = policy.on_conflict == OnConflict::Replace && sent >= newest;
    if replaces.is_empty() || gives_way {
        Ok(Standing::Free { replaces })
    } else {
        Ok(Standing::Elsewhere { mine })
    }
}

/// The unionids of both, where both are known.
pub(crate) fn unionids<K: Known>(
    known: &K,
    openid: &OpenId,
    customer: &ExternalUserId,
) -> Result<Option<(UnionId, UnionId)>, K::Error> {
    let shown = match known.user_person(openid)?.unionid {
        Some(unionid) => Some(unionid),
        // From a login of before anything was done with it.
        None => known.user(openid)?.and_then(|user| user.unionid),
    };
    let Some(user) = shown else { return Ok(None) };
    Ok(known.person(customer)?.unionid.map(|chat| (user, chat)))
}

/// 5.2: whether a code binds what was sent then, by a customer with these limits.
pub(crate) fn is_live<K: Known>(
    known: &K,
    code: &CodeRecord,
    customer: &CustomerRecord,
    sent: Timestamp,
) -> Result<bool, K::Error> {
    let epoch = known.user(&code.openid)?.map(|user| user.epoch);
    Ok(sent >= code.issued_at.minus(EARLY_S)
        && sent < ends_at(code)
        && !code.spent
        && epoch == Some(code.epoch)
        && sent >= customer.undone_at)
}

/// When a code ends: by itself, or because a newer one took its place.
pub(crate) fn ends_at(code: &CodeRecord) -> Timestamp {
    code.revoked_at.map_or(code.expires_at, |at| at.min(code.expires_at))
}
