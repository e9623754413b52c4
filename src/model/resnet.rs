//! `resnet`: pictures as the pooled features of a residual network (He et al. 2016, arXiv 1512.03385).
//!
//! ```text
//! x = max_pool(relu(norm(conv7x7(pixels))))                    the stem, at a quarter of the size
//! x = relu(x + norm(conv1x1(relu(norm(conv3x3(relu(norm(conv1x1(x)))))))))      bottleneck blocks
//! x = relu(x + norm(conv3x3(relu(norm(conv3x3(x))))))                      or basic ones: 18, 34
//! v = mean(x over the picture), at unit length
//! ```
//!
//! How many blocks there are, and how wide they are, is read from the weights. They come in two layouts, told apart
//! by the names of the tensors:
//!
//! - **Keras**, converted from Caffe (`res2a_branch2a/kernel`): version 1, whose stages halve the picture in their
//!   first 1 × 1 convolution. Pixels are blue, green and red less their means.
//! - **torchvision** and timm (`layer1.0.conv1.weight`): version 1.5, which halves it in the 3 × 3 convolution.
//!
//! Batch norms are folded into the convolutions. Variants with other stems or groups are refused.

use std::sync::Arc;

use candle_core::{DType, Device, Result as Tensors, Tensor, bail};
use candle_nn::VarBuilder;
use serde_json::Value as Json;

use super::convolution::{BatchNorm, Convolution, max_pool};
use super::folder::{self, Folder};
use super::picture::{Filter, Picture};
use super::recipe::{Colours, Fit, Options, Recipe};
use super::{Ability, ImageEncoder, Kind, Make, Model};
use crate::device::choose;
use crate::error::{Error, Result};
use crate::options;
use crate::progress::Progress;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "resnet",
    summary: "pictures: pooled features of a residual network, from a folder of weights",
    abilities: &[Ability::Image],
    meanings: options::meanings::<Options>,
    config: |given| options::checked(given, Options::check),
    make: Make::Opened(
        |config| {
            let image: Arc<dyn ImageEncoder> = Arc::new(Resnet::open(config)?);
            Ok(Model { image: Some(image), ..Model::default() })
        },
        folder::fingerprint,
    ),
};

/// How the tensors of a file are named, and what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// As Keras had them from Caffe.
    Keras,
    /// As torchvision and timm have them.
    Torch,
}

/// A convolution within a stage.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The one before all blocks.
    Stem,
    /// Stage, block, and the convolution within the block, each counted from 0.
    Block(usize, usize, usize),
    /// The one that the shortcut of a block takes.
    Shortcut(usize, usize),
}

impl Layout {
    /// The layout of some weights.
    fn of(weights: &VarBuilder<'_>) -> Tensors<Layout> {
        let found = [Layout::Keras, Layout::Torch]
            .into_iter()
            .find(|layout| layout.has(weights, Place::Stem));
        match found {
            Some(layout) => Ok(layout),
            None => bail!("neither `conv1.weight` nor `conv1/kernel` is among them"),
        }
    }

    /// The names of a convolution and of its batch norm.
    fn names(self, place: Place) -> (String, String) {
        match (self, place) {
            (Layout::Keras, Place::Stem) => ("conv1".to_owned(), "bn_conv1".to_owned()),
            (Layout::Torch, Place::Stem) => ("conv1".to_owned(), "bn1".to_owned()),
            (Layout::Keras, Place::Block(stage, block, at)) => {
                let branch = format!("{}{}_branch2{}", stage + 2, letter(block), letter(at));
                (format!("res{branch}"), format!("bn{branch}"))
            }
            (Layout::Torch, Place::Block(stage, block, at)) => {
                let (block, number) = (format!("layer{}.{block}", stage + 1), at + 1);
                (format!("{block}.conv{number}"), format!("{block}.bn{number}"))
            }
            (Layout::Keras, Place::Shortcut(stage, block)) => {
                let branch = format!("{}{}_branch1", stage + 2, letter(block));
                (format!("res{branch}"), format!("bn{branch}"))
            }
            (Layout::Torch, Place::Shortcut(stage, block)) => {
                let shortcut = format!("layer{}.{block}.downsample", stage + 1);
                (format!("{shortcut}.0"), format!("{shortcut}.1"))
            }
        }
    }

