//! One batch in the making: what is stored, with this batch's changes laid over it.
//!
//! Later decisions of a batch see what earlier ones wrote; nothing reaches the store before the whole batch is
//! committed. Typed access to records, and no rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    erasure::{ErasedIds, Kind},
    records::{
        AuditRecord, BindingRecord, CUSTOMER, CodeRecord, CursorRecord, CustomerPerson, CustomerRecord,
        OutboxRecord, QuestionId, QuestionRecord, SAME, SamePerson, TicketRecord, USER, UserPerson,
        UserRecord, WindowRecord, decode, encode, person_key,
    },
    rules::{EARLY_S, Known},
    store::{Changes, Store, StoreError, TreeId},
    ways::link::Mint,
};
use crate::ids::{BindCode, ExternalUserId, MessageId, OpenId, OpenKfId, Ticket, Timestamp, UnionId};

/// See the module.
pub(crate) struct Overlay<'a> {
    store: &'a Store,
    /// Reads the tickets of links.
    mint: Mint,
    /// Who was erased: nothing of before comes back to life.
    erased: Arc<ErasedIds>,
    /// The time of the batch.
    now: Timestamp,
    changes: BTreeMap<TreeId, Changes>,
}

impl<'a> Overlay<'a> {
    /// Nothing changed yet.
    pub(crate) fn new(store: &'a Store, mint: Mint, erased: Arc<ErasedIds>, now: Timestamp) -> Self {
        Self { store, mint, erased, now, changes: BTreeMap::new() }
    }

