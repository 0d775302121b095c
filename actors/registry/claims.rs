//! What users and employees bring about outside a page of messages: tickets redeemed, intents opened, codes typed.
//!
//! Part of the ledger: everything lands in its batch. The rules are in `ways/` and `rules/joining.rs`.

use super::{
    ledger::Ledger,
    reader::info,
    records::{AuditBy, AuditKind, AuditRecord, CodeRecord, CustomerRecord, Method, TicketRecord},
    rules::{Join, Known},
    store::{StoreError, TreeId},
    ways::{
        card::{self, Redeeming},
        staff::{self, Typing},
    },
};
use crate::{
    ids::{BindCode, ExternalUserId, OpenId, OpenKfId, UnionId},
    messages::{
        IntentOutcome, IssuedTicket, StaffBindOutcome, StaffBindRequest, StaffTicketRequest, TicketFacts,
        TicketRefusal, TicketRequest,
    },
};

impl Ledger<'_> {
    // ---- Tickets --------------------------------------------------------------------------------------------

    /// Whom a ticket would bind.
    pub(crate) fn look_at_ticket(
        &mut self,
        request: &TicketRequest,
    ) -> Result<Result<TicketFacts, TicketRefusal>, StoreError> {
        if let Some(unionid) = &request.unionid {
            self.name_user(&request.openid, unionid)?;
        }
        let record = match self.judge_ticket(request)? {
            Redeeming::Binds { record, .. } => record,
            Redeeming::Done => return Ok(Err(TicketRefusal::AlreadyBound)),
            Redeeming::Refused { refusal, .. } => return Ok(Err(refusal)),
        };
        let person = self.overlay.person(&record.customer)?;
        Ok(Ok(TicketFacts {
            customer: record.customer,
            nickname: person.nickname,
            expires_at: record.expires_at,
            wants_profile: self.desk.policy.ways.unionid && person.unionid.is_none(),
        }))
    }

    /// Binds by a ticket.
    pub(crate) fn redeem_ticket(
        &mut self,
        request: &TicketRequest,
    ) -> Result<Result<(), TicketRefusal>, StoreError> {
        if let Some(unionid) = &request.unionid {
            self.name_user(&request.openid, unionid)?;
        }
        let (openid, ticket) = (&request.openid, &request.ticket);
        let (mut record, replaces) = match self.judge_ticket(request)? {
            Redeeming::Binds { record, replaces } => (record, replaces),
            Redeeming::Done => return Ok(Ok(())),
            Redeeming::Refused { refusal, record } => {
                if let Some(record) = record {
                    self.refuse_ticket(request, refusal, record)?;
                }
                return Ok(Err(refusal));
            }
        };
        record.used_by = Some(openid.clone());
        self.overlay.put_ticket(ticket, &record)?;
        let by = record.by.clone().map_or(AuditBy::User, AuditBy::Staff);
        self.join(Join {
            openid: openid.clone(),
            customer: record.customer.clone(),
            account: record.account.clone(),
            method: record.method,
            bound_at: self.now(),
            code: None,
            replaces,
        })?;
        self.audit_claim(AuditKind::Bound, openid, &record.customer, Some(record.method), by)?;
        self.tell_claimed(record.account.as_ref(), &record.customer, openid).map(Ok)
    }

    /// Tells a customer who was bound by another's hand: where they wrote last, for the account that an employee's
    /// client names may be any, and nobody would be told there.
    fn tell_claimed(
        &mut self,
        named: Option<&OpenKfId>,
        customer: &ExternalUserId,
        openid: &OpenId,
    ) -> Result<(), StoreError> {
        match self.overlay.person(customer)?.account.or_else(|| named.cloned()) {
            Some(account) => self.tell_bound(&account, customer, openid),
            None => Ok(()),
        }
    }

    fn judge_ticket(&self, request: &TicketRequest) -> Result<Redeeming, StoreError> {
        card::redeem(&self.overlay, &self.desk.policy, &request.ticket, &request.openid, self.now())
    }

    fn refuse_ticket(
        &mut self,
        request: &TicketRequest,
        refusal: TicketRefusal,
        mut record: TicketRecord,
    ) -> Result<(), StoreError> {
        let openid = &request.openid;
        let (what, reason) = match refusal {
            TicketRefusal::OtherPerson => (AuditKind::OtherPerson, "other_person"),
            TicketRefusal::Conflict => (AuditKind::Conflict, "conflict"),
            TicketRefusal::Invalid | TicketRefusal::AlreadyBound => return Ok(()),
        };
        self.count_rejected(reason)?;
        if record.conflicts.contains(openid) {
            return Ok(());
        }
        record.conflicts.push(openid.clone());
        self.overlay.put_ticket(&request.ticket, &record)?;
        self.audit_claim(what, openid, &record.customer, Some(record.method), AuditBy::User)
    }

    // ---- Intents --------------------------------------------------------------------------------------------

    /// A user is about to open the chat. (7.6)
    pub(crate) fn open_intent(
        &mut self,
        openid: &OpenId,
        unionid: Option<&UnionId>,
    ) -> Result<IntentOutcome, StoreError> {
        if let Some(unionid) = unionid {
            self.meet(openid, unionid)?;
        }
        if self.overlay.binding(openid)?.is_some() {
            return Ok(IntentOutcome::AlreadyBound);
        }
        let Some(account) = self.desk.link.as_ref().and_then(|link| link.account.clone()) else {
            return Ok(IntentOutcome::NoLink);
        };
        let (now, window_s) = (self.now(), self.desk.policy.window_s);
        let expires_at = now.plus(window_s);
        let mut record = self.overlay.window(&account)?;
        record.forget(now, window_s);
        let epoch = self.overlay.user_or_default(openid)?.epoch;
        record.announce(openid, epoch, self.now_ms, expires_at);
        self.overlay.put_window(&account, &record)?;
        Ok(IntentOutcome::Open { expires_at })
    }

    /// A user's intents end with a binding and with an unbinding.
    pub(super) fn end_intents(&mut self, openid: &OpenId) -> Result<(), StoreError> {
        let account = self.desk.link.as_ref().and_then(|link| link.account.clone());
        let Some(account) = account.filter(|_| self.desk.policy.ways.window) else { return Ok(()) };
        let mut record = self.overlay.window(&account)?;
        if record.end(openid, self.now()) {
            self.overlay.put_window(&account, &record)?;
        }
        Ok(())
    }

    // ---- Employees ------------------------------------------------------------------------------------------

    /// Makes a ticket for an employee's card. (7.7)
    pub(crate) fn make_ticket(&mut self, request: &StaffTicketRequest) -> Result<IssuedTicket, StoreError> {
        let account = match &request.account {
            Some(account) => Some(account.clone()),
            None => self.overlay.person(&request.customer)?.account,
        };
        let (ticket, expires_at) =
            self.make_card(&request.customer, account, Some(request.userid.clone()))?;
        Ok(IssuedTicket { path: self.card_path(&ticket), ticket, expires_at })
    }

    /// Binds by a code that an employee typed.
    pub(crate) fn bind_for_staff(
        &mut self,
        request: &StaffBindRequest,
    ) -> Result<StaffBindOutcome, StoreError> {
        let (now, customer) = (self.now(), &request.customer);
        let key = [&[0], request.userid.as_str().as_bytes()].concat();
        let mut typed: CustomerRecord = self.overlay.get(TreeId::Attempts, &key)?.unwrap_or_default();
        let rate = self.desk.policy.wrong_codes_per_customer;
        let ends_at = typed.window_start.plus(rate.window_s);
        if typed.wrong_in_window >= rate.count && now < ends_at && typed.window_start <= now {
            return Ok(StaffBindOutcome::TooMany { retry_after_s: ends_at.since(now).max(1) });
        }
        let lengths = self.desk.crowd.lengths(self.desk.policy.code_format, now);
        let code = request.code.as_str();
        let by = || AuditBy::Staff(request.userid.clone());
        match staff::judge(&self.overlay, &self.desk.policy, &lengths, code, customer, now)? {
            Typing::Binds { code, openid, replaces } => {
                let account = match &request.account {
                    Some(account) => Some(account.clone()),
                    None => self.overlay.person(customer)?.account,
                };
                self.join(Join {
                    openid: openid.clone(),
                    customer: customer.clone(),
                    account: account.clone(),
                    method: Method::Staff,
                    bound_at: now,
                    code: Some(code),
                    replaces,
                })?;
                self.audit_claim(AuditKind::Bound, &openid, customer, Some(Method::Staff), by())?;
                self.tell_claimed(account.as_ref(), customer, &openid)?;
                let user = self.overlay.user_or_default(&openid)?;
                Ok(match self.overlay.binding(&openid)? {
                    Some(binding) => StaffBindOutcome::Bound(Box::new(info(openid, binding, user))),
                    None => StaffBindOutcome::CodeInvalid,
                })
            }
            Typing::Wrong => {
                if typed.wrong_in_window == 0 || now >= ends_at || typed.window_start > now {
                    typed.window_start = now;
                    typed.wrong_in_window = 0;
                }
                typed.wrong_in_window += 1;
                typed.wrong_total += 1;
                typed.last_wrong_at = now;
                self.overlay.put(TreeId::Attempts, &key, &typed)?;
                let (minute, guesses) = self.desk.crowd.guessed(now);
                self.overlay.put(TreeId::Guesses, &minute.to_be_bytes(), &guesses)?;
                self.count_rejected("wrong")?;
                Ok(StaffBindOutcome::CodeInvalid)
            }
            Typing::Invalid => {
                self.count_rejected("expired")?;
                Ok(StaffBindOutcome::CodeInvalid)
            }
            Typing::AlreadyBound => Ok(StaffBindOutcome::AlreadyBound),
            Typing::Conflict { code, record } => {
                self.count_rejected("conflict")?;
                self.refuse_code(AuditKind::Conflict, request, &code, record)?;
                Ok(StaffBindOutcome::Conflict)
            }
            Typing::OtherPerson { code, record } => {
                self.count_rejected("other_person")?;
                self.refuse_code(AuditKind::OtherPerson, request, &code, record)?;
                Ok(StaffBindOutcome::OtherPerson)
            }
        }
    }

    /// Once per code and customer: an employee's client may ask as often as it likes.
    fn refuse_code(
        &mut self,
        what: AuditKind,
        request: &StaffBindRequest,
        code: &BindCode,
        mut record: CodeRecord,
    ) -> Result<(), StoreError> {
        let customer = &request.customer;
        if record.conflicts.contains(customer) {
            return Ok(());
        }
        record.conflicts.push(customer.clone());
        self.overlay.put_code(code, &record)?;
        let by = AuditBy::Staff(request.userid.clone());
        self.audit_claim(what, &record.openid, customer, None, by)
    }

    pub(super) fn audit_claim(
        &mut self,
        what: AuditKind,
        openid: &OpenId,
        customer: &ExternalUserId,
        method: Option<Method>,
        by: AuditBy,
    ) -> Result<(), StoreError> {
        self.audit(&AuditRecord {
            at: self.now(),
            what,
            openid: Some(openid.clone()),
            customer: Some(customer.clone()),
            method: method.filter(|_| what == AuditKind::Bound),
            by,
            message: None,
        })
    }
}
