//! Where tensors live, and the seeded sources of randomness.

use candle_core::Device;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::error::{Error, Result};

/// The names that [`choose`] knows.
const NAMES: &[&str] = &["auto", "cpu"];

/// The device of a name: `cpu`, or `auto` for the best that this build has.
pub(crate) fn choose(name: &str) -> Result<Device> {
    match name {
        // Without a GPU feature in the build the processor is the best there is.
        "cpu" | "auto" => Ok(Device::Cpu),
        other => Err(Error::unknown("device", other, NAMES.iter().copied())),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rand::RngExt;

    use super::*;

    #[test]
    fn names() {
        assert!(choose("auto").unwrap().is_cpu());
        assert!(choose("cpu").unwrap().is_cpu());
        assert_eq!(choose("cpuu").unwrap_err().help_text(), Some("did you mean `cpu`?"));
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, stream| source(seed, stream).random::<u64>();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }
}