    /// What lies under the batch.
    pub(crate) fn store(&self) -> &'a Store {
        self.store
    }

    /// Whether the batch changes this key.
    pub(crate) fn has_changed(&self, tree: TreeId, key: &[u8]) -> bool {
        self.changes.get(&tree).is_some_and(|changes| changes.contains_key(key))
    }

    /// What the batch changes.
    pub(crate) fn into_changes(self) -> BTreeMap<TreeId, Changes> {
        self.changes
    }

    /// The record under a key, as this batch sees it.
    pub(crate) fn get<T: DeserializeOwned>(&self, tree: TreeId, key: &[u8]) -> Result<Option<T>, StoreError> {
        if let Some(change) = self.changes.get(&tree).and_then(|changes| changes.get(key)) {
            return change.as_deref().map(|bytes| decode(tree, bytes)).transpose();
        }
        self.store.get(tree, key)?.map(|bytes| decode(tree, &bytes)).transpose()
    }

    /// The keys of a tree that holds few, as this batch leaves them.
    pub(crate) fn keys(&self, tree: TreeId) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys = BTreeSet::new();
        for entry in self.store.range(tree, &[])? {
            keys.insert(entry?.0.to_vec());
        }
        for (key, change) in self.changes.get(&tree).into_iter().flatten() {
            if change.is_some() {
                keys.insert(key.clone())
            } else {
                keys.remove(key)
            };
        }
        Ok(keys.into_iter().collect())
    }

    /// Whether nothing lies in a tree.
    pub(crate) fn is_empty(&self, tree: TreeId) -> Result<bool, StoreError> {
        let is_put = self.changes.get(&tree).is_some_and(|changes| changes.values().any(Option::is_some));
        Ok(!is_put && self.store.range(tree, &[])?.next().is_none())
    }

    /// Puts a record.
    pub(crate) fn put<T: Serialize>(
        &mut self,
        tree: TreeId,
        key: &[u8],
        record: &T,
    ) -> Result<(), StoreError> {
        self.changes.entry(tree).or_default().insert(key.to_owned(), Some(encode(tree, record)?));
        Ok(())
    }

    /// Takes a key away.
    pub(crate) fn remove(&mut self, tree: TreeId, key: &[u8]) {
        self.changes.entry(tree).or_default().insert(key.to_owned(), None);
    }

    /// Before when nothing is taken from a customer: what was sent then is of a life that was erased. A moment that has
    /// not come yet was told by a wrong clock, and would shut them out until it comes.
    pub(crate) fn begins_at(&self, customer: &ExternalUserId) -> Timestamp {
        let at = self.erased_at(Kind::Customer, customer.as_str());
        if at <= self.now.plus(EARLY_S) { at } else { Timestamp(0) }
    }

    /// When a name was erased, 0 for never. Seconds.
    fn erased_at(&self, kind: Kind, name: &str) -> Timestamp {
        Timestamp(self.erased.at(kind, name).unwrap_or_default() / 1000)
    }

    /// The first epoch of a name: no count of bindings comes near a moment in time.
    fn epoch_after(&self, kind: Kind, name: &str) -> u32 {
        u32::try_from(self.erased_at(kind, name).0).unwrap_or(u32::MAX)
    }

    /// A user's record, empty for one never seen.
    pub(crate) fn user_or_default(&self, openid: &OpenId) -> Result<UserRecord, StoreError> {
        // A life after an erasure begins behind all epochs of the one before.
        let new =
            || UserRecord { epoch: self.epoch_after(Kind::User, openid.as_str()), ..UserRecord::default() };
        Ok(self.user(openid)?.unwrap_or_else(new))
    }

    /// Keeps a user's record.
    pub(crate) fn put_user(&mut self, openid: &OpenId, record: &UserRecord) -> Result<(), StoreError> {
        self.put(TreeId::Users, openid.as_str().as_bytes(), record)
    }

    /// Keeps a code's record.
    pub(crate) fn put_code(&mut self, code: &BindCode, record: &CodeRecord) -> Result<(), StoreError> {
        self.put(TreeId::Codes, code.as_str().as_bytes(), record)
    }

    /// Keeps a binding, both ways.
    pub(crate) fn put_binding(&mut self, openid: &OpenId, record: &BindingRecord) -> Result<(), StoreError> {
        self.put(TreeId::Bindings, openid.as_str().as_bytes(), record)?;
        self.put(TreeId::BindingsByCustomer, record.customer.as_str().as_bytes(), openid)
    }

    /// Takes a binding away, both ways.
    pub(crate) fn remove_binding(&mut self, openid: &OpenId, customer: &ExternalUserId) {
        self.remove(TreeId::Bindings, openid.as_str().as_bytes());
        self.remove(TreeId::BindingsByCustomer, customer.as_str().as_bytes());
    }

    /// Keeps a customer's limits.
    pub(crate) fn put_customer(
        &mut self,
        customer: &ExternalUserId,
        record: &CustomerRecord,
    ) -> Result<(), StoreError> {
        self.put(TreeId::Attempts, customer.as_str().as_bytes(), record)
    }

    /// Where to go on in an account.
    pub(crate) fn cursor(&self, account: &OpenKfId) -> Result<CursorRecord, StoreError> {
        Ok(self.get(TreeId::Cursors, account.as_str().as_bytes())?.unwrap_or_default())
    }

    /// Keeps where to go on.
    pub(crate) fn put_cursor(&mut self, account: &OpenKfId, record: &CursorRecord) -> Result<(), StoreError> {
        self.put(TreeId::Cursors, account.as_str().as_bytes(), record)
    }

    /// Whether a message was acted on before.
    pub(crate) fn was_seen(&self, account: &OpenKfId, msgid: &MessageId) -> Result<bool, StoreError> {
        Ok(self.get::<Timestamp>(TreeId::Seen, &seen_key(account, msgid))?.is_some())
    }

    /// Remembers that a message was acted on.
    pub(crate) fn put_seen(
        &mut self,
        account: &OpenKfId,
        msgid: &MessageId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.put(TreeId::Seen, &seen_key(account, msgid), &at)
    }

    /// Keeps something to do.
    pub(crate) fn put_outbox(&mut self, seq: u64, record: &OutboxRecord) -> Result<(), StoreError> {
        self.put(TreeId::Outbox, &seq.to_be_bytes(), record)
    }

    /// Keeps an audit event.
    pub(crate) fn put_audit(&mut self, id: u64, record: &AuditRecord) -> Result<(), StoreError> {
        self.put(TreeId::Audit, &id.to_be_bytes(), record)
    }
}

