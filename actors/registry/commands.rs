//! The registry's commands, one by one: what each reads or decides, and what is promised to whoever asked.
//!
//! Nobody is told anything here: promises are kept once the batch is on the disk, and that is `writer.rs`'s work.

use ractor::{ActorRef, RpcReplyPort};

use super::{
    META_RATION, announcing,
    archive::Exports,
    erasure::Scrubber,
    ledger::Ledger,
    outbox,
    store::{StoreError, TreeId},
    sweep::Sweeper,
};
use crate::messages::{
    CursorState, NotifierMessage, Refusal, RegistryMessage, Settlement, WebhookFate, WebhooksMessage,
};

/// What the thread keeps beside the desk.
#[derive(Default)]
pub(crate) struct Duties {
    pub(crate) sweeper: Sweeper,
    pub(crate) scrubber: Scrubber,
    pub(crate) exports: Exports,
    /// Who wants an export that begins once the batch is on the disk.
    beginning: Vec<RpcReplyPort<Option<u64>>>,
    pub(crate) notifier: Option<ActorRef<NotifierMessage>>,
    pub(crate) webhooks: Option<ActorRef<WebhooksMessage>>,
    /// Outbox entries that are done with, but could not be struck because the disk was full.
    unsettled: Vec<(u64, Settlement)>,
    /// The same of webhooks.
    unsettled_webhooks: Vec<(u64, WebhookFate)>,
}

/// Something to be told once the batch is on the disk.
pub(crate) type Promise = Box<dyn FnOnce() + Send>;

/// What a batch promises.
#[derive(Default)]
pub(crate) struct Promises {
    told: Vec<Promise>,
    /// Whether the kf link is another.
    pub(crate) link_changed: bool,
}

impl Promises {
    /// Tells all.
    pub(crate) fn keep(self) {
        for promise in self.told {
            promise();
        }
    }

    /// Whoever stopped waiting is no error.
    fn tell<T: Send + 'static>(&mut self, reply: RpcReplyPort<T>, answer: T) {
        self.told.push(Box::new(move || {
            let _ = reply.send(answer);
        }));
    }

    fn done<T: Send + 'static>(&mut self, reply: RpcReplyPort<Result<T, Refusal>>, answer: T) {
        self.tell(reply, Ok(answer));
    }

    fn no<T: Send + 'static>(&mut self, reply: RpcReplyPort<Result<T, Refusal>>) {
        self.tell(reply, Err(Refusal::DiskFull));
    }
}

impl Duties {
    /// None but an erasure that was cut short.
    pub(crate) fn new(scrubber: Scrubber) -> Self {
        Self { scrubber, ..Self::default() }
    }

    /// Strikes what could not be struck before.
    pub(crate) fn catch_up(&mut self, ledger: &mut Ledger<'_>) -> Result<(), StoreError> {
        ledger.settle(&std::mem::take(&mut self.unsettled))?;
        ledger.settle_webhooks(&std::mem::take(&mut self.unsettled_webhooks))
    }

    /// Begins the exports that the batch asked for: with the counts that it has saved.
    pub(crate) fn begin_exports(&mut self, promises: &mut Promises) {
        for reply in std::mem::take(&mut self.beginning) {
            promises.tell(reply, self.exports.begin());
        }
    }

    /// Goes on with an erasure that is under way.
    pub(crate) fn scrub(
        &mut self,
        ledger: &mut Ledger<'_>,
        promises: &mut Promises,
    ) -> Result<(), StoreError> {
        for (reply, kept) in self.scrubber.step(ledger)? {
            promises.done(reply, kept);
        }
        Ok(())
    }

