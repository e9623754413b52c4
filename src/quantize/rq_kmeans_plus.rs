//! RQ-KMeans+ (MiniOneRec): balanced residual k-means, then a residual network in front, z = x + MLP(x), that begins
//! as the identity and is trained like an RQ-VAE.
//!
//! The decoder is of the same form, x̂ = ẑ + MLP(ẑ), so that at first the codes are those of k-means and so is the
//! error. The codewords go on from there by running means, as those of `rq_vae` do.

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
    options: &[
        ("levels", "levels of a SID, without the suffix level"),
        ("codes", "codes of each level"),
        ("iterations", "the most passes of k-means at each level"),
        ("balanced", "whether k-means gives codes to about as many items each"),
        ("layers", "hidden units of the residual network; the decoder is the mirror"),
        ("standardise", "whether vectors are centred and scaled to a mean variance of 1 first"),
        ("epochs", "passes over all vectors"),
        ("batch", "vectors of one step"),
        ("lr", "the highest learning rate"),
        ("weight_decay", "decoupled weight decay of the matrices"),
        ("warmup", "epochs over which the learning rate rises"),
        ("cosine", "whether the learning rate falls by half a cosine after that"),
        ("clip", "the largest norm of all gradients together; 0 for no limit"),
        ("beta", "weight of the commitment of latent vectors to their codewords"),
        (
            "ema",
            "decay of the running means that move the codewords; 0 moves them by gradient, as published",
        ),
        (
            "dead",
            "a code used less than this share of the even use is put on a random vector; 0 for never",
        ),
        ("evaluate", "epochs between two counts of collisions"),
        (
            "keep",
            "which weights are kept: those of fewest `collisions`, of least `loss`, or the `last`",
        ),
        ("device", "where it is trained: `auto` or `cpu`"),
        ("seed", "seed of everything random"),
        ("collisions", super::COLLISIONS),
    ],
    config: |given| options::checked(given, Config::check),
    fit,
};

/// Options of `rq_kmeans_plus`; `KIND.options` says what they mean.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    levels: usize,
    codes: usize,
    iterations: usize,
    balanced: bool,
    layers: Vec<usize>,
    standardise: bool,
    epochs: usize,
    batch: usize,
    lr: f64,
    weight_decay: f64,
    warmup: usize,
    cosine: bool,
    clip: f64,
    beta: f64,
    ema: f64,
    dead: f64,
    evaluate: usize,
    keep: Keep,
    device: String,
    seed: u64,
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
