//! From pictures to the numbers that an encoder reads: its preprocessing as a constant.

use candle_core::{Device, Tensor};
use documented::DocumentedFieldsOpt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::picture::{Filter, Picture};
use crate::device::choose;
use crate::error::{Error, Result};
use crate::index::product::normalise;
use crate::progress::Progress;

/// Pictures or texts that run together, at most: more would only take memory.
const MAX_BATCH: usize = 256;

/// The options that encoders of pictures share.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    /// The folder of the weights.
    pub(super) path: String,
    /// Where it runs: `cpu`, `cuda`, `cuda:1`, or `auto` for what the session says.
    pub(super) device: String,
    /// Pictures or texts that run together, 1 to 256.
    pub(super) batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { path: String::new(), device: "auto".to_owned(), batch: 16 }
    }
}

impl Options {
    /// Refuses what is out of range.
    pub(super) fn check(&self) -> Result<()> {
        checked_batch(self.batch)?;
        choose(&self.device).map(|_| ())
    }
}

/// How a picture becomes the input of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recipe {
    /// How it becomes a square.
    pub(super) fit: Fit,
    /// Pixels along a side of the square.
    pub(super) size: u32,
    /// How pixels are resampled.
    pub(super) filter: Filter,
    /// How colours become numbers.
    pub(super) colours: Colours,
}

/// How a picture becomes a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Its shorter side is brought to this many pixels, and the middle is cut out.
    Cover(u32),
    /// It is stretched.
    Stretch,
}

/// How a colour becomes a number: `(step − mean) / deviation`, for steps from 0 to 255.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Colours {
    /// The colour of each channel: 0 is red, 1 green, 2 blue.
    order: [usize; 3],
    /// The mean of each channel.
    mean: [f32; 3],
    /// The standard deviation of each channel.
    deviation: [f32; 3],
}

