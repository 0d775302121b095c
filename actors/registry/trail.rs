//! The audit trail and the dead letters, as the outside reads them. Nothing is decided or changed here.

use super::{
    announcing,
    reader::{Reader, Unflushed},
    records::{AuditBy, AuditKind, AuditRecord, Method, decode, number},
    store::{StoreError, TreeId},
};
use crate::messages::{AuditEvent, DeadLetterPage, EventPage, EventsFrom};

/// What was read, and whether it may be told only after the flush under way.
pub(crate) type Read<T> = (T, Option<Unflushed>);

impl Reader {
    /// A part of the trail.
    pub(crate) fn events(&self, from: EventsFrom, limit: usize) -> Result<Read<EventPage>, StoreError> {
        let page = match from {
            EventsFrom::After(id) => {
                let from = id.saturating_add(1).to_be_bytes();
                page(self.store().range(TreeId::Audit, &from)?, limit)
            }
            EventsFrom::Before(id) => page(self.store().range_back(TreeId::Audit, &id.to_be_bytes())?, limit),
        };
        Ok((page?, self.is_flushing()))
    }

    /// A part of the dead letters; `None` where `after` is no id of this store's.
    pub(crate) fn dead_letters(
        &self,
        instance_key: &[u8; 32],
        after: Option<&str>,
        limit: usize,
    ) -> Result<Read<Option<DeadLetterPage>>, StoreError> {
        let page = announcing::dead_letters(self.store(), instance_key, after, limit)?;
        Ok((page, self.is_flushing()))
    }
}

fn page<K: AsRef<[u8]>>(
    entries: impl Iterator<Item = Result<(K, K), StoreError>>,
    limit: usize,
) -> Result<EventPage, StoreError> {
    let mut page = EventPage::default();
    for entry in entries {
        let (key, value) = entry?;
        if page.events.len() == limit {
            page.next = page.events.last().map(|last| last.id);
            break;
        }
        let id = number(TreeId::Audit, key.as_ref())?;
        page.events.push(told(id, decode(TreeId::Audit, value.as_ref())?));
    }
    Ok(page)
}

/// A stored event, as told to the outside.
fn told(id: u64, record: AuditRecord) -> AuditEvent {
    AuditEvent {
        id,
        at: record.at,
        what: match record.what {
            AuditKind::Bound => "bound",
            AuditKind::Unbound => "unbound",
            AuditKind::Conflict => "conflict",
            AuditKind::Locked => "locked",
            AuditKind::OtherPerson => "other_person",
            AuditKind::Undelivered => "undelivered",
        },
        openid: record.openid,
        customer: record.customer,
        method: record.method.map(Method::name),
        by: match record.by {
            AuditBy::Customer => "customer".to_owned(),
            AuditBy::User => "user".to_owned(),
            AuditBy::Admin => "admin".to_owned(),
            AuditBy::Replaced => "replaced".to_owned(),
            AuditBy::WeCom => "wecom".to_owned(),
            AuditBy::Staff(userid) => format!("staff:{}", userid.as_str()),
        },
    }
}
