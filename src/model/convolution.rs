//! Convolutions as matrix products, over pictures whose channels lie beside each other.
//!
//! A window of `size × size` pixels becomes one row of a matrix (`im2col`), so that a convolution is the product of
//! these rows with the kernel; for a window of one pixel the picture is that matrix already. On the processor the
//! rows are gathered, and biases added, by loops of our own; on other devices, and in the test that checks these
//! loops, both are composed of candle's own operations.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail,
};
use rayon::prelude::*;

use crate::nn::fused;

/// A convolution with what follows it: batch norm, which is folded in, and a bias.
pub(super) struct Convolution {
    /// The kernel: size² · inputs × outputs.
    kernel: Tensor,
    /// What is added to each output.
    bias: Tensor,
    window: Window,
}

/// The pixels that one output looks at.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// Pixels along a side; odd.
    size: usize,
    /// Pixels from one window to the next.
    stride: usize,
}

/// Batch norm at rest: what training gathered of each channel.
pub(super) struct BatchNorm {
    /// The learned scale.
    pub(super) scale: Tensor,
    /// The learned offset.
    pub(super) offset: Tensor,
    /// The mean over the training pictures.
    pub(super) mean: Tensor,
    /// The variance over the training pictures.
    pub(super) variance: Tensor,
    /// What keeps the division finite.
    pub(super) epsilon: f64,
}

impl Convolution {
    /// A convolution whose windows reach over the border by half of their size. `kernel`: size × size × inputs × outputs.
    pub(super) fn new(
        kernel: &Tensor,
        bias: Option<&Tensor>,
        norm: &BatchNorm,
        stride: usize,
    ) -> Result<Self> {
        let (size, width, inputs, outputs) = kernel.dims4()?;
        if size != width || size.is_multiple_of(2) {
            bail!("a kernel of {size} × {width} pixels");
        }
        // (w·x + b − mean) · scale / √(variance + ε) + offset
        let scale = (&norm.scale / (&norm.variance + norm.epsilon)?.sqrt()?)?;
        let shift = match bias {
            Some(bias) => (bias - &norm.mean)?,
            None => norm.mean.neg()?,
        };
        let bias = ((shift * &scale)? + &norm.offset)?;
        let kernel = kernel.broadcast_mul(&scale)?.reshape((size * size * inputs, outputs))?;
        Ok(Convolution { kernel, bias, window: Window { size, stride } })
    }

    /// Channels that it reads.
    pub(super) fn inputs(&self) -> Result<usize> {
        Ok(self.kernel.dim(0)? / (self.window.size * self.window.size))
    }

    /// Channels that it makes.
    pub(super) fn outputs(&self) -> Result<usize> {
        self.kernel.dim(1)
    }

    /// `x`: pictures × height × width × inputs. Gives pictures × rows × columns × outputs, with `shortcut` (of that
    /// shape) added, and then nothing below zero where `relu` says so.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        shortcut: Option<&Tensor>,
        relu: bool,
    ) -> Result<Tensor> {
        let (pictures, height, width, _) = x.dims4()?;
        let (rows, columns) = (self.window.count(height), self.window.count(width));
        let y = gather(x, self.window)?.matmul(&self.kernel)?;
        let shape = (pictures, rows, columns, self.outputs()?);
        finish(&y.reshape(shape)?, &self.bias, shortcut, relu)
    }
}

impl Window {
    /// Windows along a side of `pixels` pixels.
    fn count(self, pixels: usize) -> usize {
        (pixels + 2 * self.border() - self.size) / self.stride + 1
    }

    /// Pixels by which windows reach over the border; there all channels are zero.
    fn border(self) -> usize {
        self.size / 2
    }
}

/// The largest number of each window of 3 × 3 pixels, two pixels apart. No number may be below zero, since the border
/// counts as zeros. `x`: pictures × height × width × channels.
pub(super) fn max_pool(x: &Tensor) -> Result<Tensor> {
    let window = Window { size: 3, stride: 2 };
    let (pictures, height, width, channels) = x.dims4()?;
    let parts = gather(x, window)?.reshape(((), 9, channels))?;
    let mut largest = parts.narrow(1, 0, 1)?;
    for at in 1..9 {
        largest = largest.maximum(&parts.narrow(1, at, 1)?)?;
    }
    largest.reshape((pictures, window.count(height), window.count(width), channels))
}

/// One row for each window: windows × size² · channels.
fn gather(x: &Tensor, window: Window) -> Result<Tensor> {
    let channels = x.dim(3)?;
    if window.size == 1 && window.stride == 1 {
        return x.reshape(((), channels));
    }
    if fused(x) {
        return x.contiguous()?.apply_op1_no_bwd(&Gather(window));
    }
    gather_composed(x, window)
}

