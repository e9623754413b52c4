//! The harness that the measurements share: seeded data, percentiles, a printer of tables.

mod table;
mod world;

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

pub use table::Report;
pub use world::{LEVELS, SIZE, World};

/// The result of a measurement: what goes wrong ends it.
pub type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The value at a share of sorted samples, by the nearest rank.
pub fn percentile(sorted: &[u64], share: f64) -> u64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or(0)
}

/// How long something takes.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let started = Instant::now();
    let done = work()?;
    Ok((done, started.elapsed()))
}

/// What it costs to look at the clock twice, in nanoseconds: the part of every sample that is not work.
pub fn clock_cost() -> u64 {
    let mut samples: Vec<u64> =
        (0..10_000).map(|_| Instant::now().elapsed().as_nanos() as u64).collect();
    samples.sort_unstable();
    percentile(&samples, 0.5)
}

/// The most memory this process had so far, in MiB; none where the system does not tell.
pub fn peak_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// The value behind a name on the command line, as in `--out FOLDER`.
pub fn option(name: &str) -> Option<String> {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    args.next()?;
    args.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let samples: Vec<u64> = (1..=200).collect();
        assert_eq!(percentile(&samples, 0.5), 100);
        assert_eq!(percentile(&samples, 0.99), 198);
        assert_eq!(percentile(&samples, 1.0), 200);
        assert_eq!(percentile(&[7], 0.5), 7);
        assert_eq!(percentile(&[], 0.5), 0);
    }
}
