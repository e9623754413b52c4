//! A build with faiss.
//!
//! Vectors of length 1 are compared by their inner products. faiss numbers them from 0 in the order of the items; which
//! item is which stands before the index in the blob: `rows u64`, as many `item u64`, and what faiss itself writes.

use std::sync::{Mutex, PoisonError};

use faiss::index::autotune::ParameterSpace;
use faiss::index::io::{read_index, write_index};
use faiss::index::{Index, IndexImpl};
use faiss::{MetricType, index_factory};
use serde_json::Value as Json;
use sidql_storage::ItemNo;

use super::Config;
use crate::error::{Error, Kind, Result};
use crate::index::{Built, Candidates, Look, Source};
use crate::progress::{Checkpoint, Progress};

/// Whether this build has faiss.
pub(super) const BUILT: bool = true;

/// Vectors that are added before the next look at whether the work shall stop.
const CHUNK: usize = 1024;
/// Cells of IVF that are visited unless told.
const NPROBE: usize = 8;
/// Candidates that HNSW keeps open unless told.
const EF_SEARCH: usize = 64;
/// Candidates compared exactly unless told: so many for each row wanted …
const RERANK_EACH: usize = 10;
/// … and at least these.
const RERANK_LEAST: usize = 200;

/// Trains an index on all vectors and adds them. What was trained is kept as a checkpoint, after the stamp of the vectors.
pub(super) fn build(
    config: &Json,
    source: &Source<'_>,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Vec<u8>> {
    let config: Config = serde_json::from_value(config.clone())?;
    let stamp = source.stamp.to_le_bytes();
    let kept = checkpoint.load()?.filter(|state| state.starts_with(&stamp));
    let mut index = match kept.map(|state| read(&state[stamp.len()..])).transpose()? {
        Some(trained) => trained,
        None => train(&config, source, progress, checkpoint)?,
    };
    progress.stage("adding vectors", source.items.len() as u64);
    for chunk in source.values.chunks(CHUNK * source.dim) {
        progress.check()?;
        index.add(chunk).map_err(|error| failed(&config, &error))?;
        progress.advance((chunk.len() / source.dim) as u64);
    }
    // What cannot be searched as configured is told now, not at the first search.
    configure(&index, &config, Look::default(), 1)?;
    progress.stage("writing the index", 0);
    let mut bytes = Vec::with_capacity(8 + source.items.len() * 8);
    bytes.extend_from_slice(&(source.items.len() as u64).to_le_bytes());
    for item in source.items {
        bytes.extend_from_slice(&item.to_le_bytes());
    }
    write(&index, &mut bytes)?;
    Ok(bytes)
}

fn train(
    config: &Config,
    source: &Source<'_>,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<IndexImpl> {
    let dim = source.dim as u32;
    let mut index = index_factory(dim, &config.factory, MetricType::InnerProduct)
        .map_err(|error| failed(config, &error))?;
    if index.is_trained() {
        return Ok(index);
    }
    progress.stage("training the index", 0);
    index.train(source.values).map_err(|error| failed(config, &error))?;
    progress.check()?;
    let mut state = source.stamp.to_le_bytes().to_vec();
    write(&index, &mut state)?;
    checkpoint.save(&state)?;
    Ok(index)
}

