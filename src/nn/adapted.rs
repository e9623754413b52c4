//! Matrices that came from elsewhere: moved themselves, or left as they are beside two small ones that learn (LoRA, Hu et
//! al. 2021, arXiv 2106.09685).
//!
//! ```text
//! y = x · Wᵀ + alpha / rank · (x · downᵀ) · upᵀ
//! ```
//!
//! `down` begins with random numbers and `up` with zeros, so that nothing changes at first. A matrix that stays has no
//! gradient: none is made, and the optimizer keeps nothing of it.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Storage, Tensor, Var, bail};
use rand_chacha::ChaCha8Rng;

use super::host::fused;
use super::{Init, Params, rows_times};
use crate::error::Result;

/// What training moves of a matrix that came from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moves {
    /// All of its numbers.
    All,
    /// Two small matrices beside it.
    LowRank {
        /// Their common side.
        rank: usize,
        /// Divided by the rank, what their product is multiplied with.
        alpha: f64,
    },
}

/// Numbers of a model.
pub(crate) enum Weight {
    /// They stay.
    Fixed(Tensor),
    /// They are learned.
    Moved(Var),
}

impl Weight {
    /// Given numbers; if they are `moved`, as a variable that takes weight decay or not.
    pub(crate) fn new(
        params: &mut Params,
        name: String,
        values: &Tensor,
        (moved, decay): (bool, bool),
    ) -> Result<Self> {
        Ok(if moved {
            Weight::Moved(params.adopt(name, values, decay)?)
        } else {
            Weight::Fixed(values.clone())
        })
    }

    /// The numbers, with gradient if it is wanted.
    pub(crate) fn tensor(&self, learn: bool) -> Tensor {
        match self {
            Weight::Moved(var) if learn => var.as_tensor().clone(),
            Weight::Moved(var) => var.as_detached_tensor(),
            Weight::Fixed(tensor) => tensor.clone(),
        }
    }

    /// Products of rows with the rows of a matrix. `x`: rows × in; the weight: out × in. Gives rows × out.
    pub(crate) fn times(&self, x: &Tensor, learn: bool) -> Result<Tensor> {
        match self {
            Weight::Fixed(matrix) if learn && fused(x) => {
                Ok(x.contiguous()?.apply_op1(Fixed { matrix: matrix.clone() })?)
            }
            weight => times(x, &weight.tensor(learn), learn),
        }
    }
}

/// `x · matrixᵀ`; without gradient as it is the fastest for few rows.
fn times(x: &Tensor, matrix: &Tensor, learn: bool) -> Result<Tensor> {
    Ok(if learn { x.matmul(&matrix.t()?)? } else { rows_times(x, matrix)? })
}

/// A matrix that multiplies rows, and perhaps a bias.
pub(crate) struct Adapted {
    /// Out × in.
    matrix: Weight,
    bias: Option<Weight>,
    beside: Option<LowRank>,
}

/// What learns beside a matrix that stays.
struct LowRank {
    /// Rank × in.
    down: Var,
    /// Out × rank.
    up: Var,
    scale: f64,
}

impl Adapted {
    /// Over a given matrix (out × in) and bias (out).
    pub(crate) fn new(
        params: &mut Params,
        name: &str,
        (matrix, bias): (&Tensor, Option<&Tensor>),
        moves: Moves,
        random: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let (output, input) = matrix.dims2()?;
        let beside = match moves {
            Moves::All => None,
            Moves::LowRank { rank, alpha } => {
                // Weight decay would pull at one of two factors.
                let init = Init::Embedding(1.0 / (input as f32).sqrt());
                let down = params.create(format!("{name}.down"), &[rank, input], init, random)?;
                let name = format!("{name}.up");
                let up = params.create(name, &[output, rank], Init::Zeros, random)?;
                Some(LowRank { down, up, scale: alpha / rank as f64 })
            }
        };
        let moved = moves == Moves::All;
        let matrix = Weight::new(params, format!("{name}.matrix"), matrix, (moved, true))?;
        let bias =
            bias.map(|bias| Weight::new(params, format!("{name}.bias"), bias, (moved, false)));
        Ok(Adapted { matrix, bias: bias.transpose()?, beside })
    }

