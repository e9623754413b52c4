//! The encoder `hash`: words and character n-grams, hashed and weighted. It needs no weights of a model.
//!
//! Text is put in NFKC and lower case and split into words of letters and digits. Features are the words and
//! their n-grams of 3 to 5 characters, with the ends of the word marked. Each is hashed by XXH3 (64 bits, seed
//! 0; a published function that never changes) to one of `BUCKETS` and a sign. A bucket weighs `1 + ln tf` times
//! its inverse document frequency in the catalogue. From there to `dim` components there are two ways:
//!
//! - `none`: buckets are hashed once more, to the components (Weinberger et al. 2009);
//! - `lsa`: the components are the leading right singular vectors of the catalogue (Deerwester et al. 1990).
//!   They bring texts together that share no word, so that neighbours and codebooks are better, and cost a few
//!   seconds and megabytes. A catalogue with fewer than two texts for each component has too little to learn
//!   them from and is encoded as by `none`.

use std::collections::HashMap;

use documented::DocumentedFieldsOpt;
use nalgebra::DMatrix;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use unicode_normalization::UnicodeNormalization;
use xxhash_rust::xxh3::xxh3_64;

use super::{Ability, Encoder, FittedEncoder, Kind, Make};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::index::product::normalise;
use crate::index::subspace::leading;
use crate::options;
use crate::progress::Progress;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "hash",
    summary: "hashed words and character n-grams weighted by rarity; no model weights needed",
    abilities: &[Ability::Text],
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, |_: &Config| Ok(())),
    make: Make::Fitted(
        |config, texts, progress| Ok(Box::new(fit(config, texts, progress)?)),
        |bytes| Ok(Box::new(Hash::from_bytes(bytes)?)),
    ),
};

/// Hashed features that are told apart: their document frequencies and singular vectors are stored.
const BUCKETS: usize = 1 << 14;

/// Lengths of character n-grams.
const GRAMS: std::ops::RangeInclusive<usize> = 3..=5;

/// What an n-gram weighs beside a word: a word has many.
const GRAM_WEIGHT: f32 = 0.5;

/// Texts that singular vectors are learned from; more are thinned out evenly.
const MAX_FIT_TEXTS: usize = 65_536;

/// Rounds of subspace iteration: enough that more change no neighbour.
const ROUNDS: usize = 2;

/// Characters of a word beyond which it makes no n-grams: it is no word of a language.
const MAX_WORD_CHARS: usize = 64;

/// The version of the bytes of `to_bytes`.
const VERSION: u32 = 1;

/// Options of `hash`.
#[derive(Clone, Debug, PartialEq, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Components of a vector, 256 to 768.
    dim: usize,
    /// How buckets become components.
    projection: Projection,
    /// Seed of the search for singular vectors.
    seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config { dim: 256, projection: Projection::Lsa, seed: 42 }
    }
}

/// How buckets become components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Projection {
    /// By hashing once more.
    None,
    /// By the singular vectors of the catalogue.
    Lsa,
}

/// The fitted encoder.
struct Hash {
    config: Config,
    /// Texts that it was fitted on.
    texts: u32,
    /// Texts that have a feature of the bucket.
    frequencies: Vec<u32>,
    /// Singular vectors, where there are any.
    basis: Option<Basis>,
}

/// Singular vectors in 16 bits: `BUCKETS × scales.len()`, row-major.
struct Basis {
    scales: Vec<f32>,
    steps: Vec<i16>,
}

/// Buckets of a text with their weights, ascending.
type Sparse = Vec<(u32, f32)>;

/// What stands before the numbers in the bytes, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    config: Config,
    texts: u32,
    rank: Option<usize>,
}

