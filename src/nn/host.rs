//! Tensors on the processor as plain slices.

use candle_core::{CpuStorage, DType, Device, Layout, Result, Storage, Tensor, bail};

/// Rows that one thread handles at a time. Fixed, so that sums do not depend on scheduling.
pub(super) const CHUNK: usize = 64;

/// The numbers of a contiguous tensor.
pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("a fused operation needs a contiguous tensor"),
    }
}

/// The numbers of a contiguous tensor, to be replaced.
pub(super) fn slice_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&mut data[start..end]),
        _ => bail!("a fused operation needs a contiguous tensor of single precision"),
    }
}

/// Calls `read` with the numbers of a tensor, or with a copy of them where they are not on the processor.
pub(super) fn with<R>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(read(slice(storage, layout)?)),
        _ => bail!("a fused operation needs a tensor on the processor"),
    }
}

/// Whether the fused form applies: single precision on the processor.
pub(crate) fn fused(tensor: &Tensor) -> bool {
    fuses(tensor.device(), tensor.dtype())
}

/// Whether the fused form applies to tensors of a device and a type.
pub(crate) fn fuses(device: &Device, dtype: DType) -> bool {
    #[cfg(test)]
    if tests::composes() {
        return false;
    }
    device.is_cpu() && dtype == DType::F32
}

/// The sum of products.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Eight partial sums let the compiler use vector registers; the order is fixed.
    let mut sums = [0f32; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (a, b) in a8.iter().zip(b8) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// The sum of all numbers.
#[inline]
pub(super) fn sum(numbers: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (eights, rest) = numbers.as_chunks::<8>();
    for numbers in eights {
        for lane in 0..8 {
            sums[lane] += numbers[lane];
        }
    }
    sums.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// `to += factor * from`.
pub(super) fn add_scaled(to: &mut [f32], factor: f32, from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    thread_local! {
        static COMPOSED: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn composes() -> bool {
        COMPOSED.get()
    }

    /// Runs something on this thread as on a device that has no fused form.
    pub(crate) fn composed<R>(run: impl FnOnce() -> R) -> R {
        COMPOSED.set(true);
        let result = run();
        COMPOSED.set(false);
        result
    }
}
