//! DESCRIBE PREFIX: what the items under a prefix have in common, and what sets them apart from those beside it.

mod contrast;
mod steps;
mod words;

use std::collections::BTreeMap;

use serde_json::Value as Json;
use sidql_storage::{
    Body, EvidenceKind, Field, FieldType, FieldValue, Generation, Item, Space, View, fields, items,
    sids,
};

use super::Context;
use super::describe::Facts;
use super::near::{centroid, nearest_under};
use crate::count::counted;
use crate::derive::subject::{body, subject};
use crate::enrich::Subject;
use crate::error::{Error, Result};
use crate::value::{Rows, Sid};
use contrast::{Contrast, Telling};

/// Items of a prefix that are shown as examples.
const EXAMPLES: usize = 5;
/// Children that are shown, the largest first.
const CHILDREN: usize = 8;
/// Words that are shown of a child.
const CHILD_TERMS: usize = 4;
/// Words and descriptors that are shown of a prefix.
const TERMS: usize = 10;
/// Values of a field that are shown of a prefix.
const VALUES: usize = 4;
/// A text of more characters is no value to compare items by.
const LONG: usize = 60;
/// Fields that hold a text of each item, not a value that several share.
const TEXTS: [&str; 4] = ["title", "description", "caption", "descriptors"];
/// Fields whose words say who made an item, not what it is.
const MAKERS: [&str; 4] = ["brand", "manufacturer", "store", "maker"];

/// What is counted among the items under the parent of a prefix.
struct Counts {
    /// The words of titles, under the prefix and beside it.
    terms: Contrast,
    /// The words of titles by child.
    children: BTreeMap<u16, Contrast>,
    descriptors: Contrast,
    /// The values of each field.
    fields: Vec<Contrast>,
    quality: [Mean; 2],
}

#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn get(self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

/// Size, share, children, the words, descriptors and values that set the prefix apart from its siblings, quality, where
/// users go next, and the items in its middle.
pub(super) fn describe(
    context: &Context<'_>,
    prefix: &[u16],
    generation: &Generation,
    space: Option<&Space>,
) -> Result<Rows> {
    let view = context.view()?;
    let sid = Sid::new(prefix)?;
    let count = sids::count_under(view, generation.number, prefix)?;
    if count == 0 {
        return Err(Error::input("empty-prefix", format!("no item lies under {sid}"))
            .help("SELECT prefix, items FROM codes WHERE level = 1 lists the first level"));
    }
    let mut facts = Facts::new();
    facts.add("prefix", sid.to_string());
    facts.add("codebook", format!("{}, generation {}", generation.codebook, generation.ordinal));
    facts.add("items", count);
    let parent = &prefix[..prefix.len() - 1];
    let of_parent = sids::count_under(view, generation.number, parent)?;
    let above = Sid::new(parent).map_or_else(|_| "all items".to_owned(), |sid| sid.to_string());
    facts.add("share", format!("{:.1} % of {above}", 100.0 * count as f64 / of_parent as f64));
    let schema = fields::all(view)?;
    let counts = survey(context, prefix, generation, &schema)?;
    tell(&schema, &counts, &mut facts);
    if let Some(steps) = steps::of(context, generation.number, prefix)? {
        facts.add("next items", steps);
    }
    children(context, prefix, generation, count, &counts, &mut facts)?;
    examples(context, prefix, generation, space, &schema, &mut facts)?;
    Ok(facts.0)
}

/// Goes once through the items under the parent.
fn survey(
    context: &Context<'_>,
    prefix: &[u16],
    generation: &Generation,
    schema: &[Field],
) -> Result<Counts> {
    let view = context.view()?;
    let mut counts = Counts {
        terms: Contrast::default(),
        children: BTreeMap::new(),
        descriptors: Contrast::default(),
        fields: vec![Contrast::default(); schema.len()],
        quality: [Mean::default(); 2],
    };
    let parent = &prefix[..prefix.len() - 1];
    for row in sids::items_under(view, generation.number, parent)? {
        let (sid, number) = row?;
        context.progress.check()?;
        let Some(item) = items::get(view, number)? else { continue };
        let subject = subject(view, schema, number, &item)?;
        let under = sid.starts_with(prefix);
        let terms = words::terms(&told(&subject), &maker(&subject));
        if let Some(code) = sid.codes().get(prefix.len()).filter(|_| under) {
            counts.children.entry(*code).or_default().add(terms.clone(), true);
        }
        counts.terms.add(terms, under);
        let named = subject.descriptors.into_iter().map(|one| one.text.to_lowercase());
        counts.descriptors.add(named.collect(), under);
        for (at, value) in &item.fields {
            if let Some(counts) = counts.fields.get_mut(*at as usize) {
                counts.add(values(value), under);
            }
        }
        if let Some(Body::Quality { score, .. }) = body(view, EvidenceKind::Quality, number)? {
            counts.quality[usize::from(!under)].add(f64::from(score));
        }
    }
    Ok(counts)
}

/// What an item is called: its title and the caption of its photo, or all its text where there is no title.
fn told(subject: &Subject) -> String {
    let named = |name: &str| subject.field(name).and_then(Json::as_str).unwrap_or_default();
    match named("title") {
        "" => subject.text(None),
        title => format!("{title}\n{}", named("caption")),
    }
}

