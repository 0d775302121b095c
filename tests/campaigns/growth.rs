//! What the service takes from the machine, looked at again and again, and whether that is more than what it keeps.
//!
//! The store keeps a few records of each round for days (`data/README.md`, *What goes*), and each costs memory as long
//! as it is kept: the database holds in memory where every page lies. So memory may grow by so much a record, and by
//! nothing else; open files may not grow at all.

use std::{collections::BTreeMap, fmt, path::Path};

use tokio::time::Instant;

use crate::report::{Breach, Failure};

/// Memory that a kept record may cost beyond the cache.
const BYTES_A_RECORD_MAX: f64 = 60.0;
/// What the cache of pages may take (`CACHE_BYTES` in `actors/registry/store.rs`).
const CACHE_BYTES: f64 = 67_108_864.0;
/// What the rest of the process may take, its peaks included.
const REST_BYTES_MAX: f64 = 30e6;
/// Resident memory goes up and down by so much while nothing grows: buffers of the log, pages given back late.
const NOISE_BYTES: f64 = 2e6;
/// Connections come and go: of 64 rounds at once, and of pulls and answers.
const NOISE_FILES: usize = 32;
/// The database keeps old versions of a page until most of their segment is old.
const STORE_FACTOR_MAX: f64 = 12.0;

/// Records and bytes of keys and values, by tree.
pub(crate) type Census = BTreeMap<String, (u64, u64)>;

/// What the process takes at a moment.
pub(crate) struct Sample {
    at: Instant,
    rounds: u64,
    resident_kib: u64,
    files: usize,
    store_kib: u64,
}

impl Sample {
    /// Looks at a process and its store.
    pub(crate) fn take(id: u32, store: &Path, rounds: u64) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::new(Breach::FailedOpen, format!("the process is gone: {error}"));
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).map_err(failed)?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let files = std::fs::read_dir(format!("/proc/{id}/fd")).map_err(failed)?.count();
        Ok(Self {
            at: Instant::now(),
            rounds,
            resident_kib: resident.unwrap_or(0),
            files,
            store_kib: size(store) / 1024,
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, resident_kib, files, store_kib, .. } = self;
        write!(
            f,
            "{rounds:>9} rounds  {resident_kib:>8} KiB resident  {files:>4} files  {store_kib:>8} KiB store"
        )
    }
}

/// What the files below a folder take, in bytes.
pub(crate) fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// What was found in the second half of a soak; the slopes by least squares.
pub(crate) struct Growth {
    hours: f64,
    rounds: f64,
    memory_a_round: f64,
    memory_an_hour: f64,
    store_a_round: f64,
    resident_at_end: f64,
    store_at_end: f64,
    /// The least number of files in its first and in its last third.
    files: (usize, usize),
    records_a_round: f64,
    bytes_a_round: f64,
    records: f64,
    bytes: f64,
    /// Those that come with each round, by tree.
    trees: String,
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
impl Growth {
    /// From the samples of a whole soak, and what the store held before and after so many rounds. `None` where there is
    /// too little to say anything.
    pub(crate) fn of(samples: &[Sample], before: &Census, after: &Census, rounds: u64) -> Option<Self> {
        let half = samples.get(samples.len() / 2..)?;
        let (first, last) = (half.first()?, half.last().filter(|_| half.len() >= 6)?);
        let hours: Vec<f64> = half.iter().map(|s| (s.at - first.at).as_secs_f64() / 3600.0).collect();
        let done: Vec<f64> = half.iter().map(|s| s.rounds as f64).collect();
        let resident: Vec<f64> = half.iter().map(|s| s.resident_kib as f64 * 1024.0).collect();
        let store: Vec<f64> = half.iter().map(|s| s.store_kib as f64 * 1024.0).collect();
        let fewest = |samples: &[Sample]| samples.iter().map(|s| s.files).min().unwrap_or(0);
        let third = half.len() / 3;
        let files = (fewest(half.get(..third)?), fewest(half.get(half.len() - third..)?));
        let of = |census: &Census, tree: &str| census.get(tree).copied().unwrap_or_default();
        let (mut records_a_round, mut bytes_a_round, mut trees) = (0.0, 0.0, Vec::new());
        for (tree, (records, bytes)) in after {
            let (records_before, bytes_before) = of(before, tree);
            let new = (*records as f64 - records_before as f64) / rounds as f64;
            records_a_round += new;
            bytes_a_round += (*bytes as f64 - bytes_before as f64) / rounds as f64;
            if new >= 0.005 {
                trees.push(format!("{new:.2} in `{tree}`"));
            }
        }
        Some(Self {
            hours: (last.at - first.at).as_secs_f64() / 3600.0,
            rounds: (last.rounds - first.rounds) as f64,
            memory_a_round: slope(&done, &resident),
            memory_an_hour: slope(&hours, &resident),
            store_a_round: slope(&done, &store),
            resident_at_end: *resident.last()?,
            store_at_end: *store.last()?,
            files,
            records_a_round,
            bytes_a_round,
            records: after.values().map(|(records, _)| *records as f64).sum(),
            bytes: after.values().map(|(_, bytes)| *bytes as f64).sum(),
            trees: trees.join(", "),
        })
    }

