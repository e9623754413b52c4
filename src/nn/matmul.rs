//! The product of matrices.
//!
//! candle asks the system for its processors at each product, shares even small ones between threads, and multiplies many
//! pairs one after another. The steps of a beam are many products of some microseconds, where the first two take longer than
//! the sums do; attention while training is thousands of pairs.
#![allow(unsafe_code, reason = "the crate gemm takes pointers; candle multiplies with it too")]

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use gemm::Parallelism;
use rayon::prelude::*;

use super::host::{add_scaled, dot, fused};

/// Multiplications up to which a thread is done sooner than another is woken and waited for.
const SMALL: usize = 1 << 21;
/// Multiplications up to which a plain loop is done sooner than `gemm` has chosen how to go about it.
const TINY: usize = 1 << 11;

/// The product of the last two dimensions, with gradient to both. `a`: any × rows × inner, `b`: any × inner × columns, with
/// the same other dimensions; gives any × rows × columns.
pub(crate) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if fused(a) && fused(b) { a.apply_op2(b, Fused) } else { a.matmul(b) }
}

/// A matrix as it lies in memory.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    numbers: &'a [f32],
    rows: usize,
    columns: usize,
    /// From one row to the next, from one column to the next.
    steps: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// Rows that begin `step` numbers apart.
    pub(super) fn new(numbers: &'a [f32], rows: usize, columns: usize, step: usize) -> Self {
        Matrix::checked(numbers, (rows, columns), (step, 1))
    }

    fn checked(numbers: &'a [f32], (rows, columns): (usize, usize), steps: (usize, usize)) -> Self {
        if rows > 0 && columns > 0 {
            assert!((rows - 1) * steps.0 + (columns - 1) * steps.1 < numbers.len());
        }
        Matrix { numbers, rows, columns, steps }
    }

    /// Rows become columns.
    pub(super) fn t(self) -> Self {
        let Matrix { numbers, rows, columns, steps } = self;
        Matrix { numbers, rows: columns, columns: rows, steps: (steps.1, steps.0) }
    }

    /// The product, by as many threads as it is worth.
    pub(super) fn times(self, other: Matrix<'_>) -> Vec<f32> {
        let count = self.rows * other.columns;
        let small = count.saturating_mul(self.columns) <= SMALL;
        let threads = if small { 1 } else { rayon::current_num_threads() };
        filled(count, |out| self.write(other, out, other.columns, false, threads))
    }

    /// Writes the product into rows that begin `step` numbers apart, on this thread.
    pub(super) fn times_into(self, other: Matrix<'_>, out: &mut [f32], step: usize) {
        if self.rows * self.columns * other.columns > TINY || !self.tiny(other, out, step) {
            self.write(other, room(out), step, false, 1);
        }
    }

    /// Writes the product by plain loops, where one of them runs along both sides as they lie; tells whether it does.
    fn tiny(self, other: Matrix<'_>, out: &mut [f32], step: usize) -> bool {
        assert!(self.columns == other.rows && step >= other.columns);
        let rows = out.chunks_mut(step.max(1)).take(self.rows).enumerate();
        let of_row = |row: usize| &self.numbers[row * self.steps.0..];
        if other.steps.1 == 1 {
            for (row, out) in rows {
                let (out, numbers) = (&mut out[..other.columns], of_row(row));
                out.fill(0.0);
                for at in 0..self.columns {
                    let from = &other.numbers[at * other.steps.0..][..other.columns];
                    add_scaled(out, numbers[at * self.steps.1], from);
                }
            }
        } else if self.steps.1 == 1 && other.steps.0 == 1 {
            for (row, out) in rows {
                let numbers = &of_row(row)[..self.columns];
                for (column, out) in out[..other.columns].iter_mut().enumerate() {
                    *out = dot(numbers, &other.numbers[column * other.steps.1..][..self.columns]);
                }
            }
        } else {
            return false;
        }
        true
    }

    /// Adds the product to rows that lie one after the other, on this thread.
    pub(super) fn plus_into(self, other: Matrix<'_>, out: &mut [f32]) {
        self.write(other, room(out), other.columns, true, 1);
    }

    /// Writes every number of the product, or with `add` adds it to what is there.
    fn write(
        self,
        other: Matrix<'_>,
        out: &mut [MaybeUninit<f32>],
        step: usize,
        add: bool,
        threads: usize,
    ) {
        let (rows, columns) = (self.rows, other.columns);
        assert!(self.columns == other.rows && step >= columns);
        if rows == 0 || columns == 0 {
            return;
        }
        assert!((rows - 1) * step + columns <= out.len());
        let threads = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
        // Sound: `checked` has looked that the last number of each side is there, and there is room for the product. It is
        // read where something is added, and that is asked for numbers that are there alone.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                self.columns,
                out.as_mut_ptr().cast::<f32>(),
                1,
                step as isize,
                add,
                self.numbers.as_ptr(),
                self.steps.1 as isize,
                self.steps.0 as isize,
                other.numbers.as_ptr(),
                other.steps.1 as isize,
                other.steps.0 as isize,
                if add { 1.0 } else { 0.0 },
                1.0,
                false,
                false,
                false,
                threads,
            );
        }
    }
}

