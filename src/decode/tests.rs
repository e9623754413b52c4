//! Beam search against brute force over a random generator.
