//! The two closed-form scorers: formulas, saved state, and the reference figures.
