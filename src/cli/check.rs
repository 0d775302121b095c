//! `kfbind check`: all problems of the configuration at once, or the effective one.

use std::{io::Write, process::ExitCode};

use actors::ports::Clock as _;
use anyhow::Context as _;

use super::online;
use crate::{
    clock::SystemClock,
    config::{Config, ConfigFile, Environment, Problem},
    tls::{self, Finding, PairFiles},
};

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
    let certificate = certificate(&loaded.config);
    for note in loaded.notes.iter().chain(&certificate.notes) {
        writeln!(out, "\n# note: {}", note.to_string().replace('\n', "\n# "))?;
    }
    for problem in &certificate.problems {
        writeln!(out, "\n{problem}")?;
    }
    let offline = if certificate.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if !online {
        return Ok(offline);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime that makes the calls")?;
    let is_fine = runtime.block_on(online::walk(&loaded.config, out, is_coloured))?;
    Ok(if is_fine { offline } else { ExitCode::FAILURE })
}

/// What is wrong with the certificate for HTTPS, or soon will be.
#[derive(Default)]
struct Certificate {
    problems: Vec<Problem>,
    notes: Vec<Problem>,
}

fn certificate(config: &Config) -> Certificate {
    let (Some(cert), Some(key)) = (&config.server.tls_cert, &config.server.tls_key) else {
        return Certificate::default();
    };
    let files = PairFiles { cert: cert.clone(), key: key.clone() };
    let judged = tls::judge(&files, SystemClock.now());
    let said = |findings: Vec<Finding>| {
        let problem = |one: Finding| Problem { key: one.key.to_owned(), what: one.what, fix: one.fix };
        findings.into_iter().map(problem).collect()
    };
    Certificate { problems: said(judged.problems), notes: said(judged.notes) }
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
    fn a_certificate_that_clients_would_refuse_is_a_problem_and_one_that_ends_soon_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let [cert, key] = ["c.pem", "k.pem"].map(|name| folder.path().join(name));
        let now_s = i64::try_from(SystemClock.now().0).unwrap();
        for (days_left, wanted) in [(-1, ExitCode::FAILURE), (13, ExitCode::SUCCESS), (30, ExitCode::SUCCESS)]
        {
            let signing = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(1970, 1, 1)
                + std::time::Duration::from_secs((now_s + days_left * 24 * 3_600).unsigned_abs());
            std::fs::write(&cert, params.self_signed(&signing).unwrap().pem()).unwrap();
            std::fs::write(&key, signing.serialize_pem()).unwrap();
            let [cert, key] = [&cert, &key].map(|path| path.to_str().unwrap());
            let variables = [
                ("KFBIND_WECOM__SECRET", "x"),
                ("KFBIND_SERVER__TLS_CERT", cert),
                ("KFBIND_SERVER__TLS_KEY", key),
            ];
            let (text, code) = printed(GOOD, &variables);
            assert_eq!(code, wanted, "{days_left}: {text}");
            assert_eq!(text.contains("\nserver.tls_cert: "), days_left < 0, "{text}");
            assert_eq!(text.contains("# note: server.tls_cert: "), days_left == 13, "{text}");
        }
        let other = [
            ("KFBIND_WECOM__SECRET", "x"),
            ("KFBIND_SERVER__TLS_CERT", "gone"),
            ("KFBIND_SERVER__TLS_KEY", "gone"),
        ];
        let (text, code) = printed(GOOD, &other);
        assert!(code == ExitCode::FAILURE && text.contains("server.tls_cert: gone can't be read"), "{text}");
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
