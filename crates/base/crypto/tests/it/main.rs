//! Keys and signatures from outside: every kind with every algorithm, the forms that are refused, and Wycheproof.

mod keys;
mod matrix;
mod wycheproof_vectors;
