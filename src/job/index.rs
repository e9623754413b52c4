//! REBUILD INDEX: a vector index of a snapshot of its space.
//!
//! Vectors that change meanwhile, and after, are compared beside the index; it says of which state it was built.

use serde::{Deserialize, Serialize};
use sidql_storage::{Index, blobs, changes, indexes, spaces};

use super::{Answer, Context, Kind};
use crate::clock::now_ms;
use crate::count::{counted, grouped};
use crate::error::{Error, Result};
use crate::index::{self, Source, Vectors};
use crate::kind;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "index",
    summary: "REBUILD INDEX: builds a vector index of the vectors that its space has",
    run,
};

/// What to build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The index.
    pub(crate) index: String,
}

fn run(context: &Context<'_>, spec: &str) -> Result<Answer> {
    let spec: Spec = serde_json::from_str(spec)?;
    let read = context.read()?;
    let record = indexes::get(&read, &spec.index)?.ok_or_else(|| gone(&spec.index))?;
    let kind = kind::find(index::KINDS, "index kind", &record.kind)?;
    let Some(made) = &kind.made else {
        let message = format!("indexes of kind `{}` are not built", kind.name);
        return Err(Error::internal(message));
    };
    let space = spaces::must(&read, &record.space)?;
    if space.count == 0 {
        let message = format!("space `{}` has no vectors to index", space.name);
        let help = format!("ENRICH items BY {};", space.name);
        return Err(Error::input("no-embeddings", message).help(help));
    }
    context.progress.stage("reading vectors", 0);
    let vectors = Vectors::load(&read, &space, context.progress)?;
    let revision = changes::revision(&read, &space)?;
    drop(read);
    let (items, values) = vectors.all();
    let stamp = xxhash_rust::xxh3::xxh3_64(
        format!("{} {revision} {}", space.number, record.config).as_bytes(),
    );
    let source = Source { items, values, dim: space.dim as usize, stamp };
    let config = serde_json::from_str(&record.config)?;
    let bytes = (made.build)(&config, &source, context.progress, &context.slot)?;
    context.progress.check()?;
    let write = context.write()?;
    let known = indexes::get(&write, &record.name)?.ok_or_else(|| gone(&spec.index))?;
    if (known.created_ms, &known.config) != (record.created_ms, &record.config) {
        return Err(gone(&spec.index));
    }
    let built = Index {
        artefact: Some(blobs::put(&write, &bytes)?),
        space_number: space.number,
        revision,
        source_hash: space.source_hash,
        rows: items.len() as u64,
        built_ms: Some(now_ms()),
        ..known
    };
    indexes::update(&write, &built)?;
    let said = format!(
        "index `{}` built of {}, {} KiB",
        built.name,
        counted(items.len(), "vector"),
        grouped(bytes.len() as u64 / 1024)
    );
    context.publish(write, Answer::say(said))
}

fn gone(name: &str) -> Error {
    Error::input("no-index", format!("index `{name}` has been dropped"))
        .help("SHOW INDEXES lists those that there are")
}
