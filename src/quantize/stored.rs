//! The bytes of a codebook: a header in JSON behind its length, then all numbers as little-endian floats.

use serde::{Deserialize, Serialize};

use super::artefact::{MAX_CODES, MAX_LEVELS};
use super::coder::{Coder, Plan, take};
use super::residual::{Level, Stack, widened};
use super::{Artefact, Collisions};
use crate::error::{Error, Kind as ErrorKind, Result};

/// The version of the bytes of `to_bytes`. Version 1 had no way to a latent space.
const VERSION: u32 = 2;

/// The longest vector that a codebook takes.
const MAX_DIM: usize = 1 << 16;

/// What is read first.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The header of version 1. Behind it stand the codebooks, level by level.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderV1 {
    #[serde(rename = "version")]
    _version: u32,
    dim: usize,
    sizes: Vec<usize>,
    collisions: Collisions,
    suffix: Option<usize>,
}

/// The header of version 2. Behind it stand the numbers of the encoder, of each level (the codewords within its
/// span, then the biases), and of the decoder.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    dim: usize,
    levels: Vec<LevelPlan>,
    collisions: Collisions,
    suffix: Option<usize>,
    isometric: bool,
    encoder: Vec<Plan>,
    decoder: Vec<Plan>,
}

/// What is stored of a level beside its numbers.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelPlan {
    codes: usize,
    start: usize,
    end: usize,
    biased: bool,
}

impl Artefact {
    /// The bytes to store.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let dim = self.latent_dim();
        let levels: Vec<&Level> = (0..self.levels()).map(|at| self.stack.level(at)).collect();
        let plan = |level: &&Level| LevelPlan {
            codes: level.codebook.len() / dim,
            start: level.span.start,
            end: level.span.end,
            biased: !level.bias.is_empty(),
        };
        let mut bytes = Vec::new();
        let header = Header {
            version: VERSION,
            dim,
            levels: levels.iter().map(plan).collect(),
            collisions: self.collisions,
            suffix: self.suffix,
            isometric: self.isometric,
            encoder: self.encoder.plan(),
            decoder: self.decoder.plan(),
        };
        put_part(&mut bytes, &serde_json::to_vec(&header)?);
        put_floats(&mut bytes, self.encoder.numbers());
        for level in levels {
            put_floats(&mut bytes, level.compact(dim).iter().chain(&level.bias));
        }
        put_floats(&mut bytes, self.decoder.numbers());
        Ok(bytes)
    }

    /// The codebook that `to_bytes` stored, now or in an earlier version.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (header, floats) = split(bytes).ok_or_else(|| damaged("its header is cut off"))?;
        let wrong = |error: serde_json::Error| damaged(&error.to_string());
        let Versioned { version } = serde_json::from_slice(header).map_err(wrong)?;
        let header = match version {
            1 => serde_json::from_slice::<HeaderV1>(header).map_err(wrong)?.brought_over(),
            VERSION => serde_json::from_slice(header).map_err(wrong)?,
            other => {
                let message =
                    format!("the codebook has version {other}, this build reads up to {VERSION}");
                return Err(Error::new(ErrorKind::Install, "newer-codebook", message).help(
                    "open the file with the release that wrote it, or REBUILD the codebook",
                ));
            }
        };
        if !floats.len().is_multiple_of(4) {
            return Err(damaged("its length does not fit its sizes"));
        }
        let floats = floats_of(floats);
        if floats.iter().any(|x| !x.is_finite()) {
            return Err(damaged("it holds numbers that are not finite"));
        }
        header.read(&floats)
    }
}

impl HeaderV1 {
    fn brought_over(self) -> Header {
        let level = |codes| LevelPlan { codes, start: 0, end: self.dim, biased: false };
        Header {
            version: VERSION,
            dim: self.dim,
            levels: self.sizes.into_iter().map(level).collect(),
            collisions: self.collisions,
            suffix: self.suffix,
            isometric: true,
            encoder: Vec::new(),
            decoder: Vec::new(),
        }
    }
}

impl Header {
    fn read(self, floats: &[f32]) -> Result<Artefact> {
        let span = |level: &LevelPlan| level.start < level.end && level.end <= self.dim;
        let sizes = self.levels.iter().map(|level| level.codes).chain(self.suffix);
        let sizes_fit = (1..=MAX_LEVELS).contains(&self.levels.len())
            && (1..=MAX_DIM).contains(&self.dim)
            && self.levels.iter().all(span)
            && sizes.clone().all(|size| (1..=MAX_CODES).contains(&size));
        if !sizes_fit {
            return Err(damaged("its sizes are out of range"));
        }
        let mut rest = floats;
        let mut read = || {
            let encoder = Coder::read(&self.encoder, &mut rest)?;
            let levels: Option<Vec<Level>> =
                self.levels.iter().map(|plan| plan.read(self.dim, &mut rest)).collect();
            Some((encoder, levels?, Coder::read(&self.decoder, &mut rest)?))
        };
        let Some((encoder, levels, decoder)) = read().filter(|_| rest.is_empty()) else {
            return Err(damaged("its length does not fit its sizes"));
        };
        let joined = match (encoder.ends(), decoder.ends()) {
            (None, None) => true,
            (Some((input, latent)), Some((back, output))) => {
                latent == self.dim && back == self.dim && input == output
            }
            _ => false,
        };
        if !(joined && encoder.is_whole() && decoder.is_whole()) {
            return Err(damaged("its steps do not fit each other"));
        }
        Ok(Artefact {
            encoder,
            stack: Stack::of(self.dim, levels),
            decoder,
            isometric: self.isometric,
            collisions: self.collisions,
            suffix: self.suffix,
        })
    }
}

