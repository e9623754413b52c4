//! Named variables: create, count, save, load.

use std::collections::HashMap;

use candle_core::{Device, Tensor, Var};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Kind as ErrorKind, Result};

/// The variables of a model in the order of their creation.
pub(crate) struct Params {
    list: Vec<Param>,
    device: Device,
}

/// One variable.
pub(crate) struct Param {
    /// Its name, for example `timeline.0.norm`.
    pub(crate) name: String,
    /// Its value.
    pub(crate) var: Var,
    /// Whether weight decay applies: to matrices that multiply, not to norms, biases and
    /// embeddings.
    pub(crate) decay: bool,
}

/// How a variable begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Init {
    /// A matrix that multiplies: normal, with this standard deviation. Weight decay applies.
    Matrix(f32),
    /// An embedding: normal, with this standard deviation.
    Embedding(f32),
    /// The scale of a norm: ones.
    Ones,
    /// A bias: zeros.
    Zeros,
}

impl Params {
    /// No variables yet.
    pub(crate) fn new(device: &Device) -> Self {
        Params { list: Vec::new(), device: device.clone() }
    }

    /// Adds a variable.
    pub(crate) fn create(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        init: Init,
        random: &mut ChaCha8Rng,
    ) -> Result<Var> {
        let count = shape.iter().product();
        let (values, decay) = match init {
            Init::Matrix(deviation) => (normal(count, deviation, random), true),
            Init::Embedding(deviation) => (normal(count, deviation, random), false),
            Init::Ones => (vec![1.0; count], false),
            Init::Zeros => (vec![0.0; count], false),
        };
        let var = Var::from_vec(values, shape, &self.device)?;
        self.add(name.into(), &var, decay);
        Ok(var)
    }

    /// Adds a variable that begins with given numbers. `decay`: whether it is a matrix that multiplies.
    pub(crate) fn adopt(
        &mut self,
        name: impl Into<String>,
        values: &Tensor,
        decay: bool,
    ) -> Result<Var> {
        let var = Var::from_tensor(values)?;
        self.add(name.into(), &var, decay);
        Ok(var)
    }

    fn add(&mut self, name: String, var: &Var, decay: bool) {
        debug_assert!(self.list.iter().all(|param| param.name != name), "{name} is taken");
        self.list.push(Param { name, var: var.clone(), decay });
    }

    /// The variables in the order of their creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Param> {
        self.list.iter()
    }

    /// All values in the safetensors format.
    pub(crate) fn save(&self) -> Result<Vec<u8>> {
        let tensors = self.list.iter().map(|param| (param.name.as_str(), param.var.as_tensor()));
        safetensors::serialize(tensors, None)
            .map_err(|error| Error::internal(format!("cannot write weights: {error}")))
    }

    /// Takes all values from what [`Params::save`] gave. Nothing changes where a name or a shape
    /// differs.
    pub(crate) fn load(&self, bytes: &[u8]) -> Result<()> {
        self.load_with(bytes, |_, value| Ok(value))
    }

    /// The same, of values that `adapt` has looked at first, by name.
    pub(crate) fn load_with(
        &self,
        bytes: &[u8],
        adapt: impl Fn(&str, Tensor) -> Result<Tensor>,
    ) -> Result<()> {
        let tensors = candle_core::safetensors::load_buffer(bytes, &self.device)
            .map_err(|error| damaged(format!("the weights cannot be read: {error}")))?;
        let adapted = tensors.into_iter().map(|(name, value)| {
            let value = adapt(&name, value)?;
            Ok((name, value))
        });
        let mut tensors = adapted.collect::<Result<HashMap<_, _>>>()?;
        let values = self.list.iter().map(|param| self.matching(param, &mut tensors));
        let values = values.collect::<Result<Vec<_>>>()?;
        if let Some(name) = tensors.keys().next() {
            return Err(damaged(format!("the weights hold `{name}`, which this model has not")));
        }
        for (param, value) in self.list.iter().zip(values) {
            param.var.set(&value)?;
        }
        Ok(())
    }

    /// Takes the value of one variable out of loaded tensors.
    fn matching(&self, param: &Param, tensors: &mut HashMap<String, Tensor>) -> Result<Tensor> {
        let name = &param.name;
        let value =
            tensors.remove(name).ok_or_else(|| damaged(format!("the weights lack `{name}`")))?;
        if value.dims() != param.var.dims() {
            let (found, wanted) = (value.dims(), param.var.dims());
            return Err(damaged(format!("the weights of `{name}` are {found:?}, not {wanted:?}")));
        }
        Ok(value.to_dtype(param.var.dtype())?)
    }
}

fn damaged(message: String) -> Error {
    Error::new(ErrorKind::Restore, "bad-weights", message)
        .help("train the policy again, or restore the file from a backup")
}

/// Normally distributed numbers (Box and Muller).
pub(crate) fn normal(count: usize, deviation: f32, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = (-2.0 * (1.0 - random.random::<f32>()).ln()).sqrt() * deviation;
        let (sin, cos) = (std::f32::consts::TAU * random.random::<f32>()).sin_cos();
        values.extend([radius * cos, radius * sin]);
    }
    values.truncate(count);
    values
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::device::source;

    fn params(width: usize, seed: u64) -> Params {
        let mut params = Params::new(&Device::Cpu);
        let mut random = source(seed, 0);
        params.create("b", &[3, width], Init::Matrix(0.5), &mut random).unwrap();
        params.create("a", &[width], Init::Ones, &mut random).unwrap();
        params
    }

    fn values(params: &Params) -> Vec<f32> {
        params.iter().flat_map(|p| p.var.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
    }

    #[test]
    fn saved_and_loaded_are_equal() {
        let (one, two) = (params(5, 1), params(5, 2));
        assert_ne!(values(&one), values(&two));
        two.load(&one.save().unwrap()).unwrap();
        assert_eq!(values(&one), values(&two));
        assert_eq!(values(&params(5, 7)), values(&params(5, 7)));
    }

    #[test]
    fn other_shapes_and_damage_are_refused_and_change_nothing() {
        let one = params(5, 1);
        let before = values(&one);
        let saved = params(4, 1).save().unwrap();
        assert_eq!(one.load(&saved).unwrap_err().code(), "bad-weights");
        assert_eq!(one.load(&one.save().unwrap()[..20]).unwrap_err().code(), "bad-weights");
        assert_eq!(values(&one), before);
    }

    #[test]
    fn normal_has_its_moments() {
        let values = normal(100_001, 2.0, &mut source(1, 1));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.03 && (variance - 4.0).abs() < 0.1, "{mean} {variance}");
    }
}
