//! The registry actor owns the store: it takes commands, hands them to its writer thread, and gives out readers.
//!
//! The actor itself does no work that could block: the thread decides, commits and answers (`registry/writer.rs`),
//! reads go past both (`registry/reader.rs`). A failed store is a bug for this process: the actor dies, and with it
//! the service, because a fresh start on the same store is the tested way to go on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::{
    messages::RegistryMessage,
    policy::Policy,
    ports::{Clock, Entropy},
    tally::Tally,
};

mod admin;
mod announcing;
pub mod archive;
pub(crate) mod changes;
mod claims;
mod code_space;
mod commands;
mod crowd;
pub(crate) mod erasure;
mod funnel;
mod ledger;
mod leftovers;
mod marker;
mod outbox;
mod overlay;
mod page;
mod people;
pub(crate) mod reader;
pub(crate) mod recognise;
mod records;
mod reply_id;
mod rules;
mod saying;
mod store;
mod sweep;
pub(crate) mod trail;
mod ways;
pub(crate) mod words;
mod writer;

pub use page::COMMIT_TARGET;
pub use store::StoreError;

use changes::Changes;
use commands::Duties;
use crowd::Crowd;
use erasure::{ErasedIds, Scrubber};
use funnel::Funnel;
use ledger::{Desk, Sequences};
use marker::Marker;
use reader::{Published, Reader};
use records::{LinkMeta, StoreMeta, decode, encode, number};
use store::{Store, TreeId};
use ways::link::Mint;
use writer::Writer;

/// The layout of the trees; `data/README.md` describes it.
pub(crate) const SCHEMA: u32 = 3;
/// Keys of the tree `meta`.
const META_STORE: &[u8] = b"store";
const META_LINK: &[u8] = b"link";
const META_RATION: &[u8] = b"ration";
/// How often a step of forgetting is due.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What the registry is started with.
pub struct RegistryOptions {
    /// The store's directory.
    pub path: PathBuf,
    /// Whose store it is.
    pub corp_id: String,
    /// The rules' settings.
    pub policy: Policy,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where codes and the instance key come from.
    pub entropy: Arc<dyn Entropy>,
    /// The metrics.
    pub tally: Tally,
}

/// An open store, before its actor runs.
pub(crate) struct Opened {
    writer: Writer,
    /// Reads for the outside.
    pub(crate) reader: Reader,
    /// Waits for the outside.
    pub(crate) changes: Arc<Changes>,
    /// The store's secret.
    pub(crate) instance_key: [u8; 32],
    /// The link that was remembered.
    pub(crate) link: Option<crate::messages::KfLink>,
    /// When the latest pulls without a live sync token went out.
    pub(crate) ration: Vec<crate::ids::Timestamp>,
}

/// Opens the store and reads what is kept in memory. Blocks.
pub(crate) fn open(options: RegistryOptions) -> Result<Opened, StoreError> {
    let store = Arc::new(Store::open(&options.path)?);
    let now = options.clock.now();
    let meta = read_or_make_meta(&store, &options)?;
    // A store of an earlier layout, or of before there was this file. All that layouts 2 and 3 know more than 1 are trees
    // and kinds of records that were not there, so nothing but the number is rewritten.
    if marker::read(&options.path)? != Some(Marker::Ready(SCHEMA)) {
        marker::write(&options.path, Marker::Ready(SCHEMA))?;
    }
    let link: Option<LinkMeta> =
        store.get(TreeId::Meta, META_LINK)?.map(|bytes| decode(TreeId::Meta, &bytes)).transpose()?;
    let ration =
        store.get(TreeId::Meta, META_RATION)?.map(|bytes| decode(TreeId::Meta, &bytes)).transpose()?;
    let sequences = last_ids(&store)?;
    let erased = Arc::new(ErasedIds::new(&meta.instance_key));
    let scrubber = Scrubber::load(&store, &erased)?;
    let size = |tree| store.count(tree).map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let desk = Desk {
        crowd: Crowd::load(&store, now)?,
        bindings: size(TreeId::Bindings)?,
        outbox: size(TreeId::Outbox)?,
        webhooks: size(TreeId::Webhooks)?,
        dead_letters: size(TreeId::DeadLetters)?,
        funnel: Funnel::default(),
        erased: Arc::clone(&erased),
        policy: options.policy,
        instance_key: meta.instance_key,
        mint: Mint::new(&meta.instance_key),
        store_created_at: meta.created_at,
        link: link.clone(),
        sequences,
        entropy: options.entropy,
        tally: options.tally,
    };
    let ways = desk.policy.ways;
    let mint = ways.link.then(|| desk.mint.clone());
    let published = Arc::new(Published::new(erased));
    published.link.write().unwrap_or_else(std::sync::PoisonError::into_inner).clone_from(&link);
    published.writable.store(store.has_room(), std::sync::atomic::Ordering::Relaxed);
    let changes = Arc::new(Changes::default());
    let reader = Reader::new(Arc::clone(&store), Arc::clone(&published), mint, ways.unionid);
    let writer = Writer {
        store,
        published,
        changes: Arc::clone(&changes),
        clock: options.clock,
        desk,
        duties: Duties::new(scrubber),
        room_checked_at: None,
    };
    let link = link.as_ref().map(ledger::kf_link);
    Ok(Opened {
        writer,
        reader,
        changes,
        instance_key: meta.instance_key,
        link,
        ration: ration.unwrap_or_default(),
    })
}

