//! The way from an input vector to the latent space of a codebook, and back.

use std::borrow::Cow;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Vectors;
use crate::error::{Error, Result};
use crate::index::principal::Principal;
use crate::nn::dense::{self, Dense};
use crate::progress::Progress;

/// Rows that are taken through all steps at a time.
const BLOCK_ROWS: usize = 2048;

/// Steps that vectors go through, one after the other; without any, a vector stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Coder {
    steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// `(x − centre) · scale`.
    Affine {
        /// What is taken off.
        centre: Vec<f32>,
        /// What the rest is multiplied with.
        scale: f32,
    },
    /// Linear layers; with `residual`, what they give is added to the vector.
    Layers {
        /// The layers.
        layers: Vec<Linear>,
        /// Whether the vector itself is added.
        residual: bool,
    },
    /// The fusion of CMSA: every part but the first by a matrix of its own to the length of the first, then all of
    /// them side by side by one matrix (`W_v` and `W_f` of DeepInterestGR III-D).
    Fusion {
        /// `W_v` of each part but the first, part × first.
        views: Vec<Linear>,
        /// `W_f`, (parts · first) × out.
        join: Linear,
    },
}

/// `x · W + b`, perhaps cut off below zero.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Linear {
    /// Row-major in × out.
    pub(crate) weight: Vec<f32>,
    /// One number for each output; empty for none.
    pub(crate) bias: Vec<f32>,
    /// Components of an input.
    pub(crate) input: usize,
    /// Components of an output.
    pub(crate) output: usize,
    /// Whether numbers below zero become zero.
    pub(crate) relu: bool,
}

/// What is stored of a step beside its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Plan {
    Affine { dim: usize },
    Layers { shapes: Vec<Shape>, residual: bool },
    Fusion { views: Vec<Shape>, join: Shape },
}

/// What is stored of a linear layer beside its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    input: usize,
    output: usize,
    bias: bool,
    relu: bool,
}

impl Coder {
    /// A way of these steps.
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Coder { steps }
    }

    /// The way to principal components, and the one back.
    pub(super) fn principal(principal: &Principal) -> (Self, Self) {
        let dim = principal.centre.len();
        let count = principal.components.len() / dim;
        let mut turned = vec![0.0; principal.components.len()];
        for (at, component) in principal.components.chunks_exact(dim).enumerate() {
            for (row, x) in component.iter().enumerate() {
                turned[row * count + at] = *x;
            }
        }
        let back = principal.components.clone();
        let negative = principal.centre.iter().map(|x| -x).collect();
        let there = Coder::new(vec![
            Step::Affine { centre: principal.centre.clone(), scale: 1.0 },
            Step::linear(Linear::matrix(turned, dim)),
        ]);
        let back = Coder::new(vec![
            Step::linear(Linear::matrix(back, count)),
            Step::Affine { centre: negative, scale: 1.0 },
        ]);
        (there, back)
    }

    /// The steps.
    #[cfg(test)]
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Components of what goes in and of what comes out; none where any length passes.
    pub(super) fn ends(&self) -> Option<(usize, usize)> {
        Some((self.steps.first()?.input(), self.steps.last()?.output()))
    }

    /// Whether each step takes what the one before gives.
    pub(super) fn is_whole(&self) -> bool {
        self.steps.iter().all(Step::is_whole)
            && self.steps.windows(2).all(|pair| pair[0].output() == pair[1].input())
    }

    /// One vector.
    pub(crate) fn apply(&self, vector: &[f32]) -> Vec<f32> {
        self.steps.iter().fold(vector.to_vec(), |vector, step| step.apply(vector))
    }

    /// Many vectors, row-major.
    pub(crate) fn apply_all<'a>(
        &self,
        vectors: &Vectors<'a>,
        progress: &Progress,
    ) -> Result<Cow<'a, [f32]>> {
        let Some((input, output)) = self.ends() else { return Ok(Cow::Borrowed(vectors.data())) };
        let steps = self.steps.iter().map(Ready::of).collect::<Result<Vec<_>>>()?;
        let mut out = Vec::with_capacity(vectors.len() * output);
        for block in vectors.data().chunks(BLOCK_ROWS * input) {
            progress.check()?;
            let shape = (block.len() / input, input);
            let mut rows = Tensor::from_slice(block, shape, &Device::Cpu)?;
            for step in &steps {
                rows = step.apply(&rows)?;
            }
            out.extend(rows.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(Cow::Owned(out))
    }

    /// What is stored of the steps beside their numbers.
    pub(super) fn plan(&self) -> Vec<Plan> {
        self.steps.iter().map(Step::plan).collect()
    }

    /// All numbers, in the order in which `read` takes them.
    pub(super) fn numbers(&self) -> impl Iterator<Item = &f32> {
        self.steps.iter().flat_map(Step::numbers).flatten()
    }

    /// The steps of a plan, their numbers taken off `rest`; none where they do not suffice.
    pub(super) fn read(plan: &[Plan], rest: &mut &[f32]) -> Option<Self> {
        plan.iter().map(|plan| Step::read(plan, rest)).collect::<Option<_>>().map(Coder::new)
    }
}

