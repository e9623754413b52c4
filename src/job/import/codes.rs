//! Semantic IDs that were made elsewhere: a generation of a codebook without codewords.
//!
//! **One length.** All SIDs of a generation have the same number of levels. Where a file has shorter ones (MiniOneRec's
//! constrained RQ-KMeans numbers only items that collide), code 0 at a level that some lack means that there is none;
//! if the file itself has a code 0 there, its codes at that level are one higher here. [`Padding`] remembers it, so
//! that an export gives back what came.

use std::collections::{HashMap, HashSet};

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sidql_storage::{
    Codebook, FieldNo, Generation, ItemNo, Write, codebooks, fields, generations, items, sids,
};

use super::tokens::{bad, codes_of};
use super::{Faults, Imported, Spec, at, each_record, id_of};
use crate::clock::now_ms;
use crate::count::{counted, grouped};
use crate::derive::usage::health_of_codes;
use crate::error::{Error, Result};
use crate::format::{self, Record};
use crate::progress::Progress;
use crate::quantize::Health;
use crate::schema;
use crate::value::Sid;

/// The kind of a codebook whose SIDs were made elsewhere.
pub(crate) const FOREIGN: &str = "foreign";

/// Options of COPY codes FROM, beside those of any import.
#[derive(Clone, Debug, Default, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    /// The codebook that gets a generation.
    pub(crate) codebook: String,
    /// The format; by itself told by the extension, or else by the content.
    pub(crate) format: Option<String>,
    /// The field of the items that the ids of the file are values of; by itself the id.
    pub(crate) id: Option<String>,
    /// Whether queries use the new generation at once; by itself when none is published yet.
    pub(crate) publish: Option<bool>,
    /// Whether ids of no item are refused, or else counted.
    pub(crate) strict: bool,
    /// What a bad record does.
    pub(crate) on_error: super::OnError,
    /// With `on_error = 'skip'`, the number of bad records that stop the import all the same.
    pub(crate) max_errors: Option<u64>,
    /// For csv and tsv: whether the first record names the columns; by itself told by the first record.
    pub(crate) header: Option<bool>,
    /// For csv: what stands between fields.
    pub(crate) delimiter: Option<String>,
}

/// How SIDs of different lengths were brought to one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Padding {
    /// The levels that every SID of the file has; nothing where all are as long.
    pub(crate) shortest: Option<usize>,
    /// Levels, counted from 1, whose codes are one higher than in the file.
    pub(crate) raised: Vec<usize>,
}

impl Padding {
    /// The padding that keeps these SIDs apart.
    fn of(rows: &[Foreign]) -> (Padding, usize) {
        let longest = rows.iter().map(|row| row.codes.len()).max().unwrap_or(0);
        let shortest = rows.iter().map(|row| row.codes.len()).min().unwrap_or(0);
        if shortest == longest {
            return (Padding::default(), longest);
        }
        let has_zero = |level: &usize| rows.iter().any(|row| row.codes.get(*level) == Some(&0));
        let raised = (shortest..longest).filter(has_zero).map(|level| level + 1).collect();
        (Padding { shortest: Some(shortest), raised }, longest)
    }

    /// The codes of the file as codes of the generation.
    fn pad(&self, codes: &mut Vec<u32>, levels: usize) {
        for level in &self.raised {
            if let Some(code) = codes.get_mut(level - 1) {
                *code += 1;
            }
        }
        codes.resize(levels, 0);
    }

    /// The codes of the generation as those of the file.
    pub(crate) fn unpad(&self, codes: &[u16]) -> Vec<u16> {
        let Some(shortest) = self.shortest else { return codes.to_vec() };
        let mut codes = codes.to_vec();
        while codes.len() > shortest && codes.last() == Some(&0) {
            codes.pop();
        }
        for level in &self.raised {
            if let Some(code) = codes.get_mut(level - 1) {
                *code = code.saturating_sub(1);
            }
        }
        codes
    }
}

/// The padding of a generation.
pub(crate) fn padding(generation: &Generation) -> Result<Padding> {
    #[derive(Deserialize)]
    struct Kept {
        #[serde(flatten)]
        padding: Padding,
    }
    let kept: Kept = serde_json::from_str(&generation.config)?;
    Ok(kept.padding)
}

