//! From a state to the codes of a SID: what `decoder` and `hybrid` share.
//!
//! [`Codes`] is the table of code embeddings, which input and output share; [`Depth`] the blocks that go down the
//! levels after a state `h`:
//!
//! ```text
//! depth:  blocks(h, h + e(c1), h + e(c1) + e(c2))      one position for each level
//! logits: products with the embeddings of the codes of the level
//! ```
//!
//! Hashed embeddings of longer prefixes (Singh et al. 2023, arXiv 2306.08121) are added to the sums,
//! so that what is learned of one item need not be shared with all that have a code in common.

use candle_core::{Device, Tensor, Var};
use rand_chacha::ChaCha8Rng;

use super::timeline::blocks;
use super::{Decoding, History};
use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::nn::{
    Block, Cache, Dropout, Init, NONE, Params, RmsNorm, Segments, Shape, cross_entropy, log_prob,
    log_softmax, matmul, sum_rows,
};

/// The row of the start token in the table of embeddings.
const START: u32 = 0;

/// What one row of an input stands for.
pub(super) enum Row<'a> {
    /// Before the first item.
    Start,
    /// A prefix of codes; all of them make an item.
    Prefix(&'a [u16]),
}

/// The embeddings of codes.
pub(super) struct Codes {
    /// Codes per level.
    sizes: Vec<usize>,
    /// The row of the first code of each level.
    offsets: Vec<usize>,
    /// The start token, then the codes level by level. Rows × width.
    table: Var,
    /// Hashed prefixes. Buckets × width.
    buckets: Option<Var>,
}

impl Codes {
    /// A table for codes of these sizes, with `buckets` hashed prefixes.
    pub(super) fn new(
        params: &mut Params,
        sizes: &[usize],
        (width, buckets): (usize, usize),
        random: &mut ChaCha8Rng,
    ) -> Result<Self> {
        if sizes.is_empty() {
            return Err(Error::internal("a generating policy needs the codes of a codebook"));
        }
        let init = Init::Embedding(1.0 / (width as f32).sqrt());
        let rows = 1 + sizes.iter().sum::<usize>();
        let table = params.create("codes", &[rows, width], init, random)?;
        let buckets = match buckets {
            0 => None,
            rows => Some(params.create("buckets", &[rows, width], init, random)?),
        };
        let offsets = (0..sizes.len()).map(|level| 1 + sizes[..level].iter().sum::<usize>());
        Ok(Codes { sizes: sizes.to_vec(), offsets: offsets.collect(), table, buckets })
    }

    /// Codes per level.
    pub(super) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Where the table lives.
    pub(super) fn device(&self) -> &Device {
        self.table.device()
    }

    fn levels(&self) -> usize {
        self.sizes.len()
    }

    /// Embeds histories: the start token, then the items, whose codes `codes_of` knows. Gives positions × width, packed.
    pub(super) fn embed_histories<'c, 'h>(
        &self,
        codes_of: impl Fn(u32) -> &'c [u16],
        histories: impl Iterator<Item = History<'h>>,
    ) -> Result<Tensor> {
        let mut rows = Vec::new();
        for history in histories {
            rows.push(Row::Start);
            rows.extend(history.iter().map(|&item| Row::Prefix(codes_of(item))));
        }
        self.embed(rows.into_iter())
    }