impl Colours {
    /// Mean and standard deviation of ImageNet, as torchvision has them.
    pub(super) const IMAGENET: Colours = Colours::rgb([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

    /// Blue, green and red less their means over ImageNet, as Caffe has them.
    pub(super) const CAFFE: Colours =
        Colours { order: [2, 1, 0], mean: [103.939, 116.779, 123.68], deviation: [1.0; 3] };

    /// Red, green and blue; mean and deviation of colours from 0 to 1.
    pub(super) const fn rgb(mean: [f32; 3], deviation: [f32; 3]) -> Colours {
        let [a, b, c] = mean;
        let [d, e, f] = deviation;
        Colours {
            order: [0, 1, 2],
            mean: [255.0 * a, 255.0 * b, 255.0 * c],
            deviation: [255.0 * d, 255.0 * e, 255.0 * f],
        }
    }

    /// The numbers of a picture, row by row: height × width × 3.
    fn numbers(&self, picture: &Picture) -> Vec<f32> {
        let number = |pixel: &image::Rgb<u8>, channel: usize| {
            let step = f32::from(pixel.0[self.order[channel]]);
            (step - self.mean[channel]) / self.deviation[channel]
        };
        picture.pixels.pixels().flat_map(|pixel| [0, 1, 2].map(|at| number(pixel, at))).collect()
    }
}

impl Recipe {
    /// The recipe with what `preprocessor_config.json` says otherwise.
    pub(super) fn amended(mut self, file: Option<&Json>) -> Result<Recipe> {
        let Some(file) = file else { return Ok(self) };
        let (mean, deviation) = (triple(file, "image_mean")?, triple(file, "image_std")?);
        if let (Some(mean), Some(deviation)) = (mean, deviation) {
            if deviation.contains(&0.0) {
                return Err(bad("`image_std` holds a zero"));
            }
            self.colours = Colours::rgb(mean, deviation);
        }
        match file.get("resample").and_then(Json::as_u64) {
            None => {}
            Some(2) => self.filter = Filter::Triangle,
            Some(3) => self.filter = Filter::CatmullRom,
            Some(1) => self.filter = Filter::Lanczos3,
            Some(other) => return Err(bad(&format!("`resample` is {other}, not 1, 2 or 3"))),
        }
        // Either one number, or the shorter side, or both sides.
        let sizes = file.get("size");
        let shorter = sizes.and_then(|size| size.get("shortest_edge").unwrap_or(size).as_u64());
        if let Some(shorter) = shorter {
            let within = u64::from(self.size)..=4 * u64::from(self.size);
            if !within.contains(&shorter) {
                let size = self.size;
                return Err(bad(&format!(
                    "`size` is {shorter}, but the model reads {size} pixels"
                )));
            }
            self.fit = Fit::Cover(shorter as u32);
        } else if sizes.is_some() {
            self.fit = Fit::Stretch;
        }
        Ok(self)
    }

    /// Pictures as rows of pixels: pictures × size × size × 3.
    pub(super) fn tensor(&self, pictures: &[&Picture], device: &Device) -> Result<Tensor> {
        let numbers: Vec<Vec<f32>> = pictures
            .par_iter()
            .map(|picture| {
                let square = match self.fit {
                    Fit::Cover(shorter) => picture.cover(shorter, self.size, self.filter),
                    Fit::Stretch => picture.stretched(self.size, self.filter),
                };
                self.colours.numbers(&square)
            })
            .collect();
        let size = self.size as usize;
        Ok(Tensor::from_vec(numbers.concat(), (pictures.len(), size, size, 3), device)?)
    }

    /// A vector of unit length for each picture, row-major. `batch` pictures run together on `device`; `features`
    /// makes pictures × components of what [`Recipe::tensor`] gives.
    pub(super) fn vectors(
        &self,
        pictures: &[&Picture],
        (batch, device): (usize, &Device),
        progress: &Progress,
        features: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Vec<f32>> {
        let mut vectors = Vec::new();
        for pictures in pictures.chunks(batch.max(1)) {
            progress.check()?;
            vectors.extend(unit_rows(&features(&self.tensor(pictures, device)?)?)?);
        }
        Ok(vectors)
    }
}

/// Refuses a number of pictures or texts that cannot run together.
pub(super) fn checked_batch(batch: usize) -> Result<()> {
    if (1..=MAX_BATCH).contains(&batch) {
        return Ok(());
    }
    Err(Error::input("bad-option", format!("`batch` must be 1 to {MAX_BATCH}, not {batch}")))
}

/// Three numbers of a file.
fn triple(file: &Json, name: &str) -> Result<Option<[f32; 3]>> {
    let Some(found) = file.get(name) else { return Ok(None) };
    serde_json::from_value(found.clone())
        .map(Some)
        .map_err(|_| bad(&format!("`{name}` must be three numbers")))
}

fn bad(message: &str) -> Error {
    Error::input("bad-model", format!("preprocessor_config.json: {message}"))
}

/// The rows of a matrix, each brought to unit length, one after the other.
pub(super) fn unit_rows(rows: &Tensor) -> Result<Vec<f32>> {
    let width = rows.dim(1)?;
    let mut numbers = rows.flatten_all()?.to_vec1::<f32>()?;
    numbers.chunks_exact_mut(width.max(1)).for_each(normalise);
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use image::{Rgb, RgbImage};
    use serde_json::json;

    use super::*;

    const RECIPE: Recipe =
        Recipe { fit: Fit::Stretch, size: 2, filter: Filter::CatmullRom, colours: Colours::CAFFE };

    #[test]
    fn colours_become_numbers() {
        let picture = Picture { pixels: RgbImage::from_pixel(2, 2, Rgb([255, 0, 51])) };
        let numbers = |recipe: &Recipe| {
            let tensor = recipe.tensor(&[&picture, &picture], &Device::Cpu).unwrap();
            assert_eq!(tensor.dims(), [2, 2, 2, 3]);
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()[..3].to_vec()
        };
        assert_eq!(numbers(&RECIPE), [51.0 - 103.939, -116.779, 255.0 - 123.68]);
        let colours = Colours::rgb([0.5; 3], [0.5; 3]);
        assert_eq!(numbers(&Recipe { colours, ..RECIPE }), [1.0, -1.0, -0.6]);
    }

    #[test]
    fn the_file_has_the_last_word() {
        let amended = |file: Json| RECIPE.amended(Some(&file));
        let found = amended(json!({
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2,
            "size": {"shortest_edge": 3}
        }));
        let colours = Colours::rgb([0.5; 3], [0.5; 3]);
        let told = Recipe { fit: Fit::Cover(3), size: 2, filter: Filter::Triangle, colours };
        assert_eq!(found.unwrap(), told);
        assert_eq!(amended(json!({"size": 2})).unwrap().fit, Fit::Cover(2));
        assert_eq!(amended(json!({"size": {"height": 2, "width": 2}})).unwrap().fit, Fit::Stretch);
        assert_eq!(RECIPE.amended(None).unwrap(), RECIPE);
        let wrong = [
            json!({"size": 1}),
            json!({"size": 4000}),
            json!({"resample": 9}),
            json!({"image_mean": [1, 2], "image_std": [1, 1, 1]}),
            json!({"image_mean": [1, 1, 1], "image_std": [1, 0, 1]}),
        ];
        for file in wrong {
            assert_eq!(amended(file).unwrap_err().code(), "bad-model");
        }
    }
}
