//! Interactions of a file: rows of user, item and time, or whole histories.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;
use sidql_storage::{Interaction, ItemNo, UserNo, Write, histories, items, users};

use super::{Faults, Imported, Spec, at, each_record, id_of, report};
use crate::count::counted;
use crate::error::{Error, Result};
use crate::format::Record;
use crate::format::sequences::Sequences;
use crate::progress::Progress;

/// Interactions that are kept in memory before they are written.
const PENDING_MAX: usize = 1 << 20;

/// Interactions that wait to be written, by user.
struct Pending<'a> {
    write: &'a Write,
    known: HashMap<String, ItemNo>,
    users: HashMap<UserNo, Vec<Interaction>>,
    waiting: usize,
    interactions: u64,
    people: HashSet<UserNo>,
}

impl<'a> Pending<'a> {
    fn new(write: &'a Write) -> Result<Self> {
        let mut known = HashMap::new();
        for row in items::scan(write, 0)? {
            let (number, item) = row?;
            known.insert(item.id, number);
        }
        Ok(Pending {
            write,
            known,
            users: HashMap::new(),
            waiting: 0,
            interactions: 0,
            people: HashSet::new(),
        })
    }

    fn item(&self, id: &str) -> Result<ItemNo> {
        self.known.get(id).copied().ok_or_else(|| {
            Error::input("unknown-item", format!("there is no item `{id}`"))
                .help("COPY the items first, or leave such rows out: WITH (on_error = 'skip')")
        })
    }

    fn add(&mut self, user: &str, interactions: Vec<Interaction>) -> Result<()> {
        if interactions.is_empty() {
            return Ok(());
        }
        let number = users::get_or_insert(self.write, user)?;
        self.people.insert(number);
        self.waiting += interactions.len();
        self.interactions += interactions.len() as u64;
        self.users.entry(number).or_default().extend(interactions);
        if self.waiting >= PENDING_MAX { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let mut waiting: Vec<_> = self.users.drain().collect();
        waiting.sort_by_key(|(user, _)| *user);
        for (user, interactions) in waiting {
            histories::append(self.write, user, &interactions)?;
        }
        self.waiting = 0;
        Ok(())
    }

    fn finish(mut self, progress: &Progress) -> Result<Imported> {
        progress.stage("writing histories", 0);
        self.flush()?;
        let (count, people) = (self.interactions as usize, self.people.len());
        let message = format!("{} of {}", counted(count, "interaction"), counted(people, "user"));
        Ok((message, count as u64))
    }
}

/// Imports histories, one user a line.
pub(super) fn import_sequences(
    write: &Write,
    progress: &Progress,
    spec: &Spec,
    faults: &mut Faults,
) -> Result<Imported> {
    let mut pending = Pending::new(write)?;
    let mut reader = Sequences::open(&spec.file)?;
    progress.stage("importing interactions", reader.bytes_read().total);
    let mut count = 0;
    while let Some(sequence) = reader.next() {
        count += 1;
        report(progress, count, || reader.bytes_read())?;
        let sequence = match sequence {
            Ok(sequence) => sequence,
            Err(error) => {
                faults.add(error)?;
                continue;
            }
        };
        // Only the order is known: the place in the history stands for the time.
        let known = users::number(write, &sequence.user)?;
        let first = known.map_or(Ok(0), |user| next_time(write, user))?;
        let mut history = Vec::with_capacity(sequence.items.len());
        for id in &sequence.items {
            match pending.item(id) {
                Ok(item) => history.push(Interaction::new(item, first + history.len() as i64)),
                Err(error) => {
                    faults.add(at(&spec.file, sequence.line, error))?;
                }
            }
        }
        pending.add(&sequence.user, history)?;
    }
    pending.finish(progress)
}

/// The time after a user's last interaction.
pub(crate) fn next_time(write: &Write, user: UserNo) -> Result<i64> {
    let last = histories::of(write, user)?.last().map(|one| one.time);
    Ok(last.map_or(0, |time| time.saturating_add(1)))
}

/// Imports interactions, one a record.
pub(super) fn import_rows(
    write: &Write,
    progress: &Progress,
    spec: &Spec,
    faults: &mut Faults,
) -> Result<Imported> {
    let mut pending = Pending::new(write)?;
    let mut order = 0;
    each_record(spec, progress, "importing interactions", faults, |record, faults| {
        let line = record.line;
        match interaction(&pending, spec, &record, order) {
            Ok((user, interaction)) => {
                order += 1;
                pending.add(&user, vec![interaction])
            }
            Err(error) => faults.add(at(&spec.file, line, error)),
        }
    })?;
    pending.finish(progress)
}

fn interaction(
    pending: &Pending<'_>,
    spec: &Spec,
    record: &Record,
    order: i64,
) -> Result<(String, Interaction)> {
    let options = &spec.options;
    let field =
        |name: &str| record.fields.iter().find(|(known, _)| known == name).map(|(_, json)| json);
    let needed = |name: &str| {
        field(name).ok_or_else(|| {
            let found: Vec<&str> = record.fields.iter().map(|(known, _)| known.as_str()).collect();
            Error::input("missing-field", format!("the record has no field `{name}`")).help(
                format!(
                    "it has: {}; WITH (user = '…', item = '…', time = '…') names them",
                    found.join(", ")
                ),
            )
        })
    };
    let number = |name: &str| -> Result<Option<f64>> {
        let Some(json) = field(name).filter(|json| !json.is_null()) else { return Ok(None) };
        let text = json.as_str().map(str::trim);
        let number = json.as_f64().or_else(|| text.and_then(|text| text.parse().ok()));
        number.map(Some).ok_or_else(|| {
            Error::input(
                "type-mismatch",
                format!("field `{name}`: expected a number, found {json}"),
            )
        })
    };
    let user = id_of(needed(&options.user)?)
        .map_err(|e| e.context(format!("field `{}`", options.user)))?;
    let item = id_of(needed(&options.item)?)
        .map_err(|e| e.context(format!("field `{}`", options.item)))?;
    let time = number(&options.time)?.map_or(order, |time| time as i64);
    let kind = field(&options.kind).and_then(Json::as_str).map(str::to_owned);
    let weight = number(&options.weight)?.unwrap_or(1.0) as f32;
    let item = pending.item(&item).map_err(|e| e.context(format!("field `{}`", options.item)))?;
    Ok((user, Interaction { item, time, kind, weight }))
}
