//! Vectors that were made elsewhere: COPY embeddings, into a space that a file made.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Read};
use std::path::{Path, PathBuf};

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sidql_storage::{ItemNo, Space, Write, items, spaces};
use xxhash_rust::xxh3::Xxh3;

use super::{Faults, Imported, OnError, Spec, at, each_record, id_of};
use crate::cache::Cache;
use crate::clock::now_ms;
use crate::count::{counted, grouped};
use crate::derive;
use crate::derive::origin::{self, Maker};
use crate::derive::recipe::{Recipe, Stage};
use crate::derive::vectors::{self, Row};
use crate::error::{Error, Result};
use crate::format::Record;
use crate::progress::Progress;

/// What stands as the encoder of a space that a file made, and as the kind of the maker of its vectors.
const FILE: &str = "file";
/// What stands as the model of vectors that a program gave.
const MEMORY: &str = "memory";
/// Vectors between two looks at cancellation.
const CHECK_EVERY: usize = 256;
/// Vectors that are written together.
const ROWS: usize = 8192;

/// Options of COPY embeddings FROM, beside those of any import.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    /// The space that gets the vectors; made where there is none.
    pub(crate) space: String,
    /// A file of item ids, one a line in the order of the vectors; by itself the ids stand in the records.
    pub(crate) ids: Option<PathBuf>,
    /// The field of a record that holds the item's id.
    pub(crate) id: String,
    /// The field of a record that holds the vector.
    pub(crate) vector: String,
    /// Whether ids of no item are refused, or else counted.
    pub(crate) strict: bool,
    /// The format; by itself told by the extension.
    pub(crate) format: Option<String>,
    /// What a bad record does.
    pub(crate) on_error: OnError,
    /// With `on_error = 'skip'`, the number of bad records that stop the import all the same.
    pub(crate) max_errors: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            space: String::new(),
            ids: None,
            id: "id".to_owned(),
            vector: "vector".to_owned(),
            strict: false,
            format: None,
            on_error: OnError::Stop,
            max_errors: None,
        }
    }
}

/// Refuses a space whose vectors are made here: those of a file would stand among others that they do not fit.
pub(crate) fn check_space(space: &Space) -> Result<()> {
    if Recipe::of(space)?.stage == Stage::File {
        return Ok(());
    }
    let message = format!("the vectors of space `{}` are made by ENRICH", space.name);
    Err(Error::input("not-foreign", message)
        .help("WITH (space = '…') with another name keeps the two apart"))
}

/// Imports vectors, then places the items by them where fusions and codebooks stand on the space.
pub(super) fn import(
    write: &Write,
    cache: &Cache,
    progress: &Progress,
    spec: &Spec,
    faults: &mut Faults,
) -> Result<Imported> {
    let options = spec
        .embeddings
        .as_ref()
        .ok_or_else(|| Error::internal("an import of embeddings without its options"))?;
    let name = spec.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let maker = Maker {
        model: name,
        kind: FILE.to_owned(),
        fingerprint: fingerprint(&spec.file, progress)?,
    };
    let mut intake = Intake::begin(write, &options.space, options.strict, &maker)?;
    let mut ids = options.ids.as_deref().map(Ids::open).transpose()?;
    each_record(spec, progress, "importing embeddings", faults, |record, faults| {
        let line = record.line;
        // The id first: a record that is left out must not shift those behind it.
        let id = match &mut ids {
            Some(ids) => ids.next(),
            None => field(&record, &options.id).and_then(id_of),
        };
        let vector = |id| Ok((id, vector_of(field(&record, &options.vector)?)?));
        match id.and_then(vector).and_then(|(id, vector)| intake.take(&id, vector)) {
            Ok(()) => Ok(()),
            Err(error) => faults.add(at(&spec.file, line, error)),
        }
    })?;
    if let Some(ids) = &mut ids {
        ids.end()?;
    }
    intake.finish(cache, progress, &spec.file.display().to_string())
}