    /// The name of a kernel.
    fn kernel(self, convolution: &str) -> String {
        match self {
            Layout::Keras => format!("{convolution}/kernel"),
            Layout::Torch => format!("{convolution}.weight"),
        }
    }

    fn has(self, weights: &VarBuilder<'_>, place: Place) -> bool {
        weights.contains_tensor(&self.kernel(&self.names(place).0))
    }

    /// The convolution of a block that halves the picture, of `count` ones.
    fn halving(self, count: usize) -> usize {
        // The 3 × 3 one of a bottleneck is its second.
        usize::from(self == Layout::Torch && count == 3)
    }

    /// What keeps the division of batch norm finite: Keras' and PyTorch's default.
    fn epsilon(self) -> f64 {
        match self {
            Layout::Keras => 1e-3,
            Layout::Torch => 1e-5,
        }
    }

    /// How a picture becomes the input.
    fn recipe(self) -> Recipe {
        let (fit, filter, colours) = match self {
            Layout::Keras => (Fit::Cover(SIZE), Filter::CatmullRom, Colours::CAFFE),
            Layout::Torch => (Fit::Cover(256), Filter::Triangle, Colours::IMAGENET),
        };
        Recipe { fit, size: SIZE, filter, colours }
    }

    /// Reads a convolution with its batch norm.
    fn read(self, weights: &VarBuilder<'_>, place: Place, stride: usize) -> Tensors<Convolution> {
        let (convolution, norm) = self.names(place);
        let kernel = weights.get_unchecked(&self.kernel(&convolution))?;
        let kernel = match self {
            Layout::Keras => kernel, // height × width × inputs × outputs
            Layout::Torch => kernel.permute((2, 3, 1, 0))?,
        };
        let bias = match self {
            Layout::Keras => Some(weights.get_unchecked(&format!("{convolution}/bias"))?),
            Layout::Torch => None,
        };
        let names = match self {
            Layout::Keras => ["/gamma", "/beta", "/moving_mean", "/moving_variance"],
            Layout::Torch => [".weight", ".bias", ".running_mean", ".running_var"],
        };
        let part = |at: usize| weights.get_unchecked(&format!("{norm}{}", names[at]));
        let epsilon = self.epsilon();
        let norm = BatchNorm {
            scale: part(0)?,
            offset: part(1)?,
            mean: part(2)?,
            variance: part(3)?,
            epsilon,
        };
        Convolution::new(&kernel, bias.as_ref(), &norm, stride)
    }
}

/// Convolutions of a block, at most: a bottleneck has them.
const MAX_CONVOLUTIONS: usize = 3;

/// Pixels along a side of the input.
const SIZE: u32 = 224;

/// The letter that Caffe counts with.
fn letter(at: usize) -> char {
    char::from(b'a' + at.min(25) as u8)
}

/// The network.
struct Network {
    stem: Convolution,
    blocks: Vec<Block>,
}

/// A residual block.
struct Block {
    convolutions: Vec<Convolution>,
    /// What brings the input to the shape of the output, where these differ.
    shortcut: Option<Convolution>,
}

impl Network {
    fn read(weights: &VarBuilder<'_>, layout: Layout) -> Tensors<Network> {
        let stem = layout.read(weights, Place::Stem, 2)?;
        if stem.inputs()? != 3 {
            bail!("the first convolution reads {} channels and not 3", stem.inputs()?);
        }
        let mut width = stem.outputs()?;
        let mut blocks: Vec<Block> = Vec::new();
        for stage in 0.. {
            let before = blocks.len();
            while layout.has(weights, Place::Block(stage, blocks.len() - before, 0)) {
                let stride = if stage > 0 && blocks.len() == before { 2 } else { 1 };
                let at = (stage, blocks.len() - before);
                let block = Block::read(weights, layout, at, (width, stride))?;
                width = block.outputs()?;
                blocks.push(block);
            }
            if blocks.len() == before {
                break;
            }
        }
        if blocks.is_empty() {
            bail!("there is no block after the first convolution");
        }
        Ok(Network { stem, blocks })
    }