fn gather_composed(x: &Tensor, window: Window) -> Result<Tensor> {
    let (_, height, width, channels) = x.dims4()?;
    let border = window.border();
    let padded = x.pad_with_zeros(1, border, border)?.pad_with_zeros(2, border, border)?;
    let places = |offset: usize, pixels: usize| {
        let last = (offset + window.count(pixels) * window.stride) as u32;
        Tensor::arange_step(offset as u32, last, window.stride as u32, x.device())
    };
    let mut parts = Vec::new(); // one for each pixel of the window
    for down in 0..window.size {
        let rows = padded.index_select(&places(down, height)?, 1)?;
        for right in 0..window.size {
            parts.push(rows.index_select(&places(right, width)?, 2)?);
        }
    }
    Tensor::cat(&parts, 3)?.reshape(((), window.size * window.size * channels))
}

/// [`gather`] on the processor.
struct Gather(Window);

impl Gather {
    /// The rows of one line of windows. `line` holds them; `picture` is height × width × channels.
    fn line(
        &self,
        line: &mut [f32],
        picture: &[f32],
        (width, channels): (usize, usize),
        at: usize,
    ) {
        let Window { size, stride } = self.0;
        let border = self.0.border();
        let height = picture.len() / (width * channels);
        let length = size * size * channels;
        for (column, row) in line.chunks_exact_mut(length).enumerate() {
            // The columns of pixels that lie within the picture.
            let left = column * stride;
            let from = border.saturating_sub(left);
            let to = size.min(width + border - left);
            for (down, part) in row.chunks_exact_mut(size * channels).enumerate() {
                let Some(y) = (at * stride + down).checked_sub(border).filter(|y| *y < height)
                else {
                    continue;
                };
                let start = (y * width + left + from - border) * channels;
                let pixels = &picture[start..start + (to - from) * channels];
                part[from * channels..to * channels].copy_from_slice(pixels);
            }
        }
    }
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "gather-windows"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (pictures, height, width, channels) = layout.shape().dims4()?;
        let x = slice(x, layout)?;
        let (lines, columns) = (self.0.count(height), self.0.count(width));
        let length = self.0.size * self.0.size * channels;
        let mut rows = vec![0f32; pictures * lines * columns * length];
        let picture = height * width * channels;
        rows.par_chunks_mut(columns * length).enumerate().for_each(|(line, out)| {
            let (number, at) = (line / lines, line % lines);
            self.line(out, &x[number * picture..][..picture], (width, channels), at);
        });
        Ok((CpuStorage::F32(rows), Shape::from((pictures * lines * columns, length))))
    }
}

/// Adds the bias and the shortcut, and cuts off what is below zero.
fn finish(y: &Tensor, bias: &Tensor, shortcut: Option<&Tensor>, relu: bool) -> Result<Tensor> {
    if fused(y) {
        let (y, finish) = (y.contiguous()?, Finish { relu });
        return match shortcut {
            Some(shortcut) => y.apply_op3_no_bwd(bias, &shortcut.contiguous()?, &finish),
            None => y.apply_op2_no_bwd(bias, &finish),
        };
    }
    finish_composed(y, bias, shortcut, relu)
}

fn finish_composed(
    y: &Tensor,
    bias: &Tensor,
    shortcut: Option<&Tensor>,
    relu: bool,
) -> Result<Tensor> {
    let mut y = y.broadcast_add(bias)?;
    if let Some(shortcut) = shortcut {
        y = (y + shortcut)?;
    }
    if relu { y.relu() } else { Ok(y) }
}

/// [`finish`] on the processor.
struct Finish {
    relu: bool,
}

impl Finish {
    fn run(&self, y: &[f32], bias: &[f32], shortcut: Option<&[f32]>) -> Vec<f32> {
        let least = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        let width = bias.len();
        let chunk = width * 64;
        let mut out = vec![0f32; y.len()];
        out.par_chunks_mut(chunk).zip(y.par_chunks(chunk)).enumerate().for_each(
            |(number, (out, y))| {
                let shortcut = shortcut.map(|all| &all[number * chunk..][..y.len()]);
                let rows = out.chunks_exact_mut(width).zip(y.chunks_exact(width));
                for (row, (out, y)) in rows.enumerate() {
                    match shortcut.map(|all| &all[row * width..][..width]) {
                        Some(more) => {
                            for (((out, y), b), more) in out.iter_mut().zip(y).zip(bias).zip(more) {
                                *out = (y + b + more).max(least);
                            }
                        }
                        None => {
                            for ((out, y), b) in out.iter_mut().zip(y).zip(bias) {
                                *out = (y + b).max(least);
                            }
                        }
                    }
                }
            },
        );
        out
    }
}

