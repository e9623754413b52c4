//! The options of `openai`.

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::{Error, Result};
use crate::model::client::check_base;

/// Options of `openai`.
#[derive(Clone, Debug, PartialEq, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// The base of the endpoint's addresses, for example `http://127.0.0.1:8000/v1`.
    pub(super) url: String,
    /// The name of the model there.
    pub(super) name: String,
    /// The environment variable that holds the key; none where no key is needed.
    pub(super) key_env: String,
    /// Seconds from asking to the end of the answer, 1 to 3600.
    pub(super) timeout: u64,
    /// How often a request is repeated where that may help, 0 to 20.
    pub(super) retries: u32,
    /// Requests at the same time, 1 to 1024.
    pub(super) concurrency: usize,
    /// The most requests a minute; 0 for no limit.
    pub(super) requests_per_minute: u32,
    /// The most tokens of an answer, whatever is asked.
    pub(super) max_tokens: usize,
    /// How freely the model picks its words, 0 to 2.
    pub(super) temperature: f64,
    /// Tokens read and written until the model stops answering; 0 for no limit.
    pub(super) budget_tokens: u64,
    /// Money until the model stops answering; 0 for no limit.
    pub(super) budget_cost: f64,
    /// Money for a million tokens that are read.
    pub(super) price_read: f64,
    /// Money for a million tokens that are written.
    pub(super) price_written: f64,
    /// How the shape of an answer is asked for.
    pub(super) structured: Structured,
    /// Components of a vector; 0 to ask the endpoint.
    pub(super) dim: usize,
    /// Texts of one request for vectors, 1 to 2048.
    pub(super) batch: usize,
    /// What stands before a text that somebody looks for, for models that tell questions from documents.
    pub(super) query_prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            url: String::new(),
            name: String::new(),
            key_env: String::new(),
            timeout: 120,
            retries: 5,
            concurrency: 8,
            requests_per_minute: 0,
            max_tokens: 1024,
            temperature: 0.0,
            budget_tokens: 0,
            budget_cost: 0.0,
            price_read: 0.0,
            price_written: 0.0,
            structured: Structured::Auto,
            dim: 0,
            batch: 64,
            query_prefix: String::new(),
        }
    }
}

impl Config {
    /// Checks what is needed and the ranges.
    pub(super) fn check(&self) -> Result<()> {
        check_base(&self.url)?;
        if self.name.is_empty() {
            return Err(Error::input("no-name", "which model of the endpoint?")
                .help("WITH (name = '…') names it, as the endpoint lists it under /models"));
        }
        let ranges = [
            ("timeout", self.timeout, 1, 3600),
            ("retries", self.retries.into(), 0, 20),
            ("concurrency", self.concurrency as u64, 1, 1024),
            ("max_tokens", self.max_tokens as u64, 1, 1 << 20),
            ("dim", self.dim as u64, 0, 1 << 16),
            ("batch", self.batch as u64, 1, 2048),
        ];
        for (option, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let message =
                    format!("option `{option}` must lie between {least} and {most}, not {value}");
                return Err(Error::input("bad-option", message));
            }
        }
        let amounts = [
            ("temperature", self.temperature, 2.0),
            ("budget_cost", self.budget_cost, f64::MAX),
            ("price_read", self.price_read, f64::MAX),
            ("price_written", self.price_written, f64::MAX),
        ];
        for (option, value, most) in amounts {
            if !(0.0..=most).contains(&value) {
                let message = if most == f64::MAX {
                    format!("option `{option}` must not lie below 0, as {value} does")
                } else {
                    format!("option `{option}` must lie between 0 and {most}, not {value}")
                };
                return Err(Error::input("bad-option", message));
            }
        }
        Ok(())
    }

    /// Reads the stored options.
    pub(super) fn read(config: &Json) -> Result<Config> {
        let config: Config = serde_json::from_value(config.clone())?;
        config.check()?;
        Ok(config)
    }
}

/// How the shape of an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Structured {
    /// The first of the others that the endpoint does not refuse.
    Auto,
    /// By a JSON Schema.
    JsonSchema,
    /// As any JSON object.
    JsonObject,
    /// In the prompt only.
    None,
}
