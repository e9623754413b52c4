//! AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) over plain slices, and clipping by the
//! global norm.

use std::sync::Mutex;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor};
use rayon::prelude::*;

use super::Params;
use super::host::{dot, fused, with};
use crate::error::{Error, Result};

/// Numbers that one thread updates at a time.
const CHUNK: usize = 8 * 1024;

/// The optimizer: moments of every variable and the constants of the update.
pub(crate) struct AdamW {
    /// Decay of the first moment.
    beta_1: f64,
    /// Decay of the second moment.
    beta_2: f64,
    /// Keeps the division finite.
    epsilon: f64,
    /// Decoupled weight decay, for the variables that take it.
    weight_decay: f64,
    /// Updates done.
    steps: u64,
    moments: Vec<Moments>,
}

/// The running means of a variable's gradient and of its square.
#[derive(Clone, Debug, Default)]
struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
}

/// The gradient of each variable in the order of the parameters, contiguous; `None` where the loss
/// does not depend on it.
pub(crate) type Gradients = Vec<Option<Tensor>>;

/// Takes the gradients of all variables and scales them so that their common norm is at most
/// `limit` (0 for no limit). Gives the gradients and the norm before.
pub(crate) fn clip(params: &Params, grads: &GradStore, limit: f64) -> Result<(Gradients, f64)> {
    let taken = params
        .iter()
        .map(|param| grads.get(param.var.as_tensor()).map(Tensor::contiguous).transpose())
        .collect::<candle_core::Result<Gradients>>()?;
    limit_norm(taken, limit)
}

/// Scales gradients so that their common norm is at most `limit` (0 for no limit). Gives them and the norm before.
pub(crate) fn limit_norm(mut grads: Gradients, limit: f64) -> Result<(Gradients, f64)> {
    let mut square = 0f64;
    for grad in grads.iter().flatten() {
        square += square_sum(grad)?;
    }
    let norm = square.sqrt();
    if limit > 0.0 && norm > limit {
        let scale = limit / norm;
        for grad in grads.iter_mut().flatten() {
            *grad = (&*grad * scale)?;
        }
    }
    Ok((grads, norm))
}

fn square_sum(grad: &Tensor) -> Result<f64> {
    if !fused(grad) {
        return Ok(f64::from(
            grad.sqr()?.sum_all()?.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?,
        ));
    }
    let parts = with(grad, |grad| -> Vec<f64> {
        grad.par_chunks(CHUNK).map(|part| f64::from(dot(part, part))).collect()
    })?;
    Ok(parts.iter().sum())
}

impl AdamW {
    /// An optimizer that has made no update.
    pub(crate) fn new(params: &Params, weight_decay: f64) -> Self {
        let zeros = |count| Moments { first: vec![0.0; count], second: vec![0.0; count] };
        let moments = params.iter().map(|param| zeros(param.var.elem_count())).collect();
        AdamW { beta_1: 0.9, beta_2: 0.98, epsilon: 1e-8, weight_decay, steps: 0, moments }
    }

    /// The same optimizer with another decay of the second moment.
    pub(crate) fn beta_2(mut self, beta_2: f64) -> Self {
        self.beta_2 = beta_2;
        self
    }

    /// Moves every variable that has a gradient.
    pub(crate) fn step(&mut self, params: &Params, grads: &Gradients, rate: f64) -> Result<()> {
        self.steps += 1;
        let steps = self.steps.min(i32::MAX as u64) as i32;
        let correction_1 = 1.0 - self.beta_1.powi(steps);
        let correction_2 = 1.0 - self.beta_2.powi(steps);
        for ((param, grad), moments) in params.iter().zip(grads).zip(&mut self.moments) {
            let Some(grad) = grad else { continue };
            let decay = if param.decay { rate * self.weight_decay } else { 0.0 };
            let update = Update {
                beta_1: self.beta_1 as f32,
                beta_2: self.beta_2 as f32,
                epsilon: self.epsilon as f32,
                keep: (1.0 - decay) as f32,
                rate: (rate / correction_1) as f32,
                root_correction: (1.0 / correction_2.sqrt()) as f32,
            };
            if fused(&param.var) {
                let op = InPlace { update, grad, moments: Mutex::new(moments) };
                param.var.inplace_op1(&op)?;
            } else {
                // On other devices through memory, with the same arithmetic.
                let flat = |x: &Tensor| -> Result<Vec<f32>> {
                    Ok(x.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1()?)
                };
                let (mut values, grad) = (flat(&param.var)?, flat(grad)?);
                update.apply(&mut values, &grad, moments);
                let values = Tensor::from_vec(values, param.var.shape(), param.var.device())?;
                param.var.set(&values.to_dtype(param.var.dtype())?)?;
            }
        }
        Ok(())
    }

