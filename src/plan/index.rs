//! CREATE, REBUILD, DROP and DESCRIBE of vector indexes.

use serde_json::Value as Json;
use sidql_grammar::ast::{self, Name};
use sidql_storage::{Index, indexes};

use super::bind::Catalog;
use super::define::{check_name, taken};
use super::operand;
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::index::{KINDS, Kind};
use crate::job::{self, Spec};
use crate::kind;

/// Resolves CREATE INDEX.
pub(crate) fn create(catalog: &Catalog<'_>, create: &ast::CreateIndex) -> Result<Index> {
    let name = &create.name.node;
    check_name(name, "index").map_err(|error| error.at(create.name.span.clone()))?;
    if KINDS.iter().any(|kind| kind.name.eq_ignore_ascii_case(name)) {
        let message = format!("`{name}` is a kind of index, so no index is called so");
        return Err(Error::input("bad-name", message).at(create.name.span.clone()));
    }
    if indexes::get(catalog.view, name)?.is_some() {
        return Err(taken("index", &create.name));
    }
    let kind = kind::find(KINDS, "index kind", &create.using.node)
        .map_err(|error| error.at(create.using.span.clone()))?;
    if kind.made.is_none() {
        let message = format!("an index of kind `{}` is always there", kind.name);
        return Err(Error::input("needless-index", message)
            .help(format!("SELECT … NEAR … WITH (index = '{}')", kind.name))
            .at(create.using.span.clone()));
    }
    let space = catalog.space(&create.on.node).map_err(|error| error.at(create.on.span.clone()))?;
    let config = (kind.config)(&operand::options(catalog, &create.with)?)?;
    Ok(Index {
        name: name.clone(),
        space: space.name,
        kind: kind.name.to_owned(),
        config: Json::Object(config).to_string(),
        created_ms: now_ms(),
        ..Index::default()
    })
}

/// Resolves REBUILD INDEX.
pub(crate) fn rebuild(catalog: &Catalog<'_>, rebuild: &ast::RebuildIndex) -> Result<Spec> {
    let index = named(catalog, &rebuild.name)?;
    let kind: &Kind = kind::find(KINDS, "index kind", &index.kind)?;
    if let Some(made) = &kind.made
        && !made.available
    {
        let message = format!("this build has no indexes of kind `{}`", kind.name);
        return Err(Error::input("no-faiss", message)
            .help(
                "build it with `make faiss`, or with `--features faiss` where cmake and a BLAS are",
            )
            .at(rebuild.name.span.clone()));
    }
    Spec::new(job::kind("index")?, &job::index::Spec { index: index.name })
}

/// An index by name.
pub(crate) fn named(catalog: &Catalog<'_>, name: &Name) -> Result<Index> {
    if let Some(index) = indexes::get(catalog.view, &name.node)? {
        return Ok(index);
    }
    let all = indexes::all(catalog.view)?;
    let error = Error::unknown("index", &name.node, all.iter().map(|index| index.name.as_str()));
    let error =
        if all.is_empty() { error.help("CREATE INDEX … ON … USING faiss;") } else { error };
    Err(error.at(name.span.clone()))
}
