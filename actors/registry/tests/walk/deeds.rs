//! What people do on a walk, and which bindings it may bring about.

use super::run::{ACCOUNT, Deed, Run};
use crate::{
    ids::{
        BindCode, Cursor, ExternalUserId, MenuId, MessageId, OpenId, OpenKfId, Ticket, Timestamp, UnionId,
        UserId, WelcomeCode,
    },
    messages::{
        AdminBindOutcome, AdminBindRequest, IntentOutcome, Introduction, IssueOutcome, IssueRequest, Learned,
        OnPage, PageCommit, Person, Refusal, RegistryMessage, StaffBindRequest, StaffTicketRequest,
        TicketRequest, UnbindBy, UnbindRequest, Wanted,
    },
    ports::{Clock as _, KfContent, KfMessage, Page, Profile},
    registry::{
        erasure::Kind,
        records::{QuestionId, QuestionRecord, decode},
        store::TreeId,
    },
};

impl Run {
    pub(super) fn issue(&mut self, user: &str) -> Deed {
        let unionid = self.unionid_of_user(user);
        let mut deed = Deed { bound_at: self.now(), ..Deed::default() };
        if let Some(unionid) = &unionid {
            self.oracle.users.insert(user.to_owned(), unionid.clone());
            deed.causes = self.oracle.by_unionid();
        }
        let request = IssueRequest {
            openid: OpenId::new(user),
            unionid: unionid.map(UnionId::new),
            renew: self.dice.one_in(2),
        };
        if let Ok(IssueOutcome::Issued(code)) = self.ask(|reply| RegistryMessage::Issue(request, reply)) {
            let ticket = code.link.url.split_once("&scene_param=").expect("a ticket").1.to_owned();
            self.oracle.issued(user, code.code.as_str(), &ticket, self.clock.now().0, code.expires_at.0);
        }
        deed
    }

    /// Two of the users and two of the customers have a unionid that is told; one pair of them the same.
    fn unionid_of_user(&mut self, user: &str) -> Option<String> {
        (matches!(user, "o0" | "o1") && self.dice.one_in(2)).then(|| user.replace('o', "u"))
    }

    pub(super) fn log_in(&mut self, user: &str) -> Deed {
        let unionid = user.replace('o', "u");
        self.oracle.users.insert(user.to_owned(), unionid.clone());
        let causes = self.oracle.by_unionid();
        let (openid, unionid) = (OpenId::new(user), UnionId::new(unionid));
        let _: Result<(), Refusal> = if self.dice.one_in(2) {
            self.ask(|reply| RegistryMessage::Meet(openid, unionid, reply))
        } else {
            let introduction = Introduction { openid, unionid: Some(unionid), label: Some(user.to_owned()) };
            self.ask(|reply| RegistryMessage::Introduce(introduction, reply))
        };
        Deed { causes, bound_at: self.now(), ..Deed::default() }
    }

    pub(super) fn unbind(&mut self, user: &str) -> Deed {
        let request = UnbindRequest { openid: OpenId::new(user), by: UnbindBy::User };
        let _: Result<bool, Refusal> = self.ask(|reply| RegistryMessage::Unbind(request, reply));
        if self.oracle.bound.contains_key(user) {
            self.reach("unbound outside");
        }
        self.oracle.released(user, self.clock.now_ms());
        Deed::default()
    }

    /// The back end binds two.
    pub(super) fn put(&mut self, user: &str, customer: &str) -> Result<Deed, String> {
        let causes = self.oracle.by_admin(user, customer);
        let is_pair = self.oracle.bound.get(user).is_some_and(|(bound, _)| bound == customer);
        let may_end = self.rivals(&causes);
        let request = AdminBindRequest {
            openid: OpenId::new(user),
            customer: ExternalUserId::new(customer),
            account: None,
        };
        let outcome: Result<AdminBindOutcome, Refusal> =
            self.ask(|reply| RegistryMessage::BindForAdmin(request, reply));
        let is_bound = matches!(outcome, Ok(AdminBindOutcome::Bound(_)));
        if is_bound == (causes.is_empty() && !is_pair) {
            return Err(format!("the back end's {user} and {customer}: {outcome:?}"));
        }
        Ok(Deed { causes, may_end, bound_at: self.now(), ..Deed::default() })
    }

