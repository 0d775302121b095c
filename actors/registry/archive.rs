//! The whole store as a list of records, and back: for backups, and for moving to another machine.
//!
//! Records go as they are stored, each value with its version byte, so that a later version reads them as it reads an
//! old store. A running service gives the records of one moment: the moment stands still while the writer goes on,
//! because it hands each record that it is about to change to the exports under way first. What a line of a file
//! looks like is the outside's business.

use std::{collections::BTreeMap, path::Path};

use tokio::time::Instant;

use super::{
    META_STORE, SCHEMA,
    marker::{self, Marker},
    records::{self, StoreMeta, decode, encode},
    store::{Changes, Store, StoreError, TreeId},
};
use crate::{ids::Timestamp, messages::ArchiveRecord};

/// Records of one chunk at most, and their bytes; a chunk may be longer by its last record.
const CHUNK_RECORDS_MAX: usize = 1000;
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Exports of a running service at once.
const EXPORTS_MAX: usize = 2;
/// An export that nobody goes on with is given up after this many seconds, so that it keeps no old records.
const EXPORT_IDLE_MAX_S: u64 = 60;
/// Old records that an export may keep, in bytes, before it is given up as too slow.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// What an archive is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveHead {
    /// The layout of the trees.
    pub schema: u32,
    /// Whose store it is.
    pub corp_id: String,
}