impl Step {
    /// A single layer.
    pub(super) fn linear(linear: Linear) -> Self {
        Step::Layers { layers: vec![linear], residual: false }
    }

    fn input(&self) -> usize {
        match self {
            Step::Affine { centre, .. } => centre.len(),
            Step::Layers { layers, .. } => layers.first().map_or(0, |layer| layer.input),
            Step::Fusion { views, join } => {
                join.input / (views.len() + 1) + views.iter().map(|view| view.input).sum::<usize>()
            }
        }
    }

    fn output(&self) -> usize {
        match self {
            Step::Affine { centre, .. } => centre.len(),
            Step::Layers { layers, .. } => layers.last().map_or(0, |layer| layer.output),
            Step::Fusion { join, .. } => join.output,
        }
    }

    fn is_whole(&self) -> bool {
        match self {
            Step::Affine { .. } => true,
            Step::Layers { layers, residual } => {
                !layers.is_empty()
                    && layers.windows(2).all(|pair| pair[0].output == pair[1].input)
                    && (!residual || self.input() == self.output())
            }
            Step::Fusion { views, join } => {
                let first = join.input / (views.len() + 1);
                first > 0
                    && first * (views.len() + 1) == join.input
                    && views.iter().all(|view| view.output == first)
            }
        }
    }

    fn apply(&self, mut vector: Vec<f32>) -> Vec<f32> {
        match self {
            Step::Affine { centre, scale } => {
                vector.iter_mut().zip(centre).for_each(|(x, centre)| *x = (*x - centre) * scale);
                vector
            }
            Step::Layers { layers, residual } => {
                let mut out = layers[0].apply(&vector);
                for layer in &layers[1..] {
                    out = layer.apply(&out);
                }
                if *residual {
                    out.iter_mut().zip(&vector).for_each(|(out, x)| *out += x);
                }
                out
            }
            Step::Fusion { views, join } => {
                let (first, mut rest) = vector.split_at(join.input / (views.len() + 1));
                let mut parts = first.to_vec();
                for view in views {
                    let (part, after) = rest.split_at(view.input);
                    parts.extend(view.apply(part));
                    rest = after;
                }
                join.apply(&parts)
            }
        }
    }

    fn plan(&self) -> Plan {
        match self {
            Step::Affine { centre, .. } => Plan::Affine { dim: centre.len() },
            Step::Layers { layers, residual } => Plan::Layers {
                shapes: layers.iter().map(Linear::shape).collect(),
                residual: *residual,
            },
            Step::Fusion { views, join } => Plan::Fusion {
                views: views.iter().map(Linear::shape).collect(),
                join: join.shape(),
            },
        }
    }

    fn numbers(&self) -> Vec<&[f32]> {
        match self {
            Step::Affine { centre, scale } => vec![centre, std::slice::from_ref(scale)],
            Step::Layers { layers, .. } => layers.iter().flat_map(Linear::numbers).collect(),
            Step::Fusion { views, join } => {
                views.iter().chain([join]).flat_map(Linear::numbers).collect()
            }
        }
    }