    /// The back end has a user or a customer erased, mostly once.
    pub(super) fn erase(&mut self, user: &str, customer: &str) -> Result<Deed, String> {
        let (person, user, customer) = if self.dice.one_in(2) {
            let customer = self.oracle.bound.get(user).map(|(customer, _)| customer.clone());
            (Person::User(OpenId::new(user)), Some(user.to_owned()), customer)
        } else {
            let user = self.oracle.user_of(customer).cloned();
            (Person::Customer(ExternalUserId::new(customer)), user, Some(customer.to_owned()))
        };
        let erased: Result<bool, Refusal> =
            self.ask_patiently(|reply| RegistryMessage::Erase(person.clone(), reply));
        if user.is_some() && customer.is_some() {
            self.reach("a pair erased");
            if erased != Ok(true) {
                return Err(format!("{person:?} was bound, and nothing of them was kept: {erased:?}"));
            }
        }
        self.reach("erased");
        self.oracle.erased(user.as_deref(), customer.as_deref(), self.clock.now_ms());
        let again: Result<bool, Refusal> =
            self.ask_patiently(|reply| RegistryMessage::Erase(person.clone(), reply));
        if again != Ok(false) {
            return Err(format!("something was kept of {person:?} after their erasure"));
        }
        if let Some(user) = &user {
            // The name by which questions name them.
            let introduction =
                Introduction { openid: OpenId::new(user), unionid: None, label: Some(user.clone()) };
            let _: Result<(), Refusal> = self.ask(|reply| RegistryMessage::Introduce(introduction, reply));
        }
        // What is ended by it was ended above.
        Ok(Deed::default())
    }

    pub(super) fn redeem(&mut self, user: &str) -> Deed {
        let cards = self.oracle.cards.clone();
        let Some(card) = self.dice.of(&cards[cards.len().saturating_sub(4)..]) else {
            return Deed::default();
        };
        let causes = self.oracle.by_ticket(user, &card.ticket, self.clock.now_ms());
        let request =
            TicketRequest { openid: OpenId::new(user), unionid: None, ticket: Ticket::new(&card.ticket) };
        let outcome = self.ask(|reply| RegistryMessage::RedeemTicket(request, reply)).unwrap();
        if card.used {
            self.reach("ticket used twice");
        }
        if outcome.is_ok() {
            for known in self.oracle.cards.iter_mut().filter(|known| known.ticket == card.ticket) {
                known.used = true;
            }
        }
        let may_end = self.rivals(&causes);
        Deed { causes, may_end, bound_at: self.now(), ..Deed::default() }
    }

    pub(super) fn announce(&mut self, user: &str) -> Deed {
        let openid = OpenId::new(user);
        let outcome = self.ask(|reply| RegistryMessage::OpenIntent(openid, None, reply)).unwrap();
        if let IntentOutcome::Open { expires_at } = outcome {
            self.oracle.announced(user, self.clock.now().0, expires_at.0);
        }
        Deed::default()
    }

    pub(super) fn staff_card(&mut self, customer: &str) -> Deed {
        let request = StaffTicketRequest {
            userid: UserId::new("s1"),
            customer: ExternalUserId::new(customer),
            account: Some(OpenKfId::new(ACCOUNT)),
        };
        let issued = self.ask(|reply| RegistryMessage::MakeTicket(request, reply)).unwrap();
        let now_ms = self.clock.now_ms();
        self.oracle.card(issued.ticket.as_str(), customer, "staff", now_ms, issued.expires_at.0);
        Deed::default()
    }

    pub(super) fn staff_types(&mut self, customer: &str) -> Deed {
        let Some(text) = self.some_code() else { return Deed::default() };
        let causes = self.oracle.by_staff(customer, &text, self.now());
        let request = StaffBindRequest {
            userid: UserId::new("s1"),
            customer: ExternalUserId::new(customer),
            code: BindCode::new(text),
            account: None,
        };
        drop(self.ask(|reply| RegistryMessage::BindForStaff(request, reply)));
        let may_end = self.rivals(&causes);
        Deed { causes, may_end, bound_at: self.now(), ..Deed::default() }
    }

