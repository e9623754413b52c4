//! Pictures: decoded within limits, resized, and what they are sent as.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
pub(crate) use image::imageops::FilterType as Filter;
use image::metadata::Orientation;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage, imageops,
};

use crate::error::{Error, Result};

/// Formats that are read, with the names that messages give them.
const FORMATS: &[(ImageFormat, &str)] = &[
    (ImageFormat::Jpeg, "JPEG"),
    (ImageFormat::Png, "PNG"),
    (ImageFormat::WebP, "WebP"),
    (ImageFormat::Gif, "GIF"),
    (ImageFormat::Bmp, "BMP"),
];

/// Pixels along either side of a picture, at most.
const MAX_SIDE: u32 = 16_384;

/// Bytes that decoding may allocate, at most: a picture of 89 million pixels without transparency.
const MAX_BYTES: u64 = 256 << 20;

/// Bytes of something unknown that a message shows.
const SHOWN: usize = 8;

/// Quality of the JPEG that a picture is sent as, of 100.
const QUALITY: u8 = 90;

/// The longer side over the shorter one beyond which [`Picture::cover`] cuts first and resizes then. The middle
/// square is the same either way, and a strip of pixels does not become a gigantic one.
const LONG: u32 = 8;

/// A decoded picture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    /// Its pixels, red, green and blue.
    pub(crate) pixels: RgbImage,
}

impl Picture {
    /// Decodes JPEG, PNG, WebP, GIF (the first frame) or BMP, told apart by their bytes.
    ///
    /// The picture stands as its EXIF orientation says. Grey, palettes and 16 bits become three times 8 bits, and
    /// what is transparent becomes white.
    ///
    /// # Errors
    /// `bad-image` for what is no picture, is broken, or is of another format; `image-too-large` beyond the limits,
    /// before anything of that size is allocated.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Picture> {
        let (format, name) = known_format(bytes)?;
        let mut limits = Limits::default();
        limits.max_image_width = Some(MAX_SIDE);
        limits.max_image_height = Some(MAX_SIDE);
        limits.max_alloc = Some(MAX_BYTES);
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(|error| undecoded(name, &error))?;
        let (width, height) = decoder.dimensions();
        // Not every decoder looks at the bytes of its result.
        if decoder.total_bytes() > MAX_BYTES {
            return Err(too_large(format!("this {name} has {width} × {height} pixels")));
        }
        if width == 0 || height == 0 {
            return Err(bad(format!("this {name} has {width} × {height} pixels")));
        }
        // Metadata that cannot be read say nothing about the pixels.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut image =
            DynamicImage::from_decoder(decoder).map_err(|error| undecoded(name, &error))?;
        image.apply_orientation(orientation);
        Ok(Picture { pixels: on_white(image) })
    }

    /// The picture as JPEG, made smaller where its longer side has more than `longest` pixels.
    pub(crate) fn to_jpeg(&self, longest: u32) -> Result<Vec<u8>> {
        let (width, height) = self.pixels.dimensions();
        let longer = width.max(height);
        let smaller = (longer > longest).then(|| {
            let scaled = |side: u32| share(side, longest.max(1), longer);
            self.resized(scaled(width), scaled(height), Filter::CatmullRom)
        });
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
            .encode_image(&smaller.as_ref().unwrap_or(self).pixels)
            .map_err(|error| Error::internal(format!("a picture as JPEG: {error}")))?;
        Ok(jpeg)
    }

    /// The picture at exactly this size.
    ///
    /// `Triangle` is what Pillow calls bilinear and `CatmullRom` what it calls bicubic, both widened where the picture
    /// becomes smaller so that nothing is left out. Pillow rounds to 8 bits between its two passes and we do not:
    /// a colour may differ by one of 255 steps.
    pub(crate) fn resized(&self, width: u32, height: u32, filter: Filter) -> Picture {
        Picture { pixels: imageops::resize(&self.pixels, width, height, filter) }
    }

    /// The middle square of `size` pixels after the shorter side was brought to `shorter` pixels.
    pub(crate) fn cover(&self, shorter: u32, size: u32, filter: Filter) -> Picture {
        let (width, height) = self.pixels.dimensions();
        let short = width.min(height);
        if width.max(height) > LONG * short {
            let middle = self.middle(width.min(LONG * short), height.min(LONG * short));
            return middle.cover(shorter, size, filter);
        }
        let scaled = |side: u32| share(side, shorter, short);
        self.resized(scaled(width), scaled(height), filter).middle(size, size)
    }

    /// The whole picture as a square of `size` pixels, whatever becomes of its proportions.
    pub(crate) fn stretched(&self, size: u32, filter: Filter) -> Picture {
        self.resized(size, size, filter)
    }

    /// A rectangle around the middle.
    fn middle(&self, width: u32, height: u32) -> Picture {
        let (all_width, all_height) = self.pixels.dimensions();
        let (x, y) = (all_width.saturating_sub(width) / 2, all_height.saturating_sub(height) / 2);
        Picture { pixels: imageops::crop_imm(&self.pixels, x, y, width, height).to_image() }
    }
}

