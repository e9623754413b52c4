//! `fused`: several vectors of an item joined to one (the fusion of CMSA, DeepInterestGR III-D, eq. 6).
//!
//! Each part is scaled to unit length and divided by the square root of the number of parts, so that the
//! joined vector has unit length and every part counts the same. An item that lacks a part gets the mean of
//! that part over the items that have it: it then stands where the part says nothing. With `dim`, the joined
//! vectors are centred and turned to their first principal components, fitted here and stored; with `whiten`, each
//! component is divided by its standard deviation. The paper learns its projections with the quantizer; joined without
//! `dim`, nothing is lost before a quantizer that does so.

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};

use super::{Kind, Makes};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::index::principal::Principal;
use crate::index::product::normalise;
use crate::options;
use crate::progress::Progress;

/// The record of this stage.
pub(super) const KIND: Kind = Kind {
    name: "fused",
    summary: "the vectors of several spaces joined to one, perhaps by principal components (CMSA)",
    needs: None,
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    makes: Makes::FusedVector,
};

/// What can be set.
#[derive(Clone, Debug, Default, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    /// The spaces to join; every unfused one when not given.
    pub(crate) parts: Option<Vec<String>>,
    /// The components of a fused vector, by principal components; all of them when not given.
    pub(crate) dim: Option<usize>,
    /// Whether principal components are brought to the same variance.
    pub(crate) whiten: bool,
    /// The embedding space to fill; `fused` when not given.
    pub(crate) space: Option<String>,
}

impl Config {
    fn check(&self) -> Result<()> {
        if self.whiten && self.dim.is_none() {
            return Err(Error::input("bad-option", "`whiten` is of principal components")
                .help("give `dim`, the number of them, too"));
        }
        if self.dim == Some(0) {
            return Err(Error::input("bad-option", "`dim` must be 1 or more"));
        }
        Ok(())
    }
}

/// The version of the bytes of `to_bytes`.
const VERSION: u32 = 1;

/// One source of vectors: a row for each item, the same items in the same order in every part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    /// Row-major `items × dim`; absent rows may hold anything.
    pub(crate) data: &'a [f32],
    /// Components of a row.
    pub(crate) dim: usize,
    /// Whether each item has this part.
    pub(crate) present: &'a [bool],
}

/// A fitted way to join vectors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fusion {
    /// The mean of each part, over the items that have it, as they are joined.
    means: Vec<Vec<f32>>,
    /// The principal components, if fewer components are wanted.
    principal: Option<Principal>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    parts: Vec<usize>,
    dim: Option<usize>,
}

impl Fusion {
    /// Fits on all items; gives the fusion and the joined vectors, row-major `items × dim()`.
    pub(crate) fn fit(
        parts: &[Part<'_>],
        config: &Config,
        progress: &Progress,
    ) -> Result<(Self, Vec<f32>)> {
        let dim = config.dim;
        let items = parts.first().map_or(0, |part| part.present.len());
        let fits = |part: &Part<'_>| {
            part.dim > 0 && part.present.len() == items && part.data.len() == items * part.dim
        };
        if parts.is_empty() || dim == Some(0) || !parts.iter().all(fits) {
            let message = "fusion needs one part or more, each with a vector for every item";
            return Err(Error::input("bad-fusion", message));
        }
        progress.stage("fusing", items as u64);
        let means = parts.iter().map(|part| mean_of(part, parts.len())).collect();
        let mut fusion = Fusion { means, principal: None };
        let mut joined = Vec::with_capacity(items * fusion.joined_dim());
        for item in 0..items {
            if item % 256 == 0 {
                progress.check()?;
            }
            let rows: Vec<Option<&[f32]>> = parts
                .iter()
                .map(|part| {
                    part.present[item].then(|| &part.data[item * part.dim..(item + 1) * part.dim])
                })
                .collect();
            fusion.join(&rows, &mut joined);
        }
        let Some(dim) = dim.filter(|dim| *dim < fusion.joined_dim()) else {
            return Ok((fusion, joined));
        };
        let mut principal = Principal::fit(&joined, fusion.joined_dim(), dim, progress)?;
        if config.whiten {
            principal.whiten(&joined);
        }
        let out =
            joined.chunks_exact(fusion.joined_dim()).flat_map(|row| principal.apply(row)).collect();
        fusion.principal = Some(principal);
        Ok((fusion, out))
    }

    /// Components of a fused vector.
    pub(crate) fn dim(&self) -> usize {
        match &self.principal {
            Some(principal) => principal.components.len() / self.joined_dim(),
            None => self.joined_dim(),
        }
    }

