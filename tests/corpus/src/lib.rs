//! The negative corpus: files that each break one rule of docs/rules, and what has to be known to judge them.
//!
//! `manifest.json` has one [`Case`] for each file: the rule, what is broken, what Signet says, the time, the bundles, and
//! the *twin*, a right file from which it differs in one place. [`Case::judge`] is Signet's own verdict. The files are
//! made by the tests of this crate (`cargo xtask corpus --write`), which also show that they are fresh.

mod judge;
mod manifest;

pub use judge::Verdict;
pub use manifest::{Case, Kind, Manifest, Refusal};

use rustls_pki_types::CertificateDer;
use std::path::{Path, PathBuf};

/// What went wrong, for a person.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where manifest, files, bundles and keys lie.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("files")
}

/// The certificates of a chain's file: DER one after the other, leaf first, as the Workload API has them.
///
/// # Errors
/// Where an element is cut short, or something else than certificates stands there.
pub fn certificates(mut concatenated: &[u8]) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let mut found = Vec::new();
    while !concatenated.is_empty() {
        let length = element_length(concatenated).ok_or("not a sequence of DER certificates")?;
        let (certificate, rest) = concatenated
            .split_at_checked(length)
            .ok_or("a certificate is cut short")?;
        found.push(certificate.to_vec().into());
        concatenated = rest;
    }
    Ok(found)
}

/// The length of the SEQUENCE that `der` begins with, head included. No certificate here is longer than 64 KiB.
fn element_length(der: &[u8]) -> Option<usize> {
    const SEQUENCE: u8 = 0x30;
    match *der {
        [SEQUENCE, short @ ..=0x7f, ..] => Some(2 + usize::from(short)),
        [SEQUENCE, 0x81, long, ..] => Some(3 + usize::from(long)),
        [SEQUENCE, 0x82, high, low, ..] => Some(4 + usize::from(u16::from_be_bytes([high, low]))),
        _ => None,
    }
}