/// Where the numbers go on that are given out.
fn last_ids(store: &Store) -> Result<Sequences, StoreError> {
    let last = |tree| match store.last(tree)? {
        Some((key, _)) => number(tree, &key),
        None => Ok(0),
    };
    Ok(Sequences {
        audit: last(TreeId::Audit)?,
        outbox: last(TreeId::Outbox)?,
        webhooks: last(TreeId::Webhooks)?,
        unreadable: 0,
    })
}

fn read_or_make_meta(store: &Store, options: &RegistryOptions) -> Result<StoreMeta, StoreError> {
    if let Some(bytes) = store.get(TreeId::Meta, META_STORE)? {
        let meta: StoreMeta = decode(TreeId::Meta, &bytes)?;
        if meta.schema > SCHEMA {
            return Err(StoreError::Newer { found: meta.schema, known: SCHEMA });
        }
        if meta.corp_id != options.corp_id {
            return Err(StoreError::OtherCorp {
                path: store.path().to_owned(),
                stored: meta.corp_id,
                configured: options.corp_id.clone(),
            });
        }
        if meta.schema < SCHEMA {
            let meta = StoreMeta { schema: SCHEMA, ..meta };
            put_meta(store, &meta)?;
            return Ok(meta);
        }
        return Ok(meta);
    }
    let mut instance_key = [0; 32];
    options.entropy.fill(&mut instance_key);
    let meta = StoreMeta {
        schema: SCHEMA,
        corp_id: options.corp_id.clone(),
        instance_key,
        created_at: options.clock.now(),
    };
    put_meta(store, &meta)?;
    Ok(meta)
}

fn put_meta(store: &Store, meta: &StoreMeta) -> Result<(), StoreError> {
    let change = [(META_STORE.to_vec(), Some(encode(TreeId::Meta, meta)?))];
    store.commit(&[(TreeId::Meta, change.into())].into())
}

/// The registry actor.
pub(crate) struct Registry;

/// What it holds: the way to its thread.
pub(crate) struct RegistryState {
    path: PathBuf,
    commands: Option<std::sync::mpsc::Sender<RegistryMessage>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Actor for Registry {
    type Msg = RegistryMessage;
    type State = RegistryState;
    type Arguments = Opened;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        opened: Opened,
    ) -> Result<Self::State, ActorProcessingErr> {
        let (commands, queue) = std::sync::mpsc::channel();
        let registry = myself.clone();
        let mut writer = opened.writer;
        let path = writer.store.path().to_owned();
        let thread = std::thread::Builder::new().name("registry-writer".to_owned()).spawn(move || {
            if let Err(error) = writer.run(&queue) {
                let _ = registry.cast(RegistryMessage::WriterFailed(error.to_string()));
            }
        })?;
        myself.send_interval(SWEEP_EVERY, || RegistryMessage::Sweep);
        Ok(RegistryState { path, commands: Some(commands), thread: Some(thread) })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RegistryMessage::WriterFailed(why) => {
                Err(format!("the store {} can't go on: {why}", state.path.display()).into())
            }
            command => match &state.commands {
                Some(commands) => {
                    commands.send(command).map_err(|_| "the registry's writer thread has ended".into())
                }
                None => Ok(()),
            },
        }
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // Without senders the thread finishes what it has and ends; that is a commit away.
        drop(state.commands.take());
        if let Some(thread) = state.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