/// Reads a built index.
pub(super) fn open(config: &Json, bytes: &[u8]) -> Result<Box<dyn Built>> {
    let config: Config = serde_json::from_value(config.clone())?;
    let damaged = || Error::new(Kind::Restore, "damaged-index", "the stored index is damaged");
    let (rows, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let rows = u64::from_le_bytes(*rows) as usize;
    let (numbers, rest) =
        rows.checked_mul(8).and_then(|at| rest.split_at_checked(at)).ok_or_else(damaged)?;
    let items = numbers.as_chunks::<8>().0.iter().map(|item| u64::from_le_bytes(*item)).collect();
    let index = read(rest)?;
    if index.ntotal() != rows as u64 {
        return Err(damaged());
    }
    let bytes = bytes.len() as u64;
    Ok(Box::new(Opened { items, dim: index.d() as usize, index: Mutex::new(index), config, bytes }))
}

/// An index in memory.
struct Opened {
    items: Vec<ItemNo>,
    dim: usize,
    /// How far a search looks is set on the index itself, so one search runs at a time.
    index: Mutex<IndexImpl>,
    config: Config,
    bytes: u64,
}

impl Built for Opened {
    fn nearest(
        &self,
        query: &[f32],
        wanted: usize,
        look: Look,
        times: usize,
    ) -> Result<Candidates> {
        if query.len() != self.dim {
            return Err(Error::internal("the index has vectors of another dimension"));
        }
        let exact = keeps_vectors(&self.config.factory);
        let least = wanted.saturating_mul(RERANK_EACH).max(RERANK_LEAST);
        let rerank = look.rerank.or(self.config.rerank).unwrap_or(if exact { 0 } else { least });
        let count = rerank.max(wanted).min(self.items.len());
        if count == 0 {
            return Ok(Candidates { found: Vec::new(), exact, scanned: 0 });
        }
        // A search that panicked left nothing half done.
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let reach = configure(&index, &self.config, look, times)?;
        let result = index.search(query, count).map_err(|error| failed(&self.config, &error))?;
        drop(index);
        let labels = result.labels.iter().zip(&result.distances);
        let found = labels
            .filter_map(|(label, score)| Some((*self.items.get(label.get()? as usize)?, *score)))
            .collect();
        let scanned = reach.vectors(&self.config.factory, self.items.len());
        Ok(Candidates { found, exact, scanned })
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// How far a search looks.
struct Reach {
    nprobe: Option<usize>,
    ef_search: Option<usize>,
}

impl Reach {
    /// About how many of the indexed vectors a query is compared with: those of the visited cells, the neighbours of what
    /// was kept open, or all.
    fn vectors(&self, factory: &str, rows: usize) -> usize {
        let scanned = match (self.nprobe, self.ef_search) {
            (Some(nprobe), _) => {
                let cells = number_after(factory, "IVF").unwrap_or(nprobe);
                (rows / cells.max(1)).saturating_mul(nprobe)
            }
            (_, Some(open)) => open.saturating_mul(number_after(factory, "HNSW").unwrap_or(1)),
            _ => rows,
        };
        scanned.min(rows)
    }
}

/// The number behind a word of a factory string: 1024 of `IVF1024,Flat`.
fn number_after(factory: &str, word: &str) -> Option<usize> {
    let (_, rest) = factory.split_once(word)?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Sets how far a search looks.
fn configure(index: &IndexImpl, config: &Config, look: Look, times: usize) -> Result<Reach> {
    let space = ParameterSpace::new().map_err(|error| failed(config, &error))?;
    let (cells, graph) = (config.factory.contains("IVF"), config.factory.starts_with("HNSW"));
    let times = |value: usize| value.saturating_mul(times).min(u32::MAX as usize);
    let nprobe = look.nprobe.or(config.nprobe).or(cells.then_some(NPROBE));
    let ef_search = look.ef_search.or(config.ef_search).or(graph.then_some(EF_SEARCH));
    let reach = Reach { nprobe: nprobe.map(times), ef_search: ef_search.map(times) };
    for (option, name, value) in
        [("nprobe", "nprobe", reach.nprobe), ("ef_search", "efSearch", reach.ef_search)]
    {
        let Some(value) = value.map(|value| value as f64) else { continue };
        space.set_index_parameter(index, name, value).map_err(|_| {
            let message = format!("option `{option}` says nothing to '{}'", config.factory);
            Error::input("needless-options", message)
        })?;
    }
    Ok(reach)
}

/// Whether the index keeps the vectors as they are, so that its products are exact.
fn keeps_vectors(factory: &str) -> bool {
    let numbered = |part: &str, word: &str| {
        part.strip_prefix(word).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    factory.split(',').all(|part| part == "Flat" || numbered(part, "IVF") || numbered(part, "HNSW"))
}

/// Appends what faiss writes. Its interface knows files alone.
fn write(index: &IndexImpl, bytes: &mut Vec<u8>) -> Result<()> {
    let file = tempfile::NamedTempFile::new().map_err(|error| unwritten(&error))?;
    write_index(index, file.path().to_string_lossy()).map_err(|error| said(&error))?;
    let copied = std::io::Read::read_to_end(&mut file.as_file(), bytes);
    copied.map(|_| ()).map_err(|error| unwritten(&error))
}

fn read(bytes: &[u8]) -> Result<IndexImpl> {
    let file = tempfile::NamedTempFile::new().map_err(|error| unwritten(&error))?;
    std::fs::write(file.path(), bytes).map_err(|error| unwritten(&error))?;
    read_index(file.path().to_string_lossy()).map_err(|error| said(&error))
}

fn unwritten(error: &std::io::Error) -> Error {
    let folder = std::env::temp_dir();
    Error::new(Kind::Resource, "io", format!("cannot write to `{}`: {error}", folder.display()))
        .help("faiss reads and writes its indexes there; TMPDIR names another folder")
}

fn failed(config: &Config, error: &faiss::error::Error) -> Error {
    said(error).context(format!("factory '{}'", config.factory))
}

/// What faiss says, without the places in its sources.
fn said(error: &faiss::error::Error) -> Error {
    let text = error.to_string();
    let text = text.rsplit(": ").next().unwrap_or_default();
    Error::input("faiss", format!("faiss says: {}", text.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;
    use crate::index::flat;
    use crate::progress::Unsaved;

    fn vectors(rows: usize, dim: usize) -> Vec<f32> {
        use rand::RngExt;
        let mut random = crate::device::source(7, 0);
        let mut values: Vec<f32> =
            (0..rows * dim).map(|_| random.random_range(-1.0..1.0)).collect();
        values.chunks_exact_mut(dim).for_each(crate::index::product::normalise);
        values
    }

    fn built(factory: &str, items: &[ItemNo], values: &[f32], dim: usize) -> Box<dyn Built> {
        let config = json!({"factory": factory});
        let source = Source { items, values, dim, stamp: 1 };
        let bytes = build(&config, &source, &Progress::silent(), &Unsaved).unwrap();
        open(&config, &bytes).unwrap()
    }

    #[test]
    fn every_row_is_found_with_its_cosine() {
        let (rows, dim) = (600, 16);
        let values = vectors(rows, dim);
        let items: Vec<ItemNo> = (0..rows as u64).map(|row| row * 3 + 5).collect();
        for factory in ["Flat", "HNSW16", "IVF4,Flat", "IVF4,SQ8", "PCA8,Flat"] {
            let index = built(factory, &items, &values, dim);
            let look = Look { nprobe: factory.contains("IVF").then_some(4), ..Look::default() };
            let query = &values[40 * dim..41 * dim];
            let found = index.nearest(query, 10, look, 1).unwrap();
            assert_eq!(found.scanned, rows, "{factory}: as far as there is anything");
            assert!(found.found.iter().any(|(item, _)| *item == 125), "{factory}");
            if found.exact {
                let flat = flat::nearest(&values, query, 10, None);
                let flat: Vec<ItemNo> =
                    flat.into_iter().map(|(row, _)| items[row as usize]).collect();
                let mine: Vec<ItemNo> = found.found.iter().map(|(item, _)| *item).collect();
                assert_eq!(mine, flat, "{factory}");
                assert!((found.found[0].1 - 1.0).abs() < 1e-5, "{factory}");
            } else {
                assert_eq!(found.found.len(), 200, "{factory}: candidates to compare exactly");
            }
        }
    }

    #[test]
    fn a_search_tells_how_far_it_looked() {
        let (rows, dim) = (600, 16);
        let values = vectors(rows, dim);
        let items: Vec<ItemNo> = (0..rows as u64).collect();
        let index = built("IVF6,Flat", &items, &values, dim);
        let look = Look { nprobe: Some(2), ..Look::default() };
        assert_eq!(index.nearest(&values[..dim], 3, look, 1).unwrap().scanned, 200);
        assert_eq!(index.nearest(&values[..dim], 3, look, 2).unwrap().scanned, 400);
    }

    #[test]
    fn what_faiss_refuses_is_told() {
        let values = vectors(20, 4);
        let items: Vec<ItemNo> = (0..20).collect();
        let source = Source { items: &items, values: &values, dim: 4, stamp: 1 };
        for (config, word) in [
            (json!({"factory": "Flot"}), "Flot"),
            (json!({"factory": "IVF64,Flat"}), "64"),
            (json!({"factory": "Flat", "nprobe": 3}), "nprobe"),
        ] {
            let error = build(&config, &source, &Progress::silent(), &Unsaved).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        assert!(open(&json!({}), &[1, 2, 3]).is_err());
        let mut bytes = 1u64.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0; 40]);
        assert!(open(&json!({}), &bytes).is_err());
    }

    #[test]
    fn a_trained_index_is_not_trained_again() {
        use std::cell::{Cell, RefCell};
        #[derive(Default)]
        struct Kept(RefCell<Option<Vec<u8>>>, Cell<usize>);
        impl Checkpoint for Kept {
            fn load(&self) -> Result<Option<Vec<u8>>> {
                Ok(self.0.borrow().clone())
            }
            fn save(&self, state: &[u8]) -> Result<()> {
                *self.0.borrow_mut() = Some(state.to_vec());
                self.1.set(self.1.get() + 1);
                Ok(())
            }
            fn due(&self) -> bool {
                true
            }
        }
        let (values, items) = (vectors(300, 8), (0..300).collect::<Vec<ItemNo>>());
        let config = json!({"factory": "IVF4,Flat"});
        let kept = Kept::default();
        let made = |stamp| {
            let source = Source { items: &items, values: &values, dim: 8, stamp };
            build(&config, &source, &Progress::silent(), &kept).unwrap()
        };
        assert_eq!(made(1), made(1));
        assert_eq!(kept.1.get(), 1);
        made(2);
        assert_eq!(kept.1.get(), 2, "other vectors");
    }
}
