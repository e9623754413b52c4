//! ENRICH: the stage, who makes its values, the items.

use serde_json::{Map, Value as Json};
use sidql_grammar::ast;
use sidql_storage::{Space, models, spaces};

use super::bind::Catalog;
use super::define::check_name;
use super::operand;
use super::relation::Relation;
use super::scope::Derived;
use super::select::{self, Select};
use crate::derive::recipe::Recipe;
use crate::enrich::{Kind, Makes, STAGES, text};
use crate::error::{Error, Result};
use crate::job::enrich::Spec;
use crate::kind;
use crate::model::{self, Ability, Make};
use crate::options::{self, Given};

/// A resolved ENRICH.
pub(crate) struct Enrich {
    /// What to make; the items of a filter are put in when it has run.
    pub(crate) spec: Spec,
    /// The items, with WHERE.
    pub(crate) only: Option<Select>,
    /// Whether files are read that a statement or an item names.
    pub(crate) reads_files: bool,
    /// `IN BACKGROUND`
    pub(crate) background: bool,
}

/// The text encoder without USING.
const DEFAULT_ENCODER: &str = "hash";

/// Who makes the values.
struct By {
    /// The model, or the kind of an encoder that is fitted.
    model: Option<String>,
    /// The options of an encoder that is fitted.
    encoder: Json,
}

/// Resolves an ENRICH.
pub(crate) fn plan(catalog: &Catalog<'_>, enrich: &ast::Enrich) -> Result<Enrich> {
    let relation =
        Relation::find(&enrich.relation.node).map_err(|e| e.at(enrich.relation.span.clone()))?;
    if relation != Relation::Items {
        return Err(Error::input("not-enrichable", "only items are enriched")
            .at(enrich.relation.span.clone()));
    }
    let stage = kind::find(STAGES, "stage", &enrich.stage.node)
        .map_err(|error| error.at(enrich.stage.span.clone()))?;
    let given = operand::options(catalog, &enrich.with)?;
    let existing = match &enrich.filter {
        Some(_) => standing(catalog, enrich, stage, &given)?,
        None => None,
    };
    let (own, rest) = split(stage, given)?;
    let options = (stage.config)(&own)?;
    check_fields(catalog, enrich, stage, &options)?;
    let by = match &existing {
        Some(space) => made_by(space)?,
        None => by(catalog, enrich, stage, &options, &rest)?,
    };
    let space = match options.get("space").and_then(Json::as_str) {
        Some(name) => name.to_owned(),
        None => stage.name.to_owned(),
    };
    let only = match &enrich.filter {
        None => None,
        Some(filter) => {
            let derived = match (&existing, stage.makes) {
                (_, Makes::Answer(kind, _)) => Derived::Evidence(kind),
                (Some(space), _) => Derived::Vector(space.number),
                (None, _) => return Err(Error::internal("a space without a number")),
            };
            Some(select::plan_stale(catalog, filter, derived)?)
        }
    };
    let sees = matches!(stage.makes, Makes::ImageVector) || stage.name == "caption";
    let reads_files =
        sees && by.model.is_some() || !options.get("prompt").is_none_or(Json::is_null);
    let spec = Spec {
        stage: stage.name.to_owned(),
        model: by.model,
        options: Json::Object(options),
        encoder: by.encoder,
        space,
        only: None,
    };
    Ok(Enrich { spec, only, reads_files, background: enrich.background })
}

/// The options of the stage, and those that are left to an encoder that is fitted.
fn split(stage: &Kind, given: Vec<Given>) -> Result<(Vec<Given>, Vec<Given>)> {
    if !matches!(stage.makes, Makes::TextVector) {
        return Ok((given, Vec::new()));
    }
    let names = options::fields_of(&text::Config::default())?;
    Ok(given.into_iter().partition(|option| names.contains_key(&option.name)))
}