    /// The fused vector of one item, from its parts in the order of the fit.
    pub(crate) fn apply(&self, parts: &[Option<&[f32]>]) -> Result<Vec<f32>> {
        let fits = |(part, mean): (Option<&[f32]>, &Vec<f32>)| {
            part.is_none_or(|part| part.len() == mean.len())
        };
        if parts.len() != self.means.len() || !parts.iter().copied().zip(&self.means).all(fits) {
            let dims: Vec<String> = self.means.iter().map(|mean| mean.len().to_string()).collect();
            let message = format!("the fusion takes parts of {} components", dims.join(", "));
            return Err(Error::input("wrong-dimension", message)
                .help("fuse again after one of the embeddings was changed"));
        }
        let mut joined = Vec::with_capacity(self.joined_dim());
        self.join(parts, &mut joined);
        Ok(match &self.principal {
            Some(principal) => principal.apply(&joined),
            None => joined,
        })
    }

    /// Components of each part, as long as the fused vector has them one after the other: without principal
    /// components.
    pub(crate) fn parts(&self) -> Option<Vec<usize>> {
        self.principal.is_none().then(|| self.means.iter().map(Vec::len).collect())
    }

    fn joined_dim(&self) -> usize {
        self.means.iter().map(Vec::len).sum()
    }

    fn join(&self, parts: &[Option<&[f32]>], out: &mut Vec<f32>) {
        for (part, mean) in parts.iter().zip(&self.means) {
            match part {
                Some(part) => out.extend(scaled(part, self.means.len())),
                None => out.extend(mean),
            }
        }
    }

    /// The bytes to store.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let header = serde_json::to_vec(&Header {
            version: VERSION,
            parts: self.means.iter().map(Vec::len).collect(),
            dim: self.principal.as_ref().map(|_| self.dim()),
        })?;
        let mut bytes = (header.len() as u32).to_le_bytes().to_vec();
        bytes.extend(header);
        let principal = self.principal.iter().flat_map(|p| p.centre.iter().chain(&p.components));
        let floats = self.means.iter().flatten().chain(principal);
        bytes.extend(floats.flat_map(|x| x.to_le_bytes()));
        Ok(bytes)
    }

    /// The fusion that `to_bytes` stored.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let cut = || damaged("it is cut off");
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (header, floats) = rest.split_at_checked(length).ok_or_else(cut)?;
        let header: Header =
            serde_json::from_slice(header).map_err(|error| damaged(&error.to_string()))?;
        if header.version != VERSION {
            let message =
                format!("the fusion has version {}, this build reads {VERSION}", header.version);
            return Err(Error::new(ErrorKind::Install, "newer-fusion", message)
                .help("open the file with the release that wrote it, or ENRICH again"));
        }
        let joined = header.parts.iter().try_fold(0usize, |sum, dim| sum.checked_add(*dim));
        let joined = joined.filter(|dim| *dim > 0).ok_or_else(|| damaged("it has no parts"))?;
        let rows = header.dim.map_or(Some(1), |dim| dim.checked_add(2));
        let expected = rows.and_then(|rows| rows.checked_mul(joined)?.checked_mul(4));
        if expected != Some(floats.len()) || header.dim == Some(0) {
            return Err(damaged("its length does not fit its sizes"));
        }
        let floats: Vec<f32> =
            floats.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
        if floats.iter().any(|x| !x.is_finite()) {
            return Err(damaged("it holds numbers that are not finite"));
        }
        let (mut means, rest) = floats.split_at(joined);
        let mut parts = Vec::with_capacity(header.parts.len());
        for dim in header.parts {
            let (mean, after) = means.split_at(dim);
            parts.push(mean.to_vec());
            means = after;
        }
        let principal = header.dim.map(|_| {
            let (centre, components) = rest.split_at(joined);
            Principal { centre: centre.to_vec(), components: components.to_vec() }
        });
        Ok(Fusion { means: parts, principal })
    }
}

/// A part as it is joined.
fn scaled(part: &[f32], parts: usize) -> Vec<f32> {
    let mut out = part.to_vec();
    normalise(&mut out);
    let share = 1.0 / (parts as f32).sqrt();
    for x in &mut out {
        *x *= share;
    }
    out
}

/// The mean of a part over the items that have it, as it is joined.
fn mean_of(part: &Part<'_>, parts: usize) -> Vec<f32> {
    let mut sum = vec![0.0f64; part.dim];
    let mut count = 0u64;
    for (row, _) in
        part.data.chunks_exact(part.dim).zip(part.present).filter(|(_, present)| **present)
    {
        count += 1;
        for (sum, x) in sum.iter_mut().zip(scaled(row, parts)) {
            *sum += f64::from(x);
        }
    }
    sum.into_iter().map(|sum| (sum / count.max(1) as f64) as f32).collect()
}

