//! A store that has been in use for long: so many old codes that reading them at the start fills the cache of pages.
//!
//! A soak on it shows from its first minute what grows for good; on an empty store the cache would be filling for most
//! of an hour, and hide everything else. Knows `data/README.md` and nothing else.

use std::{
    io::{BufWriter, Write as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    report::{Breach, Failure},
    service::kfbind,
};

/// Enough to fill the cache more than once.
pub(crate) const RECORDS: u64 = 400_000;
/// How long ago the codes were made: they are expired, and not yet forgotten.
const AGE_S: u64 = 3600;

/// Imports the ballast into the store of this environment, which must not be there yet.
pub(crate) fn lay(environment: &[(String, String)], now_s: u64, folder: &Path) -> Result<(), Failure> {
    let failed = |what: String| Failure::new(Breach::FailedOpen, format!("laying the ballast: {what}"));
    let corp_id = environment.iter().find(|(key, _)| key == "KFBIND_WECOM__CORP_ID");
    let corp_id = corp_id.map(|(_, corp_id)| corp_id.as_str()).unwrap_or_default();
    let file = folder.join("ballast.ndjson");
    write(&file, corp_id, now_s).map_err(|error| failed(error.to_string()))?;
    let import = kfbind(&["import", &file.display().to_string()], environment).output();
    let output = import.map_err(|error| failed(error.to_string()))?;
    if output.status.code() != Some(0) {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    std::fs::remove_file(file).map_err(|error| failed(error.to_string()))
}

fn write(file: &Path, corp_id: &str, now_s: u64) -> std::io::Result<()> {
    let mut lines = BufWriter::new(std::fs::File::create(file)?);
    writeln!(lines, r#"{{"kfbind_export":1,"schema":1,"corp_id":"{corp_id}","at":"2026-01-01T00:00:00Z"}}"#)?;
    let mut record = |tree: &str, key: &[u8], value: &[u8]| {
        let (key, value) = (STANDARD.encode(key), STANDARD.encode(value));
        writeln!(lines, r#"{{"tree":"{tree}","key":"{key}","value":"{value}"}}"#)
    };
    let meta = [&[1, 1], text(corp_id).as_slice(), &[7; 32], &time(now_s)].concat();
    record("meta", b"store", &meta)?;
    let issued = now_s - AGE_S;
    for number in 0..RECORDS {
        let openid = text(&format!("oBallast{number:020}"));
        // Version, whose it is, digits, epoch 0; made, expired; not revoked, has bound, no conflicts.
        let code =
            [&[1], openid.as_slice(), &[0, 0], &time(issued), &time(issued + 600), &[0, 1, 0]].concat();
        record("codes", format!("{number:09}").as_bytes(), &code)?;
    }
    writeln!(lines, r#"{{"records":{}}}"#, RECORDS + 1)?;
    lines.flush()
}

/// A text of at most 250 bytes.
fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(250);
    [&[length], text.as_bytes()].concat()
}

/// A moment between 1970 and 2106.
fn time(seconds: u64) -> Vec<u8> {
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    [&[252], seconds.to_le_bytes().as_slice()].concat()
}
