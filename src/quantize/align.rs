//! A new codebook brought near an old one: as many items as possible keep their old codes.
//!
//! Three steps, after the new codebook is trained and has given every vector its nearest codes:
//!
//! 1. *Permute.* The codes of a level are numbered anew, one permutation for the whole level (codewords are shared by
//!    all prefixes), by the assignment of maximum weight between new codes and old ones. What weighs first is how many
//!    items that have kept all codes above would keep this one too, then how many items share the two codes at all.
//!    Permuting changes no distance: the codebook is the same up to names.
//! 2. *Stay.* An item takes the longest prefix of its old codes with which it is still well placed: completed by the
//!    nearest codes, its squared error in the latent space must not exceed `1 + slack` times that of its nearest codes. With a slack of 0
//!    every item has its nearest codes.
//! 3. *Repair.* Where several items have the same codes, the one that had them before keeps them (`collide.rs`).
//!
//! So first what is kept is made as long as the slack allows, then as few items as possible move, then the distortion
//! is made as small as possible.

use std::collections::HashMap;

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Artefact, Vectors, agreement};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::value::Sid;

/// Codes of a level whose permutation is solved exactly, in cubic time; beyond, the heaviest pairs are taken first,
/// which gives at least half of the most weight.
const MAX_EXACT: usize = 1024;

/// Rows that one core brings near their old codes at a time.
const BLOCK_ROWS: usize = 256;

/// What a rebuild is brought near to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The old SID of each vector; none where its item had none.
    pub(crate) old: &'a [Option<Sid>],
    /// How much larger than with its nearest codes the squared error of an item may be, as a share of it.
    pub(crate) slack: f64,
}

/// Which items shall have their old codes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// Rows whose wanted codes are their old ones, at every trained level.
    rows: Vec<bool>,
    /// The old codes of the suffix level of those rows.
    suffixes: Vec<Option<u16>>,
}

impl Kept {
    /// Whether the codes of a row are its old ones.
    pub(super) fn is(&self, row: usize) -> bool {
        self.rows.get(row).copied().unwrap_or(false)
    }

    /// The code of the suffix level that a row had, where its other codes are the old ones.
    pub(super) fn suffix(&self, row: usize) -> Option<u16> {
        self.suffixes.get(row).copied().flatten()
    }
}

/// How much of an old generation a new one kept, among the items that both have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Aligned {
    /// The ordinal of the old generation.
    pub(crate) to: u32,
    /// Items that had a SID there.
    pub(crate) items: usize,
    /// Items that kept their whole SID.
    pub(crate) kept: usize,
    /// By level, the share of items that kept the prefix of so many codes.
    pub(crate) items_by_level: Vec<f64>,
    /// By level, the share of old prefixes that are kept by more than half of their items.
    pub(crate) prefixes_by_level: Vec<f64>,
}

/// Permutes the codes of the artefact, and gives the codes that items shall have: `native` are their nearest ones.
pub(crate) fn align(
    artefact: &mut Artefact,
    vectors: &Vectors<'_>,
    mut native: Vec<u16>,
    target: &Target<'_>,
    progress: &Progress,
) -> Result<(Vec<u16>, Kept)> {
    let levels = artefact.levels();
    let sizes = artefact.sizes();
    let old_levels = target.old.iter().flatten().map(Sid::levels).max().unwrap_or(0);
    progress.stage("aligning with the old codes", (levels.min(old_levels) + vectors.len()) as u64);
    let mut same = vec![true; vectors.len()];
    for (level, size) in sizes.iter().enumerate().take(old_levels) {
        progress.check()?;
        let order = permutation(&native, levels, level, *size, target.old, &same);
        artefact.permute(level, &order);
        for (row, codes) in native.chunks_exact_mut(levels).enumerate() {
            codes[level] = order[codes[level] as usize];
            let old = target.old[row].as_ref().and_then(|sid| sid.codes().get(level));
            same[row] &= old == Some(&codes[level]);
        }
        progress.advance(1);
    }
    let mut wanted = native;
    stay(artefact, vectors, &mut wanted, target, progress)?;
    let keeps = |(codes, old): (&[u16], &Option<Sid>)| {
        old.as_ref().is_some_and(|old| old.starts_with(codes))
    };
    let pairs = || wanted.chunks_exact(levels).zip(target.old);
    let suffix = |old: &Option<Sid>| old.as_ref().and_then(|old| old.codes().get(levels).copied());
    let kept = Kept {
        rows: pairs().map(keeps).collect(),
        suffixes: pairs().map(|pair| if keeps(pair) { suffix(pair.1) } else { None }).collect(),
    };
    Ok((wanted, kept))
}

