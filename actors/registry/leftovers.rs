//! Clears away what a start that was killed left half-written in the store's directory.
//!
//! When it opens, sled 0.34.7 writes a snapshot as `snap.….generating` and renames it once it is whole. But it takes such
//! a file for a snapshot, too (it leaves out names in `.in___motion`, which it doesn't use), so after a kill in between
//! it meets half of one and answers "corrupted" for ever. Nothing is lost with the file: the snapshot before it and the
//! log are still there, and sled removes an old one only after the rename. Nothing else is touched here.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

const BEGINNING: &str = "snap.";
const ENDING: &str = ".generating";

/// Removes half-written snapshots. False where another process has the store open and may be writing one; then the
/// database must not be opened: that process may end between this look and sled's own, which would find the half.
pub(super) fn clear(path: &Path, database_file: &str) -> io::Result<bool> {
    // A directory without a database has nothing to mend; whatever else is wrong with it, sled says better.
    let Ok(file) = File::open(path.join(database_file)) else { return Ok(true) };
    // The lock that sled takes for as long as it is open. Ours goes with the file.
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(_)) => return Ok(true),
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(BEGINNING) && name.ends_with(ENDING) {
            tracing::warn!(file = %name, "an earlier start was killed while it wrote this snapshot: removed");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::{
        super::store::{Store, StoreError},
        *,
    };

    /// Looks at a lock, a millisecond apart, before it counts as held for ever.
    const LOOKS_MAX: u32 = 10_000;

    /// Opens the store as soon as the threads of the one before have let go of its lock, which takes them a moment.
    fn opened(path: &Path) -> Store {
        for _ in 0..LOOKS_MAX {
            match Store::open(path) {
                Err(StoreError::Locked(_)) => std::thread::park_timeout(Duration::from_millis(1)),
                outcome => return outcome.unwrap(),
            }
        }
        panic!("the store is still locked");
    }

    #[test]
    fn a_store_that_somebody_has_open_is_not_opened_behind_their_back() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("db");
        assert!(clear(folder.path(), "db").unwrap(), "there is none yet");
        let file = File::create(&database).unwrap();
        file.lock().unwrap();
        assert!(!clear(folder.path(), "db").unwrap());
        file.unlock().unwrap();
        assert!(clear(folder.path(), "db").unwrap());
    }

    #[test]
    fn a_start_that_was_killed_while_writing_its_snapshot_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        drop(opened(folder.path()));
        // Names sort behind the real snapshot's; half of one, and an empty one.
        for (name, bytes) in
            [("snap.FFFFFFFFFFFFFFF0.generating", vec![7; 100]), ("snap.FFFFFFFFFFFFFFFF.generating", vec![])]
        {
            std::fs::write(folder.path().join(name), bytes).unwrap();
            drop(opened(folder.path()));
            assert!(!folder.path().join(name).exists());
        }
    }

    #[test]
    fn what_a_running_process_is_writing_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let name = folder.path().join("snap.FFFFFFFFFFFFFFFF.generating");
        std::fs::write(&name, "half").unwrap();
        assert!(Store::open(folder.path()).is_err());
        assert!(name.exists());
        drop(store);
    }
}
