//! `clip`: pictures and texts in one space (Radford et al. 2021, arXiv 2103.00020).
//!
//! ```text
//! picture:  proj(norm(tower(norm0(class, patches)) at the class))
//! text:     proj(norm(tower(tokens)) at the end token)              a token sees only those before it
//! ```
//!
//! Both at unit length; their product is how well a text fits a picture. `pooled = 'pooler'` leaves the projection
//! out: what DeepInterestGR and others quantise is the pooled output itself. A picture and a text then lie in
//! different spaces, so such a model makes vectors of pictures only.

use std::sync::Arc;

use candle_core::{Device, Result as Tensors, Tensor};
use candle_nn::{LayerNorm, Linear, Module, VarBuilder};
use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::folder;
use super::picture::{Filter, Picture};
use super::recipe::{Colours, Fit, Options, Recipe, unit_rows};
use super::tower::{
    Activation, Config as ModelConfig, Patches, Section, Shape, Tower, Words, linear, norm, unread,
    weights,
};
use super::{Ability, Encoder, ImageEncoder, Kind, Make, Model};
use crate::device::choose;
use crate::error::Result;
use crate::options;
use crate::progress::Progress;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "clip",
    summary: "pictures and texts in one space: CLIP, from a folder of weights",
    abilities: &[Ability::Image, Ability::Text],
    meanings: || [options::meanings::<Options>(), options::meanings::<Config>()].concat(),
    config: |given| options::checked(given, |config: &Config| config.shared.check()),
    make: Make::Opened(open, folder::fingerprint),
};

/// Options of `clip`.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    #[serde(flatten)]
    shared: Options,
    /// Which vector of a picture is taken.
    pooled: Pooled,
}

/// Which vector of a picture is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pooled {
    /// The one in the space of the texts.
    Projected,
    /// The one before the projection.
    Pooler,
}

impl Default for Config {
    fn default() -> Self {
        Config { shared: Options::default(), pooled: Pooled::Projected }
    }
}

/// Pixels along a side where `config.json` does not say.
const SIZE: u32 = 224;

/// The end token of OpenAI's vocabulary.
const END: u32 = 49_407;

/// The number of another token that old files give as the end token. The end token of their vocabulary is the last one.
const MISTAKEN_END: u32 = 2;

/// What `config.json` leaves out of a tower.
const fn usual(heads: usize) -> Shape {
    Shape { heads, activation: Activation::Quick, epsilon: 1e-5 }
}

/// How a picture becomes the input, where `preprocessor_config.json` does not say.
const fn recipe(size: u32) -> Recipe {
    let mean = [0.481_454_66, 0.457_827_5, 0.408_210_73];
    let deviation = [0.268_629_54, 0.261_302_6, 0.275_777_1];
    let colours = Colours::rgb(mean, deviation);
    Recipe { fit: Fit::Cover(size), size, filter: Filter::CatmullRom, colours }
}

fn open(config: &Json) -> Result<Model> {
    let config: Config = serde_json::from_value(config.clone())?;
    let pictures = Pictures::open(&config)?;
    let texts = match config.pooled {
        Pooled::Projected => Some(Arc::new(Texts::open(&config)?) as Arc<dyn Encoder>),
        Pooled::Pooler => None,
    };
    Ok(Model { text: texts, image: Some(Arc::new(pictures)), ..Model::default() })
}

/// The tower for pictures.
struct Pictures {
    recipe: Recipe,
    patches: Patches,
    /// The row that the picture gathers in.
    class: Tensor,
    first_norm: LayerNorm,
    tower: Tower,
    last_norm: LayerNorm,
    projection: Option<Linear>,
    dim: usize,
    batch: usize,
    device: Device,
}

impl Pictures {
    fn open(config: &Config) -> Result<Pictures> {
        let device = choose(&config.shared.device)?;
        let (folder, tensors) = weights(&config.shared.path, &device)?;
        let model: ModelConfig = folder.config()?;
        let section = &model.vision_config;
        let size = section.image_size.unwrap_or(SIZE);
        let recipe = recipe(size).amended(folder.json("preprocessor_config.json")?.as_ref())?;
        let projected = config.pooled == Pooled::Projected;
        let read =
            || Pictures::read(&tensors, section, projected, (recipe, config.shared.batch, device));
        read().map_err(|error| unread(&config.shared.path, &error))
    }

    fn read(
        weights: &VarBuilder<'_>,
        section: &Section,
        projected: bool,
        (recipe, batch, device): (Recipe, usize, Device),
    ) -> Tensors<Pictures> {
        let tower = weights.pp("vision_model");
        let shape = section.shape(usual(12));
        let class = tower.get_unchecked("embeddings.class_embedding")?;
        let projection = projected.then(|| linear(&weights.pp("visual_projection"))).transpose()?;
        let dim = match &projection {
            Some(projection) => projection.weight().dim(0)?,
            None => class.dim(0)?,
        };
        Ok(Pictures {
            patches: Patches::read(&tower, recipe.size, 1)?,
            recipe,
            class,
            // The name is misspelled in every file.
            first_norm: norm(&tower.pp("pre_layrnorm"), shape.epsilon)?,
            last_norm: norm(&tower.pp("post_layernorm"), shape.epsilon)?,
            tower: Tower::read(&tower, shape)?,
            projection,
            dim,
            batch,
            device,
        })
    }