    /// The state: updates done, then the moments, all little endian.
    pub(crate) fn save(&self) -> Vec<u8> {
        let mut bytes = self.steps.to_le_bytes().to_vec();
        for moments in &self.moments {
            for value in moments.first.iter().chain(&moments.second) {
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
        bytes
    }

    /// Restores what [`AdamW::save`] gave for the same variables.
    pub(crate) fn load(&mut self, bytes: &[u8]) -> Result<()> {
        let count: usize = self.moments.iter().map(|moments| 2 * moments.first.len()).sum();
        let (steps, values) = match bytes.split_first_chunk::<8>() {
            Some((steps, values)) if values.len() == 4 * count => {
                (steps, values.as_chunks::<4>().0)
            }
            _ => return Err(Error::internal("the optimizer state does not fit the model")),
        };
        self.steps = u64::from_le_bytes(*steps);
        let slots = self.moments.iter_mut().flat_map(|m| m.first.iter_mut().chain(&mut m.second));
        for (slot, value) in slots.zip(values) {
            *slot = f32::from_le_bytes(*value);
        }
        Ok(())
    }
}

/// The constants of one update of one variable.
#[derive(Clone, Copy)]
struct Update {
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    /// What weight decay leaves of the value.
    keep: f32,
    /// The rate, corrected for the bias of the first moment.
    rate: f32,
    /// Corrects the root of the second moment.
    root_correction: f32,
}

impl Update {
    fn apply(self, values: &mut [f32], grad: &[f32], moments: &mut Moments) {
        let moments = moments.first.par_chunks_mut(CHUNK).zip(moments.second.par_chunks_mut(CHUNK));
        let pairs = values.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK));
        pairs.zip(moments).for_each(|((values, grad), (first, second))| {
            let moments = first.iter_mut().zip(second);
            for ((value, grad), (first, second)) in values.iter_mut().zip(grad).zip(moments) {
                *first = self.beta_1 * *first + (1.0 - self.beta_1) * grad;
                *second = self.beta_2 * *second + (1.0 - self.beta_2) * grad * grad;
                let root = second.sqrt() * self.root_correction + self.epsilon;
                *value = *value * self.keep - self.rate * *first / root;
            }
        });
    }
}

/// The update as an operation on a variable's own memory.
struct InPlace<'a> {
    update: Update,
    grad: &'a Tensor,
    // The operation is called through a shared reference, once.
    moments: Mutex<&'a mut Moments>,
}

impl InplaceOp1 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            candle_core::bail!("a variable must be contiguous and of single precision");
        };
        let mut moments = self.moments.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        with(self.grad, |grad| self.update.apply(&mut values[start..end], grad, &mut moments))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use candle_core::Device;

    use super::*;
    use crate::nn::Init;

    /// Two variables pulled to 3: a matrix with decay, an embedding without.
    fn run(steps: std::ops::Range<u64>, params: &Params, optimizer: &mut AdamW) {
        for _ in steps {
            let mut loss = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu).unwrap();
            for param in params.iter() {
                let gap = (param.var.as_tensor() - 3.0).unwrap().sqr().unwrap();
                loss = (loss + gap.sum_all().unwrap()).unwrap();
            }
            let (grads, _) = clip(params, &loss.backward().unwrap(), 1.0).unwrap();
            optimizer.step(params, &grads, 0.05).unwrap();
        }
    }

    fn params() -> Params {
        let mut params = Params::new(&Device::Cpu);
        let mut random = crate::device::source(1, 0);
        params.create("w", &[2, 2], Init::Matrix(0.1), &mut random).unwrap();
        params.create("e", &[2, 2], Init::Embedding(0.1), &mut random).unwrap();
        params
    }

    fn values(params: &Params) -> Vec<Vec<f32>> {
        params.iter().map(|p| p.var.flatten_all().unwrap().to_vec1().unwrap()).collect()
    }

    #[test]
    fn converges_and_decays_only_matrices() {
        let params = params();
        run(0..400, &params, &mut AdamW::new(&params, 0.5));
        let values = values(&params);
        assert!(values[1].iter().all(|v| (v - 3.0).abs() < 1e-2), "{values:?}");
        assert!(values[0].iter().all(|v| *v < 2.99), "{values:?}");
    }

    #[test]
    fn saved_state_goes_on_the_same() {
        let (straight, resumed) = (params(), params());
        run(0..20, &straight, &mut AdamW::new(&straight, 0.1));
        let mut first = AdamW::new(&resumed, 0.1);
        run(0..9, &resumed, &mut first);
        let mut second = AdamW::new(&resumed, 0.1);
        second.load(&first.save()).unwrap();
        run(9..20, &resumed, &mut second);
        assert_eq!(values(&straight), values(&resumed));
        assert!(second.load(&[0; 9]).is_err());
    }

    #[test]
    fn the_first_update_is_the_rate() {
        let params = params();
        let before = values(&params);
        run(0..1, &params, &mut AdamW::new(&params, 0.0));
        for (before, after) in before.iter().flatten().zip(values(&params).iter().flatten()) {
            assert!((after - before - 0.05).abs() < 1e-5);
        }
    }
}
