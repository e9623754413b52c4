//! Shared blocks of the models: few and short. A paper's own trick stays in the paper's file.

/// Named variables.
pub(crate) struct Params;
