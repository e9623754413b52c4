//! `image`: the photo of an item as a vector (CMSA path 2, DeepInterestGR III-D, eq. 5), and where a photo is found.
//!
//! The paper takes the pooled output of a frozen image encoder and projects it (`W_v`); the projection belongs to the
//! codebook or to `fused`. Items without a photo have no vector in the space and are not lost: `fused` puts the mean
//! of the part in its place.

use std::path::PathBuf;
use std::time::Duration;

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sidql_storage::FieldValue;
use xxhash_rust::xxh3::xxh3_64;

use super::{Kind, Makes};
use crate::error::{Error, Result};
use crate::model::Ability;
use crate::model::client::{self, Limits};
use crate::model::picture::Picture;
use crate::options;
use crate::progress::Progress;

/// The record of this stage.
pub(super) const KIND: Kind = Kind {
    name: "image",
    summary: "the photo as a vector, by an image encoder (CMSA path 2)",
    needs: Some(Ability::Image),
    meanings: || [options::meanings::<Where>(), options::meanings::<Config>()].concat(),
    config: |given| options::checked(given, |config: &Config| config.picture.check()),
    makes: Makes::ImageVector,
};

/// The fields that hold a photo where none is named, the first that an item has.
const FIELDS: [&str; 3] = ["image", "image_url", "image_path"];

/// The largest photo that is fetched or read, in MiB.
const MAX_MIB: u64 = 256;
/// The longest wait for a photo, in seconds.
const MAX_SECONDS: u64 = 600;

/// The most redirects on the way to a photo.
const MAX_REDIRECTS: u32 = 5;

/// What can be set.
#[derive(Clone, Debug, Default, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    /// Where photos are.
    #[serde(flatten)]
    pub(crate) picture: Where,
    /// The embedding space to fill; `image` when not given.
    pub(crate) space: Option<String>,
    /// Whether vectors that are up to date are made again.
    pub(crate) again: bool,
}

/// Where the photos of items are, and how much is done to get them.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Where {
    /// The field with the bytes, the path or the address of the photo; `image`, `image_url` or `image_path` when
    /// not given.
    pub(crate) field: Option<String>,
    /// The folder that relative paths begin at; the working directory when not given.
    pub(crate) base: Option<String>,
    /// Seconds to wait for a photo from the net.
    pub(crate) image_timeout: u64,
    /// MiB of the largest photo.
    pub(crate) image_mib: u64,
    /// Whether addresses of private networks may be asked.
    pub(crate) allow_private: bool,
}

impl Default for Where {
    fn default() -> Self {
        Where { field: None, base: None, image_timeout: 20, image_mib: 20, allow_private: false }
    }
}

impl Where {
    /// Refuses what is out of range.
    pub(super) fn check(&self) -> Result<()> {
        for (name, value, most) in [
            ("image_timeout", self.image_timeout, MAX_SECONDS),
            ("image_mib", self.image_mib, MAX_MIB),
        ] {
            if !(1..=most).contains(&value) {
                let message = format!("`{name}` must be 1 to {most}, not {value}");
                return Err(Error::input("bad-option", message));
            }
        }
        Ok(())
    }

