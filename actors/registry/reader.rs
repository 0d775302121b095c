//! Reads for the outside, without a queue: what a user sees, and lists of bindings for the back end.
//!
//! A read never waits behind writers, except where it touches what the batch under way has written but not yet
//! flushed: then it waits for that flush, so that nobody is told what a power cut could take back. Nothing is
//! decided or changed here.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    erasure::{ErasedIds, Kind},
    ledger::{kf_link, pending},
    records::{
        BindingRecord, CUSTOMER, CustomerPerson, LinkMeta, USER, UserPerson, UserRecord, decode, person_key,
    },
    store::{Store, StoreError, TreeId},
    ways::link::Mint,
};
use crate::{
    ids::{ExternalUserId, OpenId, Timestamp, UnionId},
    messages::{BindingInfo, BindingPage, BindingQuery, BindingStatus, BindingView},
};

/// What the writer tells the readers.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// Odd while a batch is applied but not flushed; grows by two with every batch.
    commits: AtomicU64,
    /// The users whom that batch touches.
    unflushed: Mutex<HashSet<OpenId>>,
    /// Where codes are typed.
    pub(crate) link: RwLock<Option<LinkMeta>>,
    /// Whether the store takes writes.
    pub(crate) writable: AtomicBool,
    /// Sessions given to users, not counted yet.
    pub(crate) logins: AtomicU64,
    /// Who was erased.
    pub(crate) erased: Arc<ErasedIds>,
}

impl Published {
    /// Nothing known yet but who was erased.
    pub(crate) fn new(erased: Arc<ErasedIds>) -> Self {
        Self { erased, ..Self::default() }
    }

    /// A batch that touches these users is about to be applied.
    pub(crate) fn begin(&self, users: impl IntoIterator<Item = OpenId>) {
        self.unflushed.lock().unwrap_or_else(PoisonError::into_inner).extend(users);
        self.commits.fetch_add(1, Ordering::SeqCst);
    }