    /// `pixels`: pictures × size × size × 3. Gives pictures × components.
    fn features(&self, pixels: &Tensor, progress: &Progress) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let (pictures, _, width) = patches.dims3()?;
        let class = self.class.broadcast_as((pictures, 1, width))?;
        let x = Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.patches.positions)?;
        let x = self.tower.forward(&self.first_norm.forward(&x)?, false, progress)?;
        let pooled = self.last_norm.forward(&x.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?)?;
        Ok(match &self.projection {
            Some(projection) => projection.forward(&pooled)?,
            None => pooled,
        })
    }
}

impl ImageEncoder for Pictures {
    fn dim(&self) -> usize {
        self.dim
    }

    fn encode(&self, pictures: &[&Picture], progress: &Progress) -> Result<Vec<f32>> {
        let features = |pixels: &Tensor| self.features(pixels, progress);
        self.recipe.vectors(pictures, (self.batch, &self.device), progress, features)
    }
}

/// The tower for texts.
struct Texts {
    words: Words,
    tower: Tower,
    last_norm: LayerNorm,
    projection: Linear,
    /// The end token; nothing where it is the last one of the vocabulary.
    end: Option<u32>,
    dim: usize,
    batch: usize,
}

impl Texts {
    fn open(config: &Config) -> Result<Texts> {
        let (folder, weights) = weights(&config.shared.path, &choose(&config.shared.device)?)?;
        let model: ModelConfig = folder.config()?;
        let tower = weights.pp("text_model");
        let words = Words::read(&folder, &tower)?;
        let shape = model.text_config.shape(usual(8));
        let end = model.text_config.eos_token_id.unwrap_or(END);
        let read = || {
            let projection = linear(&weights.pp("text_projection"))?;
            Ok(Texts {
                words,
                tower: Tower::read(&tower, shape)?,
                last_norm: norm(&tower.pp("final_layer_norm"), shape.epsilon)?,
                dim: projection.weight().dim(0)?,
                projection,
                end: (end != MISTAKEN_END).then_some(end),
                batch: config.shared.batch,
            })
        };
        read().map_err(|error| unread(&config.shared.path, &error))
    }

    /// Where a text ends: at its first end token, or else at the first of its largest tokens.
    fn end_of(&self, ids: &[u32]) -> usize {
        let end = self.end.and_then(|end| ids.iter().position(|id| *id == end));
        let largest = || ids.iter().max().and_then(|max| ids.iter().position(|id| id == max));
        end.or_else(largest).unwrap_or(0)
    }

    /// Texts of any length: texts × components.
    fn features(&self, texts: &[&[u32]], progress: &Progress) -> Result<Tensor> {
        let length = texts.iter().map(|ids| ids.len()).max().unwrap_or(0);
        // No position sees a later one, so what fills a text up after its end does not matter.
        let filled = texts.iter().map(|ids| {
            let mut ids = ids.to_vec();
            ids.resize(length, 0);
            ids
        });
        let filled: Vec<Vec<u32>> = filled.collect();
        let ends = texts.iter().enumerate().map(|(row, ids)| row * length + self.end_of(ids));
        let ends: Vec<u32> = ends.map(|end| end as u32).collect();
        let x = self.tower.forward(&self.words.embed(&filled)?, true, progress)?;
        let ends = Tensor::from_vec(ends, texts.len(), x.device())?;
        let pooled = self.last_norm.forward(&x.flatten(0, 1)?.index_select(&ends, 0)?)?;
        Ok(self.projection.forward(&pooled)?)
    }
}

impl Encoder for Texts {
    fn dim(&self) -> Result<usize> {
        Ok(self.dim)
    }

    fn encode(&self, texts: &[&str], progress: &Progress) -> Result<Vec<f32>> {
        let ids: Vec<Vec<u32>> =
            texts.iter().map(|text| self.words.ids(text)).collect::<Result<_>>()?;
        // Texts of about the same length run together.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|at| ids[*at].len());
        let mut vectors = vec![0f32; texts.len() * self.dim];
        for rows in order.chunks(self.batch) {
            let batch: Vec<&[u32]> = rows.iter().map(|at| ids[*at].as_slice()).collect();
            let found = unit_rows(&self.features(&batch, progress)?)?;
            for (at, vector) in rows.iter().zip(found.chunks_exact(self.dim)) {
                vectors[at * self.dim..][..self.dim].copy_from_slice(vector);
            }
        }
        Ok(vectors)
    }
}

#[cfg(test)]
#[path = "clip_tests.rs"]
mod tests;