impl LevelPlan {
    fn read(self, dim: usize, rest: &mut &[f32]) -> Option<Level> {
        let span = self.start..self.end;
        let compact = take(rest, self.codes * span.len())?;
        let codebook = if span.len() == dim { compact } else { widened(&compact, &span, dim) };
        let bias = take(rest, if self.biased { self.codes } else { 0 })?;
        Some(Level { codebook, bias, span })
    }
}

/// Appends bytes behind their length, as `split` takes them off.
pub(super) fn put_part(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u32).to_le_bytes());
    bytes.extend(part);
}

/// Appends little-endian floats.
pub(super) fn put_floats<'a>(bytes: &mut Vec<u8>, floats: impl IntoIterator<Item = &'a f32>) {
    bytes.extend(floats.into_iter().flat_map(|x| x.to_le_bytes()));
}

/// The first part and what follows it.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// Little-endian floats.
pub(super) fn floats_of(bytes: &[u8]) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

fn damaged(why: &str) -> Error {
    Error::new(
        ErrorKind::Restore,
        "damaged-codebook",
        format!("the stored codebook is damaged: {why}"),
    )
    .help("REBUILD the codebook, or restore a backup")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::super::coder::{Linear, Step};
    use super::*;

    fn plain() -> Artefact {
        let stack =
            Stack::new(2, vec![vec![0.0, 0.0, 4.0, 0.0], vec![0.0, 1.0, 1.0, 0.0, 0.0, -1.0]]);
        Artefact::new(stack, Collisions::Suffix)
    }

    /// A codebook with everything that can be stored.
    fn coded() -> Artefact {
        let linear = |input: usize, output: usize| Linear {
            weight: (0..input * output).map(|at| at as f32).collect(),
            bias: vec![0.5; output],
            input,
            output,
            relu: true,
        };
        let encoder = Coder::new(vec![
            Step::Affine { centre: vec![1.0; 5], scale: 2.0 },
            Step::Fusion {
                views: vec![Linear::matrix(vec![1.0; 6], 2)],
                join: Linear::matrix(vec![1.0; 18], 6),
            },
            Step::Layers { layers: vec![linear(3, 4), linear(4, 3)], residual: true },
        ]);
        let decoder =
            Coder::new(vec![Step::Layers { layers: vec![linear(3, 5)], residual: false }]);
        let level = Level { codebook: vec![1.0; 6], bias: vec![0.0, 0.25], span: 0..3 };
        let part = Level { codebook: vec![0.0, 2.0, 0.0, 0.0, 3.0, 0.0], bias: vec![], span: 1..2 };
        let stack = Stack::of(3, vec![level, part]);
        Artefact::coded((encoder, decoder), false, stack, Collisions::Sinkhorn)
    }

    #[test]
    fn bytes_round_trip() {
        for mut artefact in [plain(), coded()] {
            artefact.set_suffix(Some(256));
            let bytes = artefact.to_bytes().unwrap();
            assert_eq!(Artefact::from_bytes(&bytes).unwrap(), artefact);
            for cut in 0..bytes.len() {
                let error = Artefact::from_bytes(&bytes[..cut]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Restore, "cut at {cut}");
            }
        }
        assert_eq!((coded().dim(), coded().latent_dim(), coded().sizes()), (5, 3, vec![2, 2]));
    }

    #[test]
    fn version_1_is_read() {
        let header = r#"{"version":1,"dim":2,"sizes":[2,3],"collisions":"suffix","suffix":256}"#;
        let mut bytes = Vec::new();
        put_part(&mut bytes, header.as_bytes());
        let numbers = [0.0, 0.0, 4.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, -1.0];
        put_floats(&mut bytes, &numbers);
        let mut expected = plain();
        expected.set_suffix(Some(256));
        assert_eq!(Artefact::from_bytes(&bytes).unwrap(), expected);
        let newer = header.replace("\"version\":1", "\"version\":3");
        let mut bytes = Vec::new();
        put_part(&mut bytes, newer.as_bytes());
        assert_eq!(Artefact::from_bytes(&bytes).unwrap_err().code(), "newer-codebook");
    }

    #[test]
    fn steps_that_do_not_meet_are_refused() {
        let mut artefact = coded();
        artefact.decoder = Coder::default();
        let error = Artefact::from_bytes(&artefact.to_bytes().unwrap()).unwrap_err();
        assert_eq!(error.code(), "damaged-codebook");
        artefact.encoder = Coder::new(vec![Step::Affine { centre: vec![0.0; 4], scale: 1.0 }]);
        assert!(Artefact::from_bytes(&artefact.to_bytes().unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes: Vec<u8>, at in 0usize..2000, byte: u8) {
            let _ = Artefact::from_bytes(&bytes);
            bytes = coded().to_bytes().unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Artefact::from_bytes(&bytes);
        }
    }
}