fn damaged(why: &str) -> Error {
    Error::new(ErrorKind::Restore, "damaged-fusion", format!("the stored fusion is damaged: {why}"))
        .help("ENRICH again, or restore a backup")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::index::product::dot;

    fn to(dim: usize) -> Config {
        Config { dim: Some(dim), ..Config::default() }
    }

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 % 101) as f32 - 50.0) / 17.0).collect()
    }

    #[test]
    fn parts_count_the_same_and_absent_ones_are_the_mean() {
        let (text, image) = ([3.0, 4.0, 0.0, 2.0], [9.0, 9.0, 0.0, 5.0]);
        let parts = [
            Part { data: &text, dim: 2, present: &[true, true] },
            Part { data: &image, dim: 2, present: &[false, true] },
        ];
        let (fusion, joined) =
            Fusion::fit(&parts, &Config::default(), &Progress::silent()).unwrap();
        let half = 0.5f32.sqrt();
        let expected = [0.6 * half, 0.8 * half, 0.0, half, 0.0, half, 0.0, half];
        assert!(joined.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{joined:?}");
        assert_eq!(fusion.apply(&[Some(&text[..2]), None]).unwrap(), joined[..4]);
        assert_eq!(fusion.apply(&[None]).unwrap_err().code(), "wrong-dimension");
        assert_eq!(Fusion::from_bytes(&fusion.to_bytes().unwrap()).unwrap(), fusion);
    }

    #[test]
    fn sparse_vectors_of_few_items_have_principal_components() {
        let mut data = vec![0.0; 60 * 256];
        for item in 0..60 {
            data[item * 256 + item % 6] = 1.0;
            data[item * 256 + 100 + item % 10] = 0.5;
        }
        let part = Part { data: &data, dim: 256, present: &[true; 60] };
        let (_, small) = Fusion::fit(&[part], &to(8), &Progress::silent()).unwrap();
        assert!(small.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn whitened_components_have_one_variance() {
        let data = numbers(400);
        let part = Part { data: &data, dim: 10, present: &[true; 40] };
        let config = Config { whiten: true, ..to(4) };
        let (fusion, white) = Fusion::fit(&[part], &config, &Progress::silent()).unwrap();
        for at in 0..4 {
            let variance: f32 =
                white.chunks_exact(4).map(|row| row[at] * row[at]).sum::<f32>() / 40.0;
            assert!((variance - 1.0).abs() < 1e-3, "{variance}");
        }
        assert_eq!(Fusion::from_bytes(&fusion.to_bytes().unwrap()).unwrap(), fusion);
        assert!(Config { whiten: true, ..Config::default() }.check().is_err());
    }

    #[test]
    fn principal_components_keep_distances() {
        // Rank 3 in 10 components: three principal components lose nothing.
        let mix = numbers(30);
        let data: Vec<f32> = numbers(120)
            .chunks_exact(3)
            .flat_map(|x| {
                (0..10).map(|j| dot(x, &[mix[j], mix[10 + j], mix[20 + j]])).collect::<Vec<_>>()
            })
            .collect();
        let part = Part { data: &data, dim: 10, present: &[true; 40] };
        let (_, whole) = Fusion::fit(&[part], &Config::default(), &Progress::silent()).unwrap();
        let (fusion, small) = Fusion::fit(&[part], &to(3), &Progress::silent()).unwrap();
        assert_eq!(fusion.dim(), 3);
        let gap = |data: &[f32], dim: usize, a: usize, b: usize| -> f32 {
            (0..dim).map(|at| (data[a * dim + at] - data[b * dim + at]).powi(2)).sum()
        };
        for (a, b) in [(0, 1), (3, 17), (8, 39)] {
            assert!((gap(&whole, 10, a, b) - gap(&small, 3, a, b)).abs() < 1e-3);
        }
        let one = fusion.apply(&[Some(&data[..10])]).unwrap();
        assert!(one.iter().zip(&small).all(|(a, b)| (a - b).abs() < 1e-5));
        let bytes = fusion.to_bytes().unwrap();
        assert_eq!(Fusion::from_bytes(&bytes).unwrap(), fusion);
        for cut in 0..bytes.len() {
            assert!(Fusion::from_bytes(&bytes[..cut]).is_err());
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            prop_assert!(Fusion::from_bytes(&bytes).is_err());
        }
    }
}