/// Why an archive can't be read into a store.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something already.
    #[error("the store {0} is not empty: import into an empty directory, or move this one away first")]
    NotEmpty(std::path::PathBuf),
    /// A tree of that name is unknown.
    #[error(
        "there is no tree `{0}` in this version: import with the version that wrote the export, or a newer one"
    )]
    UnknownTree(String),
    /// A record can't be read.
    #[error("the record {key} of tree `{tree}` can't be read ({why}): the export is damaged, make it again")]
    BadRecord {
        /// The tree.
        tree: &'static str,
        /// Its key, for people; of a code it isn't told.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// The records are no store of ours.
    #[error("the export has no record that says whose store it is: it is incomplete")]
    NoMeta,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far an export has come: the tree, and the least key that is still to come.
#[derive(Clone, Default)]
struct Position {
    tree: usize,
    from: Vec<u8>,
}

impl Position {
    fn tree(&self) -> Option<TreeId> {
        TreeId::ALL.get(self.tree).copied()
    }

    fn is_before(&self, tree: TreeId, key: &[u8]) -> bool {
        let (mine, theirs) = (self.tree, tree as usize);
        mine < theirs || (mine == theirs && self.from.as_slice() <= key)
    }

    fn next_tree(&mut self) {
        self.tree += 1;
        self.from.clear();
    }
}

/// An export, at a moment that stands still.
#[derive(Default)]
struct Export {
    position: Position,
    /// The records as they were, of those ahead that have changed since; `None` = there was none.
    kept: BTreeMap<(TreeId, Vec<u8>), Option<Vec<u8>>>,
    kept_bytes: usize,
}

impl Export {
    /// The next records; empty at the end.
    fn chunk(&mut self, store: &Store) -> Result<Vec<ArchiveRecord>, StoreError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        while let Some(tree) = self.position.tree() {
            let mut entries = store.range(tree, &self.position.from)?;
            let mut is_full = false;
            loop {
                is_full = is_full || records.len() >= CHUNK_RECORDS_MAX || bytes >= CHUNK_BYTES_MAX;
                if is_full {
                    return Ok(records);
                }
                let stored = entries.next().transpose()?;
                // What was changed or taken away in front of the next stored key comes first.
                let upto = stored.as_ref().map(|(key, _)| key.to_vec());
                for (key, value) in self.take_kept(tree, upto.as_deref()) {
                    bytes += key.len() + value.len();
                    records.push(ArchiveRecord { tree: tree.name(), key, value });
                }
                let Some((key, value)) = stored else { break };
                self.position.from.clear();
                self.position.from.extend_from_slice(&key);
                self.position.from.push(0);
                match self.kept.remove(&(tree, key.to_vec())) {
                    Some(before) => {
                        self.gave_back(&key, before.as_deref());
                        // Without one it is younger than the moment.
                        records.extend(before.map(|before| record(tree, &key, &before, &mut bytes)));
                    }
                    None => records.push(record(tree, &key, &value, &mut bytes)),
                }
            }
            self.position.next_tree();
        }
        Ok(records)
    }

    /// The kept records of a tree before this key (`None` = all of the tree) that were there.
    fn take_kept(&mut self, tree: TreeId, before: Option<&[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut taken = Vec::new();
        while let Some(((kept_tree, key), _)) = self.kept.first_key_value()
            && *kept_tree == tree
            && before.is_none_or(|before| key.as_slice() < before)
        {
            let Some(((_, key), value)) = self.kept.pop_first() else { break };
            self.gave_back(&key, value.as_deref());
            if let Some(value) = value {
                taken.push((key, value));
            }
        }
        taken
    }

    /// This record is not kept any more.
    fn gave_back(&mut self, key: &[u8], before: Option<&[u8]>) {
        self.kept_bytes = self.kept_bytes.saturating_sub(key.len() + before.map_or(0, <[u8]>::len));
    }

    fn keep(&mut self, store: &Store, tree: TreeId, key: &[u8]) -> Result<(), StoreError> {
        if !self.position.is_before(tree, key) || self.kept.contains_key(&(tree, key.to_vec())) {
            return Ok(());
        }
        let before = store.get(tree, key)?.map(|value| value.to_vec());
        self.kept_bytes += key.len() + before.as_ref().map_or(0, Vec::len);
        self.kept.insert((tree, key.to_vec()), before);
        Ok(())
    }
}

fn record(tree: TreeId, key: &[u8], value: &[u8], bytes: &mut usize) -> ArchiveRecord {
    *bytes += key.len() + value.len();
    ArchiveRecord { tree: tree.name(), key: key.to_vec(), value: value.to_vec() }
}

/// The exports under way of a running service. The writer thread holds them.
#[derive(Default)]
pub(crate) struct Exports {
    last_id: u64,
    under_way: BTreeMap<u64, (Export, Instant)>,
}

impl Exports {
    /// Begins an export at this moment; `None` while too many are under way.
    pub(crate) fn begin(&mut self) -> Option<u64> {
        self.forget_idle();
        if self.under_way.len() >= EXPORTS_MAX {
            return None;
        }
        self.last_id += 1;
        self.under_way.insert(self.last_id, (Export::default(), Instant::now()));
        Some(self.last_id)
    }

    /// The next records; empty at the end; `None` where the export was given up.
    pub(crate) fn next(&mut self, id: u64, store: &Store) -> Result<Option<Vec<ArchiveRecord>>, StoreError> {
        let Some((export, used_at)) = self.under_way.get_mut(&id) else { return Ok(None) };
        *used_at = Instant::now();
        let records = export.chunk(store)?;
        if records.is_empty() {
            self.under_way.remove(&id);
        }
        Ok(Some(records))
    }

    /// Keeps what a commit is about to change.
    pub(crate) fn before_commit(
        &mut self,
        changes: &BTreeMap<TreeId, Changes>,
        store: &Store,
    ) -> Result<(), StoreError> {
        if self.under_way.is_empty() {
            return Ok(());
        }
        self.forget_idle();
        for (export, _) in self.under_way.values_mut() {
            for (tree, changes) in changes {
                for key in changes.keys() {
                    export.keep(store, *tree, key)?;
                }
            }
        }
        self.under_way.retain(|_, (export, _)| export.kept_bytes <= KEPT_BYTES_MAX);
        Ok(())
    }

    fn forget_idle(&mut self) {
        let now = Instant::now();
        self.under_way.retain(|_, (_, used_at)| now.duration_since(*used_at).as_secs() < EXPORT_IDLE_MAX_S);
    }
}

/// A store that no service runs on, to be exported.
pub struct Archive {
    store: Store,
    export: Export,
    head: ArchiveHead,
}

impl Archive {
    /// Opens the store in this directory. Fails where it is in use, is none, or was written by a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Store::open_existing(path)?;
        let meta = stored_meta(&store)?;
        let head = ArchiveHead { schema: meta.schema, corp_id: meta.corp_id };
        Ok(Self { store, export: Export::default(), head })
    }

    /// What it is about.
    #[must_use]
    pub fn head(&self) -> &ArchiveHead {
        &self.head
    }

    /// The next records; empty at the end.
    pub fn chunk(&mut self) -> Result<Vec<ArchiveRecord>, StoreError> {
        self.export.chunk(&self.store)
    }
}

