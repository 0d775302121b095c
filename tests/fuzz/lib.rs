//! What the fuzzer calls: the targets, as a library of their own so that each fuzz program is one line.
//!
//! The same files are compiled into the test program `fuzz` (`replay.rs`), which plays the committed inputs to them.

pub mod targets;
