//! What is kept of a person under their own names, and goes at once.
//!
//! Part of the ledger: everything lands in its batch.

use super::{Kind, Target};
use crate::{
    ids::{ExternalUserId, OpenId, OpenKfId, Timestamp, UnionId},
    messages::{Person, UnbindBy, UnbindRequest},
    registry::{
        ledger::Ledger,
        records::{
            CUSTOMER, CustomerPerson, CustomerRecord, ErasureRecord, SAME, SamePerson, USER, UserPerson,
            WindowRecord, person_key,
        },
        rules::Known as _,
        store::{StoreError, TreeId},
    },
};

impl Ledger<'_> {
    /// Takes away what is kept under a person's names; whether that was anything, and who is to be forgotten elsewhere.
    pub(super) fn erase(&mut self, person: Person) -> Result<(bool, Vec<Target>), StoreError> {
        let (openid, customer) = match person {
            Person::User(openid) => {
                let customer = self.overlay.binding(&openid)?.map(|binding| binding.customer);
                (Some(openid), customer)
            }
            Person::Customer(customer) => (self.overlay.user_of(&customer)?, Some(customer)),
        };
        let mut kept = false;
        let mut names = Vec::new();
        // What epoch the life that ends here has come to.
        let mut epoch = match &openid {
            Some(openid) => self.overlay.user_epoch(openid)?,
            None => 0,
        };
        if let Some(customer) = &customer {
            epoch = epoch.max(self.overlay.person(customer)?.epoch);
        }
        if let Some(openid) = &openid {
            kept |= self.unbind(&UnbindRequest { openid: openid.clone(), by: UnbindBy::Admin })?;
            kept |= self.erase_user(openid)?;
            names.push((Kind::User, openid.as_str()));
        }
        if let Some(customer) = &customer {
            kept |= self.erase_customer(customer)?;
            names.push((Kind::Customer, customer.as_str()));
        }
        kept |= self.erase_arrivals(openid.as_ref(), customer.as_ref())?;
        kept |= self.erase_unreadable(&names)?;
        let record = ErasureRecord {
            at_ms: self.moment_of(&names, epoch),
            audit_upto: self.desk.sequences.audit,
            outbox_upto: self.desk.sequences.outbox,
            is_done: false,
        };
        let mut targets = Vec::new();
        for (kind, name) in names {
            let digest = self.desk.erased.digest(kind, name);
            self.overlay.put(TreeId::Erasures, &digest, &record)?;
            self.desk.erased.add(digest, record.at_ms);
            targets.push(Target { digest, record });
        }
        Ok((kept, targets))
    }

    /// The moment that divides two lives. Sessions and epochs know whole seconds, so it is a second behind the one before
    /// where somebody is erased twice in no time, or our clock has gone back; and behind all epochs of a life that began
    /// with an erasure.
    fn moment_of(&self, names: &[(Kind, &str)], epoch: u32) -> u64 {
        let before = names.iter().filter_map(|(kind, name)| self.desk.erased.at(*kind, name)).max();
        // The unbinding that comes with it is one more.
        let behind = (u64::from(epoch) + 2).saturating_mul(1000);
        before.map_or(self.now_ms, |before| self.now_ms.max(before + 1000).max(behind))
    }

    fn erase_user(&mut self, openid: &OpenId) -> Result<bool, StoreError> {
        let (key, person_key) = (openid.as_str().as_bytes(), person_key(USER, openid.as_str()));
        let user = self.overlay.user(openid)?;
        let person = self.overlay.get::<UserPerson>(TreeId::People, &person_key)?;
        // A live code and intents end, bound or not. Only now: this may leave a record of somebody never seen.
        self.release(openid)?;
        let unionids = [
            user.as_ref().and_then(|user| user.unionid.clone()),
            person.as_ref().and_then(|person| person.unionid.clone()),
        ];
        for unionid in unionids.into_iter().flatten() {
            self.forget_same(&unionid, |same| {
                if same.openid.as_ref() == Some(openid) {
                    same.openid = None;
                }
            })?;
        }
        self.overlay.remove(TreeId::Users, key);
        self.overlay.remove(TreeId::People, &person_key);
        self.changed.insert(openid.clone());
        Ok(user.is_some() || person.is_some())
    }

    fn erase_customer(&mut self, customer: &ExternalUserId) -> Result<bool, StoreError> {
        let (key, person_key) = (customer.as_str().as_bytes(), person_key(CUSTOMER, customer.as_str()));
        let person = self.overlay.get::<CustomerPerson>(TreeId::People, &person_key)?;
        if let Some(unionid) = person.as_ref().and_then(|person| person.unionid.clone()) {
            self.forget_same(&unionid, |same| same.customers.retain(|other| other != customer))?;
        }
        let limits = self.overlay.get::<CustomerRecord>(TreeId::Attempts, key)?;
        self.overlay.remove(TreeId::People, &person_key);
        self.overlay.remove(TreeId::Attempts, key);
        Ok(person.is_some() || limits.is_some())
    }

    fn forget_same(
        &mut self,
        unionid: &UnionId,
        forget: impl FnOnce(&mut SamePerson),
    ) -> Result<(), StoreError> {
        let mut same = self.overlay.same_person(unionid)?;
        forget(&mut same);
        if same == SamePerson::default() {
            self.overlay.remove(TreeId::People, &person_key(SAME, unionid.as_str()));
            return Ok(());
        }
        self.overlay.put_same_person(unionid, &same)
    }

    /// Who announced themselves, and who came: of each account one record.
    fn erase_arrivals(
        &mut self,
        openid: Option<&OpenId>,
        customer: Option<&ExternalUserId>,
    ) -> Result<bool, StoreError> {
        let mut accounts = Vec::new();
        for key in self.overlay.keys(TreeId::Windows)? {
            accounts.push(OpenKfId::new(String::from_utf8_lossy(&key)));
        }
        let mut found = false;
        for account in accounts {
            let mut record: WindowRecord = self.overlay.window(&account)?;
            let before = (record.intents.len(), record.arrivals.len());
            record.intents.retain(|intent| Some(&intent.openid) != openid);
            record.arrivals.retain(|(other, _)| Some(other) != customer);
            if (record.intents.len(), record.arrivals.len()) != before {
                // Who was there can't be told any more, so nobody can be said to have been alone.
                record.complete_since = record.complete_since.max(self.now());
                self.overlay.put_window(&account, &record)?;
                found = true;
            }
        }
        Ok(found)
    }

    /// Messages that could not be read may name anybody.
    fn erase_unreadable(&mut self, names: &[(Kind, &str)]) -> Result<bool, StoreError> {
        let mut gone = Vec::new();
        for key in self.overlay.keys(TreeId::Unreadable)? {
            let kept = self.overlay.get::<(Timestamp, String)>(TreeId::Unreadable, &key)?;
            if kept.is_some_and(|(_, raw)| names.iter().any(|(_, name)| raw.contains(name))) {
                gone.push(key);
            }
        }
        for key in &gone {
            self.overlay.remove(TreeId::Unreadable, key);
        }
        Ok(!gone.is_empty())
    }
}
