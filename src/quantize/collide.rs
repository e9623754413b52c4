//! Items with equal codes, and what is done about them.
//!
//! `reassign` keeps the levels before the last and gives codes of the last level out anew inside each group
//! of items that share a prefix: as few items as possible move, and among those ways the one of least
//! distortion is taken (the zero-collision reassignment of Nishikata et al., CIKM 2026). As every occupied
//! code keeps exactly one of its items, the problem is small: items in collisions against their own code and
//! the free ones. A group with more items than the level has codes cannot be made unique; then the whole
//! codebook gets a suffix level instead, so that all its SIDs have one length.

use std::collections::{HashMap, HashSet};

use pathfinding::kuhn_munkres::kuhn_munkres_min;
use pathfinding::matrix::Matrix;
use serde::{Deserialize, Serialize};

use super::align::Kept;
use super::{Artefact, Vectors, sinkhorn};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::progress::Progress;

/// Items of one prefix in collisions that are solved exactly; beyond, the items that are farthest from
/// their code move one by one to the nearest free one. Levels of up to as many codes are always exact.
const MAX_EXACT: usize = 512;

/// Steps between 0 and the largest distance of a group, in the whole numbers of the exact solution.
const DISTANCE_STEPS: f64 = (1u64 << 32) as f64;

/// Codes of a suffix level, unless a bucket is so large that it needs more.
const SUFFIX_CODES: usize = 256;

/// What is done about items with equal codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Collisions {
    /// Codes of the last level are given out anew; a suffix level where that cannot be enough.
    #[default]
    Reassign,
    /// Every SID gets one more level that numbers the items with equal codes from 0.
    Suffix,
    /// Items with equal codes are given codes of the last level by Sinkhorn's algorithm, in rounds; what is left
    /// stays (MiniOneRec).
    Sinkhorn,
    /// Nothing: several items may share a SID.
    Allow,
}

/// Codes after collisions were met.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Repaired {
    /// Row-major `vectors × levels`, where the suffix level counts.
    pub(crate) codes: Vec<u16>,
    /// Codes of the suffix level, where there is one.
    pub(crate) suffix: Option<usize>,
    /// Items that lost the code nearest to them.
    pub(crate) moved: usize,
    /// Groups that were too large for the exact solution.
    pub(crate) greedy_groups: usize,
}

/// Makes the nearest codes unique in the way the codebook says.
pub(crate) fn resolve(
    artefact: &Artefact,
    vectors: &Vectors<'_>,
    native: &[u16],
    progress: &Progress,
) -> Result<Repaired> {
    resolve_keeping(artefact, vectors, native, &Kept::default(), progress)
}

/// As `resolve`, but of the items with equal codes the one that had them before keeps them.
pub(crate) fn resolve_keeping(
    artefact: &Artefact,
    vectors: &Vectors<'_>,
    native: &[u16],
    kept: &Kept,
    progress: &Progress,
) -> Result<Repaired> {
    match artefact.collisions() {
        Collisions::Allow => {
            Ok(Repaired { codes: native.to_vec(), suffix: None, moved: 0, greedy_groups: 0 })
        }
        Collisions::Suffix => suffixed(artefact.levels(), native, kept),
        Collisions::Sinkhorn => sinkhorn::resolve(artefact, vectors, native, progress),
        Collisions::Reassign => match reassigned(artefact, vectors, native, kept, progress)? {
            Some(repaired) => Ok(repaired),
            None => suffixed(artefact.levels(), native, kept),
        },
    }
}

/// Rows by their first `depth` codes; prefixes in ascending order, rows too.
pub(super) fn groups(codes: &[u16], levels: usize, depth: usize) -> Vec<Vec<usize>> {
    let prefix = |row: usize| &codes[row * levels..row * levels + depth];
    let mut rows: Vec<usize> = (0..codes.len() / levels).collect();
    rows.sort_by(|a, b| prefix(*a).cmp(prefix(*b)).then(a.cmp(b)));
    rows.chunk_by(|a, b| prefix(*a) == prefix(*b)).map(<[usize]>::to_vec).collect()
}

/// Adds the suffix level.
fn suffixed(levels: usize, native: &[u16], kept: &Kept) -> Result<Repaired> {
    let buckets = groups(native, levels, levels);
    let largest = buckets.iter().map(Vec::len).max().unwrap_or(0);
    if largest > super::artefact::MAX_CODES {
        let message =
            format!("{largest} items have the same codes, more than a suffix level can number");
        return Err(Error::input("too-many-twins", message)
            .help("embed more of the items, or build with more levels or codes"));
    }
    // Room for as many twins again, so that inserts find a place.
    let suffix = (2 * largest).next_power_of_two().clamp(SUFFIX_CODES, super::artefact::MAX_CODES);
    let mut codes: Vec<u16> =
        native.chunks_exact(levels).flat_map(|codes| codes.iter().copied().chain([0])).collect();
    for bucket in buckets {
        for (row, ordinal) in bucket.iter().zip(ordinals(&bucket, suffix, kept)) {
            codes[row * (levels + 1) + levels] = ordinal;
        }
    }
    Ok(Repaired { codes, suffix: Some(suffix), moved: 0, greedy_groups: 0 })
}

