//! COPY: a file in, as a job; rows out, inline.

use std::path::Path;

use sidql_storage::{Generation, items, sids};

use super::{Context, Outcome, launch, select};
use crate::count::grouped;
use crate::error::{Error, Result};
use crate::format;
use crate::job::{Spec, import};
use crate::plan::copy::{Export, ExportCodes};
use crate::schema;
use crate::value::{Sid, Value};

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
    let columns: Vec<String> = select::columns(&export.select).map(str::to_owned).collect();
    let given = &export.options;
    let options = format::given(given.header, given.delimiter.as_deref(), given.null.as_deref());
    let mut writer = format::create_writer(
        Path::new(&export.file),
        export.options.format.as_deref(),
        &columns,
        &options,
    )?;
    let mut written = 0_u64;
    select::each(context.reading()?, &export.select, &mut |row| {
        if written.is_multiple_of(CHECK_EVERY as u64) {
            context.progress.check()?;
        }
        written += 1;
        writer.write(&row)
    })?;
    writer.finish()?;
    Ok(Outcome::say(format!("{} rows into {}", grouped(written), export.file)))
}

/// Runs a COPY codes TO: the SIDs of a generation as the file that others read, one item after the other.
pub(crate) fn export_codes(context: &mut Context<'_>, export: &ExportCodes) -> Result<Outcome> {
    let view = context.view()?;
    let columns = ["id".to_owned(), "codes".to_owned()];
    // Others write `id<TAB>codes` without a line of names.
    let header = (export.format == "tsv").then_some(false);
    let options = format::given(header, None, None);
    let file = Path::new(&export.file);
    let mut writer = format::create_writer(file, Some(export.format), &columns, &options)?;
    let padding: import::codes::Padding = match export.generation.artefact {
        Some(_) => import::codes::Padding::default(),
        None => import::codes::padding(&export.generation)?,
    };
    let (mut written, mut nameless) = (0_u64, 0_u64);
    for row in sids::by_item(view, export.generation.number)? {
        let (number, sid) = row?;
        if written.is_multiple_of(CHECK_EVERY as u64) {
            context.progress.check()?;
        }
        let id = match export.id {
            None => items::id(view, number)?,
            Some(field) => items::get(view, number)?.and_then(|item| {
                item.field(field).map(|value| schema::value_of(value).to_string())
            }),
        };
        let Some(id) = id else {
            nameless += 1;
            continue;
        };
        let codes = padding.unpad(sid.codes());
        let codes = if export.format == "tsv" {
            let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
            Value::Text(codes.join(" "))
        } else {
            Value::Sid(Sid::new(&codes)?)
        };
        writer.write(&[Value::Text(id), codes])?;
        written += 1;
    }
    if written == 0 {
        let Generation { codebook, ordinal, .. } = &export.generation;
        let message = format!("generation {ordinal} of `{codebook}` has no sids to write");
        return Err(Error::input("no-codes", message));
    }
    writer.finish()?;
    let mut message = format!("{} sids into {}", grouped(written), export.file);
    if nameless > 0 {
        message += &format!(", {} items without the field left out", grouped(nameless));
    }
    Ok(Outcome::say(message))
}
