//! How the vectors of a space are made. Stored with the space, as JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sidql_storage::{OriginNo, Space};
use xxhash_rust::xxh3::xxh3_64;

use crate::enrich::image;
use crate::error::{Error, Result};

/// How the vectors of a space are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// What the vectors are made from.
    pub(crate) stage: Stage,
    /// For `text`, the fields; for `fused`, the spaces. By themselves all fields, or every unfused space.
    pub(crate) parts: Option<Vec<String>>,
    /// The options of the encoder that was fitted, of the place of the photos, or of the fusion.
    pub(crate) options: Json,
    /// For `fused`, the source hashes of the spaces that the fusion was fitted on.
    pub(crate) made_from: Vec<u64>,
    /// The model, where one was opened rather than fitted here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// What tells the weights of that model from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
    /// The provenance of the vectors; none in files of format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<OriginNo>,
}

/// What the vectors of a space are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// The text of the item.
    Text,
    /// The photo of the item.
    Image,
    /// The vectors of other spaces.
    Fused,
    /// Nothing here: they came in a file.
    File,
}

impl Stage {
    /// The word after `BY`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stage::Text => "text",
            Stage::Image => "image",
            Stage::Fused => "fused",
            Stage::File => "file",
        }
    }
}

impl Recipe {
    /// The recipe of a space.
    pub(crate) fn of(space: &Space) -> Result<Recipe> {
        serde_json::from_str(&space.config)
            .map_err(|error| Error::internal(format!("the recipe of `{}`: {error}", space.name)))
    }

    /// What tells these vectors from others: the artefact that was fitted, and the recipe without its provenance.
    pub(crate) fn hash(&self, artefact: &[u8]) -> Result<u64> {
        let mut stamped = artefact.to_vec();
        stamped.extend(serde_json::to_vec(&Recipe { origin: None, ..self.clone() })?);
        Ok(xxh3_64(&stamped))
    }

    /// Whether two recipes make the same vectors.
    pub(crate) fn same_as(&self, other: &Recipe) -> bool {
        Recipe { origin: None, ..self.clone() } == Recipe { origin: None, ..other.clone() }
    }

    /// Where photos are, for a space of photos.
    pub(crate) fn photos(&self) -> Result<image::Where> {
        Ok(image::config(&self.options)?.picture)
    }

    /// The fields of the text, as `text::text_of` takes them.
    pub(crate) fn text_parts(&self) -> Option<&[String]> {
        debug_assert_eq!(self.stage, Stage::Text, "only texts have parts that are fields");
        self.parts.as_deref()
    }
}

/// Whether a space is still being made by a job, under a name of its own.
pub(crate) fn is_building(space: &Space) -> bool {
    space.name.contains('~')
}