/// The codes of the suffix level of items with equal codes: the ones they had before, else the lowest free ones.
fn ordinals(bucket: &[usize], size: usize, kept: &Kept) -> Vec<u16> {
    let mut taken = HashSet::new();
    let mut had = |row: &usize| {
        kept.suffix(*row).filter(|code| usize::from(*code) < size && taken.insert(*code))
    };
    let had: Vec<Option<u16>> = bucket.iter().map(&mut had).collect();
    let mut free = (0..size as u32).map(|code| code as u16).filter(|code| !taken.contains(code));
    // The level has at least twice as many codes as the bucket has items.
    had.into_iter().map(|code| code.or_else(|| free.next()).unwrap_or_default()).collect()
}

/// Gives codes of the last level out anew; `None` where a group has more items than codes.
fn reassigned(
    artefact: &Artefact,
    vectors: &Vectors<'_>,
    native: &[u16],
    kept: &Kept,
    progress: &Progress,
) -> Result<Option<Repaired>> {
    let levels = artefact.levels();
    let size = artefact.stack().size(levels - 1);
    let groups = groups(native, levels, levels - 1);
    if groups.iter().any(|rows| rows.len() > size) {
        return Ok(None);
    }
    progress.stage("resolving collisions", groups.len() as u64);
    let latent = artefact.encode(vectors, progress)?;
    let latent = Vectors::new(&latent, artefact.latent_dim())?;
    let mut repaired =
        Repaired { codes: native.to_vec(), suffix: None, moved: 0, greedy_groups: 0 };
    for rows in groups {
        progress.check()?;
        progress.advance(1);
        let old: Vec<u16> = rows.iter().map(|row| native[row * levels + levels - 1]).collect();
        let mut holders = vec![0u32; size];
        for code in &old {
            holders[*code as usize] += 1;
        }
        // An item that had its codes before keeps them, so nobody else may.
        let mut held = vec![false; size];
        let keeps =
            |at: usize| kept.is(rows[at]) && !std::mem::replace(&mut held[old[at] as usize], true);
        let keeping: Vec<bool> = (0..rows.len()).map(keeps).collect();
        let colliding: Vec<usize> =
            (0..rows.len()).filter(|at| holders[old[*at] as usize] > 1 && !keeping[*at]).collect();
        if colliding.is_empty() {
            continue;
        }
        let distances: Vec<Vec<f32>> = colliding
            .iter()
            .map(|at| {
                let row = rows[*at];
                let codes = &native[row * levels..(row + 1) * levels];
                artefact.latent_distances(latent.row(row), codes)
            })
            .collect();
        let own: Vec<u16> = colliding.iter().map(|at| old[*at]).collect();
        let free: Vec<u16> =
            (0..size).filter(|code| holders[*code] == 0).map(|code| code as u16).collect();
        let new = if colliding.len() <= MAX_EXACT {
            exact(&own, &held, &free, &distances)
        } else {
            repaired.greedy_groups += 1;
            greedy(&own, &held, free, &distances)
        };
        for ((at, own), new) in colliding.iter().zip(own).zip(new) {
            repaired.codes[rows[*at] * levels + levels - 1] = new;
            repaired.moved += usize::from(own != new);
        }
    }
    Ok(Some(repaired))
}

/// The assignment of fewest moves, then of least distortion. `own` is the code of each item, `held` tells codes that
/// another item keeps, `free` are the codes without an item, `distances` those of each item to all codes.
fn exact(own: &[u16], held: &[bool], free: &[u16], distances: &[Vec<f32>]) -> Vec<u16> {
    let mut kept: Vec<u16> = own.iter().copied().filter(|code| !held[*code as usize]).collect();
    kept.sort_unstable();
    kept.dedup();
    let columns: Vec<u16> = kept.iter().chain(free).copied().collect();
    let largest = distances.iter().flatten().fold(f32::MIN_POSITIVE, |most, x| most.max(*x));
    // One move outweighs the distances of all items together; the sum of all stays below 2^52.
    let per_move = own.len() as i64 * DISTANCE_STEPS as i64 + 1;
    let forbidden = own.len() as i64 * per_move * 2;
    let weights = Matrix::from_fn(own.len(), columns.len(), |(item, column)| {
        let code = columns[column];
        if column < kept.len() && code != own[item] {
            return forbidden;
        }
        let share = f64::from(distances[item][code as usize]) / f64::from(largest);
        (share * DISTANCE_STEPS) as i64 + i64::from(code != own[item]) * per_move
    });
    let (_, assigned) = kuhn_munkres_min(&weights);
    assigned.into_iter().map(|column| columns[column]).collect()
}

