//! COMPARE CODEBOOK: how far two codebooks agree on the same items, and the items on which they do not.

use std::collections::{HashMap, HashSet};

use sidql_storage::{Body, EvidenceKind, ItemNo, fields, items, sids};

use super::{Context, Outcome, select};
use crate::derive::subject::body;
use crate::error::Result;
use crate::plan::compare::CompareCodebooks;
use crate::quantize::agreement::{Contingency, groups};
use crate::value::{Rows, Sid, Value};

/// Items of a prefix among which the two that look most alike are sought.
const MOST_PAIRED: usize = 64;

/// The SIDs of the items that are compared.
#[derive(Default)]
struct Both {
    /// Items that both generations have, ascending, with their SIDs.
    rows: Vec<(ItemNo, Sid, Sid)>,
    only_left: u64,
    only_right: u64,
}

/// Runs a COMPARE CODEBOOK.
pub(crate) fn codebooks(context: &Context<'_>, compare: &CompareCodebooks) -> Result<Outcome> {
    let both = read(context, compare)?;
    Ok(Outcome::Rows(if compare.options.rows {
        cases(context, compare, &both)?
    } else {
        figures(context, compare, &both)?
    }))
}

fn read(context: &Context<'_>, compare: &CompareCodebooks) -> Result<Both> {
    let view = context.view()?;
    let only: Option<HashSet<ItemNo>> = match &compare.only {
        Some(only) => Some(select::numbers(context.reading()?, only)?.into_iter().collect()),
        None => None,
    };
    let wanted = |number: &ItemNo| only.as_ref().is_none_or(|only| only.contains(number));
    let mut left: HashMap<ItemNo, Sid> = HashMap::new();
    for row in sids::by_item(view, compare.left.number)? {
        let (number, sid) = row?;
        if wanted(&number) {
            left.insert(number, sid);
        }
    }
    context.progress.check()?;
    let mut both = Both::default();
    for row in sids::by_item(view, compare.right.number)? {
        let (number, sid) = row?;
        if !wanted(&number) {
            continue;
        }
        match left.remove(&number) {
            Some(old) => both.rows.push((number, old, sid)),
            None => both.only_right += 1,
        }
    }
    both.only_left = left.len() as u64;
    Ok(both)
}

/// One row for each level that both have.
fn figures(context: &Context<'_>, compare: &CompareCodebooks, both: &Both) -> Result<Rows> {
    let mut rows = Rows::new([
        "level",
        "items",
        "only_a",
        "only_b",
        "same",
        "same_share",
        "prefixes_a",
        "prefixes_b",
        "ami",
        "ari",
        "pairs_a",
        "parted",
        "pairs_b",
        "joined",
    ]);
    let (wide, broad) = (usize::from(compare.left.levels), usize::from(compare.right.levels));
    let left: Vec<u16> = both.rows.iter().flat_map(|(_, sid, _)| sid.codes()).copied().collect();
    let right: Vec<u16> = both.rows.iter().flat_map(|(_, _, sid)| sid.codes()).copied().collect();
    for depth in 1..=wide.min(broad) {
        context.progress.check()?;
        let table = Contingency::new(&groups(&left, wide, depth), &groups(&right, broad, depth));
        let equal = |(_, l, r): &&(ItemNo, Sid, Sid)| l.codes()[..depth] == r.codes()[..depth];
        let same = both.rows.iter().filter(equal).count();
        let (in_left, in_right) = table.groups();
        let (pairs_left, pairs_right, together) = table.pairs();
        let share = |part: u64, of: u64| (of > 0).then(|| rounded(part as f64 / of as f64));
        rows.push(vec![
            sidql_storage::level_name(depth - 1).into(),
            both.rows.len().into(),
            both.only_left.into(),
            both.only_right.into(),
            same.into(),
            share(same as u64, both.rows.len() as u64).into(),
            in_left.into(),
            in_right.into(),
            table.mutual_information(context.progress)?.map(rounded).into(),
            table.rand_index().map(rounded).into(),
            pairs_left.into(),
            share(pairs_left - together, pairs_left).into(),
            pairs_right.into(),
            share(pairs_right - together, pairs_right).into(),
        ]);
    }
    Ok(rows)
}

/// Four decimals, which is what a reader can use.
fn rounded(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}

