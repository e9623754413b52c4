//! ENRICH … BY text | image: vectors of items, batch by batch.
//!
//! A space that an opened model made is brought up to date where it stands, and what follows (fusions, codes) with it in
//! the same transaction. Where the vectors would mean something else, another model, other fields, an encoder fitted
//! anew, a space is made under a name of its own beside the one in use, and takes its place when it is complete: a
//! half-made space is never seen.

use serde_json::Value as Json;
use sidql_storage::{Space, Write, blobs, embeddings, fields, items, spaces};

use super::pass::{Pass, Tool};
use super::{Spec, Tally, maker};
use crate::clock::now_ms;
use crate::count::counted;
use crate::derive;
use crate::derive::origin::{self, Maker};
use crate::derive::recipe::{Recipe, Stage};
use crate::derive::subject::item_text;
use crate::enrich::{Kind, Makes};
use crate::error::{Error, Result};
use crate::job::{Answer, Context};
use crate::kind;
use crate::model::{self, Make};
use crate::progress::Checkpoint;

/// Makes the vectors of a space.
pub(super) fn run(context: &Context<'_>, spec: &Spec, stage: &'static Kind) -> Result<Answer> {
    let existing = spaces::get(&context.read()?, &spec.space)?;
    let wanted = recipe(spec, stage)?;
    if let Some(space) = &existing
        && Recipe::of(space)?.stage == Stage::File
    {
        let message = format!("the vectors of space `{}` came in a file", space.name);
        return Err(Error::input("foreign-space", message).help(
            "COPY embeddings FROM '…' replaces them; WITH (space = '…') makes others beside them",
        ));
    }
    if let (Some(space), Some(_)) = (&existing, &spec.only) {
        let recipe = Recipe::of(space)?;
        return update(context, spec, space, &recipe);
    }
    let Some(name) = wanted.model.clone() else { return fitted(context, spec, wanted) };
    let maker = maker(context, &name)?;
    let wanted = Recipe { fingerprint: Some(maker.fingerprint.clone()), ..wanted };
    if let Some(space) = &existing
        && Recipe::of(space)?.same_as(&wanted)
    {
        return update(context, spec, space, &Recipe::of(space)?);
    }
    let recipe = with_origin(context, spec, wanted, &maker)?;
    let tool = opened(context, &recipe)?;
    let building = building(&spec.space);
    let space = match resumed(context, &building)? {
        Some(space) => space,
        None => begin(context, &building, &recipe, &maker.kind, tool.dim()?, &[])?,
    };
    make(context, spec, &space, &recipe, &tool)
}

/// The recipe that a statement asks for.
fn recipe(spec: &Spec, stage: &'static Kind) -> Result<Recipe> {
    let image = matches!(stage.makes, Makes::ImageVector);
    let parts = serde_json::from_value(spec.options["parts"].clone())?;
    let model = spec.model.clone().filter(|_| spec.encoder.is_null());
    Ok(Recipe {
        stage: if image { Stage::Image } else { Stage::Text },
        parts: if image { None } else { parts },
        options: if image { place_alone(&spec.options) } else { spec.encoder.clone() },
        made_from: Vec::new(),
        model,
        fingerprint: None,
        origin: None,
    })
}

