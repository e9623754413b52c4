//! CREATE, PUBLISH and DROP.

use sidql_storage::{
    Codebook, GenerationNo, GenerationState, PolicyCard, codebooks, generations, policies,
};

use super::{Context, Outcome};
use crate::error::{Error, Result};
use crate::job::holders::holders;
use crate::plan::define::DropCodebook;

/// Adds a codebook; it has no generation yet.
pub(crate) fn create_codebook(context: &mut Context<'_>, codebook: &Codebook) -> Result<Outcome> {
    context.change(|write| Ok(codebooks::create(write, codebook)?))?;
    let name = &codebook.name;
    Ok(Outcome::say(format!("codebook `{name}` created; REBUILD CODEBOOK {name} makes its sids")))
}

/// Switches the generation that queries use.
pub(crate) fn publish(
    context: &mut Context<'_>,
    generation: GenerationNo,
    said: String,
) -> Result<Outcome> {
    context.change(|write| Ok(generations::publish(write, generation)?))?;
    Ok(Outcome::say(said))
}

/// Removes a codebook, or one generation of it.
pub(crate) fn drop_codebook(context: &mut Context<'_>, drop: &DropCodebook) -> Result<Outcome> {
    let name = &drop.name;
    let bound = bound_policies(context, drop)?;
    if drop.generation.is_none() && !bound.is_empty() {
        let message = format!("codebook `{name}` is spoken by policies: {}", bound.join(", "));
        return Err(Error::input("codebook-in-use", message)
            .help(format!("DROP POLICY {}; first", bound[0])));
    }
    context.change(|write| {
        match drop.generation {
            Some((number, _)) => generations::drop(write, number)?,
            None => codebooks::drop(write, name)?,
        };
        Ok(())
    })?;
    Ok(Outcome::say(match drop.generation {
        Some((_, ordinal)) => format!("generation {ordinal} of `{name}` dropped"),
        None => format!("codebook `{name}` dropped"),
    }))
}

/// The policies that speak a codebook.
fn bound_policies(context: &Context<'_>, drop: &DropCodebook) -> Result<Vec<String>> {
    let all = policies::all(context.view()?)?.into_iter();
    let bound = |card: &PolicyCard| card.codebook.as_deref() == Some(&drop.name);
    Ok(all.filter(bound).map(|card| card.name).collect())
}

/// Removes the generations of a codebook that nothing needs, but for the newest so many of them.
pub(crate) fn drop_unused(context: &mut Context<'_>, name: &str, keep: usize) -> Result<Outcome> {
    let dropped = context.change(|write| {
        let codebook = codebooks::must(write, name)?;
        let mut unused = Vec::new();
        for generation in generations::of(write, name)? {
            if generation.state == GenerationState::Ready
                && holders(write, &codebook, generation.number)?.is_empty()
            {
                unused.push(generation);
            }
        }
        unused.truncate(unused.len().saturating_sub(keep));
        for generation in &unused {
            generations::drop(write, generation.number)?;
        }
        Ok(unused)
    })?;
    let ordinals: Vec<String> = dropped.iter().map(|one| one.ordinal.to_string()).collect();
    Ok(Outcome::say(match ordinals.as_slice() {
        [] => format!("no generation of `{name}` to drop"),
        [one] => format!("generation {one} of `{name}` dropped"),
        several => format!("generations {} of `{name}` dropped", several.join(", ")),
    }))
}

/// Adds a policy; it is not trained yet.
pub(crate) fn create_policy(context: &mut Context<'_>, card: &PolicyCard) -> Result<Outcome> {
    context.change(|write| Ok(policies::create(write, card)?))?;
    let name = &card.name;
    Ok(Outcome::say(format!("policy `{name}` created; TRAIN POLICY {name} teaches it")))
}

/// Removes a policy with its weights.
pub(crate) fn drop_policy(context: &mut Context<'_>, name: &str) -> Result<Outcome> {
    context.change(|write| Ok(policies::drop(write, name)?))?;
    Ok(Outcome::say(format!("policy `{name}` dropped")))
}
