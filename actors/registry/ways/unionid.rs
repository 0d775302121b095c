//! `unionid`: the same person on both sides by WeChat's own word, bound without one. (7.3)
//!
//! Guards: it replaces nothing, and a pair that was unbound is not bound again by it. That different unionids forbid
//! every other way is in `rules/joining.rs`.

use crate::{
    ids::{ExternalUserId, OpenId},
    ports::KfContent,
    registry::{
        records::{CustomerPerson, Method, SamePerson},
        rules::{Case, Join, Known},
    },
};

/// Whatever an unbound customer sends shows who it is.
pub(crate) fn hear<K: Known>(case: &mut Case<'_, K>) -> Result<(), K::Error> {
    if matches!(case.message.content, KfContent::SessionEnded) || case.sent() < case.record.undone_at {
        return Ok(());
    }
    let Some(unionid) = case.person.unionid.clone() else { return Ok(()) };
    let same = case.known.same_person(&unionid)?;
    let Some(openid) = same.openid else { return Ok(()) };
    if !may_join(case.known, &openid, case.customer, &case.person)? {
        return Ok(());
    }
    let join = Join {
        openid,
        customer: case.customer.clone(),
        account: Some(case.message.account.clone()),
        method: Method::Unionid,
        bound_at: case.sent(),
        code: None,
        replaces: Vec::new(),
    };
    case.bind(join, None, true);
    Ok(())
}

/// Whether the same unionid alone binds these two.
pub(crate) fn may_join<K: Known>(
    known: &K,
    openid: &OpenId,
    customer: &ExternalUserId,
    person: &CustomerPerson,
) -> Result<bool, K::Error> {
    Ok(!person.parted.contains(openid)
        && known.binding(openid)?.is_none()
        && known.user_of(customer)?.is_none())
}

/// The customer whom a user with this unionid is bound to as soon as the user is known.
pub(crate) fn customer_for<K: Known>(
    known: &K,
    openid: &OpenId,
    same: &SamePerson,
) -> Result<Option<(ExternalUserId, CustomerPerson)>, K::Error> {
    for customer in &same.customers {
        let person = known.person(customer)?;
        if may_join(known, openid, customer, &person)? {
            return Ok(Some((customer.clone(), person)));
        }
    }
    Ok(None)
}
