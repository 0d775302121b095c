//! `kfbind export` and `kfbind import`: the whole store into a file, and back into an empty one.
//!
//! The file appears under its name only when it is complete, readable by its owner alone: it holds the key that
//! sessions are signed with.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use actors::{
    archive::{Archive, Inspection, Restore},
    ports::Clock as _,
};
use anyhow::{Context as _, bail, ensure};
use secrecy::ExposeSecret as _;
use url::Url;

use super::progress::{Progress, Watched, mib};
use crate::{
    app::runtime,
    archive::{ArchiveError, ArchiveLines, read, restore},
    clock::SystemClock,
    config::Config,
    outgoing,
};

/// The longest that a running service may take to hand over everything.
const EXPORT_TIMEOUT: Duration = Duration::from_hours(6);
/// What is read of an error's answer, in bytes.
const ERROR_BYTES_MAX: usize = 4096;

/// Writes the store to `out`: from the running service at `url`, or from the directory.
pub(super) fn export(
    config: &Config,
    url: Option<&str>,
    out: &Path,
    said: &mut impl Write,
) -> anyhow::Result<()> {
    let partial = partial_name(out)?;
    let mut options = OpenOptions::new();
    // What is there already, from an earlier attempt or from somebody else, may be readable by others.
    options.write(true).create_new(true).mode(0o600);
    let _ = fs::remove_file(&partial);
    let file = options.open(&partial).with_context(|| format!("can't write {}", partial.display()))?;
    let written = match url {
        Some(url) => fetch(config, url, (&partial, &file)),
        None => dump(config, &file),
    };
    let records = written.inspect_err(|_| {
        let _ = fs::remove_file(&partial);
    })?;
    file.sync_all().with_context(|| format!("writing {}", partial.display()))?;
    fs::rename(&partial, out).with_context(|| format!("can't write {}", out.display()))?;
    writeln!(said, "{records} records are in {}", out.display())?;
    Ok(())
}

/// Reads `from` into the configured store, which must be empty.
pub(super) fn import(config: &Config, from: &Path, said: &mut impl Write) -> anyhow::Result<()> {
    let open =
        || File::open(from).map(BufReader::new).with_context(|| format!("can't read {}", from.display()));
    let about = || format!("importing {}", from.display());
    let bytes_all = fs::metadata(from).map_or(0, |file| file.len());
    let mut progress = Progress::on_stderr();
    // The whole file is looked at before anything is written.
    let mut inspection = Inspection::default();
    let watched = Watched::new(open()?, "looking through the export", bytes_all, &mut progress);
    let (head, _) =
        read(watched, |tree, key, value| inspection.add(tree, &key, &value)).with_context(about)?;
    inspection.finish().with_context(about)?;
    let configured = config.wecom.corp_id.clone();
    if head.corp_id != configured {
        return Err(ArchiveError::OtherCorp { found: head.corp_id, configured }).with_context(about);
    }
    let store = Restore::begin(&config.store.path, SystemClock.now()).with_context(about)?;
    let watched = Watched::new(open()?, "importing", bytes_all, &mut progress);
    let records = restore(watched, store).with_context(about)?;
    drop(progress);
    writeln!(said, "{records} records are in the store {}", config.store.path.display())?;
    Ok(())
}

fn dump(config: &Config, file: &File) -> anyhow::Result<u64> {
    let mut archive = Archive::open(&config.store.path)
        .context("can't export the store (a running service is asked with --url)")?;
    let mut out = BufWriter::new(file);
    let mut lines = ArchiveLines::default();
    let mut progress = Progress::on_stderr();
    out.write_all(ArchiveLines::head(archive.head(), SystemClock.now()).as_bytes())?;
    loop {
        let records = archive.chunk()?;
        if records.is_empty() {
            break;
        }
        out.write_all(lines.records(&records).as_bytes()).context("writing the export")?;
        progress.tell(|| format!("exporting: {} records", lines.count()));
    }
    out.write_all(lines.end().as_bytes())?;
    out.flush().context("writing the export")?;
    Ok(lines.count())
}

/// Asks the running service, and looks at what came before it is called an export.
fn fetch(config: &Config, url: &str, (path, file): (&Path, &File)) -> anyhow::Result<u64> {
    let Some(key) = &config.admin.api_key else {
        bail!("`admin.api_key` is empty: exporting from a running service needs its admin key");
    };
    let url = format!("{}/api/admin/export", service(url)?);
    runtime()?.block_on(async {
        let http = outgoing::client(EXPORT_TIMEOUT, None)?;
        let mut answer = http
            .get(&url)
            .bearer_auth(key.expose_secret())
            .send()
            .await
            .map_err(outgoing::ExchangeError::from)
            .with_context(|| format!("asking {url}"))?;
        let status = answer.status();
        if !status.is_success() {
            let body = outgoing::read_limited(answer, ERROR_BYTES_MAX).await.unwrap_or_default();
            bail!("{url} answered {status}: {}", String::from_utf8_lossy(&body).trim());
        }
        let mut out = BufWriter::new(file);
        let (mut progress, mut bytes) = (Progress::on_stderr(), 0);
        while let Some(part) = answer.chunk().await.map_err(outgoing::ExchangeError::from)? {
            out.write_all(&part).context("writing the export")?;
            bytes += part.len() as u64;
            progress.tell(|| format!("exporting: {}", mib(bytes)));
        }
        out.flush().context("writing the export")
    })?;
    let written = File::open(path).context("reading the export again")?;
    let bytes_all = written.metadata().map_or(0, |file| file.len());
    let mut progress = Progress::on_stderr();
    let watched =
        Watched::new(BufReader::new(written), "looking through the export", bytes_all, &mut progress);
    let (_, records) = read(watched, |_, _, _| Ok(())).context("what the service sent")?;
    Ok(records)
}

/// The address of a service, which the errors may show.
fn service(url: &str) -> anyhow::Result<&str> {
    let parsed = Url::parse(url).ok().filter(|parsed| ["http", "https"].contains(&parsed.scheme()));
    let is_bare = |parsed: &Url| {
        parsed.username().is_empty() && parsed.password().is_none() && parsed.query().is_none()
    };
    ensure!(
        parsed.as_ref().is_some_and(is_bare),
        "--url is no address of a service: write it like http://127.0.0.1:8080, without a user or a password"
    );
    Ok(url.trim_end_matches('/'))
}

fn partial_name(out: &Path) -> anyhow::Result<PathBuf> {
    let name = out.file_name().with_context(|| format!("{} names no file", out.display()))?;
    ensure!(!out.is_dir(), "{} is a directory: name a file", out.display());
    let mut partial = name.to_owned();
    partial.push(".partial");
    Ok(out.with_file_name(partial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_service_is_a_bare_one() {
        for (url, wanted) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://bind.example/", "https://bind.example"),
            ("http://proxy/kfbind/", "http://proxy/kfbind"),
        ] {
            assert_eq!(service(url).unwrap(), wanted);
        }
        for url in
            ["", "bind.example", "127.0.0.1:8080", "ftp://host", "http://me:SECRET@host", "http://h?SECRET"]
        {
            let error = service(url).unwrap_err().to_string();
            assert!(error.contains("--url") && !error.contains("SECRET"), "{error}");
        }
    }
}
