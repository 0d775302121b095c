//! `kfbind check`: all problems of the configuration at once, or the effective one.

use std::{io::Write, process::ExitCode};

use crate::config::{Config, ConfigFile, Environment};

/// Prints what it finds; 1 where anything is wrong.
pub(super) fn run(
    file: &ConfigFile,
    online: bool,
    environment: &Environment,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let loaded = match Config::load(file, environment) {
        Ok(loaded) => loaded,
        Err(problems) => {
            writeln!(out, "{problems}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    write!(out, "{}", loaded.effective)?;
    for note in &loaded.notes {
        writeln!(out, "\n# note: {}", note.to_string().replace('\n', "\n# "))?;
    }
    if online {
        anyhow::bail!("--online is not in this version yet");
    }
    Ok(ExitCode::SUCCESS)
}