/// `side · to / from`, rounded down as Pillow's callers do, but never nothing.
fn share(side: u32, to: u32, from: u32) -> u32 {
    let scaled = u64::from(side) * u64::from(to) / u64::from(from.max(1));
    u32::try_from(scaled).unwrap_or(u32::MAX).max(1)
}

/// The format that the bytes begin like, if it is one that is read.
fn known_format(bytes: &[u8]) -> Result<(ImageFormat, &'static str)> {
    let guess = image::guess_format(bytes).ok();
    let known = guess.and_then(|guess| FORMATS.iter().find(|(format, _)| *format == guess));
    if let Some(known) = known {
        return Ok(*known);
    }
    let found = match (guess, bytes) {
        (Some(other), _) => format!("it is {}", other.to_mime_type()),
        (None, []) => "it is empty".to_owned(),
        (None, bytes) => {
            let begin = &bytes[..bytes.len().min(SHOWN)];
            let hex: Vec<String> = begin.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("it begins with the bytes {}", hex.join(" "))
        }
    };
    Err(bad(format!("this is no picture of a known format: {found}")))
}

/// Three colours of 8 bits; what is transparent lets white through.
fn on_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let image::Rgba([red, green, blue, alpha]) = *image.get_pixel(x, y);
        let alpha = u32::from(alpha);
        let mix = |colour: u8| {
            let mixed = u32::from(colour) * alpha + 255 * (255 - alpha);
            ((mixed + 127) / 255) as u8
        };
        image::Rgb([mix(red), mix(green), mix(blue)])
    })
}

/// What a decoder said, as our error.
fn undecoded(name: &str, error: &ImageError) -> Error {
    match error {
        ImageError::Limits(_) => too_large(format!("this {name} is too large")),
        other => bad(format!("this {name} cannot be decoded: {other}")),
    }
}

fn bad(message: String) -> Error {
    let names: Vec<&str> = FORMATS.iter().map(|(_, name)| *name).collect();
    Error::input("bad-image", message).help(format!("{} are read", names.join(", ")))
}