/// Vectors that are there in memory, one for each id, row by row in one slice: all of them or none.
pub(crate) fn insert(
    write: &Write,
    cache: &Cache,
    progress: &Progress,
    space: &str,
    ids: &[&str],
    vectors: &[f32],
) -> Result<Imported> {
    let dim = vectors.len().checked_div(ids.len()).unwrap_or(0);
    if dim == 0 || dim * ids.len() != vectors.len() {
        let message = format!(
            "{} numbers are no vectors of {}",
            grouped(vectors.len() as u64),
            counted(ids.len(), "item")
        );
        return Err(Error::input("bad-vector", message)
            .help("each id has a vector of as many components as the others"));
    }
    let maker = Maker {
        model: MEMORY.to_owned(),
        kind: FILE.to_owned(),
        // The hash of each vector tells it from others.
        fingerprint: String::new(),
    };
    let mut intake = Intake::begin(write, space, true, &maker)?;
    progress.stage("inserting embeddings", ids.len() as u64);
    for (at, (id, vector)) in ids.iter().zip(vectors.chunks_exact(dim)).enumerate() {
        if at % CHECK_EVERY == 0 {
            progress.check()?;
        }
        if let Some(bad) = vector.iter().position(|x| !x.is_finite()) {
            let message = format!("component {} of the vector of item `{id}`", bad + 1);
            return Err(Error::input("bad-vector", format!("{message} is {}", vector[bad]))
                .help("components are finite numbers"));
        }
        intake.take(id, vector.to_vec())?;
        progress.advance(1);
    }
    intake.finish(cache, progress, "what is given")
}

/// Places the items that have new vectors, and tells.
fn place(
    (write, cache): (&Write, &Cache),
    progress: &Progress,
    intake: &Intake<'_>,
    space: &Space,
) -> Result<Imported> {
    let changed: Vec<ItemNo> = intake.seen.iter().copied().collect();
    progress.stage("placing items", changed.len() as u64);
    let mut remedies: Vec<String> = Vec::new();
    for batch in changed.chunks(derive::BATCH) {
        progress.check()?;
        let told = derive::follow(write, cache, batch)?;
        remedies.extend(told);
        remedies.sort();
        remedies.dedup();
        progress.advance(batch.len() as u64);
    }
    let vectors = counted(changed.len(), "vector");
    let mut message = format!("{vectors} of {} components in space `{}`", space.dim, space.name);
    if intake.unknown > 0 {
        message += &format!(", {} of no item passed over", grouped(intake.unknown));
    }
    if !remedies.is_empty() {
        message += &format!("; not followed everywhere before {};", remedies.join("; "));
    }
    Ok((message, changed.len() as u64))
}

/// What is read so far.
struct Intake<'a> {
    write: &'a Write,
    /// The name of the space.
    name: &'a str,
    /// Whether ids of no item are refused, or else counted.
    strict: bool,
    recipe: Recipe,
    /// None before the first vector, which says how many components there are.
    space: Option<Space>,
    rows: Vec<Row>,
    /// Items that have got their vector; ascending, so that the rest does not depend on the order of the file.
    seen: BTreeSet<ItemNo>,
    /// Vectors whose ids are of no item.
    unknown: u64,
}

impl<'a> Intake<'a> {
    fn begin(write: &'a Write, name: &'a str, strict: bool, maker: &Maker) -> Result<Intake<'a>> {
        let space = spaces::get(write, name)?;
        if let Some(space) = &space {
            check_space(space)?;
        }
        let stage = Stage::File.name();
        let origin = origin::intern(write, stage, maker, None, &json!({}))?;
        let recipe = Recipe {
            stage: Stage::File,
            parts: None,
            options: json!({}),
            made_from: Vec::new(),
            model: None,
            fingerprint: Some(maker.fingerprint.clone()),
            origin: Some(origin),
        };
        let (rows, seen) = (Vec::new(), BTreeSet::new());
        Ok(Intake { write, name, strict, recipe, space, rows, seen, unknown: 0 })
    }

    fn take(&mut self, id: &str, vector: Vec<f32>) -> Result<()> {
        if let Some(space) = &self.space
            && space.dim as usize != vector.len()
        {
            let message = format!(
                "item `{id}` has {} components, space `{}` has {}",
                vector.len(),
                space.name,
                space.dim
            );
            return Err(Error::input("wrong-dimension", message)
                .help("vectors of another model belong into a space of their own"));
        }
        let Some(number) = items::number(self.write, id)? else {
            if self.strict {
                let message = format!("there is no item `{id}`");
                return Err(Error::input("unknown-item", message)
                    .help("COPY items first, or leave out strict"));
            }
            self.unknown += 1;
            return Ok(());
        };
        if !self.seen.insert(number) {
            let message = format!("item `{id}` is given twice");
            return Err(Error::input("duplicate-id", message));
        }
        if self.space.is_none() {
            self.space = Some(self.create(vector.len())?);
        }
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        let source = xxhash_rust::xxh3::xxh3_64(&bytes);
        self.rows.push(Row { number, vector, source });
        if self.rows.len() >= ROWS { self.flush() } else { Ok(()) }
    }

    fn create(&self, dim: usize) -> Result<Space> {
        let space = Space {
            name: self.name.to_owned(),
            dim: dim as u32,
            encoder: FILE.to_owned(),
            config: serde_json::to_string(&self.recipe)?,
            source_hash: self.recipe.hash(&[])?,
            created_ms: now_ms(),
            ..Space::default()
        };
        Ok(spaces::create(self.write, &space)?)
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(space) = &self.space {
            // Blocks of vectors are written once where items ascend.
            self.rows.sort_unstable_by_key(|row| row.number);
            vectors::put(self.write, space, &self.recipe, &self.rows)?;
        }
        self.rows.clear();
        Ok(())
    }

    /// Writes the rest, and places the items by their vectors. `whence` is where they came from, for an error.
    fn finish(mut self, cache: &Cache, progress: &Progress, whence: &str) -> Result<Imported> {
        self.flush()?;
        let Some(space) = self.space.take() else {
            let message = format!("{whence} has no vector of any item");
            return Err(Error::input("no-embeddings", message)
                .help("COPY items first; ids are compared as text"));
        };
        place((self.write, cache), progress, &self, &space)
    }
}

