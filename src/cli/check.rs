//! `kfbind check`: all problems of the configuration at once, or the effective one.

use std::{io::Write, process::ExitCode};

use anyhow::Context as _;

use super::online;
use crate::config::{Config, ConfigFile, Environment};

/// Prints what it finds; 1 where anything is wrong.
pub(super) fn run(
    file: &ConfigFile,
    online: bool,
    environment: &Environment,
    (out, is_coloured): (&mut impl Write, bool),
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
    if !online {
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime that makes the calls")?;
    let is_fine = runtime.block_on(online::walk(&loaded.config, out, is_coloured))?;
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(toml: &str, variables: &[(&str, &str)]) -> (String, ExitCode) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(toml.as_bytes()).unwrap();
        let environment = Environment::new(variables.iter().copied());
        let mut out = Vec::new();
        let code =
            run(&ConfigFile::Named(file.path().to_owned()), false, &environment, (&mut out, false)).unwrap();
        (String::from_utf8(out).unwrap(), code)
    }

    const GOOD: &str = "[wecom]\ncorp_id = \"ww1\"\ntoken = \"Hushtoken\"\n\
        encoding_aes_key = \"jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C\"\n\
        [miniprogram]\napp_id = \"wx1\"\nsecret = \"Hush-mini\"\n";

    #[test]
    fn every_problem_is_printed_with_its_key_and_fix() {
        let (text, code) = printed("[wecom]\nsecert = \"x\"", &[("KFBIND_KF__URL", "kfc1")]);
        assert_eq!(code, ExitCode::FAILURE);
        for part in ["wecom.secert", "wecom.secret", "kf.url", "miniprogram.app_id", "fix: "] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_good_configuration_is_printed_with_its_secrets_masked() {
        let (text, code) = printed(GOOD, &[("KFBIND_WECOM__SECRET", "Hush-wecom")]);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(!text.contains("Hush") && !text.contains("jWmYm7qr"), "{text}");
        assert!(text.contains("secret = \"***\"  # KFBIND_WECOM__SECRET"), "{text}");
    }

    #[test]
    fn notes_stay_comments_of_the_printed_toml() {
        let url = ("KFBIND_KF__URL", "https://work.weixin.qq.com/kfid/kfc1");
        let (text, code) = printed(GOOD, &[("KFBIND_WECOM__SECRET", "x"), url]);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(text.contains("# note: kf.url"), "{text}");
        assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
    }
}
