//! Whether stored bytes are a record of their tree, for whoever takes them from outside: an import.
//!
//! Only the form. What records say of each other is not looked at.

use super::{
    AuditRecord, BindingRecord, CUSTOMER, CodeRecord, CursorRecord, CustomerPerson, CustomerRecord,
    DayRecord, DeadLetterRecord, ErasureRecord, LinkMeta, OutboxRecord, QuestionRecord, SAME, SamePerson,
    StoreMeta, TicketRecord, USER, UserPerson, UserRecord, WebhookRecord, WindowRecord, decode, number,
};
use crate::{
    ids::{OpenId, Timestamp},
    registry::{
        META_LINK, META_RATION, META_STORE,
        store::{StoreError, TreeId},
    },
};

/// Whether this is a record that a store of ours may hold: a key of the tree's form, and a value that can be read.
pub(crate) fn check(tree: TreeId, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let bad = |why: &str| StoreError::BadRecord { tree: tree.name(), why: why.to_owned() };
    match tree {
        TreeId::Outbox
        | TreeId::Guesses
        | TreeId::Audit
        | TreeId::Unreadable
        | TreeId::Stats
        | TreeId::Webhooks
        | TreeId::DeadLetters => drop(number(tree, key)?),
        TreeId::Seen if !key.contains(&0) => return Err(bad("its key names no message")),
        TreeId::Questions if key.len() != 16 => return Err(bad("its key names no question")),
        TreeId::Erasures if key.len() != 16 => return Err(bad("its key is no digest")),
        TreeId::Questions | TreeId::Erasures => {}
        _ => drop(std::str::from_utf8(key).map_err(|_| bad("its key is not UTF-8"))?),
    }
    match tree {
        TreeId::Meta if key == META_STORE => drop(decode::<StoreMeta>(tree, value)?),
        TreeId::Meta if key == META_LINK => drop(decode::<LinkMeta>(tree, value)?),
        TreeId::Meta if key == META_RATION => drop(decode::<Vec<Timestamp>>(tree, value)?),
        // A fact that a later version knows.
        TreeId::Meta => {}
        TreeId::Codes => drop(decode::<CodeRecord>(tree, value)?),
        TreeId::Users => drop(decode::<UserRecord>(tree, value)?),
        TreeId::Bindings => drop(decode::<BindingRecord>(tree, value)?),
        TreeId::BindingsByCustomer => drop(decode::<OpenId>(tree, value)?),
        TreeId::Cursors => drop(decode::<CursorRecord>(tree, value)?),
        TreeId::Seen => drop(decode::<Timestamp>(tree, value)?),
        TreeId::Outbox => drop(decode::<OutboxRecord>(tree, value)?),
        TreeId::Attempts => drop(decode::<CustomerRecord>(tree, value)?),
        TreeId::Guesses => drop(decode::<u64>(tree, value)?),
        TreeId::Audit => drop(decode::<AuditRecord>(tree, value)?),
        TreeId::Unreadable => drop(decode::<(Timestamp, String)>(tree, value)?),
        TreeId::People => match key.first() {
            Some(&CUSTOMER) => drop(decode::<CustomerPerson>(tree, value)?),
            Some(&USER) => drop(decode::<UserPerson>(tree, value)?),
            Some(&SAME) => drop(decode::<SamePerson>(tree, value)?),
            _ => return Err(bad("its key names nobody")),
        },
        TreeId::Tickets => drop(decode::<TicketRecord>(tree, value)?),
        TreeId::Questions => drop(decode::<QuestionRecord>(tree, value)?),
        TreeId::Windows => drop(decode::<WindowRecord>(tree, value)?),
        TreeId::Stats => drop(decode::<DayRecord>(tree, value)?),
        TreeId::Webhooks => drop(decode::<WebhookRecord>(tree, value)?),
        TreeId::DeadLetters => drop(decode::<DeadLetterRecord>(tree, value)?),
        TreeId::Erasures => drop(decode::<ErasureRecord>(tree, value)?),
    }
    Ok(())
}