/// The new number of each code of a level.
fn permutation(
    native: &[u16],
    levels: usize,
    level: usize,
    size: usize,
    old: &[Option<Sid>],
    same: &[bool],
) -> Vec<u16> {
    // An item that kept all above outweighs all others together.
    let weight = old.len() as i64 + 1;
    let mut weights: HashMap<(u16, u16), i64> = HashMap::new();
    for (row, codes) in native.chunks_exact(levels).enumerate() {
        let Some(before) = old[row].as_ref().and_then(|sid| sid.codes().get(level)) else {
            continue;
        };
        if usize::from(*before) < size {
            let heavy = if same[row] { weight } else { 1 };
            *weights.entry((codes[level], *before)).or_default() += heavy;
        }
    }
    if size <= MAX_EXACT {
        let matrix = Matrix::from_fn(size, size, |(new, before)| {
            weights.get(&(new as u16, before as u16)).copied().unwrap_or(0)
        });
        let (_, order) = kuhn_munkres(&matrix);
        return order.into_iter().map(|code| code as u16).collect();
    }
    let mut pairs: Vec<((u16, u16), i64)> = weights.into_iter().collect();
    pairs.sort_unstable_by_key(|(pair, weight)| (std::cmp::Reverse(*weight), *pair));
    let mut order: Vec<Option<u16>> = vec![None; size];
    let mut taken = vec![false; size];
    for ((new, before), _) in pairs {
        if order[new as usize].is_none() && !taken[before as usize] {
            order[new as usize] = Some(before);
            taken[before as usize] = true;
        }
    }
    let mut free = (0..size as u32).map(|code| code as u16).filter(|code| !taken[*code as usize]);
    // There are as many free numbers as codes without one.
    order.into_iter().map(|code| code.or_else(|| free.next()).unwrap_or_default()).collect()
}

/// Gives each item the longest prefix of its old codes with which it is still well placed.
fn stay(
    artefact: &Artefact,
    vectors: &Vectors<'_>,
    codes: &mut [u16],
    target: &Target<'_>,
    progress: &Progress,
) -> Result<()> {
    let levels = artefact.levels();
    let latent = artefact.encode(vectors, progress)?;
    let latent = Vectors::new(&latent, artefact.latent_dim())?;
    let rows = codes.par_chunks_mut(levels * BLOCK_ROWS).enumerate();
    rows.try_for_each(|(block, codes)| {
        progress.check()?;
        let first = block * BLOCK_ROWS;
        let last = (first + BLOCK_ROWS).min(vectors.len());
        for (row, codes) in (first..last).zip(codes.chunks_exact_mut(levels)) {
            if let Some(old) = &target.old[row] {
                stay_one(artefact, latent.row(row), codes, old.codes(), target.slack);
            }
        }
        progress.advance((last - first) as u64);
        Ok::<(), Error>(())
    })
}

/// `latent`: the vector of the item, encoded.
fn stay_one(artefact: &Artefact, latent: &[f32], codes: &mut [u16], old: &[u16], slack: f64) {
    let sizes = artefact.sizes();
    let shared = codes.iter().zip(old).take_while(|(new, old)| new == old).count();
    let possible = old.iter().zip(&sizes).take_while(|(code, size)| usize::from(**code) < **size);
    let possible = possible.count();
    if possible <= shared {
        return;
    }
    let bound = square(&residual(artefact, latent, codes)) * (1.0 + slack);
    for length in (shared + 1..=possible).rev() {
        let mut candidate = old[..length].to_vec();
        let mut left = residual(artefact, latent, &candidate);
        for (level, size) in sizes.iter().enumerate().skip(length) {
            let distance = |code: &u16| {
                let centre = artefact.code_vector(level, *code);
                left.iter().zip(centre).map(|(x, c)| (x - c) * (x - c)).sum::<f32>()
            };
            let all = (0..*size as u32).map(|code| code as u16);
            let Some(nearest) = all.min_by(|a, b| distance(a).total_cmp(&distance(b))) else {
                return;
            };
            let centre = artefact.code_vector(level, nearest);
            left.iter_mut().zip(centre).for_each(|(x, c)| *x -= c);
            candidate.push(nearest);
        }
        if square(&left) <= bound {
            codes.copy_from_slice(&candidate);
            return;
        }
    }
}

/// What is left of a latent vector after codes of the first levels.
fn residual(artefact: &Artefact, latent: &[f32], codes: &[u16]) -> Vec<f32> {
    let mut left = latent.to_vec();
    for (level, code) in codes.iter().enumerate() {
        let centre = artefact.code_vector(level, *code);
        left.iter_mut().zip(centre).for_each(|(x, c)| *x -= c);
    }
    left
}

fn square(vector: &[f32]) -> f64 {
    vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}