    /// How much the memory grew, and how much the records kept in that time explain.
    fn grown_and_explained(&self) -> (f64, f64) {
        let explained = self.rounds * self.records_a_round.max(0.0) * BYTES_A_RECORD_MAX;
        (self.rounds * self.memory_a_round, explained + NOISE_BYTES)
    }

    fn memory_max(&self) -> f64 {
        self.records * BYTES_A_RECORD_MAX + CACHE_BYTES + REST_BYTES_MAX
    }

    /// What is not explained.
    pub(crate) fn unexplained(&self) -> Vec<Failure> {
        let grew = |what: String| Some(Failure::new(Breach::Grew, what));
        let (grown, explained) = self.grown_and_explained();
        let found = [
            (grown > explained)
                .then(|| {
                    let what =
                        format!("memory grew by {:.1} MB, {:.1} explained", grown / 1e6, explained / 1e6);
                    grew(what)
                })
                .flatten(),
            (self.resident_at_end > self.memory_max())
                .then(|| {
                    let (is, max) = (self.resident_at_end / 1e6, self.memory_max() / 1e6);
                    grew(format!("{is:.1} MB resident, {max:.1} explained"))
                })
                .flatten(),
            (self.files.1 > self.files.0 + NOISE_FILES)
                .then(|| grew(format!("open files grew from {} to {}", self.files.0, self.files.1)))
                .flatten(),
            (self.store_at_end > self.bytes * STORE_FACTOR_MAX)
                .then(|| {
                    grew(format!("the store is {:.1} times what it holds", self.store_at_end / self.bytes))
                })
                .flatten(),
        ];
        found.into_iter().flatten().collect()
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (grown, explained) = self.grown_and_explained();
        writeln!(
            f,
            "second half, {:.0} minutes, {:.0} rounds: memory {:+.0} bytes a round, {:+.1} MB an hour; {} to {} files",
            self.hours * 60.0,
            self.rounds,
            self.memory_a_round,
            self.memory_an_hour / 1e6,
            self.files.0,
            self.files.1,
        )?;
        writeln!(
            f,
            "  kept of a round: {:.2} records of {:.0} bytes, keys and values together ({})",
            self.records_a_round,
            self.bytes_a_round / self.records_a_round.max(0.01),
            self.trees,
        )?;
        writeln!(
            f,
            "  memory: {:+.1} bytes a record kept, at most {BYTES_A_RECORD_MAX}; {:+.1} MB in this half, at most {:.1}",
            self.memory_a_round / self.records_a_round.max(0.01),
            grown / 1e6,
            explained / 1e6,
        )?;
        writeln!(
            f,
            "  {:.1} MB resident in the end, at most {:.1}: {:.0} records of {BYTES_A_RECORD_MAX} bytes, the cache's {:.1}, {:.0} for the rest",
            self.resident_at_end / 1e6,
            self.memory_max() / 1e6,
            self.records,
            CACHE_BYTES / 1e6,
            REST_BYTES_MAX / 1e6,
        )?;
        write!(
            f,
            "  store: {:+.0} bytes a round for {:.0} kept; {:.1} MB in all, {:.1} times its keys and values, at most {STORE_FACTOR_MAX}",
            self.store_a_round,
            self.bytes_a_round,
            self.store_at_end / 1e6,
            self.store_at_end / self.bytes.max(1.0),
        )
    }
}

fn slope(x: &[f64], y: &[f64]) -> f64 {
    let mean = |values: &[f64]| {
        values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap_or(1).max(1))
    };
    let (mean_x, mean_y) = (mean(x), mean(y));
    let over: f64 = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let under: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
    if under == 0.0 { 0.0 } else { over / under }
}
