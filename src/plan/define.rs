//! CREATE, REBUILD, PUBLISH and DROP of codebooks; CREATE and DROP of policies.

use serde_json::{Map, Value as Json};
use sidql_grammar::ast::{self, Name};
use sidql_storage::{Codebook, GenerationNo, PolicyCard, codebooks, generations, policies};

use super::Plan;
use super::bind::Catalog;
use super::operand;
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::job::holders::holders;
use crate::job::{self, Spec, import, rebuild};
use crate::kind;
use crate::options::Given;
use crate::{model, policy, quantize};

/// What DROP CODEBOOK takes away.
#[derive(Debug)]
pub(crate) struct DropCodebook {
    /// The codebook.
    pub(crate) name: String,
    /// This generation alone.
    pub(crate) generation: Option<(GenerationNo, u32)>,
}

/// The characters of a name: what can be typed without quotes.
pub(crate) fn check_name(name: &str, what: &str) -> Result<()> {
    let good = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.len() <= 64 && name.chars().all(good) {
        return Ok(());
    }
    let message = format!("`{name}` is no name for a {what}");
    Err(Error::input("bad-name", message).help("names have 1 to 64 letters, digits, `_` and `-`"))
}

/// The error of a name that is in use.
pub(super) fn taken(what: &str, name: &Name) -> Error {
    Error::input("name-taken", format!("{what} `{}` exists already", name.node))
        .help(format!("DROP {} {}; makes room for a new one", what.to_uppercase(), name.node))
        .at(name.span.clone())
}

/// Resolves CREATE CODEBOOK.
pub(crate) fn create_codebook(
    catalog: &Catalog<'_>,
    create: &ast::CreateCodebook,
) -> Result<Codebook> {
    check_name(&create.name.node, "codebook").map_err(|e| e.at(create.name.span.clone()))?;
    if codebooks::get(catalog.view, &create.name.node)?.is_some() {
        return Err(taken("codebook", &create.name));
    }
    let kind = kind::find(quantize::KINDS, "quantizer", &create.using.node)
        .map_err(|error| error.at(create.using.span.clone()))?;
    let space = catalog.space(&create.on.node).map_err(|error| error.at(create.on.span.clone()))?;
    let config = (kind.config)(&operand::options(catalog, &create.with)?)?;
    Ok(Codebook {
        name: create.name.node.clone(),
        kind: kind.name.to_owned(),
        config: Json::Object(config).to_string(),
        space: space.name,
        created_ms: now_ms(),
        ..Codebook::default()
    })
}

/// Resolves REBUILD CODEBOOK: the codebook's options with those of the statement over them.
pub(crate) fn rebuild_codebook(
    catalog: &Catalog<'_>,
    rebuild: &ast::RebuildCodebook,
) -> Result<Spec> {
    let codebook = catalog
        .codebook(&rebuild.name.node)
        .map_err(|error| error.at(rebuild.name.span.clone()))?;
    if codebook.kind == import::FOREIGN {
        let name = &codebook.name;
        let message =
            format!("the sids of `{name}` were made elsewhere, so they cannot be made anew");
        return Err(Error::input("foreign-codebook", message)
            .help(format!("COPY codes FROM '…' WITH (codebook = '{name}') adds a generation"))
            .at(rebuild.name.span.clone()));
    }
    let kind = kind::find(quantize::KINDS, "quantizer", &codebook.kind)?;
    let mut given = operand::options(catalog, &rebuild.with)?;
    let publish = match operand::take(&mut given, "publish") {
        None => None,
        Some(option) => Some(option.value.as_bool().ok_or_else(|| {
            Error::input("bad-option", "option `publish` is true or false").at(option.span)
        })?),
    };
    let (align_to, align_slack) = aligned(catalog, &codebook, &mut given)?;
    let mut config: Map<String, Json> = stored(&codebook.config)?;
    let checked = (kind.config)(&given)?;
    for option in &given {
        if let Some(value) = checked.get(&option.name) {
            config.insert(option.name.clone(), value.clone());
        }
    }
    let config = Json::Object(config);
    let spec = rebuild::Spec { codebook: codebook.name, config, publish, align_to, align_slack };
    Spec::new(job::kind("rebuild")?, &spec)
}