    /// `x`: rows × in. Gives rows × out, with gradient if it is wanted.
    pub(crate) fn forward(&self, x: &Tensor, learn: bool) -> Result<Tensor> {
        let mut y = self.matrix.times(x, learn)?;
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(&bias.tensor(learn))?;
        }
        let Some(LowRank { down, up, scale }) = &self.beside else { return Ok(y) };
        let of = |var: &Var| if learn { var.as_tensor().clone() } else { var.as_detached_tensor() };
        let small = (times(x, &of(down), learn)? * *scale)?; // rows × rank
        Ok((y + times(&small, &of(up), learn)?)?)
    }
}

/// `x · matrixᵀ` with a gradient to `x` alone.
struct Fixed {
    /// Out × in.
    matrix: Tensor,
}

impl CustomOp1 for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (rows, input) = layout.shape().dims2()?;
        let output = self.matrix.dim(0)?;
        let (storage, turned) = self.matrix.storage_and_layout();
        let Storage::Cpu(matrix) = &*storage else {
            bail!("a fused operation needs a tensor on the processor");
        };
        let turned = turned.transpose(0, 1)?;
        let y = x.matmul(matrix, (1, rows, output, input), layout, &turned)?;
        Ok((y, Shape::from((rows, output))))
    }

    fn bwd(
        &self,
        _x: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        grad.contiguous()?.matmul(&self.matrix).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use candle_core::Device;

    use super::*;
    use crate::device::source;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    const LOW_RANK: Moves = Moves::LowRank { rank: 2, alpha: 6.0 };

    fn adapted(params: &mut Params, moves: Moves) -> Adapted {
        let (matrix, bias) = (random_var(&[7, 5], 1), random_var(&[7], 2));
        let given = (matrix.as_tensor(), Some(bias.as_tensor()));
        // What is given is no variable of this model.
        let given = (&given.0.detach(), given.1.map(Tensor::detach));
        Adapted::new(params, "a", (given.0, given.1.as_ref()), moves, &mut source(1, 0)).unwrap()
    }

    #[test]
    fn a_matrix_that_stays_has_no_variable_and_changes_nothing_at_first() {
        let (mut moved, mut fixed) = (Params::new(&Device::Cpu), Params::new(&Device::Cpu));
        let (all, low) = (adapted(&mut moved, Moves::All), adapted(&mut fixed, LOW_RANK));
        let names = |params: &Params| params.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&moved), ["a.matrix", "a.bias"]);
        assert_eq!(names(&fixed), ["a.down", "a.up"]);
        let x = random_var(&[3, 5], 3);
        for learn in [true, false] {
            let rows = |adapted: &Adapted| {
                adapted.forward(x.as_tensor(), learn).unwrap().to_vec2::<f32>().unwrap()
            };
            assert_close(&rows(&low), &rows(&all), 1e-6);
        }
    }

    /// The product of the small matrices added to the large one gives the same rows and the same gradients.
    #[test]
    fn beside_is_as_within() {
        let mut params = Params::new(&Device::Cpu);
        let low = adapted(&mut params, LOW_RANK);
        let LowRank { up, down, .. } = low.beside.as_ref().unwrap();
        up.set(random_var(&[7, 2], 4).as_tensor()).unwrap();
        let (x, weights) = (random_var(&[3, 5], 3), random_var(&[3, 7], 5));
        let loss = |y: Tensor| (y * weights.as_tensor()).unwrap().sum_all().unwrap();
        let vars = [&x, up, down];
        let ours = gradients(&vars, &loss(low.forward(x.as_tensor(), true).unwrap()));
        let within = (up.matmul(down.as_tensor()).unwrap() * 3.0).unwrap();
        let within = (low.matrix.tensor(true) + within).unwrap();
        let bias = low.bias.as_ref().unwrap().tensor(true);
        let y = x.matmul(&within.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
        assert_close(&ours, &gradients(&vars, &loss(y.clone())), 1e-5);
        let still = low.forward(x.as_tensor(), false).unwrap();
        assert_close(&still.to_vec2().unwrap(), &y.to_vec2().unwrap(), 1e-5);
        // Asked without gradient, nothing leads back.
        assert!(loss(still).backward().unwrap().get(up.as_tensor()).is_none());
    }
}
