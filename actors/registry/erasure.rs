//! Forgets a person: what is kept under their names goes at once, what merely names them in a pass over those records.
//!
//! A name that was erased leaves a keyed digest and a moment, so that no session, code, ticket or message of before
//! comes back to life, and so that a pass cut short by a crash goes on. Nobody is told "erased" before the pass is
//! over. What the database file itself still holds of old versions is overwritten in its own time.

use std::{
    collections::{HashMap, HashSet},
    hash::Hasher as _,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use ractor::RpcReplyPort;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::{
    ledger::Ledger,
    records::{ErasureRecord, decode, number},
    store::{Store, StoreError, TreeId},
};
use crate::{
    ids::Timestamp,
    messages::{Person, Refusal},
};
use names::{Names, change};

mod names;
mod person;

/// Records that one step of the pass looks at.
const STEP_RECORDS: usize = 4096;
/// How long a digest is kept: longer than any session may have been made for. Seconds.
const ERASURES_KEPT_S: u64 = 400 * 24 * 3600;
/// Whether a digest may go: no session of before can be alive.
pub(crate) fn is_over(erasure: &ErasureRecord, now: Timestamp) -> bool {
    erasure.is_done && now > Timestamp(erasure.at_ms / 1000).plus(ERASURES_KEPT_S)
}

/// What may name somebody, in the order in which it is gone through.
const PASS: [TreeId; 7] = [
    TreeId::Codes,
    TreeId::Tickets,
    TreeId::Questions,
    TreeId::People,
    TreeId::Outbox,
    TreeId::DeadLetters,
    TreeId::Audit,
];

/// Stands for a name in the stored digests.
pub(crate) type Digest = [u8; 16];

/// Which kind of name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    Customer,
}

/// The names that were erased, for all who must not take up what is older. Shared with readers.
#[derive(Debug, Default)]
pub(crate) struct ErasedIds {
    key: [u8; 16],
    /// Nearly always none, and asked at every request.
    count: AtomicUsize,
    at_ms: RwLock<HashMap<Digest, u64>>,
}

impl ErasedIds {
    /// None yet, of the store with this instance key.
    pub(crate) fn new(instance_key: &[u8; 32]) -> Self {
        let mut key = [0; 16];
        for (byte, from) in key.iter_mut().zip(instance_key.iter().skip(16)) {
            *byte = *from;
        }
        Self { key, ..Self::default() }
    }

    /// When this name was last erased, in milliseconds.
    pub(crate) fn at(&self, kind: Kind, name: &str) -> Option<u64> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let digest = self.digest(kind, name);
        self.at_ms.read().unwrap_or_else(PoisonError::into_inner).get(&digest).copied()
    }

    fn digest(&self, kind: Kind, name: &str) -> Digest {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(b"kfbind erased\0");
        hasher.write(&[kind as u8]);
        hasher.write(name.as_bytes());
        hasher.finish128().as_bytes()
    }

    fn add(&self, digest: Digest, erased_ms: u64) {
        let mut at_ms = self.at_ms.write().unwrap_or_else(PoisonError::into_inner);
        at_ms.insert(digest, erased_ms);
        self.count.store(at_ms.len(), Ordering::Release);
    }
}

/// A name on its way out.
#[derive(Clone, Copy, Debug)]
struct Target {
    digest: Digest,
    record: ErasureRecord,
}

/// Who waits for a pass, and for which names.
struct Job {
    targets: Vec<Target>,
    /// Whether anything was kept of them.
    kept: bool,
    /// `None`: begun before the last start.
    reply: Option<RpcReplyPort<Result<bool, Refusal>>>,
}

/// One pass over the records, for all who asked before it began.
struct Round {
    jobs: Vec<Job>,
    wanted: HashMap<Digest, ErasureRecord>,
    found: HashSet<Digest>,
    stage: usize,
    next: Vec<u8>,
}

/// The passes that are under way or due. The writer thread holds it.
#[derive(Default)]
pub(crate) struct Scrubber {
    round: Option<Round>,
    queued: Vec<Job>,
}

/// An answer that is due once the batch is on the disk.
pub(crate) type Erased = (RpcReplyPort<Result<bool, Refusal>>, bool);

impl Scrubber {
    /// Reads who was erased, and goes on with what was cut short.
    pub(crate) fn load(store: &Store, erased: &ErasedIds) -> Result<Self, StoreError> {
        let mut targets = Vec::new();
        for entry in store.range(TreeId::Erasures, &[])? {
            let (key, value) = entry?;
            let record: ErasureRecord = decode(TreeId::Erasures, &value)?;
            let Ok(digest) = Digest::try_from(&*key) else { continue };
            erased.add(digest, record.at_ms);
            if !record.is_done {
                targets.push(Target { digest, record });
            }
        }
        let mut scrubber = Self::default();
        if !targets.is_empty() {
            scrubber.queued.push(Job { targets, kept: true, reply: None });
        }
        Ok(scrubber)
    }

