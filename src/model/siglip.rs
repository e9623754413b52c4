//! `siglip`: pictures and texts in one space (Zhai et al. 2023, arXiv 2303.15343).
//!
//! ```text
//! picture:  h = attention(probe over norm(tower(patches)))
//!           h + feed_forward(norm(h))
//! text:     head(norm(tower(tokens)) at the last position)        all texts are filled up to the longest
//! ```
//!
//! Both at unit length. Unlike CLIP every position sees every other one, so that a text means what it meant in
//! training only when it is filled up to the full length.

use std::sync::Arc;

use candle_core::{Device, Result as Tensors, Tensor, bail};
use candle_nn::{LayerNorm, Linear, Module, VarBuilder};
use serde_json::Value as Json;

use super::folder;
use super::picture::{Filter, Picture};
use super::recipe::{Colours, Fit, Options, Recipe, unit_rows};
use super::tower::{
    Activation, Config as ModelConfig, FeedForward, Patches, Section, Shape, Tower, Words, attend,
    linear, norm, unread, weights,
};
use super::{Ability, Encoder, ImageEncoder, Kind, Make, Model};
use crate::device::choose;
use crate::error::Result;
use crate::options;
use crate::progress::Progress;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "siglip",
    summary: "pictures and texts in one space: SigLIP, from a folder of weights",
    abilities: &[Ability::Image, Ability::Text],
    meanings: options::meanings::<Options>,
    config: |given| options::checked(given, Options::check),
    make: Make::Opened(
        |config| {
            let config: Options = serde_json::from_value(config.clone())?;
            let (texts, pictures) = (Texts::open(&config)?, Pictures::open(&config)?);
            let (text, image) = (Some(Arc::new(texts) as Arc<dyn Encoder>), Arc::new(pictures));
            Ok(Model { text, image: Some(image), ..Model::default() })
        },
        folder::fingerprint,
    ),
};

/// Pixels along a side where `config.json` does not say.
const SIZE: u32 = 224;

/// The token that fills texts up where no file says.
const FILLER: u32 = 1;

/// What `config.json` leaves out of a tower.
const USUAL: Shape = Shape { heads: 12, activation: Activation::Tanh, epsilon: 1e-6 };

/// How a picture becomes the input, where `preprocessor_config.json` does not say.
const fn recipe(size: u32) -> Recipe {
    let colours = Colours::rgb([0.5; 3], [0.5; 3]);
    Recipe { fit: Fit::Stretch, size, filter: Filter::CatmullRom, colours }
}

/// The tower for pictures.
struct Pictures {
    recipe: Recipe,
    patches: Patches,
    tower: Tower,
    last_norm: LayerNorm,
    head: Head,
    dim: usize,
    batch: usize,
    device: Device,
}

impl Pictures {
    fn open(config: &Options) -> Result<Pictures> {
        let device = choose(&config.device)?;
        let (folder, tensors) = weights(&config.path, &device)?;
        let model: ModelConfig = folder.config()?;
        let section = &model.vision_config;
        let size = section.image_size.unwrap_or(SIZE);
        let recipe = recipe(size).amended(folder.json("preprocessor_config.json")?.as_ref())?;
        let tower = tensors.pp("vision_model");
        let read = || Pictures::read(&tower, section, (recipe, config.batch, device));
        read().map_err(|error| unread(&config.path, &error))
    }

    fn read(
        weights: &VarBuilder<'_>,
        section: &Section,
        (recipe, batch, device): (Recipe, usize, Device),
    ) -> Tensors<Pictures> {
        let shape = section.shape(USUAL);
        let patches = Patches::read(weights, recipe.size, 0)?;
        Ok(Pictures {
            dim: patches.positions.dim(1)?,
            patches,
            tower: Tower::read(weights, shape)?,
            last_norm: norm(&weights.pp("post_layernorm"), shape.epsilon)?,
            head: Head::read(&weights.pp("head"), shape)?,
            recipe,
            batch,
            device,
        })
    }

    /// `pixels`: pictures × size × size × 3. Gives pictures × components.
    fn features(&self, pixels: &Tensor, progress: &Progress) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let x = patches.broadcast_add(&self.patches.positions)?;
        let x = self.tower.forward(&x, false, progress)?;
        Ok(self.head.forward(&self.last_norm.forward(&x)?)?)
    }
}

/// A learned query that gathers the patches of a picture.
struct Head {
    /// 1 × heads × 1 × part.
    query: Tensor,
    /// Keys and values beside each other.
    kv: Linear,
    out: Linear,
    norm: LayerNorm,
    feed_forward: FeedForward,
}

