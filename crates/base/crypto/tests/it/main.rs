//! Keys and signatures from outside: every kind with every algorithm, the forms that are refused, and Wycheproof.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot make its key fails the test"
)]

mod keys;
mod matrix;
mod wycheproof_vectors;
