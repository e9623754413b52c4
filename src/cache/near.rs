//! What NEAR searches, kept ready: the vectors of a space, and built indexes.

use std::sync::Arc;

use sidql_storage::{Index, Space, View, changes};

use super::held::Opened;
use super::{Cache, bytes};
use crate::error::{Error, Kind, Result};
use crate::index::vectors::{self, Delta, Last};
use crate::index::{self, Vectors};
use crate::kind;
use crate::progress::Progress;

/// Vectors are loaded anew when more than one in so many differs from what a view has.
const STALE_SHARE: usize = 16;
/// How often single vectors of a space are read from the file before all are held.
const READS: u32 = 8;

impl Cache {
    /// The vectors of a space with what the view has otherwise; nothing where they are too many to be held, and where
    /// `few` of them are wanted and it is not worth while yet.
    pub(crate) fn vectors(
        &self,
        view: &dyn View,
        space: &Space,
        few: bool,
        progress: &Progress,
    ) -> Result<Option<(Arc<Vectors>, Arc<Delta>)>> {
        let known = self.held.vectors(space.number).filter(|held| held.fits(space));
        if let Some(held) = known {
            let delta = held.delta(view, space)?;
            if delta.len() <= held.len() / STALE_SHARE {
                return Ok(Some((held, delta)));
            }
        }
        let size = vectors::bytes_of(space.count, u64::from(space.dim));
        if size > self.held.budget() || few && self.held.miss(space.number) <= READS {
            return Ok(None);
        }
        let held = Arc::new(Vectors::load(view, space, progress)?);
        self.held.put_vectors(space.number, &held);
        let delta = held.delta(view, space)?;
        Ok(Some((held, delta)))
    }

    /// A built index, with what the view has otherwise than it.
    ///
    /// # Errors
    /// It was not built, cannot be read, this build does not know its kind, or it is too large to be held.
    pub(crate) fn built(
        &self,
        view: &dyn View,
        record: &Index,
        space: &Space,
    ) -> Result<(Arc<Opened>, Arc<Delta>)> {
        let name = &record.name;
        let blob = record.artefact.ok_or_else(|| {
            Error::input("not-built", format!("index `{name}` is not built yet"))
                .help(format!("REBUILD INDEX {name};"))
        })?;
        let opened = if let Some(known) = self.held.index(blob) {
            known
        } else {
            let kind = kind::find(index::KINDS, "index kind", &record.kind)?;
            let Some(made) = &kind.made else {
                return Err(Error::internal(format!(
                    "indexes of kind `{}` are not built",
                    kind.name
                )));
            };
            let config: serde_json::Value = serde_json::from_str(&record.config)?;
            let built = (made.open)(&config, &bytes(view, blob)?)?;
            let (size, budget) = (built.bytes() >> 20, self.held.budget() >> 20);
            if size > budget {
                let message =
                    format!("index `{name}` takes {size} MiB of the {budget} that may be held");
                return Err(Error::new(Kind::Resource, "over-budget", message)
                    .help("Database::builder().vector_bytes(…) allows more"));
            }
            let opened = Arc::new(Opened { built, last: Last::default() });
            self.held.put_index(blob, &opened);
            opened
        };
        let now = changes::revision(view, space)?;
        let delta = opened.last.get(now, || Delta::since(view, space, record.revision))?;
        Ok((opened, delta))
    }
}
