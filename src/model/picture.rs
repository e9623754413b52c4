//! Pictures: decoded within limits, and what they are sent as.

use image::RgbImage;

/// A decoded picture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    /// Its pixels, red, green and blue.
    pub(crate) pixels: RgbImage,
}