/// The space whose vectors some items get anew: it must stand, and the statement may not ask for another one.
fn standing(
    catalog: &Catalog<'_>,
    enrich: &ast::Enrich,
    stage: &Kind,
    given: &[Given],
) -> Result<Option<Space>> {
    if matches!(stage.makes, Makes::Answer(..)) {
        return Ok(None);
    }
    let named = given.iter().find(|option| option.name == "space");
    let name = named.and_then(|option| option.value.as_str()).unwrap_or(stage.name);
    let span = enrich.filter.as_ref().map(|filter| filter.span.clone()).unwrap_or_default();
    let Some(space) = spaces::get(catalog.view, name)? else {
        let message = format!("space `{name}` does not exist yet, so it is made for all items");
        return Err(Error::input("no-space", message)
            .help(format!("ENRICH items BY {}; without WHERE first", stage.name))
            .at(span));
    };
    let recipe = Recipe::of(&space)?;
    if recipe.stage.name() != stage.name {
        let message = format!("space `{name}` was made by {}", recipe.stage.name());
        return Err(Error::input("wrong-space", message).at(enrich.stage.span.clone()));
    }
    let maker = recipe.model.as_deref().unwrap_or(&space.encoder);
    let other = enrich.using.as_ref().filter(|name| !name.node.eq_ignore_ascii_case(maker));
    let change = given.iter().find(|option| !matches!(option.name.as_str(), "again" | "space"));
    let span = other.map(|name| name.span.clone()).or(change.map(|option| option.span.clone()));
    let Some(span) = span else { return Ok(Some(space)) };
    let message = format!("space `{name}` was made by `{maker}` with options of its own");
    Err(Error::input("wrong-space", message)
        .help("WHERE makes vectors again as they were made; without it the space is made anew")
        .at(span))
}

/// Who made a space that stands.
fn made_by(space: &Space) -> Result<By> {
    let recipe = Recipe::of(space)?;
    let encoder = if recipe.model.is_some() { Json::Null } else { recipe.options };
    Ok(By { model: recipe.model.or(Some(space.encoder.clone())), encoder })
}

/// Who makes the values of a statement.
fn by(
    catalog: &Catalog<'_>,
    enrich: &ast::Enrich,
    stage: &Kind,
    options: &Map<String, Json>,
    rest: &[Given],
) -> Result<By> {
    let nobody = || By { model: None, encoder: Json::Null };
    let alone = match stage.makes {
        Makes::FusedVector => true,
        Makes::Answer(_, questions) => {
            let questions = questions(&Json::Object(options.clone()))?;
            questions.needs_no_model() || !options.get("from").is_none_or(Json::is_null)
        }
        Makes::TextVector | Makes::ImageVector => false,
    };
    let Some(need) = stage.needs.filter(|_| !alone) else {
        return match &enrich.using {
            None => Ok(nobody()),
            Some(name) => Err(Error::input("needless-model", "no model is asked here")
                .help("leave USING out")
                .at(name.span.clone())),
        };
    };
    let Some(using) = &enrich.using else {
        if need == Ability::Text {
            return named(catalog, DEFAULT_ENCODER, need, rest);
        }
        return Ok(By { model: Some(only_model(catalog, need, enrich)?), encoder: Json::Null });
    };
    named(catalog, &using.node, need, rest).map_err(|error| error.at(using.span.clone()))
}

