//! An export as a file: NDJSON, a head, a line per stored record, and an end that tells a whole file from half of one.
//!
//! ```text
//! {"kfbind_export":1,"schema":1,"corp_id":"ww…","at":"2026-01-02T03:04:05Z"}
//! {"tree":"bindings","key":"b0FCQw==","value":"AQ…"}
//! {"records":1}
//! ```
//!
//! Keys and values are base64 of the stored bytes, which `data/README.md` describes. Where records come from and go to
//! is not decided here.

use std::io::{self, BufRead};

use actors::{
    archive::{ArchiveHead, Restore, RestoreError},
    ids::Timestamp,
    messages::ArchiveRecord,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp as Moment;
use serde::{Deserialize, Serialize};

/// The version of the file's form.
const FORM: u32 = 1;
/// The longest line: a record of the largest size, encoded.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// Why a file is no export that can be imported.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A line is not what it should be.
    #[error("line {line}: {what}; the file is damaged or no export of kfbind")]
    BadLine {
        /// From 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// A newer version wrote it.
    #[error("the export has form {found}, this version knows {FORM}: import with a newer kfbind")]
    NewerForm {
        /// The form found.
        found: u32,
    },
    /// It breaks off.
    #[error("the export ends after {records} records without its last line: it was cut off; make it again")]
    CutOff {
        /// How many came.
        records: u64,
    },
    /// It is another company's.
    #[error(
        "the export belongs to corp_id {found}, but `wecom.corp_id` is {configured}: correct the key, or the file"
    )]
    OtherCorp {
        /// Whose it is.
        found: String,
        /// Who asks.
        configured: String,
    },
    /// The file can't be read.
    #[error("reading the export: {0}")]
    Read(#[from] io::Error),
    /// The store can't be written.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

#[derive(Serialize, Deserialize)]
struct HeadLine {
    kfbind_export: u32,
    schema: u32,
    corp_id: String,
    at: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Record { tree: String, key: String, value: String },
    End { records: u64 },
}

/// Writes the lines of an export, in order.
#[derive(Debug, Default)]
pub struct ArchiveLines {
    records: u64,
}

impl ArchiveLines {
    /// The first line.
    #[must_use]
    pub fn head(head: &ArchiveHead, at: Timestamp) -> String {
        let at = i64::try_from(at.0).ok().and_then(|seconds| Moment::from_second(seconds).ok());
        let line = HeadLine {
            kfbind_export: FORM,
            schema: head.schema,
            corp_id: head.corp_id.clone(),
            at: at.unwrap_or_default().to_string(),
        };
        in_a_line(&line)
    }

    /// A line for each record.
    pub fn records(&mut self, records: &[ArchiveRecord]) -> String {
        self.records += records.len() as u64;
        let line = |record: &ArchiveRecord| {
            in_a_line(&Line::Record {
                tree: record.tree.to_owned(),
                key: STANDARD.encode(&record.key),
                value: STANDARD.encode(&record.value),
            })
        };
        records.iter().map(line).collect()
    }

    /// The last line.
    #[must_use]
    pub fn end(&self) -> String {
        in_a_line(&Line::End { records: self.records })
    }

    /// How many records there were so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.records
    }
}