fn stored_meta(store: &Store) -> Result<StoreMeta, StoreError> {
    let bytes = store.get(TreeId::Meta, META_STORE)?;
    let bytes = bytes.ok_or_else(|| StoreError::NoStore(store.path().to_owned()))?;
    let meta: StoreMeta = decode(TreeId::Meta, &bytes)?;
    if meta.schema > SCHEMA {
        return Err(StoreError::Newer { found: meta.schema, known: SCHEMA });
    }
    Ok(meta)
}

/// A look at a whole archive before anything is made of it.
#[derive(Debug, Default)]
pub struct Inspection {
    has_meta: bool,
}

impl Inspection {
    /// Looks at one record.
    pub fn add(&mut self, tree: &str, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        let tree = readable(tree, key, value)?;
        self.has_meta |= tree == TreeId::Meta && key == META_STORE;
        Ok(())
    }

    /// Whether it was a store.
    pub fn finish(self) -> Result<(), RestoreError> {
        if self.has_meta { Ok(()) } else { Err(RestoreError::NoMeta) }
    }
}

/// The tree of a record that this version can read.
fn readable(tree: &str, key: &[u8], value: &[u8]) -> Result<TreeId, RestoreError> {
    let known = TreeId::ALL.into_iter().find(|known| known.name() == tree);
    let tree = known.ok_or_else(|| RestoreError::UnknownTree(tree.to_owned()))?;
    records::check(tree, key, value).map_err(|error| match error {
        StoreError::BadRecord { tree: name, why } => {
            RestoreError::BadRecord { tree: name, key: shown(tree, key), why }
        }
        other => other.into(),
    })?;
    Ok(tree)
}

/// A key for people to find its line by.
fn shown(tree: TreeId, key: &[u8]) -> String {
    match <[u8; 8]>::try_from(key) {
        _ if tree == TreeId::Codes => "of a code".to_owned(),
        _ if tree == TreeId::Tickets => "of a ticket".to_owned(),
        _ if tree == TreeId::Questions => "of a question".to_owned(),
        Ok(number) if number.first() == Some(&0) => u64::from_be_bytes(number).to_string(),
        _ => format!("{:?}", String::from_utf8_lossy(key)),
    }
}

/// An empty store that an archive is read into.
pub struct Restore {
    store: Store,
    now: Timestamp,
    waiting: BTreeMap<TreeId, Changes>,
    waiting_bytes: usize,
    /// Says whose store it is, and comes last: without it the directory is no store.
    meta: Option<StoreMeta>,
}

impl Restore {
    /// Begins in this directory, which must be empty or absent. `now` becomes the moment of the import: wrong codes
    /// sent before it are not counted.
    pub fn begin(path: &Path, now: Timestamp) -> Result<Self, RestoreError> {
        if std::fs::read_dir(path).is_ok_and(|mut entries| entries.any(|entry| is_of_a_store(&entry))) {
            return Err(RestoreError::NotEmpty(path.to_owned()));
        }
        Store::make_directory(path)?;
        // Until the end it is no store: a service that finds this refuses to start on the half of one.
        marker::write(path, Marker::Importing(SCHEMA))?;
        let store = Store::open_database(path)?;
        Ok(Self { store, now, waiting: BTreeMap::new(), waiting_bytes: 0, meta: None })
    }