    /// The photo of an item among its fields.
    pub(crate) fn reference<'a>(
        &self,
        field: impl Fn(&str) -> Option<&'a FieldValue>,
    ) -> Option<Reference> {
        let value = match &self.field {
            Some(name) => field(name),
            None => FIELDS.iter().find_map(|name| field(name)),
        };
        match value? {
            FieldValue::Bytes(bytes) => Some(Reference::Bytes(bytes.clone())),
            FieldValue::Text(text) if text.trim().is_empty() => None,
            FieldValue::Text(text) => Some(Reference::of(text.trim(), self.base.as_deref())),
            _ => None,
        }
    }

    /// Limits of a fetch.
    fn limits(&self) -> Limits {
        Limits {
            bytes: self.image_mib << 20,
            time: Duration::from_secs(self.image_timeout),
            allow_private: self.allow_private,
            redirects: MAX_REDIRECTS,
        }
    }

    /// Gets and decodes a photo.
    pub(crate) fn load(&self, reference: &Reference, progress: &Progress) -> Result<Picture> {
        progress.check()?;
        match reference {
            Reference::Bytes(bytes) => Picture::decode(bytes),
            Reference::File(path) => {
                let bad = |why: String| {
                    Error::input("image-unreachable", format!("`{}`: {why}", path.display()))
                        .help("relative paths begin at the option `base`")
                };
                let size = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?.len();
                if size > self.image_mib << 20 {
                    let message = format!("`{}` has {size} bytes", path.display());
                    return Err(Error::input("image-too-large", message)
                        .help(format!("the option `image_mib` allows {} MiB", self.image_mib)));
                }
                Picture::decode(&std::fs::read(path).map_err(|error| bad(error.to_string()))?)
            }
            Reference::Url(url) => Picture::decode(&client::fetch(url, &self.limits(), progress)?),
        }
    }
}

/// Where one photo is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// In the item.
    Bytes(Vec<u8>),
    /// In a file.
    File(PathBuf),
    /// On the net.
    Url(String),
}

impl Reference {
    /// What a text refers to: an address where it begins like one, else a path.
    pub(crate) fn of(text: &str, base: Option<&str>) -> Reference {
        let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        if lower.starts_with("http://") || lower.starts_with("https://") {
            return Reference::Url(text.to_owned());
        }
        let path = text.strip_prefix("file://").unwrap_or(text);
        Reference::File(
            base.map_or_else(|| PathBuf::from(path), |base| PathBuf::from(base).join(path)),
        )
    }

    /// Whether it is at hand: no other machine has to be asked for it.
    pub(crate) fn at_hand(&self) -> bool {
        match self {
            Reference::Bytes(_) => true,
            Reference::File(path) => path.is_file(),
            Reference::Url(_) => false,
        }
    }

    /// A hash of where it is; of the bytes, where the item holds them.
    pub(crate) fn hash(&self) -> u64 {
        match self {
            Reference::Bytes(bytes) => xxh3_64(bytes),
            Reference::File(path) => xxh3_64(path.as_os_str().as_encoded_bytes()),
            Reference::Url(url) => xxh3_64(url.as_bytes()),
        }
    }
}

/// The options of a stored space.
pub(crate) fn config(options: &Json) -> Result<Config> {
    Ok(serde_json::from_value(options.clone())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn where_a_photo_is() {
        let url = FieldValue::Text("https://example.org/a.jpg".to_owned());
        let path = FieldValue::Text(" b.png ".to_owned());
        let bytes = FieldValue::Bytes(vec![1, 2]);
        let reference = |place: &Where, value: &FieldValue, name: &'static str| {
            place.reference(|field| (field == name).then_some(value))
        };
        let plain = Where::default();
        let url = reference(&plain, &url, "image_url").unwrap();
        assert!(matches!(url, Reference::Url(_)) && !url.at_hand());
        let based = Where { base: Some("photos".to_owned()), ..Where::default() };
        let file = reference(&based, &path, "image").unwrap();
        assert_eq!(file, Reference::File(PathBuf::from("photos/b.png")));
        assert!(!file.at_hand());
        assert!(reference(&plain, &bytes, "image").unwrap().at_hand());
        assert_eq!(reference(&plain, &bytes, "price"), None);
        let named = Where { field: Some("photo".to_owned()), ..Where::default() };
        assert!(reference(&named, &bytes, "photo").is_some());
        assert_eq!(reference(&named, &bytes, "image"), None);
    }

    #[test]
    fn a_missing_file_names_the_option() {
        let missing = Reference::File(PathBuf::from("nowhere/at/all.png"));
        let error = Where::default().load(&missing, &Progress::silent()).unwrap_err();
        assert_eq!(error.code(), "image-unreachable");
        assert!(error.help_text().unwrap().contains("base"));
        assert!(Where { image_mib: 0, ..Where::default() }.check().is_err());
    }
}
