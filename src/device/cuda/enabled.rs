//! A build with CUDA. The driver and NVIDIA's libraries are looked for when a card is asked for, not before.
#![allow(unsafe_code, reason = "to look for the driver is to load it")]

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::{Mutex, PoisonError};

use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::CudaContext;
use libloading::Library;

use crate::error::{Error, Kind, Result};

/// Whether this build can use NVIDIA cards.
pub const BUILT: bool = true;

/// What the driver is called.
const DRIVERS: &[&str] = &["libcuda.so.1", "libcuda.so", "nvcuda.dll"];

/// The cards that were opened: all that runs on one shares its handle, or its tensors would not meet.
static OPENED: Mutex<BTreeMap<usize, Device>> = Mutex::new(BTreeMap::new());

/// How many cards there are.
///
/// # Errors
/// There is no driver, or it does not work.
pub(in crate::device) fn cards() -> Result<usize> {
    // Where cudarc finds no driver it panics: it may only be asked behind this.
    // SAFETY: NVIDIA's own library, whose initialisation has no demands; the loader knows it by this name alone.
    if !DRIVERS.iter().any(|name| unsafe { Library::new(*name) }.is_ok()) {
        let message = "there is no NVIDIA driver on this machine";
        return Err(missing("no-driver", message.to_owned())
            .help("install the driver, or run on the processor: device = 'cpu'"));
    }
    let count = CudaContext::device_count().map_err(|error| {
        missing("no-driver", format!("the NVIDIA driver does not work: {error}"))
            .help("`nvidia-smi` may tell more; device = 'cpu' runs without it")
    })?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// A card by number.
pub(in crate::device) fn open(card: usize) -> Result<Device> {
    let count = cards()?;
    if card >= count {
        let message = format!("there is no card {card}: this machine has {count}");
        return Err(missing("no-card", message).help("cards are numbered from 0; device = 'cpu'"));
    }
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = opened.get(&card) {
        return Ok(device.clone());
    }
    let fails = |why: &str| {
        missing("no-card", format!("card {card} cannot be used: {why}")).help(
            "it takes libcublas, libcurand and libnvrtc of CUDA 13 where the loader finds them",
        )
    };
    // A library that is not there is a panic of cudarc's.
    let device = catch_unwind(|| Device::new_cuda(card))
        .map_err(|_| fails("a library of CUDA is missing"))?
        .map_err(|error| fails(error.to_string().lines().next().unwrap_or_default()))?;
    opened.insert(card, device.clone());
    Ok(device)
}

fn missing(code: &'static str, message: String) -> Error {
    Error::new(Kind::Resource, code, message)
}
