//! COPY: a file in, as a job; rows out, inline.

use std::path::Path;

use super::{Context, Outcome, launch, select};
use crate::count::grouped;
use crate::error::Result;
use crate::format;
use crate::job::{Spec, import};
use crate::plan::copy::Export;

/// Rows between two looks at whether the statement was interrupted.
const CHECK_EVERY: usize = 1024;

/// Runs a COPY … FROM: as a job, or within the session's transaction where there is one.
pub(crate) fn import(
    context: &mut Context<'_>,
    spec: &import::Spec,
    background: bool,
) -> Result<Outcome> {
    if let Some(write) = &*context.transaction {
        let answer = import::import(write, &context.engine.cache, context.progress, spec)?;
        return Ok(launch::outcome(&answer));
    }
    let spec = Spec::new(crate::job::kind("import")?, spec)?;
    launch::launch(context, &spec, background)
}

/// Runs a COPY … TO. The file appears under its name when it is complete.
pub(crate) fn export(context: &mut Context<'_>, export: &Export) -> Result<Outcome> {
    let rows = select::run(context.reading()?, &export.select)?;
    let given = &export.options;
    let options = format::given(given.header, given.delimiter.as_deref(), given.null.as_deref());
    let mut writer = format::create_writer(
        Path::new(&export.file),
        export.options.format.as_deref(),
        &rows.columns,
        &options,
    )?;
    for (at, row) in rows.rows.iter().enumerate() {
        if at % CHECK_EVERY == 0 {
            context.progress.check()?;
        }
        writer.write(row)?;
    }
    writer.finish()?;
    Ok(Outcome::say(format!("{} rows into {}", grouped(rows.len() as u64), export.file)))
}
