//! Verification: X.509-SVIDs, JWT-SVIDs and WIT-SVIDs checked over a trust view.
//!
//! [`x509::verify_svid`] covers X509-SVID §5, [`jwt::validate_svid`] JWT-SVID §5, [`wit::validate_svid`] WIT-SVID §4. All
//! kinds of SVID are checked against the bundle of their own trust domain and nothing else; there is no way to hand
//! over "any authority". Time is an argument.
//!
//! [`machine`] is apart from all these: a certificate of an operator's own authority names a machine and nobody of any trust
//! domain.
//!
//! Proof of possession is not checked here for SVIDs' certificates, where it is the TLS handshake (`signet-tls`). A WIT-SVID
//! names nobody before it: [`wit::UnprovenWit::prove`].

pub mod jwt;
pub mod machine;
mod path;
mod subject;
pub mod wit;
pub mod x509;

use signet_fault::Entry;

/// This crate's error codes.
pub const REGISTER: &[Entry] = &JOINED;

const JOINED: [Entry; TOKENS.len() + CERTIFICATES.len()] = join(&CERTIFICATES, &TOKENS);

const CERTIFICATES: [Entry; x509::REGISTER.len() + machine::REGISTER.len()] =
    join(x509::REGISTER, machine::REGISTER);

const TOKENS: [Entry; jwt::REGISTER.len() + wit::REGISTER.len()] = join(jwt::REGISTER, wit::REGISTER);

/// `first` and `second` one after the other.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated when compiling: an index out of bounds is a compile error"
)]
const fn join<const N: usize>(first: &[Entry], second: &[Entry]) -> [Entry; N] {
    let mut all = [Entry {
        code: "",
        meaning: "",
        remedy: "",
    }; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < first.len() {
            first[at]
        } else {
            second[at - first.len()]
        };
        at += 1;
    }
    all
}