/// The options `align_to` and `align_slack` of REBUILD.
fn aligned(
    catalog: &Catalog<'_>,
    codebook: &Codebook,
    given: &mut Vec<Given>,
) -> Result<(Option<GenerationNo>, Option<f64>)> {
    let to = match operand::take(given, "align_to") {
        None => None,
        Some(option) => {
            let ordinal = option.value.as_u64().and_then(|ordinal| u32::try_from(ordinal).ok());
            let ordinal = ordinal.ok_or_else(|| {
                Error::input("bad-option", "option `align_to` is the number of a generation")
                    .help("SHOW GENERATIONS lists them")
                    .at(option.span.clone())
            })?;
            let found = catalog.ready_generation(codebook, ordinal);
            Some(found.map_err(|error| error.at(option.span.clone()))?.number)
        }
    };
    let slack = match operand::take(given, "align_slack") {
        None => None,
        Some(option) => {
            let slack = option.value.as_f64().filter(|slack| *slack >= 0.0 && slack.is_finite());
            Some(slack.filter(|_| to.is_some()).ok_or_else(|| {
                Error::input(
                    "bad-option",
                    "option `align_slack` is a number from 0, beside `align_to`",
                )
                .help(format!("the default is {}", rebuild::ALIGN_SLACK))
                .at(option.span.clone())
            })?)
        }
    };
    Ok((to, slack))
}

/// Options as the file keeps them.
pub(crate) fn stored(config: &str) -> Result<Map<String, Json>> {
    serde_json::from_str(config)
        .map_err(|error| Error::internal(format!("stored options are damaged: {error}")))
}

/// Resolves PUBLISH CODEBOOK; without a generation, the newest complete one.
pub(crate) fn publish_codebook(catalog: &Catalog<'_>, publish: &ast::GenerationOf) -> Result<Plan> {
    let (codebook, generation) = generation_of(catalog, publish)?;
    let (number, ordinal) = if let Some(known) = generation {
        known
    } else {
        let newest = generations::of(catalog.view, &codebook.name)?
            .into_iter()
            .rfind(|one| one.state == sidql_storage::GenerationState::Ready);
        let newest = newest.ok_or_else(|| {
            let message = format!("codebook `{}` has no generation to publish", codebook.name);
            Error::input("unknown-generation", message)
                .help(format!("REBUILD CODEBOOK {};", codebook.name))
                .at(publish.codebook.span.clone())
        })?;
        (newest.number, newest.ordinal)
    };
    let said = format!("generation {ordinal} of `{}` is published", codebook.name);
    Ok(Plan::Publish { generation: number, said })
}

/// Resolves DROP CODEBOOK.
pub(crate) fn drop_codebook(
    catalog: &Catalog<'_>,
    drop: &ast::GenerationOf,
) -> Result<DropCodebook> {
    let (codebook, generation) = generation_of(catalog, drop)?;
    if let Some((number, ordinal)) = generation
        && let Some(used) = holders(catalog.view, &codebook, number)?.first()
    {
        let name = &codebook.name;
        let message = format!("generation {ordinal} of `{name}` {}", used.why);
        return Err(Error::input("generation-in-use", message)
            .help(used.remedy.clone())
            .at(drop.codebook.span.clone()));
    }
    Ok(DropCodebook { name: codebook.name, generation })
}

/// Resolves DROP CODEBOOK … UNUSED.
pub(crate) fn drop_unused(catalog: &Catalog<'_>, unused: &ast::DropUnused) -> Result<Plan> {
    let codebook = catalog
        .codebook(&unused.codebook.node)
        .map_err(|error| error.at(unused.codebook.span.clone()))?;
    let keep = unused.keep.as_ref().map_or(0, |keep| keep.node);
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    Ok(Plan::DropUnused { codebook: codebook.name, keep })
}