impl Head {
    fn read(weights: &VarBuilder<'_>, shape: Shape) -> Tensors<Head> {
        let attention = weights.pp("attention");
        let projection = attention.get_unchecked("in_proj_weight")?; // queries, keys, values
        let bias = attention.get_unchecked("in_proj_bias")?;
        let width = projection.dim(1)?;
        if projection.dim(0)? != 3 * width || bias.dims() != [3 * width] {
            bail!("`head.attention` has {:?} weights", projection.dims());
        }
        let part = |from: usize, count: usize| -> Tensors<Linear> {
            let weight = projection.narrow(0, from * width, count * width)?;
            Ok(Linear::new(weight, Some(bias.narrow(0, from * width, count * width)?)))
        };
        let probe = weights.get_unchecked("probe")?.reshape((1, width))?;
        let query = part(0, 1)?.forward(&probe)?;
        Ok(Head {
            query: query.reshape((1, shape.heads, 1, width / shape.heads))?,
            kv: part(1, 2)?,
            out: linear(&attention.pp("out_proj"))?,
            norm: norm(&weights.pp("layernorm"), shape.epsilon)?,
            feed_forward: FeedForward::read(&weights.pp("mlp"), shape.activation)?,
        })
    }

    /// `x`: pictures × patches × width. Gives pictures × width.
    fn forward(&self, x: &Tensor) -> Tensors<Tensor> {
        let (pictures, patches, width) = x.dims3()?;
        let (_, heads, _, part) = self.query.dims4()?;
        let kv = self.kv.forward(&x.reshape((pictures * patches, width))?)?;
        let kv = kv.reshape((pictures, patches, 2, heads, part))?;
        let kv = kv.permute((2, 0, 3, 1, 4))?.contiguous()?; // 2 × pictures × heads × patches × part
        let query = self.query.broadcast_as((pictures, heads, 1, part))?.contiguous()?;
        let mixed = attend(&query, &kv.get(0)?, &kv.get(1)?, None)?;
        let x = self.out.forward(&mixed.reshape((pictures, width))?)?;
        &x + self.feed_forward.forward(&self.norm.forward(&x)?)?
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
    head: Linear,
    /// The token that fills texts up.
    filler: u32,
    /// Whether the vocabulary was learned from texts without punctuation.
    bare: bool,
    dim: usize,
    batch: usize,
}

impl Texts {
    fn open(config: &Options) -> Result<Texts> {
        let (folder, weights) = weights(&config.path, &choose(&config.device)?)?;
        let model: ModelConfig = folder.config()?;
        let tower = weights.pp("text_model");
        let words = Words::read(&folder, &tower)?;
        let shape = model.text_config.shape(USUAL);
        let file = folder.json("tokenizer_config.json")?;
        let said = |name: &str| file.as_ref().and_then(|file| file.get(name));
        // A token is written as itself, or as an object that holds it.
        let filler = said("pad_token").map(|token| token.get("content").unwrap_or(token));
        let filler = filler.and_then(Json::as_str).and_then(|token| words.token(token));
        let filler = filler.or(model.text_config.pad_token_id).unwrap_or(FILLER);
        // SigLIP 2 has the vocabulary of Gemma, which has punctuation.
        let class = said("tokenizer_class").and_then(Json::as_str).unwrap_or("SiglipTokenizer");
        let bare = matches!(class, "SiglipTokenizer" | "SiglipTokenizerFast");
        let read = || {
            let head = linear(&tower.pp("head"))?;
            Ok(Texts {
                words,
                tower: Tower::read(&tower, shape)?,
                last_norm: norm(&tower.pp("final_layer_norm"), shape.epsilon)?,
                dim: head.weight().dim(0)?,
                head,
                filler,
                bare,
                batch: config.batch,
            })
        };
        read().map_err(|error| unread(&config.path, &error))
    }

    /// The tokens of a text, filled up to the longest.
    fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.words.ids(&canonical(text, self.bare))?;
        ids.resize(self.words.longest()?, self.filler);
        Ok(ids)
    }
}

/// Lower case; where `bare`, without punctuation and with single spaces. Training saw no other texts.
fn canonical(text: &str, bare: bool) -> String {
    let text = text.to_lowercase();
    if !bare {
        return text;
    }
    let words = text.replace(|letter: char| letter.is_ascii_punctuation(), "");
    words.split_whitespace().collect::<Vec<&str>>().join(" ")
}

impl Encoder for Texts {
    fn dim(&self) -> Result<usize> {
        Ok(self.dim)
    }

    fn encode(&self, texts: &[&str], progress: &Progress) -> Result<Vec<f32>> {
        let mut vectors = Vec::with_capacity(texts.len() * self.dim);
        for texts in texts.chunks(self.batch) {
            let ids: Vec<Vec<u32>> =
                texts.iter().map(|text| self.ids(text)).collect::<Result<_>>()?;
            let x = self.tower.forward(&self.words.embed(&ids)?, false, progress)?;
            let last = x.narrow(1, x.dim(1)? - 1, 1)?.squeeze(1)?.contiguous()?;
            let pooled = self.last_norm.forward(&last)?;
            vectors.extend(unit_rows(&self.head.forward(&pooled)?)?);
        }
        Ok(vectors)
    }
}

#[cfg(test)]
#[path = "siglip_tests.rs"]
mod tests;
