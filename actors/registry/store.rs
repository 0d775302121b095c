//! The trees on disk, and the one place that knows the database: open, read, and commit a batch durably.
//!
//! A commit is one transaction over all trees that it touches, followed by one flush; when it returns, the bytes
//! are on the disk (see [`crate::durability`]). There is no way to write outside a commit, and only the registry's
//! writer thread commits. What the bytes mean is `records.rs`'s knowledge.

use std::{
    collections::BTreeMap,
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use sled::{
    IVec, Transactional,
    transaction::{ConflictableTransactionError, TransactionError},
};

use super::{
    SCHEMA, leftovers,
    marker::{self, Marker},
};
use crate::durability;

/// Memory that cached pages may take. The database's own default is 1 GiB.
const CACHE_BYTES: u64 = 64 << 20;
/// The database counts a page as long as it is on the disk; in memory each of its keys and values takes a slot and an
/// allocation of its own. Measured: 2.2 times as much for the records of all trees as they come, 2.9 for codes alone.
const CACHE_MEMORY_PERCENT: u64 = 300;
/// The file by which a directory is known to be the database's.
const SLED_CONFIG_FILE: &str = "conf";
/// sled's log, which bears its lock.
const SLED_DATABASE_FILE: &str = "db";
/// Below this much free disk the registry refuses writes: a full disk would make the database refuse all further
/// writes until it is reopened.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// The trees, in the order of `data/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TreeId {
    /// Facts about the store itself.
    Meta,
    /// Every code of the last days.
    Codes,
    /// The live code, version and limits of each user.
    Users,
    /// The bindings, by user.
    Bindings,
    /// The same, by customer.
    BindingsByCustomer,
    /// Where to go on in each account.
    Cursors,
    /// The messages that were acted on.
    Seen,
    /// What is still to be said or asked.
    Outbox,
    /// Wrong codes, answers and undoings of each customer.
    Attempts,
    /// Wrong codes of all customers, by minute.
    Guesses,
    /// Who did what, when.
    Audit,
    /// Messages that could not be read.
    Unreadable,
    /// Who people are on either side.
    People,
    /// What cards bind.
    Tickets,
    /// What customers were asked.
    Questions,
    /// Who announced themselves in which account, and who came.
    Windows,
    /// Counts by day.
    Stats,
    /// What the business back end is still to hear of.
    Webhooks,
    /// What it was not told.
    DeadLetters,
    /// Who was erased.
    Erasures,
}

impl TreeId {
    /// All of them.
    pub(crate) const ALL: [Self; 20] = [
        Self::Meta,
        Self::Codes,
        Self::Users,
        Self::Bindings,
        Self::BindingsByCustomer,
        Self::Cursors,
        Self::Seen,
        Self::Outbox,
        Self::Attempts,
        Self::Guesses,
        Self::Audit,
        Self::Unreadable,
        Self::People,
        Self::Tickets,
        Self::Questions,
        Self::Windows,
        Self::Stats,
        Self::Webhooks,
        Self::DeadLetters,
        Self::Erasures,
    ];

    /// The tree's name on disk.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Codes => "codes",
            Self::Users => "users",
            Self::Bindings => "bindings",
            Self::BindingsByCustomer => "bindings_by_customer",
            Self::Cursors => "cursors",
            Self::Seen => "seen",
            Self::Outbox => "outbox",
            Self::Attempts => "attempts",
            Self::Guesses => "guesses",
            Self::Audit => "audit",
            Self::Unreadable => "unreadable",
            Self::People => "people",
            Self::Tickets => "tickets",
            Self::Questions => "questions",
            Self::Windows => "windows",
            Self::Stats => "stats",
            Self::Webhooks => "webhooks",
            Self::DeadLetters => "dead_letters",
            Self::Erasures => "erasures",
        }
    }
}