type Found = (Codebook, Option<(GenerationNo, u32)>);

fn generation_of(catalog: &Catalog<'_>, of: &ast::GenerationOf) -> Result<Found> {
    let codebook =
        catalog.codebook(&of.codebook.node).map_err(|error| error.at(of.codebook.span.clone()))?;
    let generation = match &of.generation {
        None => None,
        Some(ordinal) => {
            let at = |error: Error| error.at(ordinal.span.clone());
            let wanted = u32::try_from(ordinal.node).unwrap_or(u32::MAX);
            let found = catalog.ready_generation(&codebook, wanted).map_err(at)?;
            Some((found.number, found.ordinal))
        }
    };
    Ok((codebook, generation))
}

/// Resolves CREATE POLICY.
pub(crate) fn create_policy(
    catalog: &Catalog<'_>,
    create: &ast::CreatePolicy,
) -> Result<PolicyCard> {
    check_name(&create.name.node, "policy").map_err(|e| e.at(create.name.span.clone()))?;
    if policies::get(catalog.view, &create.name.node)?.is_some() {
        return Err(taken("policy", &create.name));
    }
    let kind = kind::find(policy::KINDS, "policy kind", &create.using.node)
        .map_err(|error| error.at(create.using.span.clone()))?;
    let codebook = match (&create.codebook, kind.needs_codebook) {
        (Some(name), true) => {
            Some(catalog.codebook(&name.node).map_err(|error| error.at(name.span.clone()))?.name)
        }
        (None, true) => {
            let codebook = catalog.default_codebook().map_err(|error| {
                error
                    .context(format!("a policy of kind `{}` speaks sids", kind.name))
                    .at(create.using.span.clone())
            })?;
            Some(codebook.name.clone())
        }
        (Some(name), false) => {
            let message = format!("a policy of kind `{}` needs no codebook", kind.name);
            return Err(Error::input("needless-codebook", message)
                .help("leave ON CODEBOOK out")
                .at(name.span.clone()));
        }
        (None, false) => None,
    };
    let given = operand::options(catalog, &create.with)?;
    let config = (kind.config)(&given)?;
    if kind.reads(policy::Reads::Base) {
        check_base(catalog, &given)?;
    }
    Ok(PolicyCard {
        name: create.name.node.clone(),
        kind: kind.name.to_owned(),
        config: Json::Object(config).to_string(),
        codebook,
        report: "{}".to_owned(),
        created_ms: now_ms(),
        ..PolicyCard::default()
    })
}

/// Refuses a `base` that is no language model.
fn check_base(catalog: &Catalog<'_>, given: &[Given]) -> Result<()> {
    let named = given.iter().find(|option| option.name == "base");
    let Some((option, name)) = named.and_then(|option| Some((option, option.value.as_str()?)))
    else {
        return Ok(());
    };
    if name.is_empty() {
        return Ok(());
    }
    let of_kind = model::base::OF_KIND;
    let create = format!("CREATE MODEL {name} USING {of_kind} WITH (path = '…');");
    let at = |error: Error| error.at(option.span.clone());
    let found = catalog.model(name).map_err(|error| {
        at(match error.help_text() {
            Some(_) => error,
            None => error.help(format!("{create} names the weights in a folder")),
        })
    })?;
    if found.kind == of_kind {
        return Ok(());
    }
    let message =
        format!("a base is a model of kind `{of_kind}`, and `{name}` is of `{}`", found.kind);
    Err(at(Error::input("bad-option", message)))
}

/// A policy that exists.
pub(crate) fn policy_name(catalog: &Catalog<'_>, name: &Name) -> Result<String> {
    Ok(catalog.policy(&name.node).map_err(|error| error.at(name.span.clone()))?.name)
}