/// The words of who made an item.
fn maker(subject: &Subject) -> String {
    let names = MAKERS.iter().filter_map(|name| subject.field(name)?.as_str());
    names.collect::<Vec<_>>().join(" ")
}

/// The values of a field that items can share.
fn values(value: &FieldValue) -> Vec<String> {
    match value {
        FieldValue::Text(text) if text.chars().count() <= LONG => vec![text.clone()],
        FieldValue::List(list) => list.clone(),
        _ => Vec::new(),
    }
}

/// The words, descriptors, values and quality that set the prefix apart.
fn tell(schema: &[Field], counts: &Counts, facts: &mut Facts) {
    let shares = |found: Vec<Telling>| {
        let share = |one: Telling| format!("{} {:.0} %", one.thing, 100.0 * one.inside);
        found.into_iter().map(share).collect::<Vec<_>>().join(", ")
    };
    let terms = shares(counts.terms.telling(TERMS));
    facts.add("terms", if terms.is_empty() { "none that siblings lack".to_owned() } else { terms });
    let descriptors = shares(counts.descriptors.telling(TERMS));
    if !descriptors.is_empty() {
        facts.add("descriptors", descriptors);
    }
    for (field, contrast) in schema.iter().zip(&counts.fields) {
        let shared = matches!(field.kind, FieldType::Text | FieldType::List);
        let is_text = TEXTS.iter().any(|name| field.name.eq_ignore_ascii_case(name));
        if !shared || is_text || !contrast.repeats() {
            continue;
        }
        let beside = |one: Telling| {
            let (inside, beside) = (100.0 * one.inside, 100.0 * one.beside);
            format!("{} {inside:.0} % (beside it {beside:.0} %)", one.thing)
        };
        let found = contrast.telling(VALUES).into_iter().map(beside).collect::<Vec<_>>();
        if !found.is_empty() {
            facts.add(field.name.as_str(), found.join(", "));
        }
    }
    let [inside, beside] = counts.quality;
    if inside.count > 0 {
        let over = counted(inside.count, "item");
        let mut quality = format!("{:.3} over {over}", inside.get());
        if beside.count > 0 {
            quality += &format!(" (beside it {:.3})", beside.get());
        }
        facts.add("quality", quality);
    }
}

/// The largest children, each with what sets it apart from the others.
fn children(
    context: &Context<'_>,
    prefix: &[u16],
    generation: &Generation,
    count: u64,
    counts: &Counts,
    facts: &mut Facts,
) -> Result<()> {
    if prefix.len() >= generation.levels as usize {
        return Ok(());
    }
    let index = context.engine.cache.index(context.view()?, generation.number)?;
    let Some(node) = index.trie.node_of(prefix) else { return Ok(()) };
    let (codes, first) = index.trie.children(node);
    let mut sizes: Vec<(u16, usize)> =
        codes.iter().zip(first..).map(|(code, child)| (*code, index.trie.count(child))).collect();
    sizes.sort_by_key(|(code, size)| (std::cmp::Reverse(*size), *code));
    if sizes.iter().all(|(_, size)| *size == 1) {
        facts.add("children", format!("{}, each of one item", sizes.len()));
        return Ok(());
    }
    facts.add("children", sizes.len());
    for (code, size) in sizes.iter().take(CHILDREN) {
        let mut child = prefix.to_vec();
        child.push(*code);
        let share = 100.0 * *size as f64 / count as f64;
        let found = counts
            .children
            .get(code)
            .map_or_else(Vec::new, |one| one.among(&counts.terms).telling(CHILD_TERMS));
        let terms: Vec<String> = found.into_iter().map(|one| one.thing).collect();
        let mut said = format!("{} ({share:.1} %)", counted(*size, "item"));
        if !terms.is_empty() {
            said += &format!(": {}", terms.join(", "));
        }
        facts.add(format!("child {}", Sid::new(&child)?), said);
    }
    Ok(())
}

/// The items nearest to the centre of the prefix; where there are no vectors, the first ones.
fn examples(
    context: &Context<'_>,
    prefix: &[u16],
    generation: &Generation,
    space: Option<&Space>,
    schema: &[Field],
    facts: &mut Facts,
) -> Result<()> {
    let view = context.view()?;
    let mut numbers = Vec::new();
    if let Some(space) = space
        && let Some(centre) = centroid(context.reading()?, space, generation.number, prefix)?
    {
        let place = (generation.number, prefix);
        numbers = nearest_under(context.reading()?, space, place, &centre, EXAMPLES)?;
    }
    if numbers.is_empty() {
        let first = sids::items_under(view, generation.number, prefix)?.take(EXAMPLES);
        numbers = first.map(|row| Ok(row?.1)).collect::<Result<_>>()?;
    }
    for number in numbers {
        if let Some(item) = items::get(view, number)? {
            facts.add(format!("example {}", item.id), name(view, schema, number, &item)?);
        }
    }
    Ok(())
}

/// What a person calls an item: its title, or how its text begins.
fn name(view: &dyn View, schema: &[Field], number: u64, item: &Item) -> Result<String> {
    let subject = subject(view, schema, number, item)?;
    Ok(match subject.field("title").and_then(Json::as_str) {
        Some(title) => title.to_owned(),
        None => subject.text(None).chars().take(2 * LONG).collect(),
    })
}
