//! How far a long command has come: one line on a terminal, written over and gone at the end. Where stderr is no
//! terminal there is nothing. The last word is the command's own.

use std::{
    io::{self, BufRead, IsTerminal as _, Read, Write as _},
    time::Duration,
};

use tokio::time::Instant;

/// How often the line changes at most.
const EVERY: Duration = Duration::from_millis(100);
/// Back to the line's beginning, and away with the rest of it.
const CLEAR: &str = "\r\x1b[K";
const MIB: u64 = 1 << 20;

/// The line. Dropping it takes it away.
#[derive(Debug)]
pub(super) struct Progress {
    is_shown: bool,
    written_at: Option<Instant>,
}

impl Progress {
    /// One for whoever looks at stderr.
    pub(super) fn on_stderr() -> Self {
        Self { is_shown: io::stderr().is_terminal(), written_at: None }
    }

    /// Writes this, unless nobody looks or it would flicker.
    pub(super) fn tell(&mut self, text: impl FnOnce() -> String) {
        let is_too_soon = |at: Instant| at.elapsed() < EVERY;
        if !self.is_shown || self.written_at.is_some_and(is_too_soon) {
            return;
        }
        self.written_at = Some(Instant::now());
        // That nobody sees it is no reason to stop.
        let _ = write!(io::stderr(), "{CLEAR}{}", text());
        let _ = io::stderr().flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.written_at.is_some() {
            let _ = write!(io::stderr(), "{CLEAR}");
            let _ = io::stderr().flush();
        }
    }
}

/// A file that tells how far it was read.
pub(super) struct Watched<'p, R> {
    input: R,
    what: &'static str,
    bytes: u64,
    bytes_all: u64,
    progress: &'p mut Progress,
}

impl<'p, R> Watched<'p, R> {
    /// `what` is being done with a file of this length.
    pub(super) fn new(input: R, what: &'static str, bytes_all: u64, progress: &'p mut Progress) -> Self {
        Self { input, what, bytes: 0, bytes_all, progress }
    }

    fn took(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        let (done, all, what) = (self.bytes, self.bytes_all.max(1), self.what);
        let percent = done.saturating_mul(100) / all;
        self.progress.tell(|| format!("{what}: {percent} %, {} of {}", mib(done), mib(all)));
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.took(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Watched<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.input.consume(bytes);
        self.took(bytes);
    }
}

/// A size for people.
pub(super) fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_digit_behind_the_point() {
        for (bytes, wanted) in [(0, "0.0 MiB"), (MIB / 2, "0.5 MiB"), (MIB * 27 + MIB - 1, "27.9 MiB")] {
            assert_eq!(mib(bytes), wanted);
        }
    }

    #[test]
    fn what_is_watched_is_read_as_it_is() {
        let mut progress = Progress { is_shown: false, written_at: None };
        let text = "one\ntwo\nthree";
        let mut watched = Watched::new(text.as_bytes(), "reading", 13, &mut progress);
        let mut lines = Vec::new();
        let mut line = String::new();
        while watched.read_line(&mut line).unwrap() > 0 {
            lines.push(std::mem::take(&mut line));
        }
        assert_eq!((lines.concat().as_str(), lines.len(), watched.bytes), (text, 3, 13));
    }
}