fn field<'r>(record: &'r Record, name: &str) -> Result<&'r Json> {
    let found = record.fields.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value).ok_or_else(|| {
        let known: Vec<&str> = record.fields.iter().map(|(name, _)| name.as_str()).collect();
        let error = Error::input("missing-field", format!("the record has no field `{name}`"));
        if known == ["vector"] {
            error.help("WITH (ids = 'ids.txt') names the file of ids, one a line")
        } else {
            error.help(format!("it has: {}; WITH ({name} = '…') names another", known.join(", ")))
        }
    })
}

fn vector_of(json: &Json) -> Result<Vec<f32>> {
    let Json::Array(list) = json else {
        return Err(Error::input(
            "bad-vector",
            format!("a vector is a list of numbers, not {json}"),
        ));
    };
    let component = |(at, one): (usize, &Json)| {
        let x = one.as_f64().map(|x| x as f32).filter(|x| x.is_finite());
        x.ok_or_else(|| {
            let message = format!("component {} of the vector is no finite number", at + 1);
            Error::input("bad-vector", message)
        })
    };
    if list.is_empty() {
        return Err(Error::input("bad-vector", "the vector has no components"));
    }
    list.iter().enumerate().map(component).collect()
}

/// What tells this file from others.
fn fingerprint(file: &Path, progress: &Progress) -> Result<String> {
    let unread = |error: std::io::Error| unreadable(file, &error);
    let mut stream = File::open(file).map_err(unread)?;
    let (mut hash, mut buffer) = (Xxh3::new(), vec![0; 1 << 20]);
    loop {
        progress.check()?;
        match stream.read(&mut buffer).map_err(unread)? {
            0 => return Ok(format!("{:016x}", hash.digest())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> Error {
    Error::input("unreadable-file", format!("cannot read `{}`: {error}", file.display()))
}

/// A file of ids, one a line.
struct Ids {
    file: PathBuf,
    lines: Lines<BufReader<File>>,
    count: u64,
}

impl Ids {
    fn open(file: &Path) -> Result<Ids> {
        let stream = File::open(file).map_err(|error| unreadable(file, &error))?;
        Ok(Ids { file: file.to_owned(), lines: BufReader::new(stream).lines(), count: 0 })
    }

    fn line(&mut self) -> Result<Option<String>> {
        self.lines.next().transpose().map_err(|error| unreadable(&self.file, &error))
    }

    fn next(&mut self) -> Result<String> {
        let line = self.line()?.ok_or_else(|| {
            let message = format!(
                "{} ends after {}, and there are more vectors",
                self.file.display(),
                counted(self.count as usize, "id")
            );
            Error::input("too-few-ids", message).help("it needs one id a line, as many as vectors")
        })?;
        self.count += 1;
        let id = line.trim();
        if id.is_empty() {
            let message = format!("{}, line {}: no id", self.file.display(), self.count);
            return Err(Error::input("bad-id", message));
        }
        Ok(id.to_owned())
    }

    /// Refuses ids that no vector belongs to: then the two files are not of one another.
    fn end(&mut self) -> Result<()> {
        while let Some(line) = self.line()? {
            if !line.trim().is_empty() {
                let message = format!(
                    "{} has more than {}, and there are no more vectors",
                    self.file.display(),
                    counted(self.count as usize, "id")
                );
                return Err(Error::input("too-many-ids", message)
                    .help("it needs one id a line, as many as vectors"));
            }
        }
        Ok(())
    }
}
