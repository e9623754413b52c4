//! What SIDs alone tell: the nodes of their tree, and how many items share a prefix.

use sidql_storage::reach::{self, SidRange};
use sidql_storage::{GenerationNo, codebooks, generations, items};

use super::filter::{eval, holds};
use super::select::Reading;
use crate::error::Result;
use crate::index::Trie;
use crate::plan::reach::Nodes;
use crate::plan::scope::Source;
use crate::plan::select::{Access, Group, Select};
use crate::value::{Row, Sid, Value};

/// Nodes between two looks at whether the statement was interrupted.
const CHECK_EVERY: usize = 1024;

/// The rows of `codes`, top down, in the order of the tree: only where one of the wanted nodes may be.
pub(super) fn nodes(
    reading: Reading<'_>,
    select: &Select,
    generation: GenerationNo,
    wanted: &[Nodes],
) -> Result<Vec<Row>> {
    let index = reading.cache.index(reading.view, generation)?;
    let trie = &index.trie;
    let filter = select.filter.as_ref();
    let mut rows = Vec::new();
    let mut seen = 0;
    // A node, its codes, how many share its parent, and the items of that.
    let mut stack: Vec<(u32, Vec<u16>, usize, usize)> = vec![(Trie::ROOT, Vec::new(), 0, 0)];
    while let Some((node, prefix, beside, above)) = stack.pop() {
        seen += 1;
        if seen % CHECK_EVERY == 0 {
            reading.progress.check()?;
        }
        let inner = prefix.len() < trie.levels();
        let (codes, first) = if inner { trie.children(node) } else { (&[][..], 0) };
        if wanted.iter().any(|nodes| nodes.holds(&prefix)) {
            let share = trie.count(node) as f64 / above.max(1) as f64;
            let whole: [Value; 7] = [
                Sid::new(&prefix).ok().into(),
                prefix.len().into(),
                trie.count(node).into(),
                codes.len().into(),
                prefix.split_last().and_then(|(_, parent)| Sid::new(parent).ok()).into(),
                beside.into(),
                share.into(),
            ];
            let column = |source: &Source| match source {
                Source::Column(at) => whole[*at].clone(),
                _ => Value::Null,
            };
            let row: Row = select.sources.iter().map(column).collect();
            if holds(filter, &row) {
                rows.push(row);
            }
        }
        for (at, code) in codes.iter().enumerate().rev() {
            let mut longer = prefix.clone();
            longer.push(*code);
            if wanted.iter().any(|nodes| nodes.admits(&longer)) {
                stack.push((first + at as u32, longer, codes.len() - 1, trie.count(node)));
            }
        }
    }
    Ok(rows)
}

/// The number of nodes of the tree that `codes` alone means; none where it means none.
pub(super) fn nodes_in_use(reading: Reading<'_>) -> Result<u64> {
    let published: Vec<GenerationNo> =
        codebooks::all(reading.view)?.iter().filter_map(|one| one.published).collect();
    match published.as_slice() {
        [one] => Ok(reading.cache.index(reading.view, *one)?.trie.nodes() as u64 - 1),
        _ => Ok(0),
    }
}

/// One row for each group of prefixes, in the order of the tree: its keys, then its counts. No item is read.
pub(super) fn count(
    reading: Reading<'_>,
    select: &Select,
    group: &Group,
    levels: usize,
) -> Result<Vec<Row>> {
    let view = reading.view;
    let (generation, ranges) = match &select.access {
        Access::Prefixes { generation, prefixes, .. } => {
            (*generation, prefixes.iter().map(|prefix| SidRange::under(prefix)).collect())
        }
        Access::Reach(reach) | Access::Sids(reach) => (reach.generation, reach.ranges.clone()),
        _ => return Ok(Vec::new()),
    };
    let mut groups: Vec<(Option<Sid>, u64)> = Vec::new();
    if group.keys.is_empty() {
        let found = reach::tally_within(view, generation, ranges, 0)?;
        groups.push((None, found.iter().map(|(_, count)| count).sum()));
    } else {
        for (codes, count) in reach::tally_within(view, generation, ranges, levels)? {
            groups.push((Some(Sid::new(&codes)?), count));
        }
    }
    reading.progress.check()?;
    // Items without a SID are a group of their own where nothing is asked of their SIDs.
    let bare = match &select.access {
        Access::Sids(_) => items::count(view)? - generations::must(view, generation)?.items,
        _ => 0,
    };
    if bare > 0 && !group.keys.is_empty() {
        groups.push((None, 0));
    }
    let row = |(prefix, coded): (Option<Sid>, u64)| {
        let bare = if prefix.is_none() { bare } else { 0 };
        let source = vec![prefix.into()];
        let mut row: Row = group.keys.iter().map(|key| eval(key, &source)).collect();
        // A count of SIDs leaves out the items that have none.
        let counts = group.aggregates.iter().map(|one| match one.over {
            None => coded + bare,
            Some(_) => coded,
        });
        row.extend(counts.map(Value::from));
        row
    };
    Ok(groups.into_iter().map(row).collect())
}