    fn read(plan: &Plan, rest: &mut &[f32]) -> Option<Self> {
        let mut all = |shapes: &[Shape]| -> Option<Vec<Linear>> {
            shapes.iter().map(|shape| Linear::read(*shape, rest)).collect()
        };
        Some(match plan {
            Plan::Affine { dim } => {
                let centre = take(rest, *dim)?;
                Step::Affine { centre, scale: *take(rest, 1)?.first()? }
            }
            Plan::Layers { shapes, residual } => {
                Step::Layers { layers: all(shapes)?, residual: *residual }
            }
            Plan::Fusion { views, join } => {
                let views = all(views)?;
                Step::Fusion { views, join: Linear::read(*join, rest)? }
            }
        })
    }
}

impl Linear {
    /// A matrix of `input` rows.
    pub(super) fn matrix(weight: Vec<f32>, input: usize) -> Self {
        let output = weight.len() / input.max(1);
        Linear { weight, bias: Vec::new(), input, output, relu: false }
    }

    /// A trained layer.
    pub(super) fn of(layer: &Dense, (input, output): (usize, usize), relu: bool) -> Result<Self> {
        let (weight, bias) = layer.numbers()?;
        Ok(Linear { weight, bias, input, output, relu })
    }

    fn apply(&self, vector: &[f32]) -> Vec<f32> {
        let mut out = if self.bias.is_empty() { vec![0.0; self.output] } else { self.bias.clone() };
        for (x, row) in vector.iter().zip(self.weight.chunks_exact(self.output)) {
            out.iter_mut().zip(row).for_each(|(out, weight)| *out += x * weight);
        }
        if self.relu {
            for x in &mut out {
                *x = x.max(0.0);
            }
        }
        out
    }

    fn shape(&self) -> Shape {
        let (input, output, relu) = (self.input, self.output, self.relu);
        Shape { input, output, bias: !self.bias.is_empty(), relu }
    }

    fn numbers(&self) -> [&[f32]; 2] {
        [&self.weight, &self.bias]
    }

    fn read(shape: Shape, rest: &mut &[f32]) -> Option<Self> {
        let Shape { input, output, bias, relu } = shape;
        if input == 0 || output == 0 {
            return None;
        }
        let weight = take(rest, input.checked_mul(output)?)?;
        let bias = take(rest, if bias { output } else { 0 })?;
        Some(Linear { weight, bias, input, output, relu })
    }

    fn dense(&self) -> Result<Dense> {
        let shape = (self.input, self.output);
        let weight = Tensor::from_slice(&self.weight, shape, &Device::Cpu)?;
        let bias = if self.bias.is_empty() { &vec![0.0; self.output] } else { &self.bias };
        let bias = Tensor::from_slice(bias, self.output, &Device::Cpu)?;
        Ok(Dense::new(weight, bias, self.relu))
    }
}

/// Takes numbers off the front; none where there are not as many.
pub(super) fn take(rest: &mut &[f32], count: usize) -> Option<Vec<f32>> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken.to_vec())
}

/// A step ready for many rows.
enum Ready {
    Affine(Tensor, f64),
    Layers(Vec<Dense>, bool),
    Fusion(Vec<(usize, Dense)>, Dense, usize),
}

