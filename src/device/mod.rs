//! Where tensors live, and the seeded sources of randomness.

mod cuda;

use candle_core::Device;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::error::{Error, Result};

pub use cuda::BUILT as WITH_CUDA;

/// The names that [`choose`] knows; a card may follow `cuda`, as in `cuda:1`.
const NAMES: &[&str] = &[AUTO, "cpu", "cuda"];
/// The best that there is: the first card where this build can use it and there is one, else the processor.
pub(crate) const AUTO: &str = "auto";

/// The device of a name: `cpu`, `cuda` or `cuda:1` for a card, or `auto`.
///
/// # Errors
/// The name is not known, or the card cannot be had: the build has no CUDA, there is no driver, no such card.
pub(crate) fn choose(name: &str) -> Result<Device> {
    let unknown = || Error::unknown("device", name, NAMES.iter().copied());
    match name.split_once(':') {
        None if name == "cpu" => Ok(Device::Cpu),
        None if name == "cuda" => cuda::open(0),
        None if name == AUTO => match cuda::cards() {
            Ok(1..) => cuda::open(0),
            // Without a card the processor is the best there is.
            Ok(0) | Err(_) => Ok(Device::Cpu),
        },
        Some(("cuda", card)) => cuda::open(card.parse().map_err(|_| unknown())?),
        _ => Err(unknown()),
    }
}

/// The source of one stream of random numbers under a seed.
///
/// Streams of one seed are independent. Work that can be resumed takes a new stream for each step,
/// so that the step number is all the random state that a checkpoint needs.
pub(crate) fn source(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

/// Where the tests run that can run anywhere: the device that `SIDQL_DEVICE` names, else the processor.
#[cfg(test)]
pub(crate) fn of_tests() -> (String, Device) {
    let name = std::env::var("SIDQL_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    let device = choose(&name).unwrap_or_else(|error| panic!("SIDQL_DEVICE = {name}: {error}"));
    (name, device)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rand::RngExt;

    use super::*;

    #[test]
    fn names() {
        assert_eq!(choose("auto").unwrap().is_cpu(), !matches!(cuda::cards(), Ok(1..)));
        assert!(choose("cpu").unwrap().is_cpu());
        assert_eq!(choose("cpuu").unwrap_err().help_text(), Some("did you mean `cpu`?"));
        for name in ["cuda:", "cuda:x", "cuda:-1", "cpu:0", "auto:0"] {
            assert!(choose(name).unwrap_err().message().starts_with("unknown device"), "{name}");
        }
    }

    /// A card that cannot be had is an error that says why, in every build.
    #[test]
    fn cards_that_are_not_there() {
        let error = choose("cuda:77").unwrap_err();
        let expected = match (WITH_CUDA, cuda::cards()) {
            (false, _) => "no-cuda",
            (true, Err(_)) => "no-driver",
            (true, Ok(_)) => "no-card",
        };
        assert_eq!(error.code(), expected);
        assert!(error.help_text().is_some());
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, stream| source(seed, stream).random::<u64>();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }
}