fn fit(config: &Json, texts: &[String], progress: &Progress) -> Result<Hash> {
    let config: Config = serde_json::from_value(config.clone())?;
    if !(256..=768).contains(&config.dim) {
        let message = format!("option `dim` must lie between 256 and 768, not {}", config.dim);
        return Err(Error::input("bad-option", message));
    }
    progress.stage("counting words", texts.len() as u64);
    let mut frequencies = vec![0u32; BUCKETS];
    for block in texts.chunks(1024) {
        progress.check()?;
        let counted: Vec<Sparse> = block.par_iter().map(|text| counts(text)).collect();
        for (bucket, _) in counted.iter().flatten() {
            frequencies[*bucket as usize] += 1;
        }
        progress.advance(block.len() as u64);
    }
    let mut encoder = Hash { config, texts: texts.len() as u32, frequencies, basis: None };
    if encoder.config.projection == Projection::Lsa && texts.len() >= 2 * encoder.config.dim {
        encoder.basis = Some(encoder.learn(texts, progress)?);
    }
    Ok(encoder)
}

/// The weight of each bucket of a text before document frequencies: `±(1 + ln tf)`, summed over the features
/// of the bucket.
fn counts(text: &str) -> Sparse {
    let text: String = text.nfkc().flat_map(char::to_lowercase).collect();
    let mut features: HashMap<u64, (u32, f32)> = HashMap::new();
    let mut count = |feature: &str, weight: f32| {
        features.entry(xxh3_64(feature.as_bytes())).or_insert((0, weight)).0 += 1;
    };
    let mut marked = String::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        // The marks cannot occur in a word, so the whole word is a feature apart from its n-grams.
        marked.clear();
        marked.extend(["<", word, ">"]);
        count(&marked, 1.0);
        let mut starts: Vec<usize> = marked.char_indices().map(|(at, _)| at).collect();
        starts.push(marked.len());
        if starts.len() > MAX_WORD_CHARS {
            continue;
        }
        for length in GRAMS {
            // A gram as long as the marked word would be the word again.
            for window in starts.windows(length + 1).filter(|_| starts.len() > length + 1) {
                count(&marked[window[0]..window[length]], GRAM_WEIGHT);
            }
        }
    }
    let mut sparse: Sparse = features
        .into_iter()
        .map(|(hash, (count, weight))| {
            let sign = if hash >> 63 == 0 { weight } else { -weight };
            ((hash % BUCKETS as u64) as u32, sign * (1.0 + (count as f32).ln()))
        })
        .collect();
    // By weight too: equal buckets are summed in one order, whatever the order of the map.
    sparse.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    sparse.dedup_by(|next, first| {
        let same = next.0 == first.0;
        first.1 += if same { next.1 } else { 0.0 };
        same
    });
    sparse
}

impl Hash {
    /// The weights of a text, of unit length.
    fn weights(&self, text: &str) -> Sparse {
        let mut sparse = counts(text);
        for (bucket, weight) in &mut sparse {
            let known = f64::from(self.frequencies[*bucket as usize]);
            *weight *= ((1.0 + f64::from(self.texts)) / (1.0 + known)).ln() as f32 + 1.0;
        }
        let length = sparse.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        if length > 0.0 {
            for (_, weight) in &mut sparse {
                *weight /= length;
            }
        }
        sparse
    }

