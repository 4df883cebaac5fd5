//! Keys, signatures, digests, secrets: the only crate that names the cryptography provider.
