//! Golden scripts: storage verbs in, dumps out. A line that begins with `> ` is a verb, what follows is
//! what it printed. Run with `SIDQL_UPDATE_SCRIPTS=1` to write the output anew, and read the difference.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sidql_storage::{
    Body, Codebook, Descriptor, Error, Evidence, EvidenceKind, Failure, FieldType, FieldValue,
    Generation, Index, Interaction, Item, ItemNo, JobRecord, JobState, Model, Origin, Result, Sid,
    Space, Stamp, Store, Table, View, Write, blobs, changes, codebooks, dump, embeddings, evidence,
    failures, fields, generations, histories, indexes, items, jobs, models, origins, settings,
    sids, spaces, stamps, users,
};

/// A store, and the write transaction that a script has open.
struct Session {
    store: Store,
    write: Option<Write>,
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T> {
    word.parse().map_err(|_| Error::Invalid(format!("`{word}` is no number")))
}

fn sid(word: &str) -> Result<Sid> {
    word.parse()
}

impl Session {
    fn run(&mut self, words: &[&str]) -> Result<String> {
        match words {
            ["begin"] => self.write = Some(self.store.write()?),
            ["commit"] => self.write.take().unwrap().commit()?,
            ["rollback"] => drop(self.write.take()),
            ["verify"] => return self.verify(),
            ["dump", tables @ ..] => return self.dump(tables),
            _ => {
                if let Some(write) = &self.write {
                    return change(write, words);
                }
                let write = self.store.write()?;
                let printed = change(&write, words)?;
                write.commit()?;
                return Ok(printed);
            }
        }
        Ok(String::new())
    }

    fn dump(&self, tables: &[&str]) -> Result<String> {
        let read = self.store.read()?;
        let view: &dyn View = self.write.as_ref().map_or(&read, |write| write);
        let mut out = String::new();
        for name in tables {
            dump::table(view, Table::named(name).unwrap(), &mut out)?;
        }
        Ok(out)
    }