    /// Components of a vector.
    fn dim(&self) -> Tensors<usize> {
        self.blocks.last().map_or(Ok(0), Block::outputs)
    }

    /// The pooled features: pictures × components. `pixels`: pictures × height × width × 3.
    fn features(&self, pixels: &Tensor, progress: &Progress) -> Result<Tensor> {
        let mut x = max_pool(&self.stem.forward(pixels, None, true)?)?;
        for block in &self.blocks {
            progress.check()?;
            x = block.forward(&x)?;
        }
        Ok(x.flatten(1, 2)?.mean(1)?)
    }
}

impl Block {
    fn read(
        weights: &VarBuilder<'_>,
        layout: Layout,
        (stage, block): (usize, usize),
        (width, stride): (usize, usize),
    ) -> Tensors<Block> {
        let place = |at| Place::Block(stage, block, at);
        let count = (0..MAX_CONVOLUTIONS).take_while(|at| layout.has(weights, place(*at))).count();
        let halving = layout.halving(count);
        let mut convolutions = Vec::new();
        let mut inputs = width;
        for at in 0..count {
            let stride = if at == halving { stride } else { 1 };
            let convolution = layout.read(weights, place(at), stride)?;
            let name = layout.names(place(at)).0;
            if convolution.inputs()? != inputs {
                bail!("`{name}` reads {} of {inputs} channels", convolution.inputs()?);
            }
            inputs = convolution.outputs()?;
            convolutions.push(convolution);
        }
        let shortcut = Place::Shortcut(stage, block);
        let shortcut = if layout.has(weights, shortcut) {
            Some(layout.read(weights, shortcut, stride)?)
        } else if inputs == width && stride == 1 {
            None
        } else {
            bail!("`{}` is missing", layout.names(shortcut).0)
        };
        Ok(Block { convolutions, shortcut })
    }

    fn outputs(&self) -> Tensors<usize> {
        self.convolutions.last().map_or(Ok(0), Convolution::outputs)
    }

    fn forward(&self, x: &Tensor) -> Tensors<Tensor> {
        let shortcut = match &self.shortcut {
            Some(convolution) => convolution.forward(x, None, false)?,
            None => x.clone(),
        };
        let mut y = x.clone();
        for (at, convolution) in self.convolutions.iter().enumerate() {
            let last = at + 1 == self.convolutions.len();
            y = convolution.forward(&y, last.then_some(&shortcut), true)?;
        }
        Ok(y)
    }
}

/// The encoder.
struct Resnet {
    network: Network,
    recipe: Recipe,
    dim: usize,
    batch: usize,
    device: Device,
}

impl Resnet {
    fn open(config: &Json) -> Result<Resnet> {
        let config: Options = serde_json::from_value(config.clone())?;
        config.check()?;
        let device = choose(&config.device)?;
        let folder = Folder::find(&config.path)?;
        let weights = folder.tensors(DType::F32, &device)?;
        let read = || {
            let layout = Layout::of(&weights)?;
            let network = Network::read(&weights, layout)?;
            Ok((layout.recipe(), network.dim()?, network))
        };
        let (recipe, dim, network) = read().map_err(|error: candle_core::Error| {
            let message = format!("the weights in `{}`: {error}", config.path);
            Error::input("bad-model", message)
                .help("`resnet` reads the plain networks of Keras, torchvision and timm")
        })?;
        Ok(Resnet { network, recipe, dim, batch: config.batch, device })
    }
}

impl ImageEncoder for Resnet {
    fn dim(&self) -> usize {
        self.dim
    }

    fn encode(&self, pictures: &[&Picture], progress: &Progress) -> Result<Vec<f32>> {
        let features = |pixels: &Tensor| self.network.features(pixels, progress);
        self.recipe.vectors(pictures, (self.batch, &self.device), progress, features)
    }
}

#[cfg(test)]
#[path = "resnet_tests.rs"]
mod tests;
