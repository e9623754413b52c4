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
    if let Some(codebook) = &card.codebook {
        catalog.generation(Some(codebook), None).map_err(|error| error.at(name.span.clone()))?;
    }
    let objective = kind::find(OBJECTIVES, "objective", objective)?;
    let config = (objective.config)(&operand::options(catalog, &statement.with)?)?;
    let spec = train::Spec {
        policy: card.name,
        objective: objective.name.to_owned(),
        config: Json::Object(config),
    };
    Spec::new(job::kind("train")?, &spec)
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