    /// Takes one record.
    pub fn add(&mut self, tree: &str, key: Vec<u8>, value: Vec<u8>) -> Result<(), RestoreError> {
        let tree = readable(tree, &key, &value)?;
        if tree == TreeId::Meta && key == META_STORE {
            let meta: StoreMeta = decode(tree, &value)?;
            if meta.schema > SCHEMA {
                return Err(StoreError::Newer { found: meta.schema, known: SCHEMA }.into());
            }
            self.meta = Some(StoreMeta { schema: SCHEMA, created_at: self.now, ..meta });
            return Ok(());
        }
        self.waiting_bytes += key.len() + value.len();
        self.waiting.entry(tree).or_default().insert(key, Some(value));
        if self.waiting_bytes >= CHUNK_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Makes it a store. Without this call it stays half of one, which no service starts on.
    pub fn finish(mut self) -> Result<(), RestoreError> {
        let meta = self.meta.take().ok_or(RestoreError::NoMeta)?;
        self.flush()?;
        let last = self.waiting.entry(TreeId::Meta).or_default();
        last.insert(META_STORE.to_vec(), Some(encode(TreeId::Meta, &meta)?));
        self.flush()?;
        Ok(marker::write(self.store.path(), Marker::Ready(SCHEMA))?)
    }

    fn flush(&mut self) -> Result<(), RestoreError> {
        self.store.commit(&std::mem::take(&mut self.waiting))?;
        self.waiting_bytes = 0;
        Ok(())
    }
}

/// The page and the ignore file that are committed beside the default directory are no store.
fn is_of_a_store(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    const NO_STORE: [&str; 2] = ["README.md", ".gitignore"];
    entry.as_ref().is_ok_and(|entry| !NO_STORE.iter().any(|name| entry.file_name() == *name))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::{super::records::UserRecord, *};
    use crate::{ports::Entropy as _, testing::SeededEntropy};

    type Image = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

    fn image(records: impl IntoIterator<Item = ArchiveRecord>) -> Image {
        records.into_iter().map(|record| ((record.tree, record.key), record.value)).collect()
    }

    fn stored(store: &Store) -> Image {
        let mut image = Image::new();
        for tree in TreeId::ALL {
            for entry in store.range(tree, &[]).unwrap() {
                let (key, value) = entry.unwrap();
                image.insert((tree.name(), key.to_vec()), value.to_vec());
            }
        }
        image
    }

    /// Some changes to three trees: new records, other ones, and records that go.
    fn changes(dice: &SeededEntropy, count: usize) -> BTreeMap<TreeId, Changes> {
        let mut changes: BTreeMap<TreeId, Changes> = BTreeMap::new();
        for _ in 0..count {
            let mut bytes = [0; 8];
            dice.fill(&mut bytes);
            let tree = [TreeId::Codes, TreeId::Users, TreeId::Audit][usize::from(bytes[0] % 3)];
            let value = (bytes[1] % 4 > 0).then(|| bytes[4..].to_vec());
            changes.entry(tree).or_default().insert(bytes[2..4].to_vec(), value);
        }
        changes
    }

    #[test]
    fn an_export_is_of_one_moment_whatever_is_written_meanwhile() {
        for seed in 0..12 {
            let dir = TempDir::new().unwrap();
            let store = Store::open(dir.path()).unwrap();
            let dice = SeededEntropy::new(seed);
            store.commit(&changes(&dice, 6000)).unwrap();
            let mut exports = Exports::default();
            let id = exports.begin().unwrap();
            let moment = stored(&store);
            let mut records = Vec::new();
            let mut chunks = 0;
            loop {
                let changes = changes(&dice, 400);
                exports.before_commit(&changes, &store).unwrap();
                store.commit(&changes).unwrap();
                let chunk = exports.next(id, &store).unwrap().unwrap();
                if chunk.is_empty() {
                    break;
                }
                chunks += 1;
                records.extend(chunk);
            }
            assert!(chunks > 3, "{chunks} chunks prove nothing");
            let count = records.len();
            let exported = image(records);
            assert_eq!(exported.len(), count, "seed {seed}: a record came twice");
            assert!(exported == moment, "seed {seed}: it is not what was there");
            assert_ne!(stored(&store), moment);
            assert_eq!(exports.next(id, &store).unwrap(), None, "it has ended");
        }
    }

    #[test]
    fn an_export_counts_no_bytes_that_it_has_given_back() {
        let dir = TempDir::new().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let dice = SeededEntropy::new(1);
        store.commit(&changes(&dice, 6000)).unwrap();
        let mut export = Export::default();
        let mut kept = 0;
        for round in 0.. {
            let changes = changes(&dice, if round < 5 { 4000 } else { 0 });
            for (tree, changes) in &changes {
                for key in changes.keys() {
                    export.keep(&store, *tree, key).unwrap();
                }
            }
            store.commit(&changes).unwrap();
            kept = kept.max(export.kept_bytes);
            if export.chunk(&store).unwrap().is_empty() {
                break;
            }
        }
        assert!(kept > 0 && export.kept.is_empty());
        assert_eq!(export.kept_bytes, 0, "of {kept}");
    }

    #[test]
    fn a_record_that_can_not_be_read_is_not_taken() {
        let dir = TempDir::new().unwrap();
        let mut restore = Restore::begin(dir.path(), Timestamp(1)).unwrap();
        let user = encode(TreeId::Users, &UserRecord::default()).unwrap();
        let cut = user.get(..user.len() - 1).unwrap().to_vec();
        let longer = [user.as_slice(), &[0]].concat();
        let good = encode(TreeId::Guesses, &3_u64).unwrap();
        for (tree, key, value) in [
            ("users", b"o1".to_vec(), cut),
            ("users", b"o1".to_vec(), longer),
            ("users", b"o1".to_vec(), vec![0, 1]),
            ("users", b"o1".to_vec(), vec![]),
            ("users", vec![0xff], user.clone()),
            ("guesses", vec![1, 2], good.clone()),
            ("audit", 7_u64.to_be_bytes().to_vec(), good.clone()),
            ("meta", b"link".to_vec(), good.clone()),
            ("seen", b"wk1".to_vec(), encode(TreeId::Seen, &Timestamp(1)).unwrap()),
        ] {
            let named = format!("tree `{tree}`");
            let refused = restore.add(tree, key.clone(), value.clone()).unwrap_err().to_string();
            assert!(refused.contains(&named), "{tree} {key:?} {value:?}: {refused}");
            let mut inspection = Inspection::default();
            assert_eq!(inspection.add(tree, &key, &value).unwrap_err().to_string(), refused);
        }
        let code = restore.add("codes", b"482913".to_vec(), good.clone()).unwrap_err().to_string();
        assert!(!code.contains("482913"), "{code}");
        let newer = restore.add("users", b"o1".to_vec(), vec![2, 0]).unwrap_err().to_string();
        assert!(newer.contains("newer version of kfbind"), "{newer}");
        restore.add("users", b"o1".to_vec(), user).unwrap();
        restore.add("guesses", 7_u64.to_be_bytes().to_vec(), good).unwrap();
    }

    #[test]
    fn two_exports_run_at_once_and_no_third() {
        let mut exports = Exports::default();
        assert!(exports.begin().is_some() && exports.begin().is_some());
        assert_eq!(exports.begin(), None);
    }

    #[test]
    fn a_directory_with_something_in_it_is_not_imported_into() {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("README.md"), "").unwrap();
        drop(Restore::begin(dir.path(), Timestamp(1)).unwrap());
        assert!(matches!(Restore::begin(dir.path(), Timestamp(1)), Err(RestoreError::NotEmpty(_))));
    }

    #[test]
    fn an_export_without_its_owner_is_refused() {
        let dir = TempDir::new().unwrap();
        let mut restore = Restore::begin(dir.path(), Timestamp(1)).unwrap();
        let user = encode(TreeId::Users, &UserRecord::default()).unwrap();
        restore.add("users", b"o1".to_vec(), user).unwrap();
        assert!(matches!(restore.add("trees", vec![], vec![]), Err(RestoreError::UnknownTree(_))));
        assert!(matches!(restore.finish(), Err(RestoreError::NoMeta)));
    }
}
