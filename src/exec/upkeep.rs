//! VERIFY, COMPACT, BACKUP, SET and transactions.

use sidql_storage::Read;

use super::{Context, Outcome};
use crate::count::grouped;
use crate::error::{Error, Result};
use crate::options::{self, Given};
use crate::settings::Settings;
use crate::value::Rows;

/// Checks every row of every table and what refers to what.
pub(crate) fn verify(context: &mut Context<'_>) -> Result<Outcome> {
    context.outside_transaction("VERIFY")?;
    let read: Read = match context.snapshot.take() {
        Some(read) => read,
        None => context.engine.store.read()?,
    };
    let progress = context.progress;
    let report = context.engine.store.verify(&read, &mut |done, total| {
        if done == 0 {
            progress.stage("verifying", total);
        }
    })?;
    progress.check()?;
    if report.is_sound() {
        return Ok(Outcome::say(format!("{} rows, no problem found", grouped(report.rows()))));
    }
    let mut rows = Rows::new(["table", "key", "problem"]);
    for problem in report.problems {
        rows.push(vec![problem.table.name().into(), problem.key.into(), problem.what.into()]);
    }
    Ok(Outcome::Rows(rows))
}

/// Gives freed space back to the file system.
pub(crate) fn compact(context: &mut Context<'_>) -> Result<Outcome> {
    context.outside_transaction("COMPACT")?;
    context.snapshot = None;
    let size = |context: &Context<'_>| {
        let path = context.engine.store.path().map(std::path::Path::to_owned);
        path.and_then(|path| std::fs::metadata(path).ok()).map(|file| file.len())
    };
    let before = size(context);
    context.engine.store.compact()?;
    Ok(Outcome::say(match (before, size(context)) {
        (Some(before), Some(after)) => {
            format!("{} KiB, {} before", grouped(after / 1024), grouped(before / 1024))
        }
        _ => "compacted".to_owned(),
    }))
}

/// Copies a snapshot into a new file.
pub(crate) fn backup(context: &mut Context<'_>, file: &str) -> Result<Outcome> {
    context.outside_transaction("BACKUP")?;
    let progress = context.progress;
    let copied = context.engine.store.backup(file, &mut |done, total| {
        if done == 0 {
            progress.stage("copying", total);
        }
    });
    copied.map_err(|error| match Error::from(error) {
        // The others name the file themselves.
        error if error.code() == "io" => error.context(format!("cannot back up to `{file}`")),
        error => error,
    })?;
    Ok(Outcome::say(format!("backed up to {file}")))
}

/// Changes a setting of the session.
pub(crate) fn set(context: &mut Context<'_>, given: Given) -> Result<Outcome> {
    let mut fields = options::fields_of(&*context.settings)?;
    if !fields.contains_key(&given.name) {
        let known = fields.keys().map(String::as_str);
        return Err(Error::unknown("setting", &given.name, known).at(given.span));
    }
    let value = given.value.as_str().map_or_else(|| given.value.to_string(), str::to_owned);
    let said = format!("{} = {value}", given.name);
    fields.insert(given.name.clone(), given.value);
    let settings: Settings =
        serde_json::from_value(serde_json::Value::Object(fields)).map_err(|error| {
            let message = format!("setting `{}`: {error}", given.name);
            Error::input("bad-setting", message).at(given.span.clone())
        })?;
    crate::device::choose(&settings.device).map_err(|error| error.at(given.span.clone()))?;
    let catalogue_knows = {
        let view = context.view()?;
        let codebook = settings.codebook.as_deref();
        let codebooks = sidql_storage::codebooks::all(view)?;
        let policies = sidql_storage::policies::all(view)?;
        match (codebook, settings.policy.as_deref()) {
            (Some(name), _) if !codebooks.iter().any(|one| one.name == name) => {
                Err(Error::unknown("codebook", name, codebooks.iter().map(|one| one.name.as_str())))
            }
            (_, Some(name)) if !policies.iter().any(|one| one.name == name) => {
                Err(Error::unknown("policy", name, policies.iter().map(|one| one.name.as_str())))
            }
            _ => Ok(()),
        }
    };
    catalogue_knows.map_err(|error| error.at(given.span))?;
    context.engine.cache.run_on(&settings.device);
    *context.settings = settings;
    Ok(Outcome::say(said))
}

/// Begins a transaction, which ends with COMMIT or ROLLBACK.
pub(crate) fn begin(context: &mut Context<'_>) -> Result<Outcome> {
    context.outside_transaction("BEGIN")?;
    context.snapshot = None;
    *context.transaction = Some(context.engine.store.write()?);
    Ok(Outcome::say("transaction begun"))
}

/// Makes the transaction durable.
pub(crate) fn commit(context: &mut Context<'_>) -> Result<Outcome> {
    let write = context.transaction.take().ok_or_else(none)?;
    write.commit()?;
    Ok(Outcome::say("committed"))
}

/// Takes the transaction back.
pub(crate) fn rollback(context: &mut Context<'_>) -> Result<Outcome> {
    let write = context.transaction.take().ok_or_else(none)?;
    write.rollback()?;
    Ok(Outcome::say("rolled back"))
}

fn none() -> Error {
    Error::input("no-transaction", "there is no transaction").help("BEGIN; starts one")
}
