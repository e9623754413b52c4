//! DESCRIBE CODEBOOK: a codebook, one generation of it, its health, and whether it still fits the catalogue.

use sidql_storage::{Codebook, Generation, level_name};

use super::Context;
use super::describe::Facts;
use crate::clock::format_ms;
use crate::count::grouped;
use crate::derive::drift::{self, Drift};
use crate::error::Result;
use crate::job::import::FOREIGN;
use crate::quantize::Health;
use crate::quantize::health::{Band, Buckets};
use crate::quantize::usage::Part;
use crate::value::Rows;

/// The facts of a codebook and a generation.
pub(super) fn describe(
    context: &Context<'_>,
    codebook: &Codebook,
    generation: Option<&Generation>,
) -> Result<Rows> {
    let mut facts = Facts::new();
    facts.add("codebook", codebook.name.as_str());
    facts.add("kind", codebook.kind.as_str());
    facts.add("space", if codebook.space.is_empty() { "none" } else { &codebook.space });
    let Some(generation) = generation else {
        facts.json("option ", &codebook.config)?;
        facts.add("generation", format!("none yet; {}", made_by(codebook)));
        return Ok(facts.0);
    };
    let published = codebook.published == Some(generation.number);
    facts.json("option ", &generation.config)?;
    facts.add("generation", generation.ordinal);
    facts.add("state", if published { "published" } else { generation.state.name() });
    facts.add("made", format_ms(generation.created_ms));
    facts.add("items", generation.items);
    let index = context.engine.cache.index(context.view()?, generation.number)?;
    facts.add("prefixes", index.trie.nodes() - 1);
    let health = drift::health_of(generation)?;
    levels(&mut facts, &health);
    collisions(&mut facts, &health, generation.artefact.is_some());
    usage(&mut facts, &health);
    kept(&mut facts, &health);
    let view = context.view()?;
    let cache = &context.engine.cache;
    if let Some(found) = drift::drift(view, cache, generation, &health, context.progress)? {
        since(&mut facts, codebook, &found);
    }
    Ok(facts.0)
}