/// What a batch changes in one tree: the new value, or `None` where the key goes.
pub(crate) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "the store {0} is in use by another process: stop that one, or give this one its own `store.path`"
    )]
    Locked(PathBuf),
    /// The directory can't be made.
    #[error("can't create the store's directory {path}: {source}; check `store.path` and its owner")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is something, but no directory.
    #[error("the store {0} is no directory: correct `store.path`")]
    NoDirectory(PathBuf),
    /// The directory is there, but the database in it can't be opened.
    #[error(
        "can't open the store {path}: {source}; check `store.path`: who owns it, who may write there, whether its disk \
         is mounted read-only or full"
    )]
    Unopenable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file that says what the directory holds says nothing that is known.
    #[error("the file {0} is damaged: restore the store from a backup")]
    BadMarker(PathBuf),
    /// It belongs to another company.
    #[error(
        "the store {path} belongs to corp_id {stored}, but `wecom.corp_id` is {configured}: \
         correct the key, or use another `store.path`"
    )]
    OtherCorp {
        /// Which store.
        path: PathBuf,
        /// Whose it is.
        stored: String,
        /// Who asks.
        configured: String,
    },
    /// There is no store to read.
    #[error("there is no store in {0}: check `store.path`")]
    NoStore(PathBuf),
    /// An import was begun and not ended.
    #[error("the import into {0} did not end: empty the directory, then import again")]
    HalfImported(PathBuf),
    /// A later version of the program wrote it.
    #[error(
        "the store was written by a newer version of kfbind (schema {found}, this one knows {known}): use that version"
    )]
    Newer {
        /// The version found.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// A later version of the program wrote a record.
    #[error(
        "a record of tree `{tree}` was written by a newer version of kfbind (record version {found}, this one \
         knows {known}): use that version"
    )]
    NewerRecord {
        /// Where.
        tree: &'static str,
        /// The version found.
        found: u8,
        /// The newest known.
        known: u8,
    },
    /// A record can't be read.
    #[error("a record of tree `{tree}` can't be read ({why}): restore the store from a backup")]
    BadRecord {
        /// Where.
        tree: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The function that makes writes durable is not the one in force.
    #[error("this build would lose writes at a power cut: sync_file_range is not overridden")]
    NotDurable,
    /// The database failed.
    #[error(
        "the database failed: {0}; make room on its disk if that is full, else check the disk, then start again: what \
         was acknowledged is kept"
    )]
    Database(#[from] sled::Error),
}

/// The open store.
#[derive(Debug)]
pub(crate) struct Store {
    db: sled::Db,
    trees: Vec<sled::Tree>,
    path: PathBuf,
}