impl CustomOp2 for Finish {
    fn name(&self) -> &'static str {
        "finish-convolution"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        y_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let out = self.run(slice(y, y_layout)?, slice(bias, bias_layout)?, None);
        Ok((CpuStorage::F32(out), y_layout.shape().clone()))
    }
}

impl CustomOp3 for Finish {
    fn name(&self) -> &'static str {
        "finish-convolution"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        y_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
        shortcut: &CpuStorage,
        shortcut_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if shortcut_layout.shape() != y_layout.shape() {
            bail!("a shortcut of {:?} to {:?}", shortcut_layout.shape(), y_layout.shape());
        }
        let shortcut = slice(shortcut, shortcut_layout)?;
        let out = self.run(slice(y, y_layout)?, slice(bias, bias_layout)?, Some(shortcut));
        Ok((CpuStorage::F32(out), y_layout.shape().clone()))
    }
}

/// The numbers of a contiguous tensor.
fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("this operation needs a contiguous tensor"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use candle_core::Device;

    use super::*;

    fn numbers(shape: &[usize]) -> Tensor {
        let count: usize = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|i| ((i * 37 + 11) % 101) as f32 - 50.0).collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    fn all(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn our_loops_are_candles_operations() {
        let x = numbers(&[2, 7, 5, 3]);
        for (size, stride) in [(1, 2), (3, 1), (3, 2), (7, 2)] {
            let window = Window { size, stride };
            let (ours, theirs) =
                (gather(&x, window).unwrap(), gather_composed(&x, window).unwrap());
            assert_eq!(ours.dims(), theirs.dims(), "{window:?}");
            assert_eq!(all(&ours), all(&theirs), "{window:?}");
        }
        let (bias, shortcut) = (numbers(&[3]), x.affine(-0.5, 0.25).unwrap());
        for relu in [false, true] {
            for shortcut in [None, Some(&shortcut)] {
                let ours = finish(&x, &bias, shortcut, relu).unwrap();
                let theirs = finish_composed(&x, &bias, shortcut, relu).unwrap();
                assert_eq!(all(&ours), all(&theirs));
            }
        }
    }

    #[test]
    fn the_same_as_convolution_and_batch_norm() {
        let (x, kernel) = (numbers(&[2, 9, 8, 4]), numbers(&[3, 3, 4, 6]));
        let norm = BatchNorm {
            scale: numbers(&[6]).affine(0.1, 0.0).unwrap(),
            offset: numbers(&[6]),
            mean: numbers(&[6]).affine(0.5, 1.0).unwrap(),
            variance: numbers(&[6]).sqr().unwrap(),
            epsilon: 1e-3,
        };
        let bias = numbers(&[6]).affine(2.0, 0.0).unwrap();
        let ours = Convolution::new(&kernel, Some(&bias), &norm, 2).unwrap();
        assert_eq!((ours.inputs().unwrap(), ours.outputs().unwrap()), (4, 6));
        let ours = ours.forward(&x, None, false).unwrap();
        let channels_first = x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
        let kernel = kernel.permute((3, 2, 0, 1)).unwrap().contiguous().unwrap();
        let y = channels_first.conv2d(&kernel, 1, 2, 1, 1).unwrap();
        let y = y.permute((0, 2, 3, 1)).unwrap();
        assert_eq!(ours.dims(), y.dims());
        let root = (&norm.variance + norm.epsilon).unwrap().sqrt().unwrap();
        let y = y.broadcast_add(&(bias - &norm.mean).unwrap()).unwrap();
        let y = y.broadcast_mul(&norm.scale).unwrap().broadcast_div(&root).unwrap();
        let y = y.broadcast_add(&norm.offset).unwrap();
        for (ours, theirs) in all(&ours).iter().zip(all(&y)) {
            assert!((ours - theirs).abs() <= 1e-4 * theirs.abs().max(100.0), "{ours} {theirs}");
        }
        let pooled = max_pool(&x.relu().unwrap()).unwrap();
        let theirs = channels_first.relu().unwrap().pad_with_zeros(2, 1, 1).unwrap();
        let theirs = theirs.pad_with_zeros(3, 1, 1).unwrap().max_pool2d_with_stride(3, 2).unwrap();
        assert_eq!(all(&pooled), all(&theirs.permute((0, 2, 3, 1)).unwrap()));
    }
}