    /// The leading right singular vectors of the catalogue.
    fn learn(&self, texts: &[String], progress: &Progress) -> Result<Basis> {
        let step = texts.len().div_ceil(MAX_FIT_TEXTS);
        let thinned: Vec<&String> = texts.iter().step_by(step).collect();
        progress.stage("learning singular vectors", ROUNDS as u64 + 1);
        let rows: Vec<Sparse> = thinned.par_iter().map(|text| self.weights(text)).collect();
        let mut columns: Vec<Sparse> = vec![Vec::new(); BUCKETS];
        for (row, sparse) in rows.iter().enumerate() {
            for (bucket, weight) in sparse {
                columns[*bucket as usize].push((row as u32, *weight));
            }
        }
        let vectors = leading(BUCKETS, self.config.dim, ROUNDS, self.config.seed, |block| {
            let width = block.ncols();
            let right = multiply(&rows, block.transpose().as_slice(), width, progress)?;
            let left = multiply(&columns, &right, width, progress)?;
            progress.advance(1);
            Ok(DMatrix::from_vec(width, BUCKETS, left).transpose())
        })?;
        let scale = |column: nalgebra::DVectorView<'_, f32>| {
            column.amax().max(f32::MIN_POSITIVE) / f32::from(i16::MAX)
        };
        let scales: Vec<f32> =
            vectors.column_iter().map(|column| scale(column.as_view())).collect();
        let mut steps = Vec::with_capacity(vectors.len());
        for row in vectors.row_iter() {
            steps.extend(row.iter().zip(&scales).map(|(x, scale)| (x / scale).round() as i16));
        }
        Ok(Basis { scales, steps })
    }

    /// Writes the vector of one text.
    fn write(&self, text: &str, out: &mut [f32]) {
        let sparse = self.weights(text);
        match &self.basis {
            Some(basis) => {
                let rank = basis.scales.len();
                for (bucket, weight) in sparse {
                    let at = bucket as usize * rank;
                    for (out, step) in out.iter_mut().zip(&basis.steps[at..at + rank]) {
                        *out += weight * f32::from(*step);
                    }
                }
                out.iter_mut().zip(&basis.scales).for_each(|(out, scale)| *out *= scale);
            }
            None => {
                for (bucket, weight) in sparse {
                    let hash = xxh3_64(&bucket.to_le_bytes());
                    out[(hash % out.len() as u64) as usize] +=
                        if hash >> 63 == 0 { weight } else { -weight };
                }
            }
        }
        normalise(out);
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let cut = || damaged("it is cut off");
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (header, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        let header: Header =
            serde_json::from_slice(header).map_err(|error| damaged(&error.to_string()))?;
        if header.version != VERSION {
            let message =
                format!("the encoder has version {}, this build reads {VERSION}", header.version);
            return Err(Error::new(ErrorKind::Install, "newer-encoder", message)
                .help("open the file with the release that wrote it, or ENRICH again"));
        }
        let rank = header.rank.unwrap_or(0);
        if !(256..=768).contains(&header.config.dim) || rank > header.config.dim {
            return Err(damaged("its sizes are out of range"));
        }
        if rest.len() != BUCKETS * 4 + rank * 4 + BUCKETS * rank * 2 {
            return Err(damaged("its length does not fit its sizes"));
        }
        let (frequencies, rest) = rest.split_at(BUCKETS * 4);
        let (scales, steps) = rest.split_at(rank * 4);
        let frequencies =
            frequencies.as_chunks::<4>().0.iter().map(|x| u32::from_le_bytes(*x)).collect();
        let scales: Vec<f32> =
            scales.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
        if scales.iter().any(|scale| !scale.is_finite()) {
            return Err(damaged("it holds numbers that are not finite"));
        }
        let steps = steps.as_chunks::<2>().0.iter().map(|x| i16::from_le_bytes(*x)).collect();
        let basis = header.rank.map(|_| Basis { scales, steps });
        Ok(Hash { config: header.config, texts: header.texts, frequencies, basis })
    }
}

/// The product of sparse rows with a dense matrix of `width` columns, both row-major.
fn multiply(rows: &[Sparse], dense: &[f32], width: usize, progress: &Progress) -> Result<Vec<f32>> {
    let mut out = vec![0.0f32; rows.len() * width];
    if width == 0 {
        return Ok(out);
    }
    out.par_chunks_mut(64 * width).zip(rows.par_chunks(64)).try_for_each(|(out, rows)| {
        progress.check()?;
        for (out, sparse) in out.chunks_exact_mut(width).zip(rows) {
            for (column, weight) in sparse {
                let at = *column as usize * width;
                for (out, x) in out.iter_mut().zip(&dense[at..at + width]) {
                    *out += weight * x;
                }
            }
        }
        Ok::<(), Error>(())
    })?;
    Ok(out)
}

fn damaged(why: &str) -> Error {
    Error::new(
        ErrorKind::Restore,
        "damaged-encoder",
        format!("the stored encoder is damaged: {why}"),
    )
    .help("ENRICH again, or restore a backup")
}

impl Encoder for Hash {
    fn dim(&self) -> Result<usize> {
        Ok(self.config.dim)
    }

    fn encode(&self, texts: &[&str], progress: &Progress) -> Result<Vec<f32>> {
        progress.check()?;
        let mut out = vec![0.0; texts.len() * self.config.dim];
        out.par_chunks_mut(self.config.dim)
            .zip(texts)
            .for_each(|(out, text)| self.write(text, out));
        Ok(out)
    }
}