fn too_large(message: String) -> Error {
    let megabytes = MAX_BYTES >> 20;
    Error::input("image-too-large", message).help(format!(
        "at most {MAX_SIDE} pixels a side and {megabytes} MiB decoded; make it smaller"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use image::{ImageEncoder, Luma, Rgb, Rgba, RgbaImage};
    use proptest::prelude::*;

    use super::*;

    /// A picture whose colours tell where they stand.
    fn slope(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, ((x * 7 + y * 13) % 256) as u8])
        })
    }

    fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_format_is_read() {
        let image = slope(23, 17);
        for (format, name) in FORMATS {
            let picture = Picture::decode(&encoded(image.clone(), *format)).unwrap();
            assert_eq!(picture.pixels.dimensions(), (23, 17), "{name}");
            if matches!(format, ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp) {
                assert_eq!(picture.pixels, image, "{name} loses nothing");
            }
        }
    }

    #[test]
    fn grey_deep_and_transparent() {
        let grey = image::ImageBuffer::<Luma<u16>, _>::from_pixel(2, 1, Luma([0x8080]));
        let picture = Picture::decode(&encoded(grey, ImageFormat::Png)).unwrap();
        assert_eq!(picture.pixels.get_pixel(1, 0).0, [0x80; 3]);
        let mut glass = RgbaImage::from_pixel(3, 1, Rgba([200, 0, 100, 0]));
        glass.put_pixel(1, 0, Rgba([200, 0, 100, 255]));
        glass.put_pixel(2, 0, Rgba([200, 0, 100, 51]));
        let picture = Picture::decode(&encoded(glass, ImageFormat::Png)).unwrap();
        let colours: Vec<[u8; 3]> = picture.pixels.pixels().map(|pixel| pixel.0).collect();
        assert_eq!(colours, [[255; 3], [200, 0, 100], [244, 204, 224]]);
    }

    #[test]
    fn orientation_is_applied() {
        let image =
            RgbImage::from_fn(32, 16, |x, _| if x < 16 { Rgb([0; 3]) } else { Rgb([255; 3]) });
        let mut jpeg = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 95);
        // A TIFF header, one entry: orientation (0x0112), a short, 6: turn clockwise by 90 degrees.
        let exif = *b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.encode_image(&image).unwrap();
        let picture = Picture::decode(&jpeg).unwrap();
        assert_eq!(picture.pixels.dimensions(), (16, 32));
        assert!(
            picture.pixels.get_pixel(8, 4).0[0] < 20 && picture.pixels.get_pixel(8, 28).0[0] > 235
        );
    }

    #[test]
    fn no_pictures() {
        let error = |bytes: &[u8]| Picture::decode(bytes).unwrap_err();
        assert_eq!(
            error(b"<html>404</html>").to_string(),
            "this is no picture of a known format: it begins with the bytes 3c 68 74 6d 6c 3e 34 30\n\
             help: JPEG, PNG, WebP, GIF, BMP are read"
        );
        assert!(error(b"").message().ends_with("it is empty"));
        assert!(error(b"II*\0more").message().ends_with("it is image/tiff"));
        let broken = encoded(slope(40, 40), ImageFormat::Png);
        assert_eq!(error(&broken[..broken.len() / 2]).code(), "bad-image");
    }

    /// A BMP and a PNG of a few bytes that claim to be huge.
    #[test]
    fn bombs_are_refused() {
        let mut bmp = encoded(slope(2, 2), ImageFormat::Bmp);
        for (side, code) in [(MAX_SIDE + 1, "image-too-large"), (MAX_SIDE, "image-too-large")] {
            bmp[18..22].copy_from_slice(&side.to_le_bytes());
            bmp[22..26].copy_from_slice(&side.to_le_bytes());
            assert_eq!(Picture::decode(&bmp).unwrap_err().code(), code, "{side}");
        }
        let png = encoded(RgbImage::new(MAX_SIDE, 1), ImageFormat::Png);
        assert!(Picture::decode(&png).is_ok(), "a long strip is no bomb");
        let png = encoded(RgbImage::new(MAX_SIDE + 1, 1), ImageFormat::Png);
        let error = Picture::decode(&png).unwrap_err();
        assert_eq!(error.code(), "image-too-large");
        assert!(error.help_text().unwrap().contains("16384 pixels a side"), "{error}");
    }

    #[test]
    fn jpeg_of_at_most_a_size() {
        let picture = Picture { pixels: slope(300, 100) };
        let size = |longest| {
            let jpeg = picture.to_jpeg(longest).unwrap();
            assert!(jpeg.starts_with(&[0xff, 0xd8]));
            Picture::decode(&jpeg).unwrap().pixels.dimensions()
        };
        assert_eq!(size(1000), (300, 100), "never enlarged");
        assert_eq!(size(300), (300, 100));
        assert_eq!(size(60), (60, 20));
        assert_eq!(size(1), (1, 1));
        assert_eq!(size(0), (1, 1));
    }

    #[test]
    fn covered_and_stretched() {
        let wide = Picture { pixels: slope(400, 200) };
        let covered = wide.cover(50, 40, Filter::Triangle);
        assert_eq!(covered.pixels.dimensions(), (40, 40));
        let reds: Vec<u8> = (0..40).map(|x| covered.pixels.get_pixel(x, 20).0[0]).collect();
        // The middle 160 of 400 columns: from red 77 to red 178.
        assert!(reds[0].abs_diff(77) < 4 && reds[39].abs_diff(178) < 4, "{reds:?}");
        let stretched = wide.stretched(40, Filter::Triangle);
        assert!(stretched.pixels.get_pixel(0, 20).0[0] < 6, "nothing is cut");
        let strip = Picture { pixels: slope(MAX_SIDE, 1) };
        let covered = strip.cover(224, 224, Filter::CatmullRom);
        assert_eq!(covered.pixels.dimensions(), (224, 224));
        assert!(covered.pixels.get_pixel(112, 112).0[0].abs_diff(127) < 3);
    }

    #[test]
    fn sizes_as_pillow_has_them() {
        use crate::model::fixture::{formula, small};
        let answers = std::fs::read(small("pillow.json")).unwrap();
        let answers: Vec<serde_json::Value> = serde_json::from_slice(&answers).unwrap();
        assert_eq!(answers.len(), 4);
        for answer in answers {
            let size = |name: &str| [0, 1].map(|at| answer[name][at].as_u64().unwrap() as u32);
            let ([width, height], [to_width, to_height]) = (size("from"), size("to"));
            let filter = match answer["filter"].as_str() {
                Some("bicubic") => Filter::CatmullRom,
                _ => Filter::Triangle,
            };
            let ours = formula(width, height, 0).resized(to_width, to_height, filter);
            let theirs: Vec<u8> = serde_json::from_value(answer["pixels"].clone()).unwrap();
            assert_eq!(ours.pixels.as_raw().len(), theirs.len());
            let apart = ours.pixels.as_raw().iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(apart <= Some(1), "{filter:?} {apart:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            format in 0..FORMATS.len(),
            header in 0usize..40,
            noise in prop::collection::vec(any::<u8>(), 0..400),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        ) {
            let _ = Picture::decode(&noise);
            let mut bytes = encoded(slope(9, 7), FORMATS[format].0);
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            let _ = Picture::decode(&bytes);
            bytes.truncate(header);
            bytes.extend(&noise);
            let _ = Picture::decode(&bytes);
        }

        #[test]
        fn any_size_is_covered(width in 1u32..200, height in 1u32..200, size in 1u32..40) {
            let picture = Picture { pixels: RgbImage::new(width, height) };
            prop_assert_eq!(picture.cover(size, size, Filter::Triangle).pixels.dimensions(), (size, size));
            let jpeg = Picture::decode(&picture.to_jpeg(size).unwrap()).unwrap();
            let (width, height) = jpeg.pixels.dimensions();
            prop_assert!(width.max(height) <= size.max(1));
        }
    }
}