/// A model by name, or the kind of an encoder that is fitted.
fn named(catalog: &Catalog<'_>, name: &str, need: Ability, rest: &[Given]) -> Result<By> {
    if let Some(record) = models::get(catalog.view, name)? {
        let kind = kind::find(model::KINDS, "kind of model", &record.kind)?;
        if !kind.can(need) {
            let message = format!("model `{name}` makes no {}", need.name());
            return Err(
                Error::input("wrong-model", message).help("SHOW MODELS tells what each can do")
            );
        }
        if let Some(option) = rest.first() {
            let known = options::fields_of(&text::Config::default())?;
            let known: Vec<&str> = known.keys().map(String::as_str).collect();
            return Err(Error::unknown("option", &option.name, known).at(option.span.clone()));
        }
        return Ok(match kind.make {
            Make::Opened(..) => By { model: Some(record.name), encoder: Json::Null },
            Make::Fitted(..) => By {
                model: Some(kind.name.to_owned()),
                encoder: serde_json::from_str(&record.config)?,
            },
        });
    }
    let all = models::all(catalog.view)?;
    let fitted = model::KINDS.iter().filter(|kind| matches!(kind.make, Make::Fitted(..)));
    let known = all.iter().map(|record| record.name.as_str());
    let known = known.chain(fitted.map(|kind| kind.name));
    match model::KINDS.iter().find(|kind| kind.name.eq_ignore_ascii_case(name)) {
        Some(kind) if matches!(kind.make, Make::Fitted(..)) && kind.can(need) => {
            let encoder = Json::Object((kind.config)(rest)?);
            Ok(By { model: Some(kind.name.to_owned()), encoder })
        }
        Some(kind) => {
            let message = format!("`{}` is a kind of model, not a model", kind.name);
            Err(Error::input("no-model", message)
                .help(format!("CREATE MODEL m USING {} WITH (…); then USING m", kind.name)))
        }
        None => Err(Error::unknown("model", name, known)),
    }
}

/// The only model that can do what is needed.
fn only_model(catalog: &Catalog<'_>, need: Ability, enrich: &ast::Enrich) -> Result<String> {
    let mut able = Vec::new();
    for record in models::all(catalog.view)? {
        if kind::find(model::KINDS, "kind of model", &record.kind)?.can(need) {
            able.push(record.name);
        }
    }
    let at = enrich.stage.span.clone();
    match able.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            let kinds = model::KINDS.iter().filter(|kind| kind.can(need));
            let kinds: Vec<&str> = kinds.map(|kind| kind.name).collect();
            let message = format!("there is no model that makes {}", need.name());
            Err(Error::input("no-model", message)
                .help(format!("CREATE MODEL m USING {} WITH (…);", kinds.join(" | ")))
                .at(at))
        }
        several => {
            let message = format!("several models make {}: {}", need.name(), several.join(", "));
            Err(Error::input("ambiguous-model", message)
                .help(format!("name one, as in USING {}", several[0]))
                .at(at))
        }
    }
}

/// Refuses names of fields that no item has, and names of spaces that cannot be typed.
fn check_fields(
    catalog: &Catalog<'_>,
    enrich: &ast::Enrich,
    stage: &Kind,
    options: &Map<String, Json>,
) -> Result<()> {
    let at = |error: Error, option: &str| {
        let typed = enrich.with.iter().find(|with| with.name.node.eq_ignore_ascii_case(option));
        match typed {
            Some(with) => error.at(with.name.span.start..with.value.span.end),
            None => error.at(enrich.stage.span.clone()),
        }
    };
    let listed = options.get("parts").and_then(Json::as_array).into_iter().flatten();
    let mut named: Vec<(&str, &str)> = Vec::new();
    if !matches!(stage.makes, Makes::FusedVector) {
        named.extend(listed.filter_map(Json::as_str).map(|part| ("parts", part)));
    }
    for option in ["from", "field"] {
        named.extend(options.get(option).and_then(Json::as_str).map(|name| (option, name)));
    }
    for (option, name) in named {
        let derived = option == "parts" && matches!(name, "caption" | "descriptors");
        if !derived && catalog.field(name).is_none() {
            let known = catalog.fields().iter().map(|field| field.name.as_str());
            let known: Vec<&str> = known.chain(["caption", "descriptors"]).collect();
            return Err(at(Error::unknown("field", name, known), option));
        }
    }
    if let Some(space) = options.get("space").and_then(Json::as_str) {
        check_name(space, "space").map_err(|error| at(error, "space"))?;
    }
    Ok(())
}