/// One record of the file.
struct Foreign {
    line: u64,
    id: String,
    codes: Vec<u32>,
}

/// Adds a generation; the caller commits.
pub(super) fn import(
    write: &Write,
    progress: &Progress,
    spec: &Spec,
    faults: &mut Faults,
) -> Result<Imported> {
    let options = spec
        .codes
        .as_ref()
        .ok_or_else(|| Error::internal("the options of COPY codes FROM are missing"))?;
    let rows = read(progress, spec, options, faults)?;
    let (padding, levels) = Padding::of(&rows);
    let sizes = sizes_of(spec, &rows, &padding, levels)?;
    let known = Known::new(write, options.id.as_deref())?;
    let mut placed: Vec<(ItemNo, Sid)> = Vec::with_capacity(rows.len());
    let mut unknown: Vec<(u64, String)> = Vec::new();
    for mut row in rows {
        let Some(item) = known.find(write, &row.id).map_err(|e| at(&spec.file, row.line, e))?
        else {
            unknown.push((row.line, row.id));
            continue;
        };
        padding.pad(&mut row.codes, levels);
        let codes: Vec<u16> = row.codes.iter().map(|code| *code as u16).collect();
        placed.push((item, Sid::new(&codes)?));
    }
    check_ids(spec, options, &unknown, placed.len())?;
    progress.stage("writing the generation", 0);
    let numbers: Vec<ItemNo> = placed.iter().map(|(number, _)| *number).collect();
    let codes: Vec<u16> = placed.iter().flat_map(|(_, sid)| sid.codes().to_vec()).collect();
    let health = health_of_codes(write, &numbers, &sizes, &codes, progress)?;
    let generation = store(write, spec, (options, &padding), (&sizes, &health), placed)?;
    let published = codebooks::must(write, &options.codebook)?.published.is_none();
    let publish = options.publish.unwrap_or(published);
    if publish {
        generations::publish(write, generation.number)?;
    } else {
        generations::ready(write, generation.number)?;
    }
    Ok((said(write, &generation, &padding, unknown.len(), publish)?, generation.items))
}

/// The records of the file.
fn read(
    progress: &Progress,
    spec: &Spec,
    options: &Options,
    faults: &mut Faults,
) -> Result<Vec<Foreign>> {
    let mut rows: Vec<Foreign> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    each_record(spec, progress, "reading codes", faults, |record, faults| {
        let line = record.line;
        let row = foreign(record, options.id.as_deref()).and_then(|row| {
            if seen.insert(row.id.clone()) {
                return Ok(row);
            }
            let message = format!("`{}` has a sid on an earlier line already", row.id);
            Err(Error::input("duplicate-id", message))
        });
        match row {
            Ok(row) => rows.push(row),
            Err(error) => faults.add(at(&spec.file, line, error))?,
        }
        Ok(())
    })?;
    if rows.is_empty() {
        let message = format!("{} has no sids", spec.file.display());
        return Err(Error::input("no-codes", message));
    }
    Ok(rows)
}

/// An id and codes: of fields named so, or else the first and the second one.
fn foreign(record: Record, id: Option<&str>) -> Result<Foreign> {
    let field = |names: &[Option<&str>], at: usize| {
        let named = |(name, _): &&(String, Json)| {
            names.iter().flatten().any(|wanted| name.eq_ignore_ascii_case(wanted))
        };
        let found = record.fields.iter().find(named).or(record.fields.get(at));
        found
            .map(|(_, value)| value)
            .ok_or_else(|| Error::input("bad-record", "expected an id and the codes of its sid"))
    };
    let id = id_of(field(&[id, Some("id")], 0)?)?;
    let codes = codes_of(field(&[Some("codes"), Some("sid")], 1)?)?;
    Ok(Foreign { line: record.line, id, codes })
}

