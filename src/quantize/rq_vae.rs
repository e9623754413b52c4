//! RQ-VAE: an encoder to few components, residual codebooks there, and a decoder, trained together (Lee et al. 2022,
//! Rajput et al. 2023), as MiniOneRec configures it.
//!
//! The published run takes 10,000 epochs of one batch of 20,480 through layers of 2048, 1024, 512, 256, 128 and 64 units,
//! a constant rate, codewords by gradient, and vectors as they are. The defaults aim at good codes in minutes on two
//! cores (how they compare with the published run has not been measured): smaller layers and batches, some hundred epochs on a cosine, codewords by running means with dead codes
//! reset, and standardised vectors, so that the two parts of the loss are of one size.

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::artefact::{Artefact, MAX_CODES, MAX_LEVELS};
use super::data::Data;
use super::net::{Net, Shape};
use super::trainer::{self, Keep, Settings};
use super::{Collisions, Input, Kind, saved, within};
use crate::device;
use crate::error::{Error, Result};
use crate::options;
use crate::progress::{Checkpoint, Progress};

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "rq_vae",
    summary: "residual codes of a learned latent space: autoencoder and codebooks trained together (RQ-VAE)",
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    fit,
};

/// Whether joined parts are fused by learned matrices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Front {
    /// By `W_v` and `W_f`, where there are parts.
    #[default]
    Learned,
    /// The joined vector is taken as it is.
    None,
}

/// Options of `rq_vae`.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Levels of a SID, without the suffix level.
    levels: usize,
    /// Codes of each level.
    codes: usize,
    /// Components of the latent space.
    dim: usize,
    /// Hidden units of the encoder, layer by layer; the decoder is the mirror.
    layers: Vec<usize>,
    /// Of several spaces joined: `learned` puts W_v and W_f of CMSA in front, `none` takes them as one.
    fusion: Front,
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
    /// Whether codewords begin as centres of k-means, not at random.
    kmeans_init: bool,
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
            dim: 32,
            layers: vec![512, 256, 128],
            fusion: Front::Learned,
            standardise: true,
            epochs: 200,
            batch: 2048,
            lr: 1e-3,
            weight_decay: 0.0,
            warmup: 5,
            cosine: true,
            clip: 1.0,
            beta: 0.25,
            kmeans_init: true,
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
        within("dim", self.dim, 1, 4096)?;
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
}

fn fit(
    config: &Json,
    input: &Input<'_>,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Artefact> {
    let config: Config = serde_json::from_value(config.clone())?;
    config.check()?;
    let vectors = input.vectors;
    let parts = if config.fusion == Front::Learned && input.parts.len() > 1 {
        input.parts.to_vec()
    } else {
        Vec::new()
    };
    if !parts.is_empty() && parts.iter().sum::<usize>() != vectors.dim() {
        return Err(Error::internal("the parts of the vectors are not as long as the vectors"));
    }
    let sign = saved::sign(KIND.name, serde_json::to_value(&config)?, input)?;
    let shape = Shape {
        input: vectors.dim(),
        parts,
        hidden: config.layers.clone(),
        latent: config.dim,
        residual: false,
        sizes: vec![config.codes; config.levels],
    };
    let mut random = device::source(config.seed, 0);
    let net = Net::new(shape, &device::choose(&config.device)?, &mut random)?;
    let data = Data::new(vectors, config.standardise);
    let settings = config.settings();
    trainer::train(&net, &data, &settings, (&sign, checkpoint), progress, || {
        if config.kmeans_init {
            trainer::clustered(&net, &data, &settings, progress)
        } else {
            Ok(trainer::scattered(&net, &settings))
        }
    })?;
    let coders = net.coders(data.steps())?;
    Ok(Artefact::coded(coders, false, trainer::stack(&net)?, config.collisions))
}
