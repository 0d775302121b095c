//! Plays the committed inputs of the fuzz targets to them, as ordinary tests: what a fuzzer once found stays found.
//!
//! No fuzzing here, and no fuzzer needed; `tests/fuzz/run` does that.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests and targets fail by panicking"
)]

use std::{fs, path::Path};

pub mod targets;

/// Plays all inputs of one target. A failing one is named, so that it can be played alone.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs: Vec<_> = entries.map(|entry| entry.expect("an entry of the folder").path()).collect();
    assert!(inputs.len() >= INPUTS_MIN, "{target} has only {} inputs", inputs.len());
    let failed: Vec<String> = inputs
        .iter()
        .filter(|path| {
            let input = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            std::panic::catch_unwind(|| run(&input)).is_err()
        })
        .map(|path| path.display().to_string())
        .collect();
    assert!(failed.is_empty(), "{target} breaks on\n{}", failed.join("\n"));
}

/// Fewer inputs of a target than this are a corpus gone astray.
const INPUTS_MIN: usize = 20;

#[test]
fn envelopes_and_signatures_hold_on_every_committed_input() {
    replay("envelope", targets::envelope::run);
}

#[test]
fn events_hold_on_every_committed_input() {
    replay("event", targets::event::run);
}

#[test]
fn pages_of_messages_hold_on_every_committed_input() {
    replay("sync_page", targets::sync_page::run);
}

#[test]
fn code_recognition_holds_on_every_committed_input() {
    replay("recognise", targets::recognise::run);
}

#[test]
fn sessions_hold_on_every_committed_input() {
    replay("session", targets::session::run);
}

/// A target that nobody replays, or inputs of a target that is gone.
#[test]
fn every_target_has_inputs_a_program_and_a_test() {
    let named = |folder: &str, ending: &str| -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(folder);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry of the folder").file_name().to_string_lossy().into_owned())
            .filter_map(|name| name.strip_suffix(ending).map(str::to_owned))
            .collect();
        names.sort();
        names
    };
    let targets = ["envelope", "event", "recognise", "session", "sync_page"];
    assert_eq!(named("targets", ".rs"), targets);
    assert_eq!(named("fuzz_targets", ".rs"), targets);
    assert_eq!(named("corpus", ""), targets);
}