/// The number of codes of each level: up to the greatest one that the file has.
fn sizes_of(spec: &Spec, rows: &[Foreign], padding: &Padding, levels: usize) -> Result<Vec<usize>> {
    let mut sizes = vec![1; levels];
    for row in rows {
        let mut codes = row.codes.clone();
        padding.pad(&mut codes, levels);
        for (level, (size, code)) in sizes.iter_mut().zip(codes).enumerate() {
            if code > u32::from(u16::MAX) {
                let message = format!(
                    "code {} of level {} is too great where other sids lack the level",
                    u16::MAX,
                    level + 1
                );
                return Err(at(&spec.file, row.line, bad(message)));
            }
            *size = (*size).max(code as usize + 1);
        }
    }
    Ok(sizes)
}

/// How ids of the file lead to items.
enum Known {
    /// They are their ids.
    Ids,
    /// They are values of a field; nothing where several items have the value.
    Field(String, HashMap<String, Option<ItemNo>>),
}

impl Known {
    fn new(write: &Write, field: Option<&str>) -> Result<Known> {
        let Some(name) = field.filter(|name| !name.eq_ignore_ascii_case("id")) else {
            return Ok(Known::Ids);
        };
        let number = field_of(write, name)?;
        let mut values: HashMap<String, Option<ItemNo>> = HashMap::new();
        for row in items::scan(write, 0)? {
            let (item, record) = row?;
            if let Some(value) = record.field(number) {
                let text = schema::value_of(value).to_string();
                values.entry(text).and_modify(|one| *one = None).or_insert(Some(item));
            }
        }
        Ok(Known::Field(name.to_owned(), values))
    }

    fn find(&self, write: &Write, id: &str) -> Result<Option<ItemNo>> {
        match self {
            Known::Ids => Ok(items::number(write, id)?),
            Known::Field(name, values) => match values.get(id) {
                None => Ok(None),
                Some(Some(item)) => Ok(Some(*item)),
                Some(None) => {
                    let message = format!("several items have `{id}` as `{name}`");
                    Err(Error::input("ambiguous-id", message))
                }
            },
        }
    }
}

/// The number of a metadata field.
fn field_of(write: &Write, name: &str) -> Result<FieldNo> {
    let all = fields::all(write)?;
    let at = all.iter().position(|field| field.name.eq_ignore_ascii_case(name));
    at.map(|at| at as FieldNo)
        .ok_or_else(|| Error::unknown("field", name, all.iter().map(|field| field.name.as_str())))
}

/// Refuses a file that is of other items.
fn check_ids(
    spec: &Spec,
    options: &Options,
    unknown: &[(u64, String)],
    placed: usize,
) -> Result<()> {
    let Some((line, first)) = unknown.first() else { return Ok(()) };
    if options.strict {
        let many = counted(unknown.len(), "id");
        let message = format!("{many} of the file without an item, the first is `{first}`");
        let error = Error::input("unknown-item", message);
        return Err(at(&spec.file, *line, error.help("leave `strict` out to pass over them")));
    }
    if placed == 0 {
        let message = format!("no id of the file is that of an item, the first is `{first}`");
        return Err(at(&spec.file, *line, Error::input("unknown-item", message)).help(
            "COPY the items first; WITH (id = 'asin') matches by another field of the items",
        ));
    }
    Ok(())
}

/// Writes codebook, generation and SIDs.
fn store(
    write: &Write,
    spec: &Spec,
    (options, padding): (&Options, &Padding),
    (sizes, health): (&[usize], &Health),
    placed: Vec<(ItemNo, Sid)>,
) -> Result<Generation> {
    let name = &options.codebook;
    match codebooks::get(write, name)? {
        Some(known) if known.kind != FOREIGN => return Err(not_foreign(name, &known.kind)),
        Some(_) => {}
        None => codebooks::create(
            write,
            &Codebook {
                name: name.clone(),
                kind: FOREIGN.to_owned(),
                config: "{}".to_owned(),
                created_ms: now_ms(),
                ..Codebook::default()
            },
        )?,
    }
    let file = spec.file.file_name().unwrap_or_default().to_string_lossy();
    let mut config = json!({ "file": file, "id": options.id.as_deref().unwrap_or("id") });
    if let (Json::Object(config), Json::Object(padding)) = (&mut config, json!(padding))
        && !padding["shortest"].is_null()
    {
        config.extend(padding);
    }
    let generation = generations::begin(
        write,
        &Generation {
            codebook: name.clone(),
            kind: FOREIGN.to_owned(),
            config: config.to_string(),
            levels: sizes.len() as u8,
            sizes: sizes.iter().map(|size| *size as u32).collect(),
            health: serde_json::to_string(health)?,
            created_ms: now_ms(),
            ..Generation::default()
        },
    )?;
    sids::load_many(write, generation.number, placed)?;
    Ok(generations::must(write, generation.number)?)
}