    /// Takes one command, whether it reads or writes.
    pub(crate) fn take(
        &mut self,
        command: RegistryMessage,
        ledger: &mut Ledger<'_>,
        has_room: bool,
        promises: &mut Promises,
    ) -> Result<(), StoreError> {
        match command {
            RegistryMessage::Subscribe(notifier) => self.notifier = Some(notifier),
            RegistryMessage::SubscribeWebhooks(webhooks) => self.webhooks = Some(webhooks),
            RegistryMessage::BeginExport(reply) => {
                if has_room {
                    ledger.save_days()?;
                }
                self.beginning.push(reply);
            }
            RegistryMessage::NextExported(id, reply) => {
                let records = self.exports.next(id, ledger.overlay.store())?;
                promises.tell(reply, records);
            }
            RegistryMessage::Sweep if has_room => {
                ledger.save_days()?;
                self.sweeper.step(ledger)?;
            }
            RegistryMessage::Erase(person, reply) if has_room => {
                self.scrubber.erase(ledger, person, reply)?;
            }
            RegistryMessage::Settle(seqs) if !has_room => self.unsettled.extend(seqs),
            RegistryMessage::SettleWebhooks(seqs) if !has_room => self.unsettled_webhooks.extend(seqs),
            other => {
                if let Some(write) = look(other, ledger, promises)? {
                    if has_room {
                        decide(write, ledger, promises)?;
                    } else {
                        refuse(write, promises);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Answers a command that changes nothing; any other is given back.
fn look(
    command: RegistryMessage,
    ledger: &mut Ledger<'_>,
    promises: &mut Promises,
) -> Result<Option<RegistryMessage>, StoreError> {
    let store = ledger.overlay.store();
    match command {
        RegistryMessage::Outbox { from, limit, reply } => {
            promises.tell(reply, outbox::waiting(store, from, limit)?);
        }
        RegistryMessage::Webhooks { from, limit, reply } => {
            promises.tell(reply, announcing::waiting(store, &ledger.desk.instance_key, from, limit)?);
        }
        RegistryMessage::Stats(days, reply) => promises.tell(reply, ledger.stats(days)?),
        RegistryMessage::Wanting(on_page, reply) => promises.tell(reply, ledger.wanting(&on_page)?),
        RegistryMessage::Cursor(account, reply) => {
            let record = ledger.overlay.cursor(&account)?;
            let state = CursorState { cursor: record.cursor, sync_token: record.sync_token };
            promises.tell(reply, state);
        }
        RegistryMessage::Barrier(reply) => promises.tell(reply, ()),
        write => return Ok(Some(write)),
    }
    Ok(None)
}

/// Decides what users, employees and the back end ask for.
fn decide(
    command: RegistryMessage,
    ledger: &mut Ledger<'_>,
    promises: &mut Promises,
) -> Result<(), StoreError> {
    match command {
        RegistryMessage::Issue(request, reply) => {
            let outcome = ledger.issue(&request)?;
            promises.done(reply, outcome);
        }
        RegistryMessage::Unbind(request, reply) => {
            let was_bound = ledger.unbind(&request)?;
            promises.done(reply, was_bound);
        }
        RegistryMessage::LiftLock(customer, reply) => {
            let was_there = ledger.lift_lock(&customer)?;
            promises.done(reply, was_there);
        }
        RegistryMessage::Meet(openid, unionid, reply) => {
            ledger.meet(&openid, &unionid)?;
            promises.done(reply, ());
        }
        RegistryMessage::LookAtTicket(request, reply) => {
            let facts = ledger.look_at_ticket(&request)?;
            promises.done(reply, facts);
        }
        RegistryMessage::RedeemTicket(request, reply) => {
            let outcome = ledger.redeem_ticket(&request)?;
            promises.done(reply, outcome);
        }
        RegistryMessage::OpenIntent(openid, unionid, reply) => {
            let outcome = ledger.open_intent(&openid, unionid.as_ref())?;
            promises.done(reply, outcome);
        }
        RegistryMessage::MakeTicket(request, reply) => {
            let ticket = ledger.make_ticket(&request)?;
            promises.done(reply, ticket);
        }
        RegistryMessage::BindForStaff(request, reply) => {
            let outcome = ledger.bind_for_staff(&request)?;
            promises.done(reply, outcome);
        }
        RegistryMessage::Introduce(introduction, reply) => {
            ledger.introduce(&introduction)?;
            promises.done(reply, ());
        }
        RegistryMessage::BindForAdmin(request, reply) => {
            let outcome = ledger.bind_for_admin(&request)?;
            promises.done(reply, outcome);
        }
        RegistryMessage::Resend(id, reply) => {
            let was_there = ledger.resend(&id)?;
            promises.done(reply, was_there);
        }
        other => return keep(other, ledger, promises),
    }
    Ok(())
}

/// Keeps what other actors bring.
fn keep(
    command: RegistryMessage,
    ledger: &mut Ledger<'_>,
    promises: &mut Promises,
) -> Result<(), StoreError> {
    match command {
        RegistryMessage::Begin(seq, reply) => {
            ledger.begin(seq)?;
            promises.done(reply, ());
        }
        RegistryMessage::CommitPage(commit, reply) => {
            ledger.commit_page(&commit)?;
            promises.done(reply, ());
        }
        RegistryMessage::SaveProfiles(profiles, reply) => {
            for profile in &profiles {
                ledger.save_profile(profile)?;
            }
            promises.done(reply, ());
        }
        RegistryMessage::SaveLink(link, reply) => {
            let changed = ledger.save_link(&link)?;
            promises.done(reply, ());
            promises.link_changed |= changed;
        }
        RegistryMessage::SaveRation(spent) => ledger.overlay.put(TreeId::Meta, META_RATION, &spent)?,
        RegistryMessage::Settle(seqs) => ledger.settle(&seqs)?,
        RegistryMessage::SettleWebhooks(seqs) => ledger.settle_webhooks(&seqs)?,
        // Nothing to keep, or taken before.
        _ => {}
    }
    Ok(())
}

/// Says no to a command that would write. What was cast will be cast again by whoever needs it.
fn refuse(command: RegistryMessage, promises: &mut Promises) {
    match command {
        RegistryMessage::Issue(_, reply) => promises.no(reply),
        RegistryMessage::Unbind(_, reply)
        | RegistryMessage::LiftLock(_, reply)
        | RegistryMessage::Erase(_, reply)
        | RegistryMessage::Resend(_, reply) => promises.no(reply),
        RegistryMessage::BindForAdmin(_, reply) => promises.no(reply),
        RegistryMessage::CommitPage(_, reply)
        | RegistryMessage::Meet(_, _, reply)
        | RegistryMessage::Introduce(_, reply)
        | RegistryMessage::Begin(_, reply)
        | RegistryMessage::SaveLink(_, reply)
        | RegistryMessage::SaveProfiles(_, reply) => promises.no(reply),
        RegistryMessage::LookAtTicket(_, reply) => promises.no(reply),
        RegistryMessage::RedeemTicket(_, reply) => promises.no(reply),
        RegistryMessage::OpenIntent(_, _, reply) => promises.no(reply),
        RegistryMessage::MakeTicket(_, reply) => promises.no(reply),
        RegistryMessage::BindForStaff(_, reply) => promises.no(reply),
        _ => {}
    }
}