/// How much new SIDs, row-major and `width` wide, kept of the old ones.
pub(crate) fn kept(to: u32, old: &[Option<Sid>], codes: &[u16], width: usize) -> Aligned {
    let both: Vec<(&[u16], &[u16])> = codes
        .chunks_exact(width)
        .zip(old)
        .filter_map(|(new, old)| Some((new, old.as_ref()?.codes())))
        .collect();
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    let mut aligned = Aligned {
        to,
        items: both.len(),
        kept: both.iter().filter(|(new, old)| new == old).count(),
        ..Aligned::default()
    };
    let old_width = both.iter().map(|(_, old)| old.len()).min().unwrap_or(0);
    let before: Vec<u16> = both.iter().flat_map(|(_, old)| &old[..old_width]).copied().collect();
    for depth in 1..=width.min(old_width) {
        let same = |(new, old): &(&[u16], &[u16])| new[..depth] == old[..depth];
        aligned
            .items_by_level
            .push(share(both.iter().filter(|pair| same(pair)).count(), both.len()));
        let groups = agreement::groups(&before, old_width, depth);
        let mut sizes: Vec<(usize, usize)> = Vec::new();
        for (group, pair) in groups.iter().zip(&both) {
            let group = *group as usize;
            if group >= sizes.len() {
                sizes.resize(group + 1, (0, 0));
            }
            sizes[group].0 += 1;
            sizes[group].1 += usize::from(same(pair));
        }
        let held = sizes.iter().filter(|(all, same)| 2 * same > *all).count();
        aligned.prefixes_by_level.push(share(held, sizes.len()));
    }
    aligned
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::residual::Stack;
    use super::super::{Collisions, collide};
    use super::*;

    fn sids(codes: &[[u16; 2]]) -> Vec<Option<Sid>> {
        codes.iter().map(|codes| Some(Sid::new(codes).unwrap())).collect()
    }

    fn grid() -> Artefact {
        let stack = Stack::new(
            2,
            vec![vec![0.0, 0.0, 10.0, 0.0, 20.0, 0.0], vec![0.0, 0.0, 0.0, 1.0, 0.0, 2.0]],
        );
        Artefact::new(stack, Collisions::Reassign)
    }

    #[test]
    fn a_renamed_codebook_is_recognized_whole() {
        let data = [0.0, 0.0, 0.0, 1.0, 10.0, 1.0, 10.0, 2.0, 20.0, 0.0, 20.0, 2.0];
        let vectors = Vectors::new(&data, 2).unwrap();
        let silent = Progress::silent();
        let native = grid().assign(&vectors, &silent).unwrap();
        // The old codebook had the same codewords under other numbers.
        let (first, second) = ([2u16, 0, 1], [1u16, 2, 0]);
        let old: Vec<[u16; 2]> = native
            .chunks_exact(2)
            .map(|codes| [first[codes[0] as usize], second[codes[1] as usize]])
            .collect();
        let old = sids(&old);
        let mut artefact = grid();
        let target = Target { old: &old, slack: 0.0 };
        let (wanted, kept) = align(&mut artefact, &vectors, native, &target, &silent).unwrap();
        assert!((0..6).all(|row| kept.is(row)));
        assert_eq!(wanted, artefact.assign(&vectors, &silent).unwrap(), "names alone changed");
        let report = super::kept(1, &old, &wanted, 2);
        assert_eq!((report.items, report.kept), (6, 6));
        assert_eq!(report.items_by_level, [1.0, 1.0]);
        assert_eq!(report.prefixes_by_level, [1.0, 1.0]);
    }

    #[test]
    fn an_item_stays_as_far_as_the_slack_allows() {
        // Nearest to (10, 1) with codes 1, 1; its old codes 1, 2 cost 0.36 in place of 0.16.
        let data = [10.0, 1.4];
        let vectors = Vectors::new(&data, 2).unwrap();
        for (old, slack, stays) in [
            ([1, 2], 1.0, [1, 1]),
            ([1, 2], 1.3, [1, 2]),
            ([0, 2], 1.3, [1, 1]),
            ([1, 0], 1.3, [1, 1]),
        ] {
            let mut codes = [1, 1];
            stay_one(&grid(), vectors.row(0), &mut codes, &old, slack);
            assert_eq!(codes, stays, "{old:?} {slack}");
        }
    }

    #[test]
    fn who_had_the_code_keeps_it() {
        // Both are nearest to 0, 0; the farther one had it before.
        let data = [0.0, 0.0, 0.0, 0.2];
        let vectors = Vectors::new(&data, 2).unwrap();
        let silent = Progress::silent();
        let mut artefact = grid();
        let native = artefact.assign(&vectors, &silent).unwrap();
        let old = vec![None, Some(Sid::new(&[0, 0]).unwrap())];
        let target = Target { old: &old, slack: 0.0 };
        let (wanted, kept) = align(&mut artefact, &vectors, native, &target, &silent).unwrap();
        let repaired =
            collide::resolve_keeping(&artefact, &vectors, &wanted, &kept, &silent).unwrap();
        assert_eq!(repaired.codes, [0, 1, 0, 0]);
        let free = collide::resolve(&artefact, &vectors, &wanted, &silent).unwrap();
        assert_eq!(free.codes, [0, 0, 0, 1], "without alignment the nearer one keeps it");
    }

    #[test]
    fn large_levels_are_permuted_too() {
        let size = MAX_EXACT + 3;
        let native: Vec<u16> = (0..size as u16).collect();
        let turned = |code: u16| (code + 7) % size as u16;
        let old: Vec<Option<Sid>> =
            native.iter().map(|code| Some(Sid::new(&[turned(*code)]).unwrap())).collect();
        let order = permutation(&native, 1, 0, size, &old, &vec![true; size]);
        assert!(native.iter().all(|code| order[*code as usize] == turned(*code)));
    }
}
