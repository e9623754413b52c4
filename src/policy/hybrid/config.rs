//! What can be set of `hybrid`.

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::Shape;
use crate::policy::item_graph;

/// What can be set.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// Blocks over the items of a history.
    pub(super) layers: usize,
    /// Blocks over the codes of the next item.
    pub(super) depth_layers: usize,
    /// Attention heads of each block.
    pub(super) heads: usize,
    /// Numbers in each row.
    pub(super) width: usize,
    /// Units of each feed-forward layer.
    pub(super) hidden: usize,
    /// Share of the numbers dropped while training.
    pub(super) dropout: f64,
    /// Items of a history that are read, the latest.
    pub(super) history: usize,
    /// What cosines are divided by.
    pub(super) temperature: f64,
    /// Items of the softmax beside those of the batch; 0 for the whole catalogue.
    pub(super) negatives: usize,
    /// The weight of the loss of the SID head.
    pub(super) sid_weight: f64,
    /// The weight of the graph where there is no validation to choose it.
    pub(super) graph_weight: f64,
    /// The same of content.
    pub(super) content_weight: f64,
    /// Of the graph, as `item_graph` has it: the exponent of popularity.
    pub(super) alpha: f64,
    /// Of the graph: the weight of each step back in the history.
    pub(super) decay: f64,
    /// Of the graph: the most steps between two linked items.
    pub(super) window: usize,
}

impl Default for Config {
    fn default() -> Self {
        let graph = item_graph::Config::default();
        Config {
            layers: 2,
            depth_layers: 1,
            heads: 2,
            width: 64,
            hidden: 128,
            dropout: 0.4,
            history: 50,
            temperature: 0.07,
            negatives: 1024,
            sid_weight: 0.3,
            graph_weight: 0.4,
            content_weight: 0.1,
            alpha: graph.alpha,
            decay: graph.decay,
            window: graph.window,
        }
    }
}

/// The largest of each size: a wrong option should not exhaust the memory.
const MAX_WIDTH: usize = 4096;
const MAX_LAYERS: usize = 64;
const MAX_HISTORY: usize = 1024;

impl Config {
    /// Refuses what cannot be built.
    pub(super) fn check(&self) -> Result<()> {
        let bad = |message: String| Err(Error::input("bad-option", message));
        let in_range = [
            ("layers", self.layers, 1..=MAX_LAYERS),
            ("depth_layers", self.depth_layers, 1..=MAX_LAYERS),
            ("heads", self.heads, 1..=self.width.max(1) / 2),
            ("width", self.width, 2..=MAX_WIDTH),
            ("hidden", self.hidden, 1..=4 * MAX_WIDTH),
            ("history", self.history, 1..=MAX_HISTORY),
        ];
        for (name, value, range) in in_range {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                return bad(format!("`{name}` must be {low} to {high}, not {value}"));
            }
        }
        if !self.width.is_multiple_of(2 * self.heads) {
            let (width, even) = (self.width, 2 * self.heads);
            return bad(format!("`width` must be a multiple of 2 · `heads` = {even}, not {width}"));
        }
        let both = self.graph_weight + self.content_weight;
        for (name, value) in [
            ("dropout", self.dropout),
            ("graph_weight", self.graph_weight),
            ("content_weight", self.content_weight),
            ("graph_weight + content_weight", both),
        ] {
            if !(0.0..1.0).contains(&value) {
                return bad(format!("`{name}` must be at least 0 and below 1, not {value}"));
            }
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return bad(format!("`temperature` must be above 0, not {}", self.temperature));
        }
        if !(self.sid_weight.is_finite() && self.sid_weight >= 0.0) {
            return bad(format!("`sid_weight` must be 0 or more, not {}", self.sid_weight));
        }
        self.graph().check()
    }

    /// Of the graph.
    pub(super) fn graph(&self) -> item_graph::Config {
        let Config { alpha, decay, window, .. } = *self;
        item_graph::Config { alpha, decay, window, ..item_graph::Config::default() }
    }

    /// Of the blocks over items.
    pub(super) fn shape(&self) -> Shape {
        let Config { width, heads, hidden, .. } = *self;
        Shape { width, heads, hidden, positions: self.history + 1, depth: self.layers }
    }
}
