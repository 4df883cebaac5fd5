//! Key store port, key ring and the seal.