/// Numbers that are there, as room for others.
fn room(numbers: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // Sound: what is written there are numbers again.
    unsafe { &mut *(std::ptr::from_mut(numbers) as *mut [MaybeUninit<f32>]) }
}

/// As many numbers, which `write` writes all of.
fn filled(count: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(count);
    write(&mut numbers.spare_capacity_mut()[..count]);
    // Sound: they have been written.
    unsafe { numbers.set_len(count) };
    numbers
}

/// The fused form.
struct Fused;

/// Matrices of the same size in one buffer.
struct Stack<'a> {
    numbers: &'a [f32],
    rows: usize,
    columns: usize,
    steps: (usize, usize),
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
        let steps = (*down, *right);
        Ok(Stack { numbers, rows: *rows, columns: *columns, steps, others: (others, more) })
    }

    fn of(&self, at: usize) -> Matrix<'a> {
        let (sizes, steps) = self.others;
        let mut rest = at;
        let mut first = 0;
        for (size, step) in sizes.iter().zip(steps).rev() {
            first += rest % size * step;
            rest /= size;
        }
        Matrix::checked(&self.numbers[first..], (self.rows, self.columns), self.steps)
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
        let count = dims.iter().product::<usize>();
        let one = rows * columns;
        if inner == 0 || one == 0 {
            return Ok((CpuStorage::F32(vec![0f32; count]), dims.into()));
        }
        let (pairs, threads) = (count / one, rayon::current_num_threads());
        let pair = |(at, out): (usize, &mut [MaybeUninit<f32>]), threads| {
            left.of(at).write(right.of(at), out, columns, false, threads);
        };
        let out = filled(count, |out| {
            if count.saturating_mul(inner) <= SMALL {
                out.chunks_exact_mut(one).enumerate().for_each(|each| pair(each, 1));
            } else if pairs >= threads {
                out.par_chunks_exact_mut(one).enumerate().for_each(|each| pair(each, 1));
            } else {
                out.chunks_exact_mut(one).enumerate().for_each(|each| pair(each, threads));
            }
        });
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

    /// Every way that small matrices can lie gives what sums of products give.
    #[test]
    fn tiny_products_equal_their_sums() {
        let (rows, inner, columns) = (3, 11, 4);
        let numbers = |x: candle_core::Var| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (a, b) = (numbers(random_var(&[66], 1)), numbers(random_var(&[88], 2)));
        let lefts = [Matrix::new(&a, rows, inner, 20), Matrix::new(&a, inner, rows, 6).t()];
        let rights = [Matrix::new(&b, inner, columns, 7), Matrix::new(&b, columns, inner, 22).t()];
        for (left, right) in lefts.iter().flat_map(|a| rights.iter().map(move |b| (*a, *b))) {
            let at = |m: Matrix<'_>, row, column| m.numbers[row * m.steps.0 + column * m.steps.1];
            let mut out = [7f32; 3 * 5];
            left.times_into(right, &mut out, 5);
            for (row, out) in out.chunks_exact(5).enumerate() {
                for (column, got) in out[..columns].iter().enumerate() {
                    let sum: f32 =
                        (0..inner).map(|k| at(left, row, k) * at(right, k, column)).sum();
                    assert!((got - sum).abs() < 1e-5, "{row} {column}: {got} {sum}");
                }
                assert_eq!(out[columns], 7.0, "what lies between rows stays");
            }
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