    /// Whether there is something to do.
    pub(crate) fn is_busy(&self) -> bool {
        self.round.is_some() || !self.queued.is_empty()
    }

    /// Takes away what is kept of a person under their names; the rest is this pass's.
    pub(crate) fn erase(
        &mut self,
        ledger: &mut Ledger<'_>,
        person: Person,
        reply: RpcReplyPort<Result<bool, Refusal>>,
    ) -> Result<(), StoreError> {
        let (kept, targets) = ledger.erase(person)?;
        self.queued.push(Job { targets, kept, reply: Some(reply) });
        Ok(())
    }

    /// Looks at the next records, and tells who is done with.
    pub(crate) fn step(&mut self, ledger: &mut Ledger<'_>) -> Result<Vec<Erased>, StoreError> {
        if self.round.is_none() && !self.queued.is_empty() {
            let jobs = std::mem::take(&mut self.queued);
            let targets = jobs.iter().flat_map(|job| &job.targets);
            // Somebody may have been erased twice: what counts is the later.
            let mut wanted: HashMap<Digest, ErasureRecord> = HashMap::new();
            for target in targets {
                let record = wanted.entry(target.digest).or_insert(target.record);
                if target.record.at_ms > record.at_ms {
                    *record = target.record;
                }
            }
            self.round = Some(Round { jobs, wanted, found: HashSet::new(), stage: 0, next: Vec::new() });
        }
        let Some(round) = &mut self.round else { return Ok(Vec::new()) };
        let mut left = STEP_RECORDS;
        while left > 0 {
            let Some(tree) = PASS.get(round.stage).copied() else { break };
            let looked_at = round.look(ledger, tree, left)?;
            if looked_at < left {
                round.stage += 1;
                round.next.clear();
            }
            left -= looked_at;
        }
        if round.stage < PASS.len() {
            return Ok(Vec::new());
        }
        let Some(round) = self.round.take() else { return Ok(Vec::new()) };
        round.finish(ledger)
    }
}

impl Round {
    fn finish(self, ledger: &mut Ledger<'_>) -> Result<Vec<Erased>, StoreError> {
        for (digest, record) in &self.wanted {
            // Erased anew meanwhile, they wait for the next pass.
            let stored: Option<ErasureRecord> = ledger.overlay.get(TreeId::Erasures, digest)?;
            if stored == Some(*record) {
                let done = ErasureRecord { is_done: true, ..*record };
                ledger.overlay.put(TreeId::Erasures, digest, &done)?;
            }
        }
        let found = self.found;
        let was_found = |job: &Job| job.targets.iter().any(|target| found.contains(&target.digest));
        Ok(self
            .jobs
            .into_iter()
            .filter_map(|job| {
                let kept = job.kept || was_found(&job);
                job.reply.map(|reply| (reply, kept))
            })
            .collect())
    }

    /// Goes through at most `limit` records of a tree from where the last step stopped; how many there were.
    fn look(&mut self, ledger: &mut Ledger<'_>, tree: TreeId, limit: usize) -> Result<usize, StoreError> {
        let mut records = Vec::new();
        for entry in ledger.overlay.store().range(tree, &self.next)?.take(limit) {
            let (key, value) = entry?;
            records.push((key.to_vec(), value.to_vec()));
        }
        if let Some((last, _)) = records.last() {
            self.next.clone_from(last);
            self.next.push(0);
        }
        let erased = std::sync::Arc::clone(&ledger.desk.erased);
        for (key, value) in &records {
            let mut names = Names { erased: &erased, wanted: &self.wanted, found: &mut self.found };
            let overlay = &mut ledger.overlay;
            let gone = match tree {
                TreeId::Codes => change(overlay, tree, key, value, |code| names.code(code))?,
                TreeId::Tickets => change(overlay, tree, key, value, |ticket| names.ticket(ticket))?,
                TreeId::Questions => change(overlay, tree, key, value, |question| names.question(question))?,
                TreeId::People => names.person(overlay, key, value)?,
                TreeId::DeadLetters => change(overlay, tree, key, value, |letter| names.letter(letter))?,
                TreeId::Outbox => {
                    let seq = number(tree, key)?;
                    change(overlay, tree, key, value, |entry| names.entry(seq, entry))?
                }
                _ => {
                    let id = number(tree, key)?;
                    change(overlay, tree, key, value, |event| names.event(id, event))?
                }
            };
            ledger.desk.outbox -= i64::from(gone && tree == TreeId::Outbox);
            ledger.desk.dead_letters -= i64::from(gone && tree == TreeId::DeadLetters);
        }
        Ok(records.len())
    }
}