    /// Embeds rows, each the start token or a prefix of codes (the empty one is zeros). Gives
    /// rows × width.
    pub(super) fn embed<'p>(&self, rows: impl Iterator<Item = Row<'p>>) -> Result<Tensor> {
        let levels = self.levels();
        let mut codes = Vec::new(); // a row of the table for each level
        let mut hashed = Vec::new(); // a bucket for each length from 2 on
        for row in rows {
            let Row::Prefix(prefix) = row else {
                codes.push(START);
                codes.resize(codes.len() + levels - 1, NONE);
                hashed.resize(hashed.len() + levels - 1, NONE);
                continue;
            };
            for (level, &offset) in self.offsets.iter().enumerate() {
                let row = prefix.get(level).map(|&code| offset as u32 + u32::from(code));
                codes.push(row.unwrap_or(NONE));
            }
            for length in 2..=levels {
                let bucket = prefix.get(..length).map(|prefix| self.bucket(prefix));
                hashed.push(bucket.unwrap_or(NONE));
            }
        }
        let x = sum_rows(&self.table, codes, levels)?;
        match &self.buckets {
            Some(buckets) if levels > 1 => Ok((x + sum_rows(buckets, hashed, levels - 1)?)?),
            _ => Ok(x),
        }
    }

    fn bucket(&self, prefix: &[u16]) -> u32 {
        let buckets = self.buckets.as_ref().map_or(1, |table| table.dims()[0]);
        (hash(prefix) % buckets as u64) as u32
    }

    /// The embeddings of the codes of a level. Codes × width.
    pub(super) fn of_level(&self, level: usize) -> Result<Tensor> {
        Ok(self.table.narrow(0, self.offsets[level], self.sizes[level])?)
    }

    /// Logits over the codes of a level: products with their embeddings. `x`: rows × width. Gives rows × codes.
    fn logits(&self, x: &Tensor, level: usize) -> Result<Tensor> {
        Ok(matmul(x, &self.of_level(level)?.t()?)?)
    }

    /// The codes of a catalogue made for another codebook would read outside the table.
    pub(super) fn check(&self, catalogue: &Catalogue) -> Result<()> {
        if catalogue.sizes == self.sizes {
            return Ok(());
        }
        let (found, wanted) = (&catalogue.sizes, &self.sizes);
        Err(Error::internal(format!(
            "the catalogue has levels of {found:?} codes, the policy {wanted:?}"
        )))
    }
}

/// FNV-1a over the codes of a prefix. Part of what a trained policy means: never change it.
fn hash(prefix: &[u16]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in prefix.iter().flat_map(|code| code.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 29)
}

/// The blocks over the levels.
pub(super) struct Depth {
    blocks: Vec<Block>,
    norm: RmsNorm,
}

impl Depth {
    /// Blocks of a shape, with a position for each level.
    pub(super) fn new(params: &mut Params, shape: Shape, random: &mut ChaCha8Rng) -> Result<Self> {
        let blocks = blocks(params, "depth", shape, random)?;
        let norm = RmsNorm::new(params, "depth.norm".to_owned(), shape.width, random)?;
        Ok(Depth { blocks, norm })
    }

    /// Logits of the codes of SIDs, each after a row of `x` (rows × width): for each level, SIDs × codes.
    fn after(
        &self,
        codes: &Codes,
        (x, rows): (&Tensor, &[u32]),
        sids: &[&[u16]],
        dropout: &mut Dropout<'_>,
    ) -> Result<Vec<Tensor>> {
        let levels = codes.levels();
        let of_history = rows.iter().flat_map(|&at| std::iter::repeat_n(at, levels)).collect();
        let prefixes = sids.iter().flat_map(|codes| (0..levels).map(|end| &codes[..end]));
        let prefix = codes.embed(prefixes.map(Row::Prefix))?; // SIDs·levels × width
        let mut x = (sum_rows(x, of_history, 1)? + dropout.apply(&prefix)?)?;
        let segments = Segments::of_lengths(sids.iter().map(|_| levels));
        for block in &self.blocks {
            x = block.forward(&x, &segments, dropout)?;
        }
        let x = self.norm.forward(&x)?; // SIDs·levels × width
        let rows = |level| (0..sids.len()).map(|at| (at * levels + level) as u32).collect();
        (0..levels).map(|level| codes.logits(&sum_rows(&x, rows(level), 1)?, level)).collect()
    }