impl Overlay<'_> {
    /// Keeps what else is known of a customer, and that it has changed now.
    pub(crate) fn put_person(
        &mut self,
        customer: &ExternalUserId,
        record: &CustomerPerson,
    ) -> Result<(), StoreError> {
        let record = CustomerPerson { changed_at: self.now, ..record.clone() };
        self.put(TreeId::People, &person_key(CUSTOMER, customer.as_str()), &record)
    }

    /// Keeps what else is known of a user.
    pub(crate) fn put_user_person(&mut self, openid: &OpenId, record: &UserPerson) -> Result<(), StoreError> {
        self.put(TreeId::People, &person_key(USER, openid.as_str()), record)
    }

    /// Keeps who has a unionid.
    pub(crate) fn put_same_person(
        &mut self,
        unionid: &UnionId,
        record: &SamePerson,
    ) -> Result<(), StoreError> {
        self.put(TreeId::People, &person_key(SAME, unionid.as_str()), record)
    }

    /// Keeps a card's ticket.
    pub(crate) fn put_ticket(&mut self, ticket: &Ticket, record: &TicketRecord) -> Result<(), StoreError> {
        self.put(TreeId::Tickets, ticket.as_str().as_bytes(), record)
    }

    /// Keeps a question.
    pub(crate) fn put_question(&mut self, id: QuestionId, record: &QuestionRecord) -> Result<(), StoreError> {
        self.put(TreeId::Questions, &id.0, record)
    }

    /// Keeps what happens in an account.
    pub(crate) fn put_window(&mut self, account: &OpenKfId, record: &WindowRecord) -> Result<(), StoreError> {
        self.put(TreeId::Windows, account.as_str().as_bytes(), record)
    }
}

/// Account, a zero byte, message: ids have no zero bytes.
fn seen_key(account: &OpenKfId, msgid: &MessageId) -> Vec<u8> {
    let mut key = Vec::with_capacity(account.as_str().len() + 1 + msgid.as_str().len());
    key.extend_from_slice(account.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(msgid.as_str().as_bytes());
    key
}

impl Known for Overlay<'_> {
    type Error = StoreError;

    fn code(&self, code: &BindCode) -> Result<Option<CodeRecord>, StoreError> {
        self.get(TreeId::Codes, code.as_str().as_bytes())
    }

    fn user(&self, openid: &OpenId) -> Result<Option<UserRecord>, StoreError> {
        self.get(TreeId::Users, openid.as_str().as_bytes())
    }

    fn user_epoch(&self, openid: &OpenId) -> Result<u32, StoreError> {
        Ok(self.user_or_default(openid)?.epoch)
    }

    fn binding(&self, openid: &OpenId) -> Result<Option<BindingRecord>, StoreError> {
        self.get(TreeId::Bindings, openid.as_str().as_bytes())
    }

    fn user_of(&self, customer: &ExternalUserId) -> Result<Option<OpenId>, StoreError> {
        self.get(TreeId::BindingsByCustomer, customer.as_str().as_bytes())
    }

    fn customer(&self, customer: &ExternalUserId) -> Result<CustomerRecord, StoreError> {
        let new = || CustomerRecord { undone_at: self.begins_at(customer), ..CustomerRecord::default() };
        Ok(self.get(TreeId::Attempts, customer.as_str().as_bytes())?.unwrap_or_else(new))
    }

    fn person(&self, customer: &ExternalUserId) -> Result<CustomerPerson, StoreError> {
        let new = || CustomerPerson {
            epoch: self.epoch_after(Kind::Customer, customer.as_str()),
            ..CustomerPerson::default()
        };
        Ok(self.get(TreeId::People, &person_key(CUSTOMER, customer.as_str()))?.unwrap_or_else(new))
    }

    fn user_person(&self, openid: &OpenId) -> Result<UserPerson, StoreError> {
        let new = || UserPerson {
            unbound_ms: self.erased.at(Kind::User, openid.as_str()).unwrap_or_default(),
            ..UserPerson::default()
        };
        Ok(self.get(TreeId::People, &person_key(USER, openid.as_str()))?.unwrap_or_else(new))
    }

    fn same_person(&self, unionid: &UnionId) -> Result<SamePerson, StoreError> {
        Ok(self.get(TreeId::People, &person_key(SAME, unionid.as_str()))?.unwrap_or_default())
    }

    fn code_of_link(&self, ticket: &Ticket) -> Result<Option<(BindCode, CodeRecord)>, StoreError> {
        let Some(code) = self.mint.code(ticket) else { return Ok(None) };
        let record = self.code(&code)?.filter(|record| self.mint.is_of(ticket, &code, record));
        Ok(record.map(|record| (code, record)))
    }

    fn ticket(&self, ticket: &Ticket) -> Result<Option<TicketRecord>, StoreError> {
        self.get(TreeId::Tickets, ticket.as_str().as_bytes())
    }

    fn question(&self, id: QuestionId) -> Result<Option<QuestionRecord>, StoreError> {
        self.get(TreeId::Questions, &id.0)
    }

    fn window(&self, account: &OpenKfId) -> Result<WindowRecord, StoreError> {
        Ok(self.get(TreeId::Windows, account.as_str().as_bytes())?.unwrap_or_default())
    }
}