/// The error of a codebook that a quantizer makes.
pub(crate) fn not_foreign(name: &str, kind: &str) -> Error {
    let message = format!("the sids of codebook `{name}` are made by {kind}");
    Error::input("not-foreign", message)
        .help("choose another name: COPY codes FROM '…' WITH (codebook = 'theirs')")
}

fn said(
    write: &Write,
    generation: &Generation,
    padding: &Padding,
    unknown: usize,
    published: bool,
) -> Result<String> {
    let shape = match generation.sizes.as_slice() {
        [first, rest @ ..] if rest.len() > 7 && rest.iter().all(|size| size == first) => {
            format!("{} levels of {first}", rest.len() + 1)
        }
        sizes => sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x "),
    };
    let state = if published { "published" } else { "not published" };
    let health: crate::quantize::Health = serde_json::from_str(&generation.health)?;
    let mut message = format!(
        "generation {} of `{}`, {state}: {}, {} codes",
        generation.ordinal,
        generation.codebook,
        counted(generation.items as usize, "item"),
        shape,
    );
    if health.repaired.items > 0 {
        let shared = grouped(health.repaired.items as u64);
        message += &format!(", {shared} share their sid with another");
    }
    if let Some(shortest) = padding.shortest {
        message += &format!(", sids of {shortest} to {} levels", generation.levels);
    }
    let bare = items::count(write)?.saturating_sub(generation.items) as usize;
    if bare > 0 {
        message += &format!(", {} without a sid", counted(bare, "item"));
    }
    if unknown > 0 {
        message += &format!(", {} of no item", counted(unknown, "id"));
    }
    Ok(message)
}

/// Whether the first record of a csv or tsv file names its columns: its second field has no digit.
pub(crate) fn has_header(
    path: &std::path::Path,
    format: &str,
    delimiter: Option<&str>,
) -> Result<bool> {
    let bare = format::given(Some(false), delimiter, None);
    let first = format::open_reader(path, Some(format), &bare)?.next().transpose()?;
    let second = first.as_ref().and_then(|record| record.fields.get(1));
    let digits = |value: &Json| {
        value.as_str().is_some_and(|text| text.contains(|c: char| c.is_ascii_digit()))
    };
    Ok(second.is_some_and(|(_, value)| !digits(value)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn shorter_sids_are_padded_and_come_back() {
        let rows = |all: &[&[u32]]| -> Vec<Foreign> {
            all.iter()
                .map(|codes| Foreign { line: 1, id: String::new(), codes: codes.to_vec() })
                .collect()
        };
        for (all, raised) in [
            (vec![&[5_u32, 0][..], &[5, 0, 1], &[5, 0, 2]], vec![]),
            (vec![&[5][..], &[5, 0], &[5, 0, 3]], vec![2]),
            (vec![&[5, 1][..], &[5, 0]], vec![]),
        ] {
            let rows = rows(&all);
            let (padding, levels) = Padding::of(&rows);
            assert_eq!(padding.raised, raised);
            let mut padded: Vec<Vec<u32>> = Vec::new();
            for row in &rows {
                let mut codes = row.codes.clone();
                padding.pad(&mut codes, levels);
                assert_eq!(codes.len(), levels);
                let narrow: Vec<u16> = codes.iter().map(|code| *code as u16).collect();
                let back: Vec<u32> = padding.unpad(&narrow).into_iter().map(u32::from).collect();
                assert_eq!(back, row.codes);
                padded.push(codes);
            }
            padded.sort();
            padded.dedup();
            assert_eq!(padded.len(), rows.len(), "they stay apart");
        }
    }
}
