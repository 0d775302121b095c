//! TEMPORARY stub, replaced when the demo is merged.

/// Runs the demo.
pub fn run(_port: u16, _script: bool, _seed: Option<u64>) -> anyhow::Result<()> {
    anyhow::bail!("demo: stub of the command line's branch, the demo is not merged yet")
}