impl Ready {
    fn of(step: &Step) -> Result<Self> {
        let all = |layers: &[Linear]| layers.iter().map(Linear::dense).collect::<Result<Vec<_>>>();
        Ok(match step {
            Step::Affine { centre, scale } => Ready::Affine(
                Tensor::from_slice(centre, centre.len(), &Device::Cpu)?,
                f64::from(*scale),
            ),
            Step::Layers { layers, residual } => Ready::Layers(all(layers)?, *residual),
            Step::Fusion { views, join } => {
                let widths = views.iter().map(|view| view.input);
                let first = join.input / (views.len() + 1);
                Ready::Fusion(widths.zip(all(views)?).collect(), join.dense()?, first)
            }
        })
    }

    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Ready::Affine(centre, scale) => (rows.broadcast_sub(centre)? * *scale)?,
            Ready::Layers(layers, residual) => {
                let out = dense::forward(layers, rows)?
                    .pop()
                    .ok_or_else(|| Error::internal("a step without layers"))?;
                if *residual { (out + rows)? } else { out }
            }
            Ready::Fusion(views, join, first) => {
                let mut parts = vec![rows.narrow(1, 0, *first)?];
                let mut at = *first;
                for (width, view) in views {
                    parts.push(view.forward(&rows.narrow(1, at, *width)?.contiguous()?)?);
                    at += width;
                }
                join.forward(&Tensor::cat(&parts, 1)?)?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|at| ((at * 37 + seed * 11) % 19) as f32 / 9.0 - 1.0).collect()
    }

    fn layer(input: usize, output: usize, relu: bool) -> Linear {
        let bias = numbers(output, 3);
        Linear { weight: numbers(input * output, 1), bias, input, output, relu }
    }

    fn coder() -> Coder {
        Coder::new(vec![
            Step::Affine { centre: numbers(7, 5), scale: 2.0 },
            Step::Fusion {
                views: vec![Linear::matrix(numbers(4 * 3, 2), 4)],
                join: Linear::matrix(numbers(6 * 5, 4), 6),
            },
            Step::Layers { layers: vec![layer(5, 8, true), layer(8, 5, false)], residual: true },
            Step::linear(layer(5, 2, false)),
        ])
    }

    #[test]
    fn one_vector_and_many_go_the_same_way() {
        let coder = coder();
        assert!(coder.is_whole());
        assert_eq!(coder.ends(), Some((7, 2)));
        let data = numbers(7 * 30, 9);
        let vectors = Vectors::new(&data, 7).unwrap();
        let all = coder.apply_all(&vectors, &Progress::silent()).unwrap();
        for (row, out) in all.chunks_exact(2).enumerate() {
            let one = coder.apply(vectors.row(row));
            assert!(one.iter().zip(out).all(|(a, b)| (a - b).abs() < 1e-4), "{one:?} {out:?}");
        }
        let same = Coder::default().apply_all(&vectors, &Progress::silent()).unwrap();
        assert_eq!(&*same, &data[..]);
    }

    #[test]
    fn steps_are_read_as_they_were_stored() {
        let coder = coder();
        let stored: Vec<f32> = coder.numbers().copied().collect();
        let mut rest = stored.as_slice();
        assert_eq!(Coder::read(&coder.plan(), &mut rest).unwrap(), coder);
        assert!(rest.is_empty());
        let mut short = &stored[1..];
        assert!(Coder::read(&coder.plan(), &mut short).is_none());
    }

    #[test]
    fn steps_that_do_not_fit_are_seen() {
        let wrong = [
            Step::Layers { layers: vec![layer(3, 4, true), layer(3, 3, false)], residual: false },
            Step::Layers { layers: vec![layer(3, 4, true)], residual: true },
            Step::Layers { layers: Vec::new(), residual: false },
            Step::Fusion { views: vec![layer(2, 2, false)], join: layer(6, 2, false) },
        ];
        for step in wrong {
            assert!(!Coder::new(vec![step.clone()]).is_whole(), "{step:?}");
        }
        let two = vec![Step::linear(layer(3, 4, false)), Step::linear(layer(3, 4, false))];
        assert!(!Coder::new(two).is_whole());
    }

    #[test]
    fn principal_components_and_back() {
        let data = numbers(60 * 4, 2);
        let principal = Principal::fit(&data, 4, 4, &Progress::silent()).unwrap();
        let (there, back) = Coder::principal(&principal);
        let vector = &data[8..12];
        let again = back.apply(&there.apply(vector));
        assert!(again.iter().zip(vector).all(|(a, b)| (a - b).abs() < 1e-4));
    }
}