/// The statement that makes a generation.
fn made_by(codebook: &Codebook) -> String {
    let name = &codebook.name;
    match codebook.kind.as_str() {
        FOREIGN => format!("COPY codes FROM '…' WITH (codebook = '{name}')"),
        _ => format!("REBUILD CODEBOOK {name}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn levels(facts: &mut Facts, health: &Health) {
    for (at, level) in health.levels.iter().enumerate() {
        let error = level.error.map_or(String::new(), |error| format!(", error {error:.4}"));
        facts.add(
            format!("level {}", level_name(at)),
            format!(
                "{} of {} codes used, {} dead, perplexity {:.1}, gini {:.3}{error}",
                level.used, level.codes, level.dead, level.perplexity, level.gini
            ),
        );
    }
    for (at, level) in health.levels.iter().enumerate().skip(1) {
        let Some(fan) = level.fan_out else { continue };
        facts.add(
            format!("fan-out to {}", level_name(at)),
            format!(
                "{} prefixes, {:.1} under one above on average, {} in the middle, {} at most",
                grouped(level.prefixes as u64),
                fan.mean,
                fan.median,
                fan.most
            ),
        );
    }
    if let Some(error) = health.error {
        facts.add("reconstruction error", format!("{error:.4}"));
    }
    if let Some(marks) = health.residual {
        facts.add(
            "relative residual",
            format!(
                "half up to {:.3}, 90 % up to {:.3}, 95 % up to {:.3}, 99 % up to {:.3}",
                marks.p50, marks.p90, marks.p95, marks.p99
            ),
        );
    }
}

fn collisions(facts: &mut Facts, health: &Health, trained: bool) {
    let told = |buckets: Buckets, bands: &[Band]| {
        let band = |band: &Band| {
            let items = match (band.least, band.most) {
                (least, most) if least == most => format!("{least}"),
                (least, most) => format!("{least} to {most}"),
            };
            format!("{} with {items}", grouped(band.sids as u64))
        };
        let bands: Vec<String> = bands.iter().map(band).collect();
        let bands =
            if bands.is_empty() { String::new() } else { format!("; sids: {}", bands.join(", ")) };
        let share = 100.0 * buckets.share;
        format!("{} items ({share:.2} %), largest bucket {}{bands}", buckets.items, buckets.largest)
    };
    if trained {
        facts.add("collisions before repair", told(health.native, &health.native_histogram));
    }
    let after = if trained { "collisions after" } else { "collisions" };
    facts.add(after, told(health.repaired, &health.histogram));
    if trained {
        facts.add("moved to be unique", health.moved);
        facts.add("suffix level", health.suffix);
    }
}

fn usage(facts: &mut Facts, health: &Health) {
    if let Some(found) = &health.behaviour {
        for (at, (shared, chance)) in found.shared.iter().zip(&found.chance).enumerate() {
            let lift = if *chance > 0.0 {
                format!(", {:.1} times", shared / chance)
            } else {
                String::new()
            };
            facts.add(
                format!("followers share {}", level_name(at)),
                format!(
                    "{} of {} pairs, {:.3} % by chance{lift}",
                    percent(*shared),
                    grouped(found.pairs),
                    100.0 * chance
                ),
            );
        }
    }
    if let Some(found) = &health.themes {
        for (at, (information, purity)) in found.information.iter().zip(&found.purity).enumerate() {
            let information = information.map_or("by chance alone".to_owned(), |x| {
                format!("{:.3}", (x * 1e3).round() / 1e3 + 0.0)
            });
            facts.add(
                format!("{} and level {}", found.field, level_name(at)),
                format!(
                    "adjusted mutual information {information}, purity {purity:.3}; {} categories of {} items",
                    grouped(found.categories as u64),
                    grouped(found.items as u64)
                ),
            );
        }
    }
    if let Some(found) = &health.capacity {
        for (name, part) in [("head", &found.head), ("tail", &found.tail)] {
            facts.add(name, room(part));
        }
    }
}

fn room(part: &Part) -> String {
    let level = |(at, (prefixes, share)): (usize, (&usize, &f64))| {
        let each = part.items as f64 / (*prefixes).max(1) as f64;
        format!(
            "{} {} ({}), {each:.1} items each",
            level_name(at),
            grouped(*prefixes as u64),
            percent(*share)
        )
    };
    let levels: Vec<String> =
        part.prefixes.iter().zip(&part.share).enumerate().map(level).collect();
    format!(
        "{} items with {} of interactions; prefixes {}",
        grouped(part.items as u64),
        percent(part.interactions),
        levels.join("; ")
    )
}

fn kept(facts: &mut Facts, health: &Health) {
    let Some(aligned) = &health.aligned else { return };
    let share = aligned.kept as f64 / aligned.items.max(1) as f64;
    facts.add(
        format!("kept of generation {}", aligned.to),
        format!(
            "{} of {} sids ({})",
            grouped(aligned.kept as u64),
            grouped(aligned.items as u64),
            percent(share)
        ),
    );
    let pairs = aligned.items_by_level.iter().zip(&aligned.prefixes_by_level);
    for (at, (items, prefixes)) in pairs.enumerate() {
        facts.add(
            format!("kept prefixes {}", level_name(at)),
            format!("by {} of items; {} of prefixes", percent(*items), percent(*prefixes)),
        );
    }
}

fn since(facts: &mut Facts, codebook: &Codebook, drift: &Drift) {
    facts.add(
        "since the build",
        format!(
            "{} items came, {} went, {} have no code",
            grouped(drift.added),
            grouped(drift.gone),
            grouped(drift.uncoded)
        ),
    );
    if let Some(far) = drift.far.filter(|_| drift.placed > 0) {
        let share = far as f64 / drift.placed as f64;
        facts.add(
            "drift",
            format!(
                "{} of {} items placed since lie beyond the 95th percentile of the build (5 % expected)",
                percent(share),
                grouped(drift.placed as u64)
            ),
        );
    }
    if !drift.reasons.is_empty() {
        facts.add("advice", format!("{}; {}", made_by(codebook), drift.reasons.join("; ")));
    }
}
