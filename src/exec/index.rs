//! CREATE, DROP and DESCRIBE of vector indexes; REBUILD is a job.

use sidql_storage::{Index, Space, View, blobs, changes, indexes, spaces};

use super::describe::Facts;
use super::{Context, Outcome};
use crate::clock::format_ms;
use crate::error::Result;
use crate::index::KINDS;
use crate::kind;
use crate::value::Rows;

/// Adds an index; it is not built yet.
pub(crate) fn create(context: &mut Context<'_>, index: &Index) -> Result<Outcome> {
    context.change(|write| Ok(indexes::create(write, index)?))?;
    let name = &index.name;
    Ok(Outcome::say(format!("index `{name}` created; REBUILD INDEX {name} builds it")))
}

/// Removes an index.
pub(crate) fn drop(context: &mut Context<'_>, name: &str) -> Result<Outcome> {
    context.change(|write| Ok(indexes::drop(write, name)?))?;
    Ok(Outcome::say(format!("index `{name}` dropped")))
}

/// How an index stands to the vectors of its space: a word, and how many items have a place in blocks of vectors that
/// changed since it was built.
pub(super) fn state(
    view: &dyn View,
    index: &Index,
    space: &Space,
) -> Result<(&'static str, Option<u64>)> {
    let kind = kind::find(KINDS, "index kind", &index.kind)?;
    if index.built_ms.is_none() {
        return Ok(("not built", None));
    }
    if index.space_number != space.number {
        return Ok(("outdated", Some(space.count)));
    }
    let mut changed = 0;
    if changes::revision(view, space)? > index.revision {
        for row in changes::blocks(view, space)? {
            let (_, revision) = row?;
            changed += u64::from(revision > index.revision) * u64::from(space.slots);
        }
    }
    let available = kind.made.as_ref().is_some_and(|made| made.available);
    let state = match (available, changed) {
        (false, _) => "not in this build",
        (true, 0) => "current",
        (true, _) => "behind",
    };
    Ok((state, Some(changed.min(space.count))))
}

/// All that is known of an index.
pub(crate) fn describe(context: &Context<'_>, index: &Index) -> Result<Rows> {
    let view = context.view()?;
    let space = spaces::must(view, &index.space)?;
    let (state, changed) = state(view, index, &space)?;
    let size = index.artefact.map(|blob| blobs::info(view, blob)).transpose()?.flatten();
    let mut facts = Facts::new();
    facts.add("index", index.name.as_str());
    facts.add("kind", index.kind.as_str());
    facts.add("what", kind::find(KINDS, "index kind", &index.kind)?.summary);
    facts.add("space", index.space.as_str());
    facts.json("option ", &index.config)?;
    facts.add("state", state);
    facts.add("vectors", index.built_ms.map(|_| index.rows));
    facts.add("vectors in the space", space.count);
    facts.add("vectors compared beside it", changed);
    facts.add("bytes", size.map(|size| size.length));
    facts.add("created", format_ms(index.created_ms));
    facts.add("built", index.built_ms.map(format_ms));
    Ok(facts.0)
}