    /// It is on the disk.
    pub(crate) fn end(&self) {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.unflushed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn has_unflushed(&self) -> bool {
        !self.unflushed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn is_unflushed(&self, openid: &OpenId) -> bool {
        self.unflushed.lock().unwrap_or_else(PoisonError::into_inner).contains(openid)
    }
}

/// A read that has to wait for the flush under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unflushed;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reader {
    store: Arc<Store>,
    published: Arc<Published>,
    /// Makes the tickets of links, where they have any.
    mint: Option<Mint>,
    /// Whether unionids are of use.
    keeps_unionids: bool,
}

/// How often a read is begun anew because a batch came in between.
const READS_MAX: u32 = 8;

impl Reader {
    /// Reads this store.
    pub(crate) fn new(
        store: Arc<Store>,
        published: Arc<Published>,
        mint: Option<Mint>,
        keeps_unionids: bool,
    ) -> Self {
        Self { store, published, mint, keeps_unionids }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Whether a batch is applied but not flushed, of which anything that was just read may be.
    pub(super) fn is_flushing(&self) -> Option<Unflushed> {
        let commits = self.published.commits.load(Ordering::SeqCst);
        (!commits.is_multiple_of(2)).then_some(Unflushed)
    }

    /// A user was given a session.
    pub(crate) fn count_login(&self) {
        self.published.logins.fetch_add(1, Ordering::Relaxed);
    }

    /// When this name was last erased, in milliseconds.
    pub(crate) fn erased_at(&self, kind: Kind, name: &str) -> Option<u64> {
        self.published.erased.at(kind, name)
    }

    /// Whether nothing is to be done about a user who shows this unionid: it is known, or of no use.
    pub(crate) fn knows_unionid(&self, openid: &OpenId, unionid: &UnionId) -> Result<bool, StoreError> {
        if !self.keeps_unionids {
            return Ok(true);
        }
        let key = person_key(USER, openid.as_str());
        let bytes = self.store.get(TreeId::People, &key)?;
        let person: Option<UserPerson> = bytes.map(|bytes| decode(TreeId::People, &bytes)).transpose()?;
        Ok(person.is_some_and(|person| person.unionid.as_ref() == Some(unionid)))
    }

    /// What is kept of a customer beside a binding.
    pub(crate) fn person(&self, customer: &ExternalUserId) -> Result<Option<CustomerPerson>, StoreError> {
        let bytes = self.store.get(TreeId::People, &person_key(CUSTOMER, customer.as_str()))?;
        bytes.map(|bytes| decode(TreeId::People, &bytes)).transpose()
    }

    /// What a user sees, and when that will change by itself.
    pub(crate) fn view(
        &self,
        openid: &OpenId,
        now: Timestamp,
    ) -> Result<Result<(BindingView, Option<Timestamp>), Unflushed>, StoreError> {
        for _ in 0..READS_MAX {
            let before = self.published.commits.load(Ordering::SeqCst);
            let view = self.read_view(openid, now);
            let after = self.published.commits.load(Ordering::SeqCst);
            if before != after {
                // The two records may be of different batches.
                continue;
            }
            if !before.is_multiple_of(2) && self.published.is_unflushed(openid) {
                return Ok(Err(Unflushed));
            }
            return view.map(Ok);
        }
        Ok(Err(Unflushed))
    }

    fn read_view(
        &self,
        openid: &OpenId,
        now: Timestamp,
    ) -> Result<(BindingView, Option<Timestamp>), StoreError> {
        let user: Option<UserRecord> = self.read(TreeId::Users, openid.as_str())?;
        let Some(user) = user else {
            return Ok((BindingView { version: 0, status: BindingStatus::Unbound }, None));
        };
        let link = self.published.link.read().unwrap_or_else(PoisonError::into_inner);
        let version = user.version + link.as_ref().map_or(0, |link| link.generation) * 2;
        if user.bound
            && let Some(binding) = self.read::<BindingRecord>(TreeId::Bindings, openid.as_str())?
        {
            let status = BindingStatus::Bound(Box::new(info(openid.clone(), binding, user)));
            return Ok((BindingView { version, status }, None));
        }
        match (&user.code, link.as_ref()) {
            (Some(code), Some(link)) if now < code.expires_at => {
                let status = BindingStatus::Pending(pending(code, kf_link(link), openid, self.mint.as_ref()));
                Ok((BindingView { version, status }, Some(code.expires_at)))
            }
            // The odd number: the code's end is a change that nobody writes.
            (Some(_), _) => Ok((BindingView { version: version + 1, status: BindingStatus::Unbound }, None)),
            (None, _) => Ok((BindingView { version, status: BindingStatus::Unbound }, None)),
        }
    }

    /// A page of bindings, ordered by openid, and whether it may be told only after the flush under way.
    pub(crate) fn bindings(
        &self,
        query: &BindingQuery,
    ) -> Result<(BindingPage, Option<Unflushed>), StoreError> {
        let page = match self.named(query)? {
            Named::One(openid) => {
                let is_behind = query.after.as_ref().is_none_or(|after| openid > *after);
                let bindings = self.binding_info(&openid)?.filter(|b| is_behind && matches(query, b));
                BindingPage { bindings: bindings.into_iter().collect(), next: None }
            }
            Named::None => BindingPage::default(),
            Named::Any => self.scan(query)?,
        };
        // Where no user is named, one that is missing may have gone with the batch that is not flushed yet.
        let must_wait = match &query.openid {
            Some(openid) => self.published.is_unflushed(openid),
            None => self.published.has_unflushed(),
        };
        Ok((page, must_wait.then_some(Unflushed)))
    }

    fn named(&self, query: &BindingQuery) -> Result<Named, StoreError> {
        if let Some(openid) = &query.openid {
            return Ok(Named::One(openid.clone()));
        }
        if let Some(customer) = &query.customer {
            return Ok(self.user_of(customer)?.map_or(Named::None, Named::One));
        }
        Ok(Named::Any)
    }

    fn scan(&self, query: &BindingQuery) -> Result<BindingPage, StoreError> {
        let mut page = BindingPage::default();
        // The least key behind `after` is `after` and a zero byte.
        let from =
            query.after.as_ref().map_or(Vec::new(), |after| [after.as_str().as_bytes(), &[0]].concat());
        for entry in self.store.range(TreeId::Bindings, &from)? {
            let (key, value) = entry?;
            let openid = OpenId::new(String::from_utf8_lossy(&key));
            let binding: BindingRecord = decode(TreeId::Bindings, &value)?;
            let user = self.read(TreeId::Users, openid.as_str())?.unwrap_or_default();
            let found = info(openid, binding, user);
            if !matches(query, &found) {
                continue;
            }
            if page.bindings.len() == query.limit {
                page.next = page.bindings.last().map(|last| last.openid.clone());
                break;
            }
            page.bindings.push(found);
        }
        Ok(page)
    }

    fn binding_info(&self, openid: &OpenId) -> Result<Option<BindingInfo>, StoreError> {
        let Some(binding) = self.read::<BindingRecord>(TreeId::Bindings, openid.as_str())? else {
            return Ok(None);
        };
        let user = self.read(TreeId::Users, openid.as_str())?.unwrap_or_default();
        Ok(Some(info(openid.clone(), binding, user)))
    }

    fn user_of(&self, customer: &ExternalUserId) -> Result<Option<OpenId>, StoreError> {
        self.read(TreeId::BindingsByCustomer, customer.as_str())
    }

    fn read<T: serde::de::DeserializeOwned>(&self, tree: TreeId, key: &str) -> Result<Option<T>, StoreError> {
        self.store.get(tree, key.as_bytes())?.map(|bytes| decode(tree, &bytes)).transpose()
    }

    /// Whether the store takes writes.
    pub(crate) fn is_writable(&self) -> bool {
        self.published.writable.load(Ordering::Relaxed)
    }
}

enum Named {
    One(OpenId),
    None,
    Any,
}

fn matches(query: &BindingQuery, binding: &BindingInfo) -> bool {
    fn wanted<T: PartialEq>(want: Option<&T>, is: Option<&T>) -> bool {
        want.is_none_or(|want| is == Some(want))
    }
    wanted(query.openid.as_ref(), Some(&binding.openid))
        && wanted(query.customer.as_ref(), Some(&binding.customer))
        && wanted::<UnionId>(query.unionid.as_ref(), binding.unionid.as_ref())
        && wanted(query.nickname.as_ref(), binding.nickname.as_ref())
}

/// A binding, as told to the outside.
pub(super) fn info(openid: OpenId, binding: BindingRecord, user: UserRecord) -> BindingInfo {
    BindingInfo {
        openid,
        customer: binding.customer,
        account: binding.account,
        method: binding.method.name(),
        bound_at: binding.bound_at,
        nickname: binding.nickname,
        unionid: binding.unionid.or(user.unionid),
        label: user.label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::records::{Method, encode};

    #[test]
    fn that_a_binding_has_gone_is_not_told_before_it_is_on_the_disk() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let published = Arc::new(Published::default());
        let reader = Reader::new(Arc::clone(&store), Arc::clone(&published), None, false);
        let (openid, customer) = (OpenId::new("oA"), ExternalUserId::new("wmA"));
        let binding = BindingRecord {
            customer: customer.clone(),
            account: None,
            method: Method::Code,
            bound_at: Timestamp(1),
            nickname: None,
            unionid: None,
        };
        let put = |there: bool| {
            let value = |bytes: Vec<u8>| there.then_some(bytes);
            let bindings = encode(TreeId::Bindings, &binding).unwrap();
            let by_customer = encode(TreeId::BindingsByCustomer, &openid).unwrap();
            let changes = [
                (TreeId::Bindings, [(b"oA".to_vec(), value(bindings))].into()),
                (TreeId::BindingsByCustomer, [(b"wmA".to_vec(), value(by_customer))].into()),
            ];
            store.commit(&changes.into()).unwrap();
        };
        put(true);
        published.begin([openid.clone()]);
        put(false);
        let all = BindingQuery { limit: 10, ..BindingQuery::default() };
        let by_openid = BindingQuery { openid: Some(openid.clone()), ..all.clone() };
        let by_customer = BindingQuery { customer: Some(customer.clone()), ..all.clone() };
        let other = BindingQuery { openid: Some(OpenId::new("oB")), ..all.clone() };
        for query in [&all, &by_openid, &by_customer] {
            assert_eq!(reader.bindings(query).unwrap().1, Some(Unflushed), "{query:?}");
        }
        assert!(reader.bindings(&other).unwrap().1.is_none(), "who is not touched does not wait");
        published.end();
        for query in [&all, &by_openid, &by_customer] {
            let (page, unflushed) = reader.bindings(query).unwrap();
            assert!(page.bindings.is_empty() && unflushed.is_none());
        }
    }
}
