//! The product of matrices.
//!
//! candle asks the system for its processors at each product, shares even small ones between threads, and multiplies many
//! pairs one after another. The steps of a beam are many products of some microseconds, where the first two take longer than
//! the sums do; attention while training is thousands of pairs.
#![allow(unsafe_code, reason = "the crate gemm takes pointers; candle multiplies with it too")]

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use gemm::Parallelism;
use rayon::prelude::*;

use super::host::fused;

/// Multiplications up to which a thread is done sooner than another is woken and waited for.
const SMALL: usize = 1 << 21;

/// The product of the last two dimensions, with gradient to both. `a`: any × rows × inner, `b`: any × inner × columns, with
/// the same other dimensions; gives any × rows × columns.
pub(crate) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if fused(a) && fused(b) { a.apply_op2(b, Fused) } else { a.matmul(b) }
}

/// The fused form.
struct Fused;

/// Matrices of the same size in one buffer.
struct Stack<'a> {
    numbers: &'a [f32],
    rows: usize,
    columns: usize,
    /// From one row to the next, from one column to the next.
    steps: (isize, isize),
    /// Sizes of the other dimensions, and the steps of each.
    others: (&'a [usize], &'a [usize]),
}

impl<'a> Stack<'a> {
    fn new(storage: &'a CpuStorage, layout: &'a Layout) -> Result<Self> {
        let (dims, steps) = (layout.dims(), layout.stride());
        let ([others @ .., rows, columns], [more @ .., down, right]) = (dims, steps) else {
            bail!("a product needs matrices, not {dims:?}");
        };
        let numbers = &storage.as_slice::<f32>()?[layout.start_offset()..];
        let last: usize =
            dims.iter().zip(steps).map(|(size, step)| size.saturating_sub(1) * step).sum();
        if layout.shape().elem_count() > 0 && last >= numbers.len() {
            bail!("a layout of {dims:?} lies outside of its numbers");
        }
        let steps = (*down as isize, *right as isize);
        Ok(Stack { numbers, rows: *rows, columns: *columns, steps, others: (others, more) })
    }

    /// The numbers from the first of a matrix on.
    fn of(&self, at: usize) -> &'a [f32] {
        let (sizes, steps) = self.others;
        let mut rest = at;
        let mut first = 0;
        for (size, step) in sizes.iter().zip(steps).rev() {
            first += rest % size * step;
            rest /= size;
        }
        &self.numbers[first..]
    }

    /// The product of a matrix with one of another stack. `out`: rows × columns of that, row by row.
    fn times(&self, at: usize, other: &Stack<'_>, out: &mut [f32], threads: usize) {
        let (a, b) = (self.of(at), other.of(at));
        let threads = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
        assert!(self.columns == other.rows && out.len() == self.rows * other.columns);
        // Sound: `new` has looked that the last number of the last matrix is there, and `out` is as large as it must be.
        unsafe {
            gemm::gemm(
                self.rows,
                other.columns,
                self.columns,
                out.as_mut_ptr(),
                1,
                other.columns as isize,
                false,
                a.as_ptr(),
                self.steps.1,
                self.steps.0,
                b.as_ptr(),
                other.steps.1,
                other.steps.0,
                0.0,
                1.0,
                false,
                false,
                false,
                threads,
            );
        }
    }
}

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (left, right) = (Stack::new(a, a_layout)?, Stack::new(b, b_layout)?);
        let (rows, inner, columns) = (left.rows, left.columns, right.columns);
        if left.others.0 != right.others.0 || inner != right.rows {
            bail!("{:?} cannot be multiplied by {:?}", a_layout.dims(), b_layout.dims());
        }
        let dims = [left.others.0, &[rows, columns]].concat();
        let mut out = vec![0f32; dims.iter().product()];
        let one = rows * columns;
        if inner == 0 || one == 0 {
            return Ok((CpuStorage::F32(out), dims.into()));
        }
        let (pairs, threads) = (out.len() / one, rayon::current_num_threads());
        let pair = |(at, out): (usize, &mut [f32]), threads| {
            left.times(at, &right, out, threads);
        };
        if out.len().saturating_mul(inner) <= SMALL {
            out.chunks_exact_mut(one).enumerate().for_each(|each| pair(each, 1));
        } else if pairs >= threads {
            out.par_chunks_exact_mut(one).enumerate().for_each(|each| pair(each, 1));
        } else {
            out.chunks_exact_mut(one).enumerate().for_each(|each| pair(each, threads));
        }
        Ok((CpuStorage::F32(out), dims.into()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(matmul(grad, &b.t()?)?), Some(matmul(&a.t()?, grad)?)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    #[test]
    fn fused_equals_composed() {
        let shapes: [(&[usize], &[usize]); 6] = [
            (&[3, 5], &[5, 7]),
            (&[1, 64], &[64, 1]),
            (&[4, 3, 5], &[4, 5, 2]),
            (&[2, 3, 4, 6], &[2, 3, 6, 5]),
            (&[130, 140], &[140, 150]),
            (&[40, 2, 30, 50], &[40, 2, 50, 30]),
        ];
        for (of_a, of_b) in shapes {
            let (a, b) = (random_var(of_a, 1), random_var(of_b, 2));
            let loss = |y: Tensor| y.sqr().unwrap().sum_all().unwrap();
            let vars = [&a, &b];
            let ours = gradients(&vars, &loss(matmul(a.as_tensor(), b.as_tensor()).unwrap()));
            let theirs = gradients(&vars, &loss(a.as_tensor().matmul(b.as_tensor()).unwrap()));
            assert_close(&ours, &theirs, 1e-4);
        }
    }

    #[test]
    fn matrices_may_lie_as_they_like() {
        let (a, b) = (random_var(&[2, 6, 3, 4], 1), random_var(&[2, 5, 3, 4], 2));
        let a = a.as_tensor().transpose(1, 2).unwrap(); // 2 × 3 × 6 × 4
        let b = b.as_tensor().permute((0, 2, 3, 1)).unwrap(); // 2 × 3 × 4 × 5
        let flat = |x: Tensor| vec![x.flatten_all().unwrap().to_vec1::<f32>().unwrap()];
        let theirs = a.contiguous().unwrap().matmul(&b.contiguous().unwrap()).unwrap();
        assert_close(&flat(matmul(&a, &b).unwrap()), &flat(theirs), 1e-5);
        let part = a.narrow(2, 1, 3).unwrap();
        let theirs = part.contiguous().unwrap().matmul(&b.contiguous().unwrap()).unwrap();
        assert_close(&flat(matmul(&part, &b).unwrap()), &flat(theirs), 1e-5);
        assert!(matmul(&a, &a).is_err());
        let none = Tensor::zeros((0, 4), candle_core::DType::F32, a.device()).unwrap();
        let some = Tensor::zeros((4, 2), candle_core::DType::F32, a.device()).unwrap();
        assert_eq!(matmul(&none, &some).unwrap().dims(), [0, 2]);
    }
}
