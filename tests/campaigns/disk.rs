//! A disk that can lose its power: ext4 on a loop device whose image is cloned in one moment.
//!
//! The images lie on a file system that can clone a file atomically (XFS with reflinks), itself on a loop device. What a
//! process has written but the kernel has not yet given to the disk is not in the clone; that is the power cut. A disk
//! that loses its own cache is not played: fsync reaches past that, too.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use tempfile::TempDir;

use crate::report::{Breach, Failure};

/// Room for the images, sparse.
const HOST_BYTES: &str = "6G";
/// A disk: kfbind wants 64 MiB free.
const DISK_BYTES: &str = "160M";

/// Where the images lie.
#[derive(Clone)]
pub(crate) struct Host {
    inner: Arc<Mounted>,
}

impl Host {
    /// Makes it. Fails where the machine lacks something, and says what.
    pub(crate) fn mount() -> Result<Self, Failure> {
        let folder = TempDir::with_prefix("kfbind-powercut-").map_err(|error| failed(&error.to_string()))?;
        let image = folder.path().join("host.img");
        run("truncate", &["-s", HOST_BYTES, text(&image)])?;
        run("mkfs.xfs", &["-q", "-m", "reflink=1", text(&image)])
            .map_err(|failure| failed(&format!("{}; install xfsprogs and run as root", failure.what)))?;
        let at = folder.path().join("host");
        let inner = Arc::new(Mounted::new(&image, at, Some(folder))?);
        Ok(Self { inner })
    }
}

/// A disk of a run.
pub(crate) struct Disk {
    host: Host,
    name: String,
    cuts: u32,
    image: PathBuf,
    mounted: Option<Mounted>,
}

impl Disk {
    /// An empty one.
    pub(crate) fn new(host: Host, seed: u64) -> Result<Self, Failure> {
        let name = format!("disk-{seed}");
        let image = host.inner.at.join(&name);
        run("truncate", &["-s", DISK_BYTES, text(&image)])?;
        run("mkfs.ext4", &["-q", "-F", text(&image)])?;
        let mounted = Some(Mounted::new(&image, host.inner.at.join(format!("{name}.at")), None)?);
        Ok(Self { host, name, cuts: 0, image, mounted })
    }

    /// Where its files are.
    pub(crate) fn path(&self) -> PathBuf {
        self.mounted.as_ref().map(|mounted| mounted.at.clone()).unwrap_or_default()
    }

    /// What is on the disk at this moment, and nothing else, is on the next one.
    pub(crate) fn image_now(&mut self) -> Result<PathBuf, Failure> {
        self.cuts += 1;
        let next = self.host.inner.at.join(format!("{}.{}", self.name, self.cuts));
        run("cp", &["--reflink=always", text(&self.image), text(&next)])?;
        Ok(next)
    }

    /// Goes on with that image. Whoever used the old disk has let go of it.
    pub(crate) fn becomes(&mut self, image: PathBuf) -> Result<(), Failure> {
        self.mounted = None;
        let _ = std::fs::remove_file(&self.image);
        let at = self.host.inner.at.join(format!("{}.{}.at", self.name, self.cuts));
        self.mounted = Some(Mounted::new(&image, at, None)?);
        self.image = image;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.mounted = None;
        let _ = std::fs::remove_file(&self.image);
    }
}

/// A mounted image; gone when dropped.
struct Mounted {
    at: PathBuf,
    _folder: Option<TempDir>,
}

impl Mounted {
    fn new(image: &Path, at: PathBuf, folder: Option<TempDir>) -> Result<Self, Failure> {
        std::fs::create_dir_all(&at).map_err(|error| failed(&error.to_string()))?;
        run("mount", &["-o", "loop", text(image), text(&at)])?;
        Ok(Self { at, _folder: folder })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if run("umount", &[text(&self.at)]).is_err() {
            let _ = run("umount", &["-l", text(&self.at)]);
        }
        let _ = std::fs::remove_dir(&self.at);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

fn failed(what: &str) -> Failure {
    Failure::new(Breach::FailedOpen, format!("the disk: {what}"))
}

fn run(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| failed(&format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(&format!("{program} {}: {said}", arguments.join(" "))))
}