/// The options that say where photos are.
fn place_alone(options: &Json) -> Json {
    let other = ["again", "space"];
    let kept = options.as_object().into_iter().flatten();
    kept.filter(|(name, _)| !other.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn with_origin(
    context: &Context<'_>,
    spec: &Spec,
    recipe: Recipe,
    maker: &Maker,
) -> Result<Recipe> {
    let write = context.write()?;
    let mut options = spec.options.clone();
    if let (Some(options), Some(own)) = (options.as_object_mut(), spec.encoder.as_object()) {
        options.extend(own.clone());
    }
    let origin = origin::intern(&write, &spec.stage, maker, None, &options)?;
    write.commit()?;
    Ok(Recipe { origin: Some(origin), ..recipe })
}

fn opened(context: &Context<'_>, recipe: &Recipe) -> Result<Tool> {
    let name = recipe.model.as_deref().unwrap_or_default();
    let model = context.cache.model(&context.read()?, name)?;
    let cannot = || Error::input("no-encoder", format!("model `{name}` makes no such vectors"));
    Ok(match recipe.stage {
        Stage::Image => Tool::Image(model.image.clone().ok_or_else(cannot)?, recipe.photos()?),
        Stage::Text | Stage::Fused | Stage::File => {
            let encoder = model.text.clone().ok_or_else(cannot)?;
            encoder.renew();
            Tool::Text(encoder)
        }
    })
}

/// The name under which a space is made.
pub(super) fn building(space: &str) -> String {
    format!("{space}~building")
}

/// The half-made space of this job, if a run before this one began it.
fn resumed(context: &Context<'_>, name: &str) -> Result<Option<Space>> {
    let Some(begun) = context.slot.load()? else { return Ok(None) };
    let number: u16 = serde_json::from_slice(&begun)?;
    Ok(spaces::get(&context.read()?, name)?.filter(|space| space.number == number))
}

/// Makes the empty space, and notes in the checkpoint that it is this job's.
fn begin(
    context: &Context<'_>,
    name: &str,
    recipe: &Recipe,
    encoder: &str,
    dim: usize,
    artefact: &[u8],
) -> Result<Space> {
    let write = context.write()?;
    let space = create(&write, name, recipe, encoder, dim, artefact)?;
    write.commit()?;
    context.slot.save(&serde_json::to_vec(&space.number)?)?;
    Ok(space)
}

/// Adds an empty space in the place of one of the same name.
pub(super) fn create(
    write: &Write,
    name: &str,
    recipe: &Recipe,
    encoder: &str,
    dim: usize,
    artefact: &[u8],
) -> Result<Space> {
    spaces::drop(write, name)?;
    let stored = if artefact.is_empty() { None } else { Some(blobs::put(write, artefact)?) };
    let space = Space {
        name: name.to_owned(),
        dim: dim as u32,
        encoder: encoder.to_owned(),
        config: serde_json::to_string(recipe)?,
        artefact: stored,
        source_hash: recipe.hash(artefact)?,
        created_ms: now_ms(),
        ..Space::default()
    };
    Ok(spaces::create(write, &space)?)
}

/// A text space by an encoder that is fitted on the catalogue.
fn fitted(context: &Context<'_>, spec: &Spec, wanted: Recipe) -> Result<Answer> {
    let kind = spec.model.as_deref().unwrap_or_default();
    let kind = kind::find(model::KINDS, "kind of model", kind)?;
    let Make::Fitted(fit, _) = kind.make else {
        return Err(Error::internal(format!("`{}` is not fitted", kind.name)));
    };
    let building = building(&spec.space);
    let (space, recipe) = if let Some(space) = resumed(context, &building)? {
        let recipe = Recipe::of(&space)?;
        (space, recipe)
    } else {
        let maker =
            Maker { model: kind.name.to_owned(), kind: kind.name.to_owned(), ..Maker::default() };
        let recipe = with_origin(context, spec, wanted, &maker)?;
        let texts = all_texts(context, &recipe)?;
        let encoder = fit(&recipe.options, &texts, context.progress)?;
        let dim = encoder.dim()?;
        let space = begin(context, &building, &recipe, kind.name, dim, &encoder.to_bytes())?;
        (space, recipe)
    };
    let encoder = context.cache.encoder(&context.read()?, &space)?;
    make(context, spec, &space, &recipe, &Tool::Text(encoder))
}

/// The texts of all items, for an encoder that learns from them.
fn all_texts(context: &Context<'_>, recipe: &Recipe) -> Result<Vec<String>> {
    let read = context.read()?;
    let schema = fields::all(&read)?;
    context.progress.stage("reading texts", items::count(&read)?);
    let mut texts = Vec::new();
    for row in items::scan(&read, 0)? {
        let (number, item) = row?;
        texts.push(item_text(&read, &schema, (number, &item), recipe.text_parts())?);
        context.progress.advance(1);
        context.progress.check()?;
    }
    if texts.is_empty() {
        return Err(Error::input("no-items", "there are no items to enrich")
            .help("COPY items FROM 'items.jsonl.gz';"));
    }
    if texts.iter().all(|text| text.trim().is_empty()) {
        return Err(Error::input("no-text", "no item has any text")
            .help("WITH (parts = ['…']) names the fields to read"));
    }
    Ok(texts)
}

/// Fills a half-made space, and puts it in the place of the old one.
fn make(
    context: &Context<'_>,
    spec: &Spec,
    space: &Space,
    recipe: &Recipe,
    tool: &Tool,
) -> Result<Answer> {
    let mut pass = Pass::new(context, spec, space, recipe, tool, false);
    pass.all()?;
    let tally = pass.tally;
    finish(context, &space.name, &spec.space)?;
    let count = spaces::must(&context.read()?, &spec.space)?.count;
    let what = made(count as usize, tool.dim()?, &spec.space);
    let told = Tally { made: count, fresh: 0, ..tally };
    Ok(told.say(context, &what, "a photo"))
}

/// Puts a finished space in the place of the old one, after making what came meanwhile.
pub(super) fn finish(context: &Context<'_>, building: &str, name: &str) -> Result<()> {
    context.progress.stage("publishing the space", 0);
    let write = context.write()?;
    spaces::replace(&write, building, name)?;
    let space = spaces::must(&write, name)?;
    let mut late = Vec::new();
    for row in items::scan(&write, 0)? {
        let (number, _) = row?;
        if embeddings::get(&write, &space, number)?.is_none() {
            late.push(number);
        }
    }
    if Recipe::of(&space)?.stage != Stage::Image {
        derive::refresh(&write, context.cache, &late)?;
    }
    context.progress.check()?;
    write.commit()?;
    Ok(())
}

/// Brings a space up to date where it stands.
fn update(context: &Context<'_>, spec: &Spec, space: &Space, recipe: &Recipe) -> Result<Answer> {
    let tool = match &recipe.model {
        Some(name) => {
            maker(context, name)?;
            opened(context, recipe)?
        }
        None => Tool::Text(context.cache.encoder(&context.read()?, space)?),
    };
    let mut pass = Pass::new(context, spec, space, recipe, &tool, true);
    pass.all()?;
    let tally = pass.tally;
    let what = made(tally.made as usize, tool.dim()?, &spec.space);
    let nothing = if recipe.stage == Stage::Image { "a photo" } else { "text" };
    Ok(tally.say(context, &what, nothing))
}

fn made(count: usize, dim: usize, space: &str) -> String {
    format!("{} of {dim} components in space `{space}`", counted(count, "vector"))
}
