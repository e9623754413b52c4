//! TRAIN and EVALUATE: objectives, splits, cut-offs.

use serde_json::Value as Json;
use sidql_grammar::ast;

use super::bind::Catalog;
use super::operand;
use crate::error::{Error, Result};
use crate::eval::{Config, Split};
use crate::job::{self, Spec, evaluate, train};
use crate::kind;
use crate::options::{self, Given};
use crate::policy;
use crate::reward;
use crate::train::OBJECTIVES;

/// Resolves TRAIN POLICY; without USING, the default objective of the policy's kind.
pub(crate) fn plan_train(catalog: &Catalog<'_>, statement: &ast::TrainPolicy) -> Result<Spec> {
    let name = &statement.name;
    let card = catalog.policy(&name.node).map_err(|error| error.at(name.span.clone()))?;
    let kind = kind::find(policy::KINDS, "policy kind", &card.kind)?;
    let objective = match &statement.objective {
        None => kind.objectives[0],
        Some(wanted) => {
            let known = kind::find(OBJECTIVES, "objective", &wanted.node)
                .map_err(|error| error.at(wanted.span.clone()))?;
            if !kind.objectives.contains(&known.name) {
                let message =
                    format!("a policy of kind `{}` is not trained by `{}`", kind.name, known.name);
                return Err(Error::input("wrong-objective", message)
                    .help(format!("it is trained by: {}", kind.objectives.join(", ")))
                    .at(wanted.span.clone()));
            }
            known.name
        }
    };
    if let Some(codebook) = &card.codebook
        && card.generation.is_none()
    {
        catalog.generation(Some(codebook), None).map_err(|error| error.at(name.span.clone()))?;
    }
    let objective = kind::find(OBJECTIVES, "objective", objective)?;
    let config = Json::Object((objective.config)(&operand::options(catalog, &statement.with)?)?);
    let rewards = rewards(objective, &statement.rewards, &config)?;
    let spec =
        train::Spec { policy: card.name, objective: objective.name.to_owned(), config, rewards };
    Spec::new(job::kind("train")?, &spec)
}

/// The rewards of an objective that learns from them, each with its weight: those named, a sum spelt out.
fn rewards(
    objective: &crate::train::Kind,
    names: &[ast::Name],
    config: &Json,
) -> Result<Vec<(String, f64)>> {
    if let (false, Some(first)) = (objective.rewarded, names.first()) {
        let message = format!("`{}` learns from no reward", objective.name);
        return Err(Error::input("wrong-objective", message)
            .help("TRAIN POLICY p USING grpo REWARD …")
            .at(first.span.clone()));
    }
    if !objective.rewarded {
        return Ok(Vec::new());
    }
    let mut terms: Vec<(String, f64)> = Vec::new();
    let sum_of = |name: &str| reward::SUMS.iter().find(|(sum, _)| *sum == name);
    let spell = |terms: &mut Vec<(String, f64)>, sum: &[(&str, f64)]| {
        terms.extend(sum.iter().map(|(name, weight)| ((*name).to_owned(), *weight)));
    };
    for name in names {
        let typed = name.node.to_lowercase();
        if let Some((_, sum)) = sum_of(&typed) {
            spell(&mut terms, sum);
        } else if kind::find(reward::KINDS, "reward", &typed).is_ok() {
            terms.push((typed, 1.0));
        } else {
            let known = reward::SUMS.iter().map(|(sum, _)| *sum);
            let known = known.chain(reward::KINDS.iter().map(|kind| kind.name));
            return Err(Error::unknown("reward", &name.node, known).at(name.span.clone()));
        }
    }
    if names.is_empty() {
        spell(&mut terms, reward::DEFAULT);
    }
    let weights: Option<Vec<f64>> = config
        .get("weights")
        .map(|weights| serde_json::from_value(weights.clone()))
        .transpose()?
        .flatten();
    if let Some(weights) = weights {
        if weights.len() != terms.len() {
            let named: Vec<&str> = terms.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!(
                "`weights` has {} numbers for {} rewards: {}",
                weights.len(),
                terms.len(),
                named.join(", ")
            );
            return Err(Error::input("bad-option", message));
        }
        for (term, weight) in terms.iter_mut().zip(weights) {
            term.1 = weight;
        }
    }
    Ok(terms)
}

/// Resolves EVALUATE POLICY.
pub(crate) fn plan_evaluate(catalog: &Catalog<'_>, statement: &ast::Evaluate) -> Result<Spec> {
    let mut policies = Vec::new();
    for name in &statement.policies {
        let card = catalog.policy(&name.node).map_err(|error| error.at(name.span.clone()))?;
        if card.weights.is_none() {
            let message = format!("policy `{}` is not trained yet", card.name);
            return Err(Error::input("untrained", message)
                .help(format!("TRAIN POLICY {};", card.name))
                .at(name.span.clone()));
        }
        policies.push(card.name);
    }
    let mut given = operand::options(catalog, &statement.with)?;
    if let Some(at) = given.iter().find(|option| option.name == "at" || option.name == "split") {
        let message = format!("`{}` is not an option", at.name);
        return Err(Error::input("bad-option", message)
            .help("EVALUATE POLICY p ON test AT 5, 10")
            .at(at.span.clone()));
    }
    if let Some(split) = &statement.split {
        let name = match split.node.to_lowercase().as_str() {
            "test" => Split::Test.name(),
            "validation" => Split::Validation.name(),
            other => {
                let known = [Split::Test.name(), Split::Validation.name()];
                return Err(Error::unknown("split", other, known).at(split.span.clone()));
            }
        };
        given.push(Given {
            name: "split".to_owned(),
            value: Json::from(name),
            span: split.span.clone(),
        });
    }
    if let (Some(first), Some(last)) = (statement.at.first(), statement.at.last()) {
        let value = statement.at.iter().map(|at| Json::from(at.node)).collect();
        given.push(Given { name: "at".to_owned(), value, span: first.span.start..last.span.end });
    }
    let config: Config = options::config(&given)?;
    config.check()?;
    Spec::new(job::kind("evaluate")?, &evaluate::Spec { policies, config })
}
