//! Disks of our own: a tmpfs of a given size, filled and emptied at will, and a directory mounted read-only.
//!
//! Both want the right to mount, which root has on a machine and in CI. Where it is missing the tests that need it
//! fail and say so; they are not skipped, because nothing else shows what a full disk does.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::statvfs;
use tempfile::TempDir;

/// A directory with something mounted on it. Dropping it takes that away.
pub(crate) struct Mounted {
    dir: TempDir,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a process that was just killed may still be going.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

fn mount(arguments: &[&str]) {
    let done = Command::new("mount").args(arguments).output().expect("the command mount");
    assert!(
        done.status.success(),
        "this test needs the right to mount (root, or a container with CAP_SYS_ADMIN): mount {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

impl Mounted {
    /// An empty disk of so many MiB.
    pub(crate) fn disk(size_mib: u64) -> Self {
        let dir = TempDir::with_prefix("kfbind-it-").expect("a directory");
        mount(&["-t", "tmpfs", "-o", &format!("size={size_mib}m"), "none", &text(dir.path())]);
        Self { dir }
    }

    /// The same files as in `of`, read-only.
    pub(crate) fn read_only(of: &Path) -> Self {
        let dir = TempDir::with_prefix("kfbind-it-").expect("a directory");
        let place = text(dir.path());
        mount(&["--bind", &text(of), &place]);
        let mounted = Self { dir };
        mount(&["-o", "remount,ro,bind", &place]);
        mounted
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Somebody else fills the disk until so many bytes are free, or none.
    pub(crate) fn fill(&self, free_bytes: u64) {
        let mut file = File::create(self.filler()).expect("a file");
        let block = vec![0xFF; 64 << 10];
        loop {
            let fs = statvfs(self.path()).expect("the disk's numbers");
            let left = (fs.f_bavail * fs.f_frsize).saturating_sub(free_bytes);
            let length = usize::try_from(left).unwrap_or(block.len()).min(block.len());
            if length == 0 || file.write_all(&block[..length]).is_err() {
                return;
            }
        }
    }

    /// And takes it away again.
    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("the filler is there");
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