impl FittedEncoder for Hash {
    fn to_bytes(&self) -> Vec<u8> {
        let rank = self.basis.as_ref().map(|basis| basis.scales.len());
        let config = self.config.clone();
        let header = Header { version: VERSION, config, texts: self.texts, rank };
        let header = serde_json::to_vec(&header).expect("a header of plain fields is valid JSON");
        let mut bytes = (header.len() as u32).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend(self.frequencies.iter().flat_map(|x| x.to_le_bytes()));
        if let Some(basis) = &self.basis {
            bytes.extend(basis.scales.iter().flat_map(|x| x.to_le_bytes()));
            bytes.extend(basis.steps.iter().flat_map(|x| x.to_le_bytes()));
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::index::product::dot;

    /// XXH3 of `<nail>`.
    const HASH_OF_NAIL: u64 = 0x15d260bfee82eed1;

    fn encode(encoder: &Hash, texts: &[&str]) -> Vec<f32> {
        encoder.encode(texts, &Progress::silent()).unwrap()
    }

    #[test]
    fn hashing_never_changes() {
        // Stored document frequencies and vectors are worthless after a change of these figures.
        assert_eq!(xxh3_64(b"<nail>"), HASH_OF_NAIL);
        let sparse = counts("Nail");
        let marked = (HASH_OF_NAIL % BUCKETS as u64) as u32;
        assert!(sparse.iter().any(|(bucket, weight)| *bucket == marked && weight.abs() == 1.0));
        // The word, 4 grams of 3, 3 of 4 and 2 of 5.
        assert_eq!(sparse.len(), 10);
    }

    #[test]
    fn spelling_is_normalised() {
        assert_eq!(counts("CAFÉ nº 5"), counts("cafe\u{301} no 5"));
        assert_ne!(counts("nail"), counts("snail"));
        assert!(counts("…!").is_empty());
    }

    #[test]
    fn singular_vectors_keep_the_angles_of_a_catalogue_of_low_rank() {
        let things =
            ["leather sofa", "grey couch", "garden hose", "steel spanner", "copper kettle"];
        let texts: Vec<String> =
            (0..600).map(|i| format!("{} {}", things[i % 5], things[i / 5 % 5])).collect();
        let encoder = fit(&json!({"dim": 256}), &texts, &Progress::silent()).unwrap();
        assert!(encoder.basis.is_some());
        let vectors = encode(&encoder, &[&texts[0], &texts[1], &texts[7]]);
        let angle = |a: &Sparse, b: &Sparse| -> f32 {
            let shared = a.iter().filter_map(|(bucket, x)| {
                b.iter().find(|(other, _)| other == bucket).map(|(_, y)| x * y)
            });
            shared.sum()
        };
        for (row, other) in [(1, 1), (2, 7)] {
            let expected = angle(&encoder.weights(&texts[0]), &encoder.weights(&texts[other]));
            let found = dot(&vectors[..256], &vectors[row * 256..(row + 1) * 256]);
            assert!((expected - found).abs() < 1e-3, "{expected} {found}");
        }
    }

    #[test]
    fn bytes_round_trip_with_singular_vectors() {
        let texts: Vec<String> =
            (0..600).map(|i| format!("word{} thing{}", i % 50, i % 31)).collect();
        let encoder = fit(&json!({"dim": 256}), &texts, &Progress::silent()).unwrap();
        let bytes = encoder.to_bytes();
        let loaded = Hash::from_bytes(&bytes).unwrap();
        assert!(loaded.basis.is_some());
        let asked = ["word3 thing7", "nothing known"];
        assert_eq!(encode(&loaded, &asked), encode(&encoder, &asked));
        assert_eq!(
            Hash::from_bytes(&bytes[..bytes.len() - 1]).err().unwrap().code(),
            "damaged-encoder"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_encoded(text: String, bytes: Vec<u8>) {
            let encoder = fit(&json!({}), &[], &Progress::silent()).unwrap();
            let vector = encode(&encoder, &[&text]);
            let length = dot(&vector, &vector);
            prop_assert!(length == 0.0 || (length - 1.0).abs() < 1e-4);
            prop_assert!(Hash::from_bytes(&bytes).is_err());
        }
    }
}