/// A prefix of the one codebook whose items the other parts.
struct Case {
    /// Places of the two items that look most alike among those that are parted, then of others.
    places: Vec<usize>,
    /// How much those two look alike: the share of the words of their titles that are in both.
    alike: f64,
}

/// The items that share a prefix in the one codebook and are parted in the other, those first whose titles are most
/// alike.
fn cases(context: &Context<'_>, compare: &CompareCodebooks, both: &Both) -> Result<Rows> {
    let view = context.view()?;
    let schema = fields::all(view)?;
    let deepest = usize::from(compare.left.levels.min(compare.right.levels));
    let level = compare.options.level.unwrap_or(deepest.min(2));
    let mut by_prefix: HashMap<&[u16], Vec<usize>> = HashMap::new();
    for (place, (_, sid, _)) in both.rows.iter().enumerate() {
        by_prefix.entry(&sid.codes()[..level]).or_default().push(place);
    }
    let parts = |places: &[usize]| {
        let there = |place: &usize| &both.rows[*place].2.codes()[..level];
        places.iter().any(|place| there(place) != there(&places[0]))
    };
    let mut parted: Vec<(&[u16], Vec<usize>)> =
        by_prefix.into_iter().filter(|(_, places)| parts(places)).collect();
    parted.sort();
    let mut found = Vec::with_capacity(parted.len());
    for (_, places) in parted {
        context.progress.check()?;
        let mut titles = Vec::new();
        for place in places.iter().take(MOST_PAIRED) {
            let item = items::get(view, both.rows[*place].0)?;
            titles.push(words(&item.map_or(String::new(), |item| title(&schema, &item))));
        }
        found.push(case(both, level, places, &titles));
    }
    // Prefixes stand in order, and the sort keeps it among equals.
    found.sort_by(|a, b| b.alike.total_cmp(&a.alike));
    let mut rows = Rows::new(["case", "id", "title", "descriptors", "a", "b", "caption", "alike"]);
    for (at, case) in found.iter().take(compare.options.cases).enumerate() {
        for place in case.places.iter().take(compare.options.items) {
            let (number, left, right) = &both.rows[*place];
            let Some(item) = items::get(view, *number)? else { continue };
            let descriptors = match body(view, EvidenceKind::Intent, *number)? {
                Some(Body::Descriptors(list)) => {
                    Value::List(list.into_iter().map(|one| one.text.into()).collect())
                }
                _ => Value::Null,
            };
            let caption = match body(view, EvidenceKind::Caption, *number)? {
                Some(Body::Caption(caption)) => Value::Text(caption),
                _ => Value::Null,
            };
            rows.push(vec![
                (at + 1).into(),
                item.id.as_str().into(),
                title(&schema, &item).into(),
                descriptors,
                Value::Sid(left.clone()),
                Value::Sid(right.clone()),
                caption,
                rounded(case.alike).into(),
            ]);
        }
    }
    Ok(rows)
}

/// The items of a prefix, the two first that look most alike and are parted at the level.
fn case(both: &Both, level: usize, mut places: Vec<usize>, titles: &[HashSet<String>]) -> Case {
    let there = |place: usize| &both.rows[place].2.codes()[..level];
    let mut best: Option<(f64, usize, usize)> = None;
    for one in 0..titles.len() {
        for other in one + 1..titles.len() {
            let alike = alike(&titles[one], &titles[other]);
            if there(places[one]) != there(places[other])
                && best.is_none_or(|(most, _, _)| alike > most)
            {
                best = Some((alike, one, other));
            }
        }
    }
    let Some((alike, one, other)) = best else { return Case { places, alike: 0.0 } };
    let second = places.remove(other);
    let first = places.remove(one);
    places.splice(0..0, [first, second]);
    Case { places, alike }
}

fn words(title: &str) -> HashSet<String> {
    let words = title.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// The share of the words of two texts that are in both.
fn alike(one: &HashSet<String>, other: &HashSet<String>) -> f64 {
    let shared = one.intersection(other).count();
    shared as f64 / (one.len() + other.len() - shared).max(1) as f64
}

/// The title of an item, or its first text.
fn title(schema: &[sidql_storage::Field], item: &sidql_storage::Item) -> String {
    let named = schema.iter().position(|field| field.name == "title");
    let value = named.and_then(|at| item.field(at as u16)).or(item.fields.first().map(|(_, v)| v));
    value.map_or(String::new(), |value| crate::schema::value_of(value).to_string())
}