/// The nearest item keeps each code; the others take the nearest free one, the farthest from their own first.
fn greedy(own: &[u16], held: &[bool], mut free: Vec<u16>, distances: &[Vec<f32>]) -> Vec<u16> {
    let to_own = |item: usize| distances[item][own[item] as usize];
    let mut keeper: HashMap<u16, usize> = HashMap::new();
    for (item, code) in own.iter().enumerate().filter(|(_, code)| !held[**code as usize]) {
        let kept = keeper.entry(*code).or_insert(item);
        if to_own(item) < to_own(*kept) {
            *kept = item;
        }
    }
    let mut movers: Vec<usize> =
        (0..own.len()).filter(|item| keeper.get(&own[*item]) != Some(item)).collect();
    movers.sort_by(|a, b| to_own(*b).total_cmp(&to_own(*a)).then(a.cmp(b)));
    let mut new = own.to_vec();
    for item in movers {
        let to = |at: usize| distances[item][free[at] as usize];
        let nearest = (0..free.len()).min_by(|a, b| to(*a).total_cmp(&to(*b)));
        if let Some(at) = nearest {
            new[item] = free.remove(at);
        }
    }
    new
}

/// Gives one more item a SID that no other has, against a built codebook. `is_taken` says whether an item
/// other than this one has a SID.
///
/// # Errors
/// `prefix-full` where every SID with the item's prefix is taken; `wrong-dimension`, `bad-vector`.
pub(crate) fn place(
    artefact: &Artefact,
    vector: &[f32],
    is_taken: impl Fn(&[u16]) -> bool,
) -> Result<Vec<u16>> {
    artefact.expect_dim(vector.len())?;
    let mut codes = artefact.assign(&Vectors::new(vector, vector.len())?, &Progress::silent())?;
    let native = codes.clone();
    let full = |codes: &[u16], size: usize| {
        let prefix: Vec<String> = codes[..codes.len() - 1].iter().map(u16::to_string).collect();
        let message = format!("all {size} SIDs with the codes {} are taken", prefix.join(", "));
        Error::new(ErrorKind::Resource, "prefix-full", message)
            .help("REBUILD the codebook: it gives every item a new place")
    };
    match (artefact.collisions(), artefact.suffix()) {
        (Collisions::Allow, _) => Ok(codes),
        (_, Some(size)) => {
            let last = codes.len();
            codes.push(0);
            for ordinal in 0..size {
                codes[last] = ordinal as u16;
                if !is_taken(&codes) {
                    return Ok(codes);
                }
            }
            Err(full(&codes, size))
        }
        (_, None) => {
            let last = codes.len() - 1;
            let distances = artefact.last_level_distances(vector, &codes);
            let mut order: Vec<u16> = (0..distances.len()).map(|code| code as u16).collect();
            let nearest = codes[last];
            let to = |code: u16| distances[code as usize];
            // The nearest code as `assign` sees it comes first, also where rounding says otherwise.
            order.sort_by(|a, b| {
                (*b == nearest).cmp(&(*a == nearest)).then(to(*a).total_cmp(&to(*b))).then(a.cmp(b))
            });
            for code in order {
                codes[last] = code;
                if !is_taken(&codes) {
                    return Ok(codes);
                }
            }
            // Sinkhorn's rounds promise less, for all items.
            if artefact.collisions() == Collisions::Sinkhorn {
                return Ok(native);
            }
            Err(full(&codes, distances.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::super::residual::Stack;
    use super::*;

    /// Moves and distortion of an assignment.
    fn cost(own: &[u16], new: &[u16], distances: &[Vec<f32>]) -> (usize, f64) {
        let moved = own.iter().zip(new).filter(|(a, b)| a != b).count();
        let distance = |(item, code): (usize, &u16)| f64::from(distances[item][*code as usize]);
        (moved, new.iter().enumerate().map(distance).sum())
    }

    /// The cost of the best assignment of different codes, found by trying all.
    fn best(own: &[u16], distances: &[Vec<f32>], chosen: &mut Vec<u16>) -> (usize, f64) {
        if chosen.len() == own.len() {
            return cost(own, chosen, distances);
        }
        let mut least = (usize::MAX, f64::INFINITY);
        for code in 0..distances[0].len() as u16 {
            if !chosen.contains(&code) {
                chosen.push(code);
                let found = best(own, distances, chosen);
                chosen.pop();
                if found.0 < least.0 || found.0 == least.0 && found.1 < least.1 {
                    least = found;
                }
            }
        }
        least
    }

    /// A codebook of one component, two first codes and `last` codes on the second level.
    fn line(last: u16, collisions: Collisions) -> Artefact {
        let stack = Stack::new(1, vec![vec![0.0, 100.0], (0..last).map(f32::from).collect()]);
        Artefact::new(stack, collisions)
    }

    fn repair(artefact: &Artefact, data: &[f32]) -> Result<Repaired> {
        let vectors = Vectors::new(data, 1)?;
        let native = artefact.assign(&vectors, &Progress::silent())?;
        resolve(artefact, &vectors, &native, &Progress::silent())
    }

    proptest! {
        #[test]
        fn exact_is_as_good_as_trying_all(
            cells in prop::collection::vec(0u8..50, 30),
            own in prop::collection::vec(0u16..6, 1..5),
        ) {
            let distances: Vec<Vec<f32>> =
                cells.chunks(6).take(own.len()).map(|row| row.iter().map(|x| f32::from(*x)).collect()).collect();
            let free: Vec<u16> = (0..6).filter(|code| !own.contains(code)).collect();
            let new = exact(&own, &[false; 6], &free, &distances);
            prop_assert_eq!(new.iter().collect::<HashSet<_>>().len(), new.len());
            let (moved, distortion) = cost(&own, &new, &distances);
            let (fewest, least) = best(&own, &distances, &mut Vec::new());
            prop_assert_eq!(moved, fewest);
            prop_assert!((distortion - least).abs() < 1e-3, "{} {}", distortion, least);
            let quick = greedy(&own, &[false; 6], free, &distances);
            prop_assert_eq!(quick.iter().collect::<HashSet<_>>().len(), quick.len());
            prop_assert_eq!(cost(&own, &quick, &distances).0, fewest);
        }

        #[test]
        fn sids_are_unique_and_inserts_too(
            data in prop::collection::vec(-20i8..120, 0..40),
            later in prop::collection::vec(-20i8..120, 0..10),
            suffix: bool,
        ) {
            let collisions = if suffix { Collisions::Suffix } else { Collisions::Reassign };
            let mut artefact = line(30, collisions);
            let data: Vec<f32> = data.into_iter().map(f32::from).collect();
            let repaired = repair(&artefact, &data).unwrap();
            artefact.set_suffix(repaired.suffix);
            let width = artefact.sid_sizes().len();
            let mut taken: HashSet<Vec<u16>> =
                repaired.codes.chunks_exact(width).map(<[u16]>::to_vec).collect();
            prop_assert_eq!(taken.len(), data.len());
            for x in later {
                match place(&artefact, &[f32::from(x)], |codes| taken.contains(codes)) {
                    Ok(codes) => {
                        prop_assert!(codes.iter().zip(artefact.sid_sizes()).all(|(c, s)| usize::from(*c) < s));
                        prop_assert!(taken.insert(codes));
                    }
                    Err(error) => {
                        prop_assert_eq!(error.code(), "prefix-full");
                        prop_assert!(taken.len() >= 30);
                    }
                }
            }
        }
    }

    #[test]
    fn fewest_items_move_and_the_farthest_one() {
        // Three items nearest to code 5: the nearest keeps it, the others take 4 and 6.
        let repaired = repair(&line(10, Collisions::Reassign), &[5.4, 5.0, 4.7, 8.0]).unwrap();
        assert_eq!(repaired.codes, [0, 6, 0, 5, 0, 4, 0, 8]);
        assert_eq!((repaired.moved, repaired.suffix, repaired.greedy_groups), (2, None, 0));
    }

    #[test]
    fn a_group_beyond_the_level_gets_a_suffix() {
        let repaired = repair(&line(2, Collisions::Reassign), &[0.0, 1.0, 0.1, 100.0]).unwrap();
        assert_eq!(repaired.suffix, Some(SUFFIX_CODES));
        assert_eq!(repaired.codes, [0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0]);
    }

    #[test]
    fn allow_leaves_collisions() {
        let artefact = line(2, Collisions::Allow);
        let repaired = repair(&artefact, &[0.0, 0.0]).unwrap();
        assert_eq!((repaired.codes, repaired.suffix), (vec![0, 0, 0, 0], None));
        assert_eq!(place(&artefact, &[0.0], |_| true).unwrap(), [0, 0]);
    }

    #[test]
    fn a_full_prefix_is_said_so() {
        let artefact = line(2, Collisions::Reassign);
        let error = place(&artefact, &[100.0], |codes| codes[0] == 1).unwrap_err();
        assert_eq!(error.message(), "all 2 SIDs with the codes 1 are taken");
        let error = place(&artefact, &[1.0, 2.0], |_| false).unwrap_err();
        assert_eq!(error.code(), "wrong-dimension");
    }
}
