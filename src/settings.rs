//! Settings of a session: `SET name = value`, `SHOW SETTINGS`.

use serde::{Deserialize, Serialize};

/// What a session remembers between statements.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The codebook that bare `sid` and `prefix` mean, where several are published.
    pub(crate) codebook: Option<String>,
    /// The policy that RECOMMEND uses without USING.
    pub(crate) policy: Option<String>,
    /// Where models and policies run that do not say it themselves: `cpu`, `cuda`, `cuda:1`, or `auto` for the best
    /// there is. They are shared, so it holds for all sessions of an open file.
    pub(crate) device: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { codebook: None, policy: None, device: "auto".to_owned() }
    }
}

/// What each setting means, in the order of the fields.
pub(crate) const MEANINGS: &[(&str, &str)] = &[
    ("codebook", "the codebook that bare sid and prefix mean, where several are published"),
    ("policy", "the policy that RECOMMEND uses without USING"),
    ("device", "where models and policies run: cpu, cuda, cuda:1, or auto for the best there is"),
];
