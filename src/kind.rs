//! Look-up by name in a registry: a slice of constant records, one for each member.

use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};
use crate::options::Meanings;

/// What every member of every registry has.
pub(crate) trait Kind: Sync {
    /// The name typed after `USING`, in lower case.
    fn name(&self) -> &'static str;
    /// One sentence for `SHOW KINDS`: what it is and where it comes from.
    fn summary(&self) -> &'static str;
    /// Its options with their defaults, in the order of `DESCRIBE KIND`.
    fn defaults(&self) -> Result<Map<String, Json>> {
        Ok(Map::new())
    }
    /// What each of them means.
    fn meanings(&self) -> Meanings {
        Meanings::new()
    }
}

/// Finds a member by name; an unknown name is answered with the nearest known one.
///
/// `what` is the word for the registry in errors, for example `quantizer`.
pub(crate) fn find<K: Kind + ?Sized>(
    registry: &'static [&'static K],
    what: &str,
    name: &str,
) -> Result<&'static K> {
    registry
        .iter()
        .copied()
        .find(|kind| kind.name().eq_ignore_ascii_case(name))
        .ok_or_else(|| Error::unknown(what, name, registry.iter().map(|kind| kind.name())))
}
