//! A walk in numbered steps, a line for each thing that was looked at: proven, missing, beyond our knowledge, or for a
//! person to see in a console. Prints each step as it ends, the same in a pipe as on a terminal but for the colours;
//! knows nothing of what is looked at.

use std::io::{self, Write};

use crate::config::Problem;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Proven just now.
    Ok,
    /// Has to be mended.
    Missing,
    /// Works, but perhaps not as the operator thinks.
    Note,
    /// Can't be known from here.
    Unknown,
    /// Only a person can see it.
    Look,
}

impl Mark {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Note => "note",
            Self::Unknown => "unknown",
            Self::Look => "look",
        }
    }

    /// As terminals are told it.
    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "\x1b[32m",
            Self::Missing => "\x1b[1;31m",
            Self::Note | Self::Unknown => "\x1b[33m",
            Self::Look => "\x1b[36m",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) mark: Mark,
    pub(crate) text: String,
    /// What to do.
    pub(crate) fix: Option<String>,
}

/// One step of the walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    title: &'static str,
    pub(crate) lines: Vec<Line>,
}

impl Step {
    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, lines: Vec::new() }
    }

    pub(crate) fn ok(&mut self, text: impl Into<String>) {
        self.add(Mark::Ok, text, None);
    }

    /// A problem of this key.
    pub(crate) fn missing(&mut self, problem: Problem) {
        self.add(Mark::Missing, format!("{}: {}", problem.key, problem.what), Some(problem.fix));
    }

    /// Something that works otherwise than one may think.
    pub(crate) fn note(&mut self, problem: Problem) {
        self.add(Mark::Note, format!("{}: {}", problem.key, problem.what), Some(problem.fix));
    }

    /// What can't be known, and how it could be.
    pub(crate) fn unknown(&mut self, text: impl Into<String>, fix: impl Into<String>) {
        self.add(Mark::Unknown, text, Some(fix.into()));
    }

    /// What a person has to see in a console.
    pub(crate) fn look(&mut self, text: impl Into<String>) {
        self.add(Mark::Look, text, None);
    }

    /// Was not asked, since what it stands on failed before.
    pub(crate) fn not_asked(&mut self) {
        self.unknown("not asked, since an earlier step failed", "mend that one and check again");
    }

    fn add(&mut self, mark: Mark, text: impl Into<String>, fix: Option<String>) {
        self.lines.push(Line { mark, text: text.into(), fix });
    }
}

/// The walk so far.
pub(crate) struct Walk<'o, W> {
    out: &'o mut W,
    is_coloured: bool,
    steps: usize,
    marks: Vec<Mark>,
}

impl<'o, W: Write> Walk<'o, W> {
    /// Begins one that is printed to `out`.
    pub(crate) fn begin(out: &'o mut W, is_coloured: bool) -> io::Result<Self> {
        writeln!(
            out,
            "\nGoing live, step by step. ok: proven just now. missing: mend it. note: works, but see."
        )?;
        writeln!(out, "unknown: can't be known from here. look: for you to see in the console.")?;
        Ok(Self { out, is_coloured, steps: 0, marks: Vec::new() })
    }

    /// Prints a step.
    pub(crate) fn take(&mut self, step: &Step) -> io::Result<()> {
        self.steps += 1;
        writeln!(self.out, "\n{:2}. {}", self.steps, step.title)?;
        for line in &step.lines {
            let (word, text) = (line.mark.word(), &line.text);
            if self.is_coloured {
                writeln!(self.out, "    {}{word:8}\x1b[0m{text}", line.mark.colour())?;
            } else {
                writeln!(self.out, "    {word:8}{text}")?;
            }
            if let Some(fix) = &line.fix {
                writeln!(self.out, "            fix: {fix}")?;
            }
            self.marks.push(line.mark);
        }
        self.out.flush()
    }

    /// Sums up. Whether nothing is missing.
    pub(crate) fn end(self) -> io::Result<bool> {
        let count = |mark| self.marks.iter().filter(|one| **one == mark).count();
        let missing = count(Mark::Missing);
        writeln!(
            self.out,
            "\n{} steps: {} ok, {missing} missing, {} notes, {} unknown, {} to look at",
            self.steps,
            count(Mark::Ok),
            count(Mark::Note),
            count(Mark::Unknown),
            count(Mark::Look)
        )?;
        Ok(missing == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(is_coloured: bool) -> (String, bool) {
        let mut step = Step::new("The way");
        step.ok("there is one");
        step.missing(Problem {
            key: "wecom.secret".into(),
            what: "is wrong".into(),
            fix: "copy it again".into(),
        });
        step.look("open the console");
        let mut out = Vec::new();
        let mut walk = Walk::begin(&mut out, is_coloured).unwrap();
        walk.take(&step).unwrap();
        let fine = walk.end().unwrap();
        (String::from_utf8(out).unwrap(), fine)
    }

    #[test]
    fn a_problem_stands_with_its_key_and_its_fix_and_is_counted() {
        let (text, fine) = printed(false);
        let wanted = "\n 1. The way\n    ok      there is one\n    missing wecom.secret: is wrong\n            fix: copy it again\n    \
                      look    open the console\n\n1 steps: 1 ok, 1 missing, 0 notes, 0 unknown, 1 to look at\n";
        assert!(text.ends_with(wanted), "{text}");
        assert!(!fine);
    }

    #[test]
    fn colours_add_nothing_but_colours() {
        let (coloured, _) = printed(true);
        let mut plain = coloured.clone();
        for mark in [Mark::Ok, Mark::Missing, Mark::Look] {
            assert!(coloured.contains(mark.colour()), "{coloured}");
            plain = plain.replace(mark.colour(), "");
        }
        assert_eq!(plain.replace("\x1b[0m", ""), printed(false).0);
    }
}