    /// The last page comes once more.
    pub(super) fn read_again(&mut self) -> Deed {
        let Some(page) = self.dice.of(&self.pages) else { return Deed::default() };
        let mut deed = Deed { bound_at: self.now(), ..Deed::default() };
        for message in &page.page.messages {
            if let (Some(customer), sent) = (&message.customer, message.send_time.0) {
                // What was talk may show who it is now; nothing else may come of it.
                if sent >= self.oracle.undone_at(customer.as_str()) {
                    deed.causes = self.oracle.by_unionid();
                }
                deed.bound_at = sent;
            }
        }
        let _: Result<(), Refusal> = self.ask(|reply| RegistryMessage::CommitPage(Box::new(page), reply));
        self.reach("read twice");
        deed
    }

    fn some_code(&mut self) -> Option<String> {
        let codes = &self.oracle.codes;
        let latest: Vec<String> = codes.iter().rev().take(5).map(|code| code.text.clone()).collect();
        self.dice.of(&latest)
    }

    /// A customer does something in the chat.
    pub(super) fn write(&mut self, customer: &str, what: Option<u64>) -> Deed {
        let now = self.now();
        let late = [0, 0, 0, 0, 5, 70, 500, 700][usize::try_from(self.dice.below(8)).unwrap()];
        let sent = now - late;
        let mut deed = Deed { bound_at: sent, ..Deed::default() };
        let text = |text: &str| KfContent::Text { content: text.to_owned(), menu_id: None };
        let mut tap = None;
        let mut undoes = false;
        let rolled = self.dice.below(16);
        let content = match what.unwrap_or(rolled) {
            0..=4 => {
                let Some(code) = self.some_code() else { return deed };
                deed.about.push(code.clone());
                text(&code)
            }
            5..=8 => {
                let Some(code) = self.some_code() else { return deed };
                deed.about.push(code.clone());
                let ticket =
                    self.oracle.codes.iter().rfind(|known| known.text == code).unwrap().ticket.clone();
                if self.dice.one_in(3) {
                    // The event is swallowed; the next message makes up for it.
                    self.swallowed.insert(customer.to_owned(), ticket);
                    return Deed::default();
                }
                self.swallowed.remove(customer);
                KfContent::EnterSession {
                    scene: None,
                    scene_param: Some(Ticket::new(ticket)),
                    welcome_code: self.dice.one_in(2).then(|| WelcomeCode::new("W")),
                }
            }
            9..=12 => {
                let Some(id) = self.some_tap(customer) else { return deed };
                tap = Some(id.clone());
                KfContent::Text { content: "yes".to_owned(), menu_id: Some(MenuId::new(id)) }
            }
            13 => {
                undoes = true;
                text("解绑")
            }
            14 => text("yes"),
            _ => text("你好"),
        };
        let learned = self.learn(customer, sent, &content);
        self.cause(&mut deed, customer, &content, &learned, sent);
        let before = self.oracle.user_of(customer).cloned();
        self.oracle.came(customer, sent);
        self.commit(customer, content, sent, learned);
        if let Some(id) = tap {
            let lives = self.stands(customer, &id);
            self.oracle.tapped(customer, &id, lives);
        }
        if undoes && let Some(user) = before {
            deed.may_end.insert(user);
        }
        deed
    }

    /// Whom a tap comes from and on what: mostly the one who was asked, on what was asked last.
    fn some_tap(&mut self, customer: &str) -> Option<String> {
        let own = !self.dice.one_in(4);
        let mut asked: Vec<_> = self
            .oracle
            .questions
            .iter()
            .filter(|q| q.delivered && (q.customer == customer || !own))
            .cloned()
            .collect();
        let latest = asked.split_off(asked.len().saturating_sub(3));
        let question = self.dice.of(&latest)?;
        if question.customer != customer {
            self.reach("tapped by a stranger");
        } else if question.tapped {
            self.reach("tapped twice");
        }
        let no = self.dice.one_in(5);
        if no {
            self.reach("no");
        }
        Some(if no { question.no } else { question.yes })
    }

