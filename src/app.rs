//! TEMPORARY stub, replaced when the composition root is merged.

use crate::config::Config;

/// Runs the service until it is told to stop.
pub fn serve(_config: Config) -> anyhow::Result<()> {
    anyhow::bail!("serve: stub of the command line's branch, the composition root is not merged yet")
}
