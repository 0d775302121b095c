//! What lies in the store in the end, read from an export, so that nothing of the service's own reading is trusted.
//!
//! Knows `data/README.md` and nothing else.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    growth::Census,
    person::Sum,
    report::{Breach, Failure, Report},
    service::{Ways, kfbind},
};

/// All records, by tree.
type Trees = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>;

/// The places of audit types in their list.
const BOUND: u64 = 0;
const UNBOUND: u64 = 1;
const CONFLICT: u64 = 2;

/// Exports the store of a stopped service and compares it with what people remember.
pub(crate) fn compare(
    environment: &[(String, String)],
    folder: &Path,
    sum: &Sum,
    ways: Ways,
    report: &Report,
) -> Result<(), Failure> {
    let mut trees = Trees::new();
    export(environment, &folder.join("export.ndjson"), |tree, key, value| {
        trees.entry(tree.to_owned()).or_default().push((key, value));
    })?;
    let bindings = mirrored(&trees)?;
    let mut promised = sum.bindings.clone();
    promised.sort();
    if bindings != promised {
        return Err(Failure::new(Breach::Lost, format!("promised {promised:?}\nstored {bindings:?}")));
    }
    report.checked_times("bindings mirrored in the store", bindings.len() as u64);
    let count = |tree: &str| trees.get(tree).map_or(0, Vec::len) as u64;
    let audited = |kind| -> u64 {
        let records = trees.get("audit").into_iter().flatten();
        records.filter(|(_, value)| audit_kind(value) == Some(kind)).count() as u64
    };
    let counts = [
        ("audited bindings", audited(BOUND), sum.bound),
        ("audited unbindings", audited(UNBOUND), sum.unbound),
        ("audited conflicts", audited(CONFLICT), sum.conflicts),
        ("wrong codes counted", wrong_codes(&trees), sum.wrong),
        ("messages remembered", count("seen"), sum.acted_on),
        ("answers left in the outbox", count("outbox"), 0),
    ];
    // With every way on people write this and that until they are bound, and nobody counts it.
    let counted = if ways == Ways::All { &counts[..2] } else { &counts[..] };
    for (what, stored, promised) in counted.iter().chain(counts.last()).copied() {
        if stored != promised {
            let breach = if stored < promised { Breach::Lost } else { Breach::Doubled };
            return Err(Failure::new(breach, format!("{what}: {stored} stored, {promised} took place")));
        }
        report.checked_times(what, stored);
    }
    Ok(())
}

/// How many records the store of a stopped service holds in each tree, and the bytes of their keys and values.
pub(crate) fn census(environment: &[(String, String)], folder: &Path) -> Result<Census, Failure> {
    let mut census = Census::new();
    export(environment, &folder.join("census.ndjson"), |tree, key, value| {
        let (records, bytes) = census.entry(tree.to_owned()).or_default();
        *records += 1;
        *bytes += (key.len() + value.len()) as u64;
    })?;
    Ok(census)
}

/// Exports the store of a stopped service, and hands each record to `take`.
fn export(
    environment: &[(String, String)],
    file: &Path,
    mut take: impl FnMut(&str, Vec<u8>, Vec<u8>),
) -> Result<(), Failure> {
    let failed = |what: String| Failure::new(Breach::FailedOpen, format!("exporting: {what}"));
    let io_failed = |error: std::io::Error| failed(error.to_string());
    let file_text = file.display().to_string();
    let output =
        kfbind(&["export", "--out", &file_text], environment).output().map_err(|e| failed(e.to_string()))?;
    if output.status.code() != Some(0) {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let lines = BufReader::new(std::fs::File::open(file).map_err(io_failed)?).lines();
    for line in lines {
        let line: Value =
            serde_json::from_str(&line.map_err(io_failed)?).map_err(|error| failed(error.to_string()))?;
        // The first and the last line are no records.
        let Some(tree) = line["tree"].as_str() else { continue };
        let bytes = |name: &str| line[name].as_str().and_then(|text| STANDARD.decode(text).ok());
        let (Some(key), Some(value)) = (bytes("key"), bytes("value")) else {
            return Err(failed(format!("a record that can't be read: {line}")));
        };
        take(tree, key, value);
    }
    std::fs::remove_file(file).map_err(io_failed)
}

/// The bindings as (openid, customer, since when), which must be the same pairs from either side.
fn mirrored(trees: &Trees) -> Result<Vec<(String, String, u64)>, Failure> {
    let records = |tree: &str| trees.get(tree).cloned().unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let unreadable = || Failure::new(Breach::Lost, "a binding that can't be read");
    let mut by_user = Vec::new();
    for (openid, value) in records("bindings") {
        let (customer, since) = binding(&value).ok_or_else(unreadable)?;
        by_user.push((text(&openid), customer, since));
    }
    let mut by_customer = Vec::new();
    for (customer, value) in records("bindings_by_customer") {
        let (openid, _) = text_of(value.get(1..).unwrap_or_default()).ok_or_else(unreadable)?;
        by_customer.push((openid, text(&customer)));
    }
    by_user.sort();
    by_customer.sort();
    let pairs = by_user.iter().map(|(openid, customer, _)| (openid, customer));
    if pairs.eq(by_customer.iter().map(|(openid, customer)| (openid, customer))) {
        Ok(by_user)
    } else {
        Err(Failure::new(Breach::Lost, format!("by user {by_user:?}\nby customer {by_customer:?}")))
    }
}

/// A binding's customer, and since when it stands.
fn binding(value: &[u8]) -> Option<(String, u64)> {
    let (customer, rest) = text_of(value.get(1..)?)?;
    let (is_named, mut rest) = rest.split_first()?;
    if *is_named == 1 {
        (_, rest) = text_of(rest)?;
    }
    let (_method, rest) = integer(rest)?;
    Some((customer, integer(rest)?.0))
}

/// A text and what follows it.
fn text_of(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = integer(bytes)?;
    let (text, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

fn audit_kind(value: &[u8]) -> Option<u64> {
    let (_at, rest) = integer(value.get(1..)?)?;
    Some(integer(rest)?.0)
}

/// All wrong codes that are counted, over all customers.
fn wrong_codes(trees: &Trees) -> u64 {
    let total = |value: &[u8]| {
        let (_window_start, rest) = integer(value.get(1..)?)?;
        let (_in_window, rest) = integer(rest)?;
        Some(integer(rest)?.0)
    };
    trees.get("attempts").into_iter().flatten().filter_map(|(_, value)| total(value)).sum()
}

/// An integer and what follows it.
fn integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let width = match first {
        251 => 2,
        252 => 4,
        253 => 8,
        small => return Some((u64::from(*small), rest)),
    };
    let (number, rest) = rest.split_at_checked(width)?;
    let number = number.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    Some((number, rest))
}
