//! The steps that make what follows from the rest: vector indexes.

use sidql_storage::{
    Index, Result, Space, Write, blobs, changes, embeddings, indexes as built, spaces,
};

fn index(write: &Write, name: &str, space: &Space, bytes: &[u8]) -> Result<Index> {
    Ok(Index {
        name: name.into(),
        space: space.name.clone(),
        kind: "faiss".into(),
        config: "{\"nprobe\":8}".into(),
        artefact: Some(blobs::put(write, bytes)?),
        space_number: space.number,
        revision: changes::revision(write, space)?,
        source_hash: space.source_hash,
        rows: space.count,
        created_ms: 1_700_000_000_020,
        built_ms: Some(1_700_000_000_021),
    })
}

/// Two indexes of the text space, and one of a space that is dropped with it.
pub(super) fn indexes(write: &Write) -> Result<()> {
    let text = spaces::must(write, "text")?;
    built::create(write, &index(write, "near", &text, &[3; 700])?)?;
    let bare = Index { name: "bare".into(), space: "text".into(), ..Index::default() };
    built::create(write, &bare)?;
    built::update(write, &Index { kind: "sid".into(), ..bare })?;
    let other = Space { name: "other".into(), dim: 2, ..Space::default() };
    let other = spaces::create(write, &other)?;
    embeddings::put_many(write, "other", [(0, [1.0, 2.0]), (1, [2.0, 1.0])])?;
    built::create(write, &index(write, "gone", &other, &[4; 20])?)?;
    spaces::drop(write, "other").map(|_| ())
}

/// A vector changes and another goes, so the index covers less; it is built anew.
pub(super) fn again(write: &Write) -> Result<()> {
    embeddings::put(write, "text", 7, &[9.0, 8.0, 7.0])?;
    let text = spaces::must(write, "text")?;
    built::update(write, &index(write, "near", &text, &[6; 800])?)?;
    embeddings::delete(write, "text", 8)
}
