//! What lies beside the repository: real data, and real weights. Where it is missing a test says loudly that it was
//! skipped; in continuous integration nothing may be.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder of a data set.
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    there(Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name))
}

/// The folder of a model, as `tests/fixtures/models/fetch.py` lays it out in `SIDQL_MODELS`.
pub(crate) fn model(name: &str) -> Option<PathBuf> {
    there(PathBuf::from(std::env::var_os("SIDQL_MODELS").unwrap_or_default()).join(name))
}

fn there(folder: PathBuf) -> Option<PathBuf> {
    if folder.is_dir() {
        return Some(folder);
    }
    let missing = format!("`{}` is missing", folder.display());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
    // Written past the capture of the test harness, which hides what a passing test prints.
    let said = format!("\n*** SKIPPED: {missing} ***\n\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    None
}
