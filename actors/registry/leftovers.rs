//! Clears away what a start that was killed left half-written in the store's directory.
//!
//! When it opens, sled 0.34.7 writes a snapshot as `snap.….generating` and renames it once it is whole. But it takes such
//! a file for a snapshot, too (it leaves out names in `.in___motion`, which it doesn't use), so after a kill in between
//! it meets half of one and answers "corrupted" for ever. Nothing is lost with the file: the snapshot before it and the
//! log are still there, and sled removes an old one only after the rename. Nothing else is touched here.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

const BEGINNING: &str = "snap.";
const ENDING: &str = ".generating";

/// Removes half-written snapshots, unless another process has the store open and may be writing one: then sled will find
/// the lock taken, too.
pub(super) fn clear(path: &Path, database_file: &str) -> io::Result<()> {
    // A directory without a database has nothing to mend; whatever else is wrong with it, sled says better.
    let Ok(file) = File::open(path.join(database_file)) else { return Ok(()) };
    // The lock that sled takes for as long as it is open. Ours goes with the file.
    if file.try_lock().is_err() {
        return Ok(());
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::store::Store;

    #[test]
    fn a_start_that_was_killed_while_writing_its_snapshot_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path()).unwrap());
        // Names sort behind the real snapshot's; half of one, and an empty one.
        for (name, bytes) in
            [("snap.FFFFFFFFFFFFFFF0.generating", vec![7; 100]), ("snap.FFFFFFFFFFFFFFFF.generating", vec![])]
        {
            std::fs::write(folder.path().join(name), bytes).unwrap();
            Store::open(folder.path()).unwrap();
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
