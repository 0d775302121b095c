//! What this machine can tell by itself: the store's directory, and the clock against WeCom's.
//!
//! Looks into a store as `export` does, and only where no service has it open.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use actors::{StoreError, archive::Archive};
use rustix::fs::{Access, access};

use super::{fault::problem, walk::Step};
use crate::config::Config;

const STORE: &str = "store.path";
/// Beyond so many seconds operators are told, as by `/readyz`.
const SKEW_S_MAX: u64 = 30;

/// Whether the store can be used, and by whom.
pub(super) fn store(config: &Config) -> Step {
    let mut step = Step::new("This machine: the store");
    let path = &config.store.path;
    let shown = path.display();
    if !path.exists() {
        let parent = path.ancestors().skip(1).find(|parent| *parent == Path::new("") || parent.exists());
        let parent = parent.filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        match access(parent, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => step.ok(format!("{STORE}: {shown} is not there yet, and can be made")),
            Err(error) => step.missing(problem(
                STORE,
                format!("{shown} is not there, and can't be made in {}: {error}", parent.display()),
                "make the directory for the user who runs the service, or choose another one",
            )),
        }
        return step;
    }
    // Opening a store writes to it, and files of another user's would keep the service out.
    let owner = std::fs::metadata(path).map(|of| of.uid());
    if owner.as_ref().is_ok_and(|owner| *owner != rustix::process::geteuid().as_raw()) {
        step.unknown(
            format!("{STORE}: {shown} belongs to another user, so it was not opened"),
            "check as the user who runs the service, for example with sudo -u",
        );
        return step;
    }
    match Archive::open(path) {
        Ok(archive) if archive.head().corp_id == config.wecom.corp_id => {
            step.ok(format!("{STORE}: {shown} holds the store of this company, and nobody has it open"));
        }
        Ok(archive) => step.missing(problem(
            STORE,
            format!(
                "{shown} belongs to corp_id {}, but wecom.corp_id is {}",
                archive.head().corp_id,
                config.wecom.corp_id
            ),
            "correct wecom.corp_id, or use another store.path",
        )),
        Err(StoreError::Locked(_)) => {
            step.ok(format!("{STORE}: {shown} is open in another process, as it is while the service runs"));
        }
        Err(StoreError::NoStore(_)) => match access(path, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => step.ok(format!("{STORE}: {shown} holds no store yet, and can be written to")),
            Err(error) => step.missing(problem(
                STORE,
                format!("{shown} can't be written to: {error}"),
                "give the directory to the user who runs the service",
            )),
        },
        Err(error) => step.missing(problem(
            STORE,
            error.to_string(),
            "see there; `kfbind import` brings a backup into an empty directory",
        )),
    }
    step
}

/// Our clock minus WeCom's, in seconds; `None` where WeCom told no time.
pub(super) fn clock(skew_s: Option<i64>) -> Step {
    let mut step = Step::new("This machine: the clock");
    match skew_s {
        None => step.unknown("WeCom told no time", "mend what keeps WeCom from answering, and check again"),
        Some(skew_s) if skew_s.unsigned_abs() > SKEW_S_MAX => step.missing(problem(
            "binding.code_ttl",
            format!(
                "this machine's clock is {skew_s} s off WeCom's; beyond 60 s right codes count as expired"
            ),
            "set the clock, for example by NTP (timedatectl set-ntp true)",
        )),
        Some(skew_s) => step.ok(format!("the clock is {skew_s} s off WeCom's; up to {SKEW_S_MAX} are fine")),
    }
    step
}

#[cfg(test)]
mod tests {
    use super::{super::walk::Mark, *};

    #[test]
    fn a_clock_that_is_off_in_either_direction_is_a_problem() {
        let mark = |skew_s| clock(skew_s).lines.first().map(|line| line.mark);
        for (skew_s, wanted) in [
            (Some(0), Mark::Ok),
            (Some(30), Mark::Ok),
            (Some(31), Mark::Missing),
            (Some(-31), Mark::Missing),
            (None, Mark::Unknown),
        ] {
            assert_eq!(mark(skew_s), Some(wanted), "{skew_s:?}");
        }
    }
}
