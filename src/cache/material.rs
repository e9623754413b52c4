//! What policies read beside codes: the language model that one begins with, which the file knows by name, path and hash,
//! and the titles of items.

use std::sync::Arc;

use candle_core::Device;
use serde_json::Value as Json;
use sidql_storage::{FieldValue, View, fields, items, models};

use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::model::Make;
use crate::model::base::Base;
use crate::progress::Progress;
use crate::{kind, model};

/// Opens the model that the option `base` of a policy names; nothing where it names none.
///
/// # Errors
/// There is no such model any more, or its weights are gone or other ones.
pub(super) fn base(view: &dyn View, config: &Json, device: &Device) -> Result<Option<Arc<Base>>> {
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

/// The field that holds the titles of items.
const TITLE: &str = "title";

/// The title of every item of a catalogue; empty where it has none.
pub(super) fn titles(view: &dyn View, catalogue: &Catalogue) -> Result<Vec<String>> {
    let schema = fields::all(view)?;
    let mut titles = vec![String::new(); catalogue.len()];
    let Some(field) = schema.iter().position(|field| field.name.eq_ignore_ascii_case(TITLE)) else {
        return Ok(titles);
    };
    for row in items::scan(view, 0)? {
        let (number, item) = row?;
        let position = catalogue.position(number);
        if let (Some(position), Some(FieldValue::Text(title))) =
            (position, item.field(field as u16))
        {
            titles[position as usize].clone_from(title);
        }
    }
    Ok(titles)
}
