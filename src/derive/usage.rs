//! What is known of items beside their vectors, read for the health of a codebook.

use std::collections::HashMap;

use sidql_storage::{FieldValue, ItemNo, View, fields, histories, items};

use crate::error::Result;
use crate::progress::Progress;
use crate::quantize::Health;
use crate::quantize::health::of_codes;
use crate::quantize::usage::Usage;

/// Fields that hold categories, the first that there is.
const CATEGORIES: &[&str] = &["categories", "category"];

/// A category that more than this share of the items have tells none of them from another.
const COMMON: f64 = 0.9;

/// The last so many items of a history are validation and test; they are never looked at.
const HELD_OUT: usize = 2;

/// The health of codes that came without codewords: the codes of `numbers` are row-major, one for each of `sizes`,
/// the numbers of codes of the levels.
pub(crate) fn health_of_codes(
    view: &dyn View,
    numbers: &[ItemNo],
    sizes: &[usize],
    codes: &[u16],
    progress: &Progress,
) -> Result<Health> {
    let mut health = of_codes(sizes, codes);
    health.observe(codes, &usage(view, numbers, progress)?, progress)?;
    health.bound = Some(items::bound(view)?);
    Ok(health)
}

/// What users did with these items, as far as training may see it, and their categories.
pub(crate) fn usage(view: &dyn View, numbers: &[ItemNo], progress: &Progress) -> Result<Usage> {
    let rows: HashMap<ItemNo, u32> =
        numbers.iter().enumerate().map(|(row, number)| (*number, row as u32)).collect();
    let mut usage = Usage { counts: vec![0; numbers.len()], ..Usage::default() };
    for row in histories::scan(view, 0)? {
        let (_, mut history) = row?;
        progress.check()?;
        history.truncate(history.len().saturating_sub(HELD_OUT));
        let known: Vec<Option<u32>> =
            history.iter().map(|one| rows.get(&one.item).copied()).collect();
        known.iter().flatten().for_each(|row| usage.counts[*row as usize] += 1);
        let pairs = known.windows(2).filter_map(|pair| Some((pair[0]?, pair[1]?)));
        usage.pairs.extend(pairs);
    }
    usage.themes = themes(view, &rows, progress)?;
    Ok(usage)
}

/// The categories of the items: of a field that is a path, from the general to the special, the first step that does
/// not put nearly all items together.
fn themes(
    view: &dyn View,
    rows: &HashMap<ItemNo, u32>,
    progress: &Progress,
) -> Result<Option<(String, Vec<Option<u32>>)>> {
    let schema = fields::all(view)?;
    let named =
        |wanted: &str| schema.iter().position(|field| field.name.eq_ignore_ascii_case(wanted));
    let Some(at) = CATEGORIES.iter().find_map(|wanted| named(wanted)) else { return Ok(None) };
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut paths: Vec<Vec<u32>> = vec![Vec::new(); rows.len()];
    for row in items::scan(view, 0)? {
        let (number, item) = row?;
        progress.check()?;
        let Some(row) = rows.get(&number) else { continue };
        let steps = match item.field(at as u16) {
            Some(FieldValue::Text(text)) => std::slice::from_ref(text),
            Some(FieldValue::List(list)) => list.as_slice(),
            _ => &[],
        };
        for step in steps {
            let next = numbers.len() as u32;
            paths[*row as usize].push(*numbers.entry(step.clone()).or_insert(next));
        }
    }
    let deepest = paths.iter().map(Vec::len).max().unwrap_or(0);
    for step in 0..deepest {
        let found: Vec<Option<u32>> = paths.iter().map(|path| path.get(step).copied()).collect();
        let mut counts: HashMap<u32, usize> = HashMap::new();
        found.iter().flatten().for_each(|category| *counts.entry(*category).or_default() += 1);
        let (all, most) = (counts.values().sum::<usize>(), counts.values().max().copied());
        if most.unwrap_or(0) as f64 <= COMMON * all as f64 {
            return Ok(Some((schema[at].name.clone(), found)));
        }
    }
    Ok(None)
}
