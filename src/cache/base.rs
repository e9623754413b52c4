//! The language model that a policy begins with, as the file knows it: by name, path and hash.

use std::sync::Arc;

use candle_core::Device;
use serde_json::Value as Json;
use sidql_storage::{View, models};

use crate::error::{Error, Result};
use crate::model::Make;
use crate::model::base::Base;
use crate::progress::Progress;
use crate::{kind, model};

/// Opens the model that the option `base` of a policy names; nothing where it names none.
///
/// # Errors
/// There is no such model any more, or its weights are gone or other ones.
pub(super) fn open(view: &dyn View, config: &Json, device: &Device) -> Result<Option<Arc<Base>>> {
    let Some(name) = config["base"].as_str().filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let again = format!("CREATE MODEL {name} USING {} WITH (path = '…');", model::base::OF_KIND);
    let record = models::get(view, name)?.ok_or_else(|| {
        let message = format!("model `{name}`, which the policy stands on, has been dropped");
        Error::input("no-model", message).help(format!("{again} brings it back"))
    })?;
    let in_model = |error: Error| error.context(format!("model `{name}`"));
    let options: Json = serde_json::from_str(&record.config)?;
    if let Make::Opened(_, fingerprint) =
        kind::find(model::KINDS, "kind of model", &record.kind)?.make
    {
        let found = fingerprint(&options, &Progress::silent()).map_err(in_model)?;
        if found != record.fingerprint {
            let path = options["path"].as_str().unwrap_or_default();
            let message = format!(
                "the weights of model `{name}` in `{path}` have changed since it was created"
            );
            return Err(Error::input("base-changed", message).help(format!(
                "put back those of {}, or DROP MODEL {name}; {again} and train the policy again",
                record.fingerprint
            )));
        }
    }
    let base = Base::open(&options, record.fingerprint, device).map_err(in_model)?;
    Ok(Some(Arc::new(base)))
}