    /// What kf-sync asks WeCom before it hands the page over, unless WeCom is down.
    fn learn(&mut self, customer: &str, sent: u64, content: &KfContent) -> Learned {
        let id = ExternalUserId::new(customer);
        let wrote_at = matches!(content, KfContent::Text { .. }).then_some(Timestamp(sent));
        let on_page = vec![OnPage { customer: id.clone(), sent: Timestamp(sent), wrote_at }];
        let wanted: Wanted = self.ask(|reply| RegistryMessage::Wanting(on_page, reply));
        if !wanted.customers.contains(&id) || self.dice.one_in(3) {
            return Learned::default();
        }
        let unionid = matches!(customer, "wm0" | "wm1").then(|| customer.replace("wm", "u"));
        // What is learned for a message of a life that was erased is not kept.
        let erased_ms = self.opened.as_ref().unwrap().reader.erased_at(Kind::Customer, customer);
        if let Some(unionid) = unionid.as_ref().filter(|_| erased_ms.is_none_or(|at| sent >= at / 1000)) {
            self.oracle.customers.insert(customer.to_owned(), unionid.clone());
        }
        let entered_with = self.swallowed.get(customer).filter(|_| wanted.with_entry).map(Ticket::new);
        let unionid = unionid.map(UnionId::new);
        let profile = Profile { customer: id.clone(), nickname: None, unionid, entered_with };
        Learned { asked: vec![id], profiles: vec![profile] }
    }

    fn cause(&mut self, deed: &mut Deed, customer: &str, content: &KfContent, learned: &Learned, sent: u64) {
        let mut tickets: Vec<String> = learned
            .profiles
            .iter()
            .filter_map(|p| p.entered_with.as_ref())
            .map(|t| t.as_str().to_owned())
            .collect();
        match content {
            KfContent::Text { menu_id: Some(id), .. } => {
                deed.causes.extend(self.oracle.by_tap(customer, id.as_str(), sent));
            }
            KfContent::Text { content, .. } if content == "解绑" => return,
            KfContent::Text { content, .. } => {
                deed.causes.extend(self.oracle.by_code(customer, content, sent));
            }
            KfContent::EnterSession { scene_param: Some(ticket), .. } => {
                tickets = vec![ticket.as_str().to_owned()];
            }
            _ => {}
        }
        for ticket in tickets {
            deed.causes.extend(self.oracle.by_entry(customer, &ticket, sent));
            let code = self.oracle.codes.iter().rfind(|code| code.ticket == ticket);
            deed.about.extend(code.map(|code| code.text.clone()));
        }
        if sent >= self.oracle.undone_at(customer) {
            deed.causes.extend(self.oracle.by_unionid().into_iter().filter(|(_, who, _)| who == customer));
        }
        deed.may_end.extend(self.rivals(&deed.causes));
    }

    fn commit(&mut self, customer: &str, content: KfContent, sent: u64, learned: Learned) {
        self.messages += 1;
        let message = KfMessage {
            msgid: MessageId::new(format!("m{}", self.messages)),
            account: OpenKfId::new(ACCOUNT),
            customer: Some(ExternalUserId::new(customer)),
            send_time: Timestamp(sent),
            content,
        };
        let next_cursor = Some(Cursor::new(format!("c{}", self.messages)));
        let page = Page { messages: vec![message], unreadable: Vec::new(), next_cursor, has_more: false };
        let commit = PageCommit { account: OpenKfId::new(ACCOUNT), page, sync_token: None, learned };
        let again = PageCommit { learned: Learned::default(), ..commit.clone() };
        self.pages.push(again);
        if self.pages.len() > 6 {
            self.pages.remove(0);
        }
        let _: Result<(), Refusal> = self.ask(|reply| RegistryMessage::CommitPage(Box::new(commit), reply));
    }

    /// Whether the store takes a tap as the answer to its question.
    fn stands(&self, customer: &str, id: &str) -> bool {
        let Some((id, _)) = QuestionId::read(&MenuId::new(id)) else {
            return false;
        };
        let store = &self.opened.as_ref().unwrap().writer.store;
        let bytes = store.get(TreeId::Questions, &id.0).unwrap();
        let record = bytes.map(|bytes| decode::<QuestionRecord>(TreeId::Questions, &bytes).unwrap());
        record.is_some_and(|record| record.answered && record.customer.as_str() == customer)
    }
}
