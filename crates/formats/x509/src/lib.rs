//! X.509 certificates of a trust domain: building, linting, reading, and requests for them.
//!
//! Three profiles are built: [`SvidLeaf`], an X.509-SVID leaf (X509-SVID §2 to §4), [`TlsServerLeaf`], the certificate
//! of an HTTPS server without identity, and [`CaCert`], a root or an intermediate. A template gives the exact to-be-signed bytes as [`Tbs`], linted after they were encoded; whoever
//! holds the issuer's key signs them, here or far away; [`Tbs::assemble`] makes the certificate. [`Csr`] reads
//! certificate requests (RFC 2986) strictly, [`Certificate`] reads certificates for looking at, [`IssuerCert`] reads
//! them in the role of issuer.
//!
//! Nothing here verifies a chain: that is `signet-check`. Revocation lists do not exist yet.
//!
//! ```
//! use signet_crypto::{KeyKind, LocalKey, SignatureEncoding};
//! use signet_time::UnixTime;
//! use signet_x509::{CaCert, CaKind, IssuerCert, Serial, SvidLeaf};
//!
//! let (ca_key, key) = (LocalKey::generate(KeyKind::Ed25519)?, LocalKey::generate(KeyKind::P256)?);
//! let (begin, end) = (UnixTime::from_secs(1_800_000_000), UnixTime::from_secs(1_800_003_600));
//! let root = CaCert {
//!     trust_domain: "example.org".parse()?,
//!     common_name: "example.org root 1".to_owned(),
//!     public_key: ca_key.public_key().clone(),
//!     serial: Serial::new([1; 16])?,
//!     not_before: begin,
//!     not_after: end,
//!     path_len: Some(0),
//!     kind: CaKind::Root,
//! };
//! let algorithm = ca_key.public_key().kind().default_algorithm();
//! let tbs = root.tbs_self(algorithm)?;
//! let signature = ca_key.sign(algorithm, SignatureEncoding::Asn1, tbs.bytes())?;
//! let issuer = IssuerCert::parse(&tbs.assemble(&signature)?)?;
//!
//! let leaf = SvidLeaf {
//!     id: "spiffe://example.org/web".parse()?,
//!     dns_names: Vec::new(),
//!     public_key: key.public_key().clone(),
//!     serial: Serial::new([2; 16])?,
//!     not_before: begin,
//!     not_after: end,
//! };
//! let tbs = leaf.tbs(&issuer, algorithm)?;
//! let signature = ca_key.sign(algorithm, SignatureEncoding::Asn1, tbs.bytes())?;
//! let certificate = tbs.assemble(&signature)?;
//! # let _ = certificate;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod algorithm;
mod certificate;
mod csr;
mod der;
mod error;
mod issuer;
pub mod lint;
mod local;
mod names;
pub mod pem;
mod serial;
mod tbs;
mod template;
mod tls_server;

pub use certificate::{BasicConstraints, Certificate, KeyUsage, Name};
pub use csr::Csr;
pub use error::{CsrError, REGISTER, X509Error};
pub use issuer::IssuerCert;
pub use local::{NODE_COMMON_NAME, make_csr, self_signed_node};
pub use names::is_dns_name;
pub use serial::Serial;
pub use tbs::Tbs;
pub use template::{CaCert, CaKind, SvidLeaf};
pub use tls_server::TlsServerLeaf;

/// A certificate's DER bytes.
pub type Der = rustls_pki_types::CertificateDer<'static>;
