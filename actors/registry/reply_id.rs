//! The `msgid` of our answers: derived from the message that is answered, and recognisable as ours without a record.
//!
//! WeCom takes each `msgid` of an account once, so an answer sent again after a crash can't be heard twice. The
//! first half is a hash of the message; the second, keyed with the store's instance key, binds the first to the
//! customer, so that a `msg_send_fail` can be told to be about one of ours. It keeps nobody out: WeCom's word is
//! authentic already.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

use crate::ids::{ExternalUserId, MessageId, OpenKfId, ReplyId};

/// The id of the answer to this message: 32 characters of `[0-9a-f]`.
pub(crate) fn reply_id(
    instance_key: &[u8; 32],
    account: &OpenKfId,
    msgid: &MessageId,
    customer: &ExternalUserId,
) -> ReplyId {
    let head = hash(&[0; 16], &[account.as_str(), msgid.as_str()]);
    ReplyId::new(format!("{head:016x}{:016x}", mark(instance_key, head, customer)))
}

/// Whether this id is one of ours to this customer.
pub(crate) fn is_ours(instance_key: &[u8; 32], id: &ReplyId, customer: &ExternalUserId) -> bool {
    id.as_str().split_at_checked(16).is_some_and(|(head, tail)| {
        u64::from_str_radix(head, 16)
            .is_ok_and(|head| format!("{:016x}", mark(instance_key, head, customer)) == tail)
    })
}

fn mark(instance_key: &[u8; 32], head: u64, customer: &ExternalUserId) -> u64 {
    let mut key = [0; 16];
    for (byte, from) in key.iter_mut().zip(instance_key) {
        *byte = *from;
    }
    hash(&key, &[&format!("{head:016x}"), customer.as_str()])
}

fn hash(key: &[u8; 16], parts: &[&str]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    for part in parts {
        hasher.write(part.as_bytes());
        // A byte that no id has, so that parts can't run into each other.
        hasher.write(&[0]);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_ids_are_known_again_and_fit_wecom() {
        let (account, customer) = (OpenKfId::new("wkA"), ExternalUserId::new("wmA"));
        let id = reply_id(&[7; 32], &account, &MessageId::new("m1"), &customer);
        assert_eq!(id.as_str().len(), 32);
        assert!(id.as_str().bytes().all(|b| b.is_ascii_alphanumeric()));
        assert!(is_ours(&[7; 32], &id, &customer));
        assert!(!is_ours(&[8; 32], &id, &customer), "another store's");
        assert!(!is_ours(&[7; 32], &id, &ExternalUserId::new("wma")), "to somebody else");
        for foreign in ["", "x", "0123456789abcdef0123456789abcdef", "0123456789abcdefé"] {
            assert!(!is_ours(&[7; 32], &ReplyId::new(foreign), &customer));
        }
        assert_ne!(id, reply_id(&[7; 32], &account, &MessageId::new("M1"), &customer));
    }
}
