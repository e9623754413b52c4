//! Look-up by name in a registry: a slice of constant records, one for each member.

use crate::error::{Error, Result};

/// What every member of every registry has.
pub(crate) trait Kind: Sync {
    /// The name typed after `USING`, in lower case.
    fn name(&self) -> &'static str;
    /// One sentence for `SHOW KINDS`: what it is and where it comes from.
    fn summary(&self) -> &'static str;
    /// Each option with one sentence for `DESCRIBE KIND`, in the order of its configuration.
    fn options(&self) -> &'static [(&'static str, &'static str)] {
        &[]
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
