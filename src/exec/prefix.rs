//! DESCRIBE PREFIX: what the items under a prefix have in common.

use std::collections::HashMap;

use sidql_storage::{Body, EvidenceKind, Generation, fields, items, sids};

use super::Context;
use super::describe::Facts;
use crate::count::counted;
use crate::derive::subject::{body, subject};
use crate::error::{Error, Result};
use crate::value::{Rows, Sid};

/// Items of a prefix that are shown as examples.
const EXAMPLES: usize = 5;
/// Words and descriptors that are shown for a prefix.
const TERMS: usize = 10;

/// Size, children with their shares, the words that set the prefix apart from its siblings, and examples.
pub(super) fn describe(
    context: &Context<'_>,
    prefix: &[u16],
    generation: &Generation,
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
    children(context, prefix, generation, count, &mut facts)?;
    terms(context, prefix, parent, generation, &mut facts)?;
    Ok(facts.0)
}

fn children(
    context: &Context<'_>,
    prefix: &[u16],
    generation: &Generation,
    count: u64,
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
    facts.add("children", sizes.len());
    for (code, size) in sizes.iter().take(EXAMPLES) {
        let mut child = prefix.to_vec();
        child.push(*code);
        let share = 100.0 * *size as f64 / count as f64;
        facts.add(
            format!("child {}", Sid::new(&child)?),
            format!("{} ({share:.1} %)", counted(*size, "item")),
        );
    }
    Ok(())
}

/// What is counted among the items under the prefix, and among those beside it.
#[derive(Default)]
struct Contrast {
    inside: HashMap<String, u32>,
    outside: HashMap<String, u32>,
}

impl Contrast {
    /// Counts what one item has, each thing once.
    fn add(&mut self, mut things: Vec<String>, under: bool) {
        things.sort_unstable();
        things.dedup();
        let counts = if under { &mut self.inside } else { &mut self.outside };
        for thing in things {
            *counts.entry(thing).or_default() += 1;
        }
    }

    /// What is more common under the prefix than beside it, by log-odds with add-one smoothing.
    fn telling(self, members: f64, others: f64) -> String {
        let odds = |count: f64, all: f64| ((count + 1.0) / (all - count + 1.0)).ln();
        let common = |count: u32| f64::from(count) * 4.0 >= members.min(8.0);
        let mut ranked: Vec<(f64, String)> = self
            .inside
            .into_iter()
            .filter(|(_, count)| common(*count))
            .map(|(thing, count)| {
                let beside = f64::from(self.outside.get(&thing).copied().unwrap_or_default());
                (odds(f64::from(count), members) - odds(beside, others), thing)
            })
            .collect();
        ranked.sort_by(|l, r| r.0.total_cmp(&l.0).then_with(|| l.1.cmp(&r.1)));
        let first = ranked.into_iter().take(TERMS).map(|(_, thing)| thing);
        first.collect::<Vec<_>>().join(", ")
    }
}

/// The words and descriptors that set the prefix apart from its siblings, its quality, and examples.
fn terms(
    context: &Context<'_>,
    prefix: &[u16],
    parent: &[u16],
    generation: &Generation,
    facts: &mut Facts,
) -> Result<()> {
    let view = context.view()?;
    let schema = fields::all(view)?;
    let (mut words, mut descriptors) = (Contrast::default(), Contrast::default());
    let (mut members, mut others) = (0f64, 0f64);
    let (mut quality, mut judged) = (0f64, 0u32);
    let mut examples = Vec::new();
    for row in sids::items_under(view, generation.number, parent)? {
        let (sid, number) = row?;
        context.progress.check()?;
        let Some(item) = items::get(view, number)? else { continue };
        let subject = subject(view, &schema, number, &item)?;
        let under = sid.starts_with(prefix);
        *(if under { &mut members } else { &mut others }) += 1.0;
        words.add(words_of(&subject.text(None)), under);
        let named = subject.descriptors.into_iter().map(|one| one.text.to_lowercase());
        descriptors.add(named.collect(), under);
        if !under {
            continue;
        }
        if let Some(Body::Quality { score, .. }) = body(view, EvidenceKind::Quality, number)? {
            quality += f64::from(score);
            judged += 1;
        }
        if examples.len() < EXAMPLES {
            examples.push((item.id.clone(), title(&schema, &item)));
        }
    }
    facts.add("terms", words.telling(members, others));
    let descriptors = descriptors.telling(members, others);
    if !descriptors.is_empty() {
        facts.add("descriptors", descriptors);
    }
    if judged > 0 {
        let mean = quality / f64::from(judged);
        facts.add("quality", format!("{mean:.3} over {}", counted(judged as usize, "item")));
    }
    for (id, title) in examples {
        facts.add(format!("example {id}"), title);
    }
    Ok(())
}

/// The words of a text that can tell something.
fn words_of(text: &str) -> Vec<String> {
    let tells =
        |word: &&str| word.chars().count() > 2 && !word.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.to_lowercase();
    text.split(|c: char| !c.is_alphanumeric()).filter(tells).map(str::to_owned).collect()
}

/// The title of an item, or its first text.
pub(super) fn title(schema: &[sidql_storage::Field], item: &sidql_storage::Item) -> String {
    let named = schema.iter().position(|field| field.name == "title");
    let value = named.and_then(|at| item.field(at as u16)).or(item.fields.first().map(|(_, v)| v));
    value.map_or(String::new(), |value| crate::schema::value_of(value).to_string())
}