    /// The sum over the levels of the mean loss of SIDs, each after a row of `x`. A scalar.
    pub(super) fn loss(
        &self,
        codes: &Codes,
        after: (&Tensor, &[u32]),
        sids: &[&[u16]],
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for (level, logits) in self.after(codes, after, sids, dropout)?.iter().enumerate() {
            let loss = cross_entropy(logits, codes_of(sids, level))?;
            sum = Some(match sum {
                Some(sum) => (sum + loss)?,
                None => loss,
            });
        }
        sum.ok_or_else(|| Error::internal("a SID has at least one level"))
    }

    /// The log-probabilities of the codes of SIDs, each after a row of `x`. SIDs × levels.
    pub(super) fn log_probs(
        &self,
        codes: &Codes,
        after: (&Tensor, &[u32]),
        sids: &[&[u16]],
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let logits = self.after(codes, after, sids, dropout)?;
        let level = |(level, logits)| log_prob(logits, codes_of(sids, level));
        let columns: Vec<Tensor> = logits.iter().enumerate().map(level).collect::<Result<_>>()?;
        Ok(Tensor::stack(&columns, 1)?)
    }

    /// Beams that begin with the rows of `history`, a state for each.
    pub(super) fn beams<'a>(&'a self, codes: &'a Codes, history: Tensor) -> Result<Beams<'a>> {
        let prefixes = vec![Vec::new(); history.dim(0)?];
        let caches = vec![Cache::default(); self.blocks.len()];
        Ok(Beams { codes, depth: self, history, caches, prefixes })
    }
}

/// The codes that SIDs have at a level.
pub(super) fn codes_of(sids: &[&[u16]], level: usize) -> Vec<u32> {
    sids.iter().map(|codes| u32::from(codes[level])).collect()
}

/// The beams of a batch of histories.
pub(super) struct Beams<'a> {
    codes: &'a Codes,
    depth: &'a Depth,
    /// What each row has read. Rows × width.
    history: Tensor,
    /// One for each block.
    caches: Vec<Cache>,
    /// The codes that each row has emitted.
    prefixes: Vec<Vec<u16>>,
}

impl Beams<'_> {
    /// Feeds one depth position and gives the log-probabilities of the level that follows it.
    fn feed(&mut self, mut x: Tensor, level: usize) -> Result<Vec<f32>> {
        for (block, cache) in self.depth.blocks.iter().zip(&mut self.caches) {
            x = block.step(&x, cache)?; // rows × width
        }
        let x = self.depth.norm.forward(&x)?;
        log_softmax(&self.codes.logits(&x, level)?)
    }
}

impl Decoding for Beams<'_> {
    fn first(&mut self) -> Result<Vec<f32>> {
        if self.prefixes.is_empty() {
            return Ok(Vec::new());
        }
        self.feed(self.history.clone(), 0)
    }

    fn step(&mut self, parents: &[u32], codes: &[u16]) -> Result<Vec<f32>> {
        let level = self.prefixes.first().map_or(0, Vec::len);
        let known = self.prefixes.len() as u32;
        let fits = parents.len() == codes.len()
            && level + 1 < self.codes.levels()
            && parents.iter().all(|&parent| parent < known)
            && codes.iter().all(|&code| usize::from(code) < self.codes.sizes[level]);
        if !fits {
            return Err(Error::internal(format!(
                "level {level} cannot be extended by these codes"
            )));
        }
        let extend = |(&parent, &code): (&u32, &u16)| {
            let mut prefix = self.prefixes[parent as usize].clone();
            prefix.push(code);
            prefix
        };
        self.prefixes = parents.iter().zip(codes).map(extend).collect();
        if parents.is_empty() {
            return Ok(Vec::new());
        }
        let parents = Tensor::new(parents, self.history.device())?;
        self.history = self.history.index_select(&parents, 0)?;
        for cache in &mut self.caches {
            *cache = cache.select(&parents)?;
        }
        let prefix = self.codes.embed(self.prefixes.iter().map(|p| Row::Prefix(p)))?;
        self.feed((&self.history + prefix.detach())?, level + 1)
    }
}