impl Store {
    /// Opens the store in directory `path`, creating it (mode 0700) if it is absent.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        Self::make_directory(path)?;
        Self::open_marked(path)
    }

    /// Makes the directory, for its owner alone, where it is absent.
    pub(crate) fn make_directory(path: &Path) -> Result<(), StoreError> {
        if path.exists() && !path.is_dir() {
            return Err(StoreError::NoDirectory(path.to_owned()));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| StoreError::Directory { path: path.to_owned(), source })
    }

    /// Opens the database, unless the directory says that it is not for this version. Opening writes, so that is
    /// looked at before.
    fn open_marked(path: &Path) -> Result<Self, StoreError> {
        match marker::read(path)? {
            Some(Marker::Ready(found) | Marker::Importing(found)) if found > SCHEMA => {
                return Err(StoreError::Newer { found, known: SCHEMA });
            }
            Some(Marker::Importing(_)) => return Err(StoreError::HalfImported(path.to_owned())),
            Some(Marker::Ready(_)) | None => {}
        }
        Self::open_database(path)
    }

    /// Opens the database, whatever the directory says.
    pub(crate) fn open_database(path: &Path) -> Result<Self, StoreError> {
        if !durability::is_in_force() {
            return Err(StoreError::NotDurable);
        }
        let failed = |error| match error {
            sled::Error::Io(error) if is_locked(&error) => StoreError::Locked(path.to_owned()),
            sled::Error::Io(source) => StoreError::Unopenable { path: path.to_owned(), source },
            other => StoreError::Database(other),
        };
        let is_free = leftovers::clear(path, SLED_DATABASE_FILE)
            .map_err(|source| StoreError::Unopenable { path: path.to_owned(), source })?;
        if !is_free {
            return Err(StoreError::Locked(path.to_owned()));
        }
        let db = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES * 100 / CACHE_MEMORY_PERCENT)
            .open()
            .map_err(failed)?;
        let trees = TreeId::ALL.iter().map(|t| db.open_tree(t.name())).collect::<Result<Vec<_>, _>>();
        Ok(Self { db, trees: trees.map_err(failed)?, path: path.to_owned() })
    }

    /// Opens the store in a directory that must be there already.
    pub(crate) fn open_existing(path: &Path) -> Result<Self, StoreError> {
        if path.join(SLED_CONFIG_FILE).is_file() {
            Self::open(path)
        } else {
            Err(StoreError::NoStore(path.to_owned()))
        }
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The value under `key`. Sees what is committed, flushed or not.
    pub(crate) fn get(&self, tree: TreeId, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        Ok(self.tree(tree)?.get(key)?)
    }

    /// The entries from `from` on, in the order of their keys.
    pub(crate) fn range(
        &self,
        tree: TreeId,
        from: &[u8],
    ) -> Result<impl Iterator<Item = Result<(IVec, IVec), StoreError>> + use<>, StoreError> {
        let from = from.to_owned();
        Ok(self.tree(tree)?.range(from..).map(|entry| entry.map_err(StoreError::from)))
    }

    /// The entries before this key, the last one first.
    pub(crate) fn range_back(
        &self,
        tree: TreeId,
        before: &[u8],
    ) -> Result<impl Iterator<Item = Result<(IVec, IVec), StoreError>> + use<>, StoreError> {
        let before = before.to_owned();
        Ok(self.tree(tree)?.range(..before).rev().map(|entry| entry.map_err(StoreError::from)))
    }

    /// The entry with the greatest key.
    pub(crate) fn last(&self, tree: TreeId) -> Result<Option<(IVec, IVec)>, StoreError> {
        Ok(self.tree(tree)?.last()?)
    }

    /// The number of entries; walks the whole tree, so for the start only.
    pub(crate) fn count(&self, tree: TreeId) -> Result<usize, StoreError> {
        Ok(self.tree(tree)?.len())
    }

    /// Makes all these changes together, or none, and returns when they are on the disk.
    pub(crate) fn commit(&self, changes: &BTreeMap<TreeId, Changes>) -> Result<(), StoreError> {
        let touched =
            changes.keys().map(|id| self.tree(*id).cloned()).collect::<Result<Vec<sled::Tree>, _>>()?;
        if touched.is_empty() {
            return Ok(());
        }
        // Write-only on purpose: the closure may run more than once, and a read through a plain tree inside it
        // would wait for itself for ever.
        let done = touched.as_slice().transaction(|views| {
            for (view, changes) in views.iter().zip(changes.values()) {
                for (key, value) in changes {
                    match value {
                        Some(value) => view.insert(key.as_slice(), value.as_slice())?,
                        None => view.remove(key.as_slice())?,
                    };
                }
            }
            Ok::<(), ConflictableTransactionError<()>>(())
        });
        match done {
            Ok(()) | Err(TransactionError::Abort(())) => {}
            Err(TransactionError::Storage(e)) => return Err(e.into()),
        }
        self.db.flush()?;
        Ok(())
    }

    /// The size of the files, in bytes.
    pub(crate) fn bytes_on_disk(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }

    /// Whether the disk has room for more.
    pub(crate) fn has_room(&self) -> bool {
        match rustix::fs::statvfs(&self.path) {
            Ok(fs) => fs.f_bavail.saturating_mul(fs.f_frsize) >= FREE_BYTES_MIN,
            // A directory that can't be asked will say so at the next write.
            Err(_) => true,
        }
    }

    fn tree(&self, id: TreeId) -> Result<&sled::Tree, StoreError> {
        self.trees
            .get(id as usize)
            .ok_or(StoreError::BadRecord { tree: id.name(), why: "not open".to_owned() })
    }
}

fn is_locked(error: &std::io::Error) -> bool {
    // sled reports a taken lock as an I/O error of kind Other whose words name the lock.
    error.to_string().contains("could not acquire lock")
}
