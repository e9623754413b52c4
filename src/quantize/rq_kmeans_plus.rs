//! RQ-KMeans+ (MiniOneRec): balanced residual k-means, then a residual network in front, z = x + MLP(x), that begins
//! as the identity and is trained like an RQ-VAE.
//!
//! The decoder is of the same form, x̂ = ẑ + MLP(ẑ), so that at first the codes are those of k-means and so is the
//! error. The codewords go on from there by running means, as those of `rq_vae` do.

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::artefact::{Artefact, MAX_CODES, MAX_LEVELS};
use super::data::Data;
use super::net::{Net, Shape};
use super::trainer::{self, Keep, Settings};
use super::{Collisions, Input, Kind, Vectors, rq_kmeans, saved, within};
use crate::device;
use crate::error::Result;
use crate::options;
use crate::progress::{Checkpoint, Progress};

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "rq_kmeans_plus",
    summary: "balanced residual k-means refined behind a residual network that begins as the identity (RQ-KMeans+)",
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    fit,
};

/// Options of `rq_kmeans_plus`.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Levels of a SID, without the suffix level.
    levels: usize,
    /// Codes of each level.
    codes: usize,
    /// The most passes of k-means at each level.
    iterations: usize,
    /// Whether k-means gives codes to about as many items each.
    balanced: bool,
    /// Hidden units of the residual network; the decoder is the mirror.
    layers: Vec<usize>,
    /// Whether vectors are centred and scaled to a mean variance of 1 first.
    standardise: bool,
    /// Passes over all vectors.
    epochs: usize,
    /// Vectors of one step.
    batch: usize,
    /// The highest learning rate.
    lr: f64,
    /// Decoupled weight decay of the matrices.
    weight_decay: f64,
    /// Epochs over which the learning rate rises.
    warmup: usize,
    /// Whether the learning rate falls by half a cosine after that.
    cosine: bool,
    /// The largest norm of all gradients together; 0 for no limit.
    clip: f64,
    /// Weight of the commitment of latent vectors to their codewords.
    beta: f64,
    /// Decay of the running means that move the codewords; 0 moves them by gradient, as published.
    ema: f64,
    /// A code used less than this share of the even use is put on a random vector; 0 for never.
    dead: f64,
    /// Epochs between two counts of collisions.
    evaluate: usize,
    /// Which weights are kept: those of fewest `collisions`, of least `loss`, or the `last`.
    keep: Keep,
    /// Where it is trained: `auto` or `cpu`.
    device: String,
    /// Seed of everything random.
    seed: u64,
    /// What becomes of items with equal codes: `reassign` gives codes of the last level anew, `sinkhorn` does so as
    /// MiniOneRec, `suffix` adds a level that numbers them, `allow` leaves them.
    collisions: Collisions,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            levels: 3,
            codes: 256,
            iterations: 100,
            balanced: true,
            layers: vec![512],
            standardise: true,
            epochs: 50,
            batch: 2048,
            lr: 1e-4,
            weight_decay: 0.0,
            warmup: 2,
            cosine: true,
            clip: 1.0,
            beta: 0.25,
            ema: 0.99,
            dead: 0.1,
            evaluate: 10,
            keep: Keep::Collisions,
            device: "auto".to_owned(),
            seed: 42,
            collisions: Collisions::default(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        within("levels", self.levels, 1, MAX_LEVELS)?;
        within("codes", self.codes, 2, MAX_CODES)?;
        within("iterations", self.iterations, 1, 10_000)?;
        device::choose(&self.device)?;
        trainer::check_layers(&self.layers)?;
        self.settings().check()
    }

    fn settings(&self) -> Settings {
        Settings {
            codes: self.codes,
            beta: self.beta,
            epochs: self.epochs,
            batch: self.batch,
            lr: self.lr,
            weight_decay: self.weight_decay,
            warmup: self.warmup,
            cosine: self.cosine,
            clip: self.clip,
            ema: self.ema,
            dead: self.dead,
            evaluate: self.evaluate,
            keep: self.keep,
            seed: self.seed,
        }
    }

    fn clustering(&self) -> rq_kmeans::Config {
        rq_kmeans::Config {
            levels: self.levels,
            codes: self.codes,
            iterations: self.iterations,
            balanced: self.balanced,
            seed: self.seed,
            ..rq_kmeans::Config::default()
        }
    }
}

fn fit(
    config: &Json,
    input: &Input<'_>,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Artefact> {
    let config: Config = serde_json::from_value(config.clone())?;
    config.check()?;
    let options = serde_json::to_value(&config)?;
    let clustered = saved::sign("rq_kmeans_plus, codes", options.clone(), input)?;
    let sign = saved::sign(KIND.name, options, input)?;
    let dim = input.vectors.dim();
    let shape = Shape {
        input: dim,
        parts: Vec::new(),
        hidden: config.layers.clone(),
        latent: dim,
        residual: true,
        sizes: vec![config.codes; config.levels],
    };
    let mut random = device::source(config.seed, 0);
    let net = Net::new(shape, &device::choose(&config.device)?, &mut random)?;
    let data = Data::new(input.vectors, config.standardise);
    let begin = || {
        let all = data.all();
        let vectors = Vectors::new(&all, dim)?;
        let levels = config.clustering();
        let stack = rq_kmeans::stack(&levels, &vectors, &clustered, progress, checkpoint)?;
        Ok((0..stack.levels()).map(|level| stack.codebook(level).to_vec()).collect())
    };
    trainer::train(&net, &data, &config.settings(), (&sign, checkpoint), progress, begin)?;
    let coders = net.coders(data.steps())?;
    Ok(Artefact::coded(coders, false, trainer::stack(&net)?, config.collisions))
}
