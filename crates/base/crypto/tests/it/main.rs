//! Keys and signatures from outside: every kind with every algorithm, the forms that are refused, and Wycheproof.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that cannot make its key fails the test; keys are indexed by their kinds"
)]

mod keys;
mod matrix;
mod wycheproof_vectors;