fn in_a_line(value: &impl Serialize) -> String {
    // Texts and numbers alone: that can't fail.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

/// Goes through a whole export, and hands each record to `take`. Returns its head and how many records there were.
/// Fails where anything is not as it should be, the last line included; `take` may have had records by then.
pub fn read(
    input: impl BufRead,
    mut take: impl FnMut(&str, Vec<u8>, Vec<u8>) -> Result<(), RestoreError>,
) -> Result<(ArchiveHead, u64), ArchiveError> {
    let mut lines = Lines { input, number: 0, line: String::new() };
    let bad = |line, what: &str| ArchiveError::BadLine { line, what: what.to_owned() };
    let head: HeadLine = match lines.next()? {
        Some(line) => serde_json::from_str(line).map_err(|_| bad(1, "it is no head of an export"))?,
        None => return Err(ArchiveError::CutOff { records: 0 }),
    };
    if head.kfbind_export > FORM {
        return Err(ArchiveError::NewerForm { found: head.kfbind_export });
    }
    let mut records = 0;
    while let Some(line) = lines.next()? {
        let line = serde_json::from_str(line);
        match line.map_err(|_| bad(lines.number, "it is neither a record nor the end"))? {
            Line::Record { tree, key, value } => {
                let decoded = STANDARD.decode(key).ok().zip(STANDARD.decode(value).ok());
                let (key, value) =
                    decoded.ok_or_else(|| bad(lines.number, "its key or value is no base64"))?;
                records += 1;
                take(&tree, key, value)?;
            }
            Line::End { records: said } if said != records => {
                return Err(bad(lines.number, &format!("it speaks of {said} records, there are {records}")));
            }
            Line::End { .. } => {
                if lines.next()?.is_some() {
                    return Err(bad(lines.number, "something follows the end"));
                }
                return Ok((ArchiveHead { schema: head.schema, corp_id: head.corp_id }, records));
            }
        }
    }
    Err(ArchiveError::CutOff { records })
}

/// Reads a whole export into an empty store; how many records. Whoever calls has gone through the file with [`read`]
/// before, so that nothing is begun that can't be ended.
pub fn restore(input: impl BufRead, mut store: Restore) -> Result<u64, ArchiveError> {
    let (_, records) = read(input, |tree, key, value| store.add(tree, key, value))?;
    store.finish()?;
    Ok(records)
}

struct Lines<R> {
    input: R,
    number: u64,
    line: String,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<&str>, ArchiveError> {
        self.line.clear();
        self.number += 1;
        let read = io::Read::take(&mut self.input, LINE_BYTES_MAX).read_line(&mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        match self.line.strip_suffix('\n') {
            Some(line) => Ok(Some(line)),
            None => Err(ArchiveError::BadLine {
                line: self.number,
                what: "it is cut off, or longer than any record".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(records: &[ArchiveRecord]) -> String {
        let head = ArchiveHead { schema: 1, corp_id: "ww1".to_owned() };
        let mut lines = ArchiveLines::default();
        let mut text = ArchiveLines::head(&head, Timestamp(1_700_000_000));
        text.push_str(&lines.records(records));
        text.push_str(&lines.end());
        text
    }

    fn some() -> Vec<ArchiveRecord> {
        [("codes", "482913"), ("users", "o1")]
            .map(|(tree, key)| ArchiveRecord { tree, key: key.into(), value: vec![1, 0, 255] })
            .into()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut seen = Vec::new();
        let text = export(&some());
        assert!(
            text.starts_with(r#"{"kfbind_export":1,"schema":1,"corp_id":"ww1","at":"2023-11-14T22:13:20Z"}"#)
        );
        let (head, records) = read(text.as_bytes(), |tree, key, value| {
            seen.push((tree.to_owned(), key, value));
            Ok(())
        })
        .unwrap();
        assert_eq!((head.corp_id.as_str(), head.schema, records), ("ww1", 1, 2));
        let written: Vec<_> =
            some().into_iter().map(|record| (record.tree.to_owned(), record.key, record.value)).collect();
        assert_eq!(seen, written);
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused() {
        let text = export(&some());
        for length in 0..text.len() {
            let cut = text.get(..length).unwrap();
            assert!(read(cut.as_bytes(), |_, _, _| Ok(())).is_err(), "cut to {length}");
        }
        assert!(read(text.as_bytes(), |_, _, _| Ok(())).is_ok());
    }

    #[test]
    fn damage_is_named_with_its_line() {
        let text = export(&some());
        for (from, to, wanted) in [
            ("NDgyOTEz", "!", "line 2"),
            ("\"tree\":\"users\"", "\"wood\":1", "line 3"),
            ("{\"records\":2}", "{\"records\":3}", "line 4"),
            ("{\"records\":2}\n", "{\"records\":2}\n{}\n", "line 5"),
            ("kfbind_export\":1", "kfbind_export\":2", "form 2"),
            ("kfbind_export", "other", "line 1"),
        ] {
            let damaged = text.replacen(from, to, 1);
            assert_ne!(damaged, text, "{from}");
            let error = read(damaged.as_bytes(), |_, _, _| Ok(())).unwrap_err().to_string();
            assert!(error.contains(wanted), "{from}: {error}");
        }
    }
}