    fn verify(&self) -> Result<String> {
        let report = self.store.verify(&self.store.read()?, &mut |_, _| ())?;
        let mut out = String::from(if report.is_sound() { "sound\n" } else { "" });
        for problem in &report.problems {
            let _ = writeln!(out, "{problem}");
        }
        Ok(out)
    }
}

fn change(write: &Write, words: &[&str]) -> Result<String> {
    let printed = match words {
        ["field", name, "text"] => format!("field {}", fields::add(write, name, FieldType::Text)?),
        ["field", name, "int"] => format!("field {}", fields::add(write, name, FieldType::Int)?),
        ["item", id, values @ ..] => format!("item {}", items::insert(write, &item(id, values)?)?),
        ["rename", no, id] => {
            items::update(write, number(no)?, &item(id, &[])?)?;
            String::new()
        }
        ["delete", "item", no] => format!("{}", items::delete(write, number(no)?)?),
        ["delete", "job", no] => format!("{}", jobs::delete(write, number(no)?)?),
        ["setting", name, text] => {
            settings::set(write, name, text)?;
            String::new()
        }
        ["history", user, interactions @ ..] => {
            let user = users::get_or_insert(write, user)?;
            let new = interactions.iter().map(|word| {
                let (item, time) = word.split_once('@').unwrap();
                Ok(Interaction::new(number(item)?, number(time)?))
            });
            histories::append(write, user, &new.collect::<Result<Vec<_>>>()?)?;
            format!("user {user}")
        }
        ["space", name, dim] => {
            let space = Space { name: (*name).into(), dim: number(dim)?, ..Space::default() };
            format!("space {}", spaces::create(write, &space)?.number)
        }
        ["vector", space, item, values @ ..] => {
            let vector = values.iter().map(|word| number(word)).collect::<Result<Vec<f32>>>()?;
            embeddings::put(write, space, number(item)?, &vector)?;
            String::new()
        }
        ["codebook", name] => {
            codebooks::create(write, &Codebook { name: (*name).into(), ..Codebook::default() })?;
            String::new()
        }
        ["generation", codebook] => {
            let artefact = Some(blobs::put(write, b"codewords")?);
            let codebook = (*codebook).to_owned();
            let shape = Generation { codebook, artefact, levels: 3, ..Generation::default() };
            format!("generation {}", generations::begin(write, &shape)?.number)
        }
        ["publish", no] => {
            generations::publish(write, number(no)?)?;
            String::new()
        }
        ["drop", "generation", no] => format!("{}", generations::drop(write, number(no)?)?),
        ["drop", "codebook", name] => format!("{}", codebooks::drop(write, name)?),
        ["sid", no, item, text] => {
            sids::insert(write, number(no)?, number(item)?, &sid(text)?)?;
            String::new()
        }
        ["under", no, rest @ ..] => under(write, number(no)?, rest)?,
        ["blob", text] => format!("blob {}", blobs::put(write, text.as_bytes())?),
        ["sweep"] => format!("{:?}", blobs::sweep(write)?),
        ["job", kind] => format!("job {}", jobs::create(write, &job(kind))?),
        ["checkpoint", no, text] => {
            let job = jobs::get(write, number(no)?)?.unwrap();
            let checkpoint = Some(blobs::put(write, text.as_bytes())?);
            jobs::update(write, &JobRecord { checkpoint, state: JobState::Running, ..job })?;
            String::new()
        }
        ["index" | "changes" | "unindex", ..] => derived(write, words)?,
        _ => provenance(write, words)?,
    };
    Ok(if printed.is_empty() { printed } else { printed + "\n" })
}

/// The verbs about what derived values come from.
fn provenance(write: &Write, words: &[&str]) -> Result<String> {
    match words {
        ["model", name, kind] => models::create(write, &model(name, kind))?,
        ["update", "model", name, kind] => models::update(write, &model(name, kind))?,
        ["drop", "model", name] => return Ok(format!("{}", models::drop(write, name)?)),
        ["origin", stage, model, made] => {
            let (stage, model) = ((*stage).into(), (*model).into());
            let origin = Origin { stage, model, created_ms: number(made)?, ..Origin::default() };
            return Ok(format!("origin {}", origins::intern(write, &origin)?));
        }
        ["say", kind, item, origin, values @ ..] => {
            let stamp = Stamp { origin: number(origin)?, source: 7, made_ms: 1 };
            let body = body(kind, values)?;
            evidence::put(write, number(item)?, &Evidence { stamp, body })?;
        }
        ["unsay", kind, item] => {
            let kind = EvidenceKind::ALL.into_iter().find(|known| known.name() == *kind).unwrap();
            return Ok(format!("{}", evidence::remove(write, kind, number(item)?)?));
        }
        ["said"] => {
            let counts = EvidenceKind::ALL
                .map(|kind| Ok(format!("{}={}", kind.name(), evidence::count(write, kind)?)));
            return Ok(counts.into_iter().collect::<Result<Vec<_>>>()?.join(" "));
        }
        ["stamp", space, item, origin] => {
            let space = spaces::must(write, space)?;
            let stamp = Stamp { origin: number(origin)?, source: 7, made_ms: 1 };
            stamps::put_many(write, &space, [(number(item)?, stamp)])?;
        }
        ["unvector", space, item] => embeddings::delete(write, space, number(item)?)?,
        ["rename", "space", from, to] => spaces::rename(write, from, to)?,
        ["drop", "space", name] => return Ok(format!("{}", spaces::drop(write, name)?)),
        ["fail", job, item, answer] => {
            let (stage, answer) = ("caption".into(), (*answer).into());
            let failure = Failure { stage, answer, attempts: 2, ..Failure::default() };
            failures::put(write, number(job)?, number(item)?, &failure)?;
        }
        ["unfail", job, item] => {
            return Ok(format!("{}", failures::remove(write, number(job)?, number(item)?)?));
        }
        ["failed", job] => {
            let items = failures::of_job(write, number(job)?)?.map(|row| row.map(|(item, _)| item));
            let items = items.collect::<Result<Vec<ItemNo>>>()?;
            return Ok(format!("{} {items:?}", failures::count_of(write, number(job)?)?));
        }
        ["clear", job] => failures::clear(write, number(job)?)?,
        other => panic!("no such verb: {other:?}"),
    }
    Ok(String::new())
}

/// The verbs about what is built from the rest.
fn derived(write: &Write, words: &[&str]) -> Result<String> {
    match words {
        ["index", name, space, text] => {
            let space = spaces::must(write, space)?;
            let index = Index {
                name: (*name).into(),
                space: space.name.clone(),
                artefact: Some(blobs::put(write, text.as_bytes())?),
                space_number: space.number,
                revision: changes::revision(write, &space)?,
                rows: space.count,
                ..Index::default()
            };
            match indexes::get(write, name)? {
                Some(_) => indexes::update(write, &index)?,
                None => indexes::create(write, &index)?,
            }
        }
        ["unindex", name] => return Ok(format!("{}", indexes::drop(write, name)?)),
        ["changes", space] => {
            let space = spaces::must(write, space)?;
            let blocks = changes::blocks(write, &space)?.collect::<Result<Vec<_>>>()?;
            return Ok(format!("{} {blocks:?}", changes::revision(write, &space)?));
        }
        other => panic!("no such verb: {other:?}"),
    }
    Ok(String::new())
}

fn model(name: &str, kind: &str) -> Model {
    Model { name: name.into(), kind: kind.into(), config: "{}".into(), ..Model::default() }
}

fn body(kind: &str, values: &[&str]) -> Result<Body> {
    Ok(match kind {
        "caption" => Body::Caption(values.join(" ")),
        "intent" => {
            let list = values.iter().map(|word| {
                let (text, confidence) = word.split_once('=').unzip();
                let confidence = confidence.map(number).transpose()?;
                Ok(Descriptor { text: text.unwrap_or(word).into(), confidence })
            });
            Body::Descriptors(list.collect::<Result<_>>()?)
        }
        _ => Body::Quality { labels: vec![true, false], score: number(values[0])? },
    })
}

fn job(kind: &str) -> JobRecord {
    JobRecord { kind: kind.into(), ..JobRecord::default() }
}

fn item(id: &str, values: &[&str]) -> Result<Item> {
    let fields = values.iter().map(|word| {
        let (field, value) = word.split_once('=').unwrap();
        let value = value.parse().map_or(FieldValue::Text(value.into()), FieldValue::Int);
        Ok((number(field)?, value))
    });
    Ok(Item { id: id.into(), fields: fields.collect::<Result<_>>()? })
}

fn under(write: &Write, generation: u32, prefix: &[&str]) -> Result<String> {
    let prefix = match prefix {
        [] => Vec::new(),
        [text, ..] => sid(text)?.codes().to_vec(),
    };
    let found = sids::items_under(write, generation, &prefix)?;
    let texts = found.map(|row| row.map(|(sid, item)| format!("{sid}={item}")));
    Ok(texts.collect::<Result<Vec<_>>>()?.join(" "))
}

fn replay(script: &Path) -> String {
    let mut session = Session { store: Store::in_memory().unwrap(), write: None };
    let mut out = String::new();
    for line in std::fs::read_to_string(script).unwrap().lines() {
        if line.starts_with('#') || line.is_empty() {
            out.push_str(line);
            out.push('\n');
        } else if let Some(verb) = line.strip_prefix("> ") {
            let words: Vec<&str> = verb.split_whitespace().collect();
            let printed = session.run(&words).unwrap_or_else(|error| format!("error: {error}\n"));
            let _ = writeln!(out, "{line}");
            out.push_str(&printed);
        }
    }
    out
}

#[test]
fn scripts() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut played = 0;
    for folder in std::fs::read_dir(root).unwrap() {
        for script in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let script = script.unwrap().path();
            let out = replay(&script);
            if std::env::var_os("SIDQL_UPDATE_SCRIPTS").is_some() {
                std::fs::write(&script, &out).unwrap();
            }
            assert_eq!(out, std::fs::read_to_string(&script).unwrap(), "{}", script.display());
            played += 1;
        }
    }
    assert!(played >= 11, "only {played} scripts were found");
}
