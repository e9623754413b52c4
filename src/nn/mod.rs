//! Shared blocks of the models: few and short. A paper's own trick stays in the paper's file.
//!
//! Activations are packed: a batch of sequences is one matrix of rows without padding, and
//! `Segments` tells where each sequence begins. The hot operations (`norm`, `attention`, `biased`,
//! `mlp`, `loss`, `embedding`, `dropout`, `matmul`) have a fused form with their own backward pass
//! on the processor; on other devices, and in the tests that check the fused form, they are
//! composed of candle's own operations. Candle adds every gradient between two operations to zeros
//! made for it, three passes over memory more: few large operations train faster than many small.

mod adapted;
mod attend;
mod attention;
mod biased;
mod block;
pub(crate) mod dense;
mod dropout;
mod embedding;
mod exp;
mod feed_forward;
mod gelu;
mod grouped;
mod grown;
mod host;
mod layer_norm;
mod linear;
mod loss;
mod matmul;
mod mlp;
mod norm;
mod optim;
mod params;
mod product;
mod rotary;
mod schedule;
mod segments;

pub(crate) use adapted::{Adapted, Moves, Weight};
pub(crate) use attention::{Cache, attend_all};
pub(crate) use biased::{Sides, attend_biased};
pub(crate) use block::{Block, Shape};
pub(crate) use dropout::Dropout;
pub(crate) use embedding::{NONE, sum_rows};
pub(crate) use feed_forward::swiglu;
pub(crate) use gelu::gelu;
pub(crate) use grouped::{Grouped, Texts};
pub(crate) use grown::{Angles, Grown, Heads, attend_grown};
#[cfg(test)]
pub(crate) use host::tests::composed;
pub(crate) use host::{fused, fuses};
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::Linear;
pub(crate) use loss::{cross_entropy, cross_entropy_over, log_prob, log_softmax};
pub(crate) use matmul::matmul;
pub(crate) use mlp::{Activation, mlp};
pub(crate) use norm::{RmsNorm, rms_norm};
pub(crate) use optim::{AdamW, Gradients, clip, limit_norm};
pub(crate) use params::{Init, Params, normal};
pub(crate) use product::rows_times;
pub(crate) use schedule::Schedule;
pub(crate) use segments::Segments;
