//! The harness that the measurements share: seeded data, percentiles, children, a printer of tables.

pub mod child;
mod samples;
mod table;
mod vectors;
mod world;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use samples::Samples;
pub use table::Report;
pub use vectors::synthetic;
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

/// A file or folder of the data: under `DATA` of the environment, or where a checkout has it.
pub fn data(name: &str) -> PathBuf {
    std::env::var_os("DATA")
        .map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from)
        .join(name)
}

/// The folder of a model's weights, under `SIDQL_MODELS` of the environment.
pub fn weights(name: &str) -> Result<PathBuf> {
    let Some(models) = std::env::var_os("SIDQL_MODELS") else {
        return Err("SIDQL_MODELS must name the folder of the weights".into());
    };
    let folder = PathBuf::from(models).join(name);
    if !folder.join("config.json").is_file() {
        return Err(format!("`{}` holds no weights", folder.display()).into());
    }
    Ok(folder)
}

/// The value behind a name on the command line that is needed.
pub fn needed(name: &str) -> Result<String> {
    option(name).ok_or_else(|| format!("`{name}` is missing").into())
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
