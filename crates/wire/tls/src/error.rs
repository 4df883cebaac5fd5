use signet_check::x509::X509SvidError;
use signet_fault::{Coded, Entry, remedy_of};
use signet_id::{SpiffeId, TrustDomain};
use signet_x509::X509Error;
use std::borrow::Cow;
use std::error::Error;

/// Why a TLS configuration was not made or a peer not accepted.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls refused the configuration. Ours.
    #[error("configure tls")]
    Configuration(#[source] rustls::Error),
    /// The certificate and key that we are to show do not fit.
    #[error("own certificate")]
    OwnCertificate(#[source] X509SvidError),
    /// The private key that we are to show cannot be used for TLS.
    #[error("own private key: {why}")]
    OwnKey {
        /// What the provider said.
        why: String,
    },
    /// A file of our own certificate or key cannot be read.
    #[error("{what}: {why}")]
    Pem {
        /// Which file.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The private key that we are to show is another certificate's.
    #[error("own private key is not the certificate's")]
    KeyOfAnother,
    /// The peer's chain is no valid X.509-SVID.
    #[error("peer certificate")]
    Svid(#[source] X509SvidError),
    /// The peer has a valid identity, but not one that was expected.
    #[error("peer is `{id}`, expected {expected}")]
    UnexpectedPeer {
        /// Who it is.
        id: SpiffeId,
        /// Who it should have been.
        expected: String,
    },
    /// A certificate that the peer signed itself carries names.
    #[error("peer shows a self-signed certificate with names; only its key may be in it")]
    ProofWithNames,
    /// A certificate without identity that is not signed by its own key.
    #[error("peer shows a certificate that has no identity and is not its own")]
    NotSelfSigned,
    /// The peer's self-signed certificate cannot be used.
    #[error("peer's self-signed certificate")]
    Proof(#[source] X509Error),
    /// No certificate of the server's chain has one of the hashes by which its root is known.
    #[error(
        "another root: the server of `{trust_domain}` shows none of the {hashes} that the join string, or the kept \
         bundle, names"
    )]
    OtherRoot {
        /// The trust domain of the join string or the kept identity.
        trust_domain: TrustDomain,
        /// How many hashes there are.
        hashes: usize,
    },
}

impl Coded for TlsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Configuration(_) => "SGTL001",
            Self::OwnCertificate(_) => "SGTL002",
            Self::OwnKey { .. } => "SGTL003",
            Self::Svid(refusal) => refusal.code(),
            Self::UnexpectedPeer { .. } => "SGTL004",
            Self::ProofWithNames => "SGTL005",
            Self::NotSelfSigned => "SGTL006",
            Self::Proof(_) => "SGTL007",
            Self::OtherRoot { .. } => "SGTL008",
            Self::Pem { .. } => "SGTL009",
            Self::KeyOfAnother => "SGTL010",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Svid(refusal) => refusal.remedy(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}

/// The refusal of ours that `error` carries, through rustls and `std::io`; `None` where TLS failed for another
/// reason.
#[must_use]
pub fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(ours) = error.downcast_ref() {
            return Some(ours);
        }
        if let Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) =
            error.downcast_ref()
        {
            return other.0.downcast_ref();
        }
        next = match error.downcast_ref::<std::io::Error>() {
            // `source` of an io::Error is that of the error inside, which is passed over so.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// In the clothes that rustls takes from a verifier.
pub(crate) fn refuse(error: TlsError) -> rustls::Error {
    let other = rustls::OtherError(std::sync::Arc::new(error));
    rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))
}

const fn entry(code: &'static str, meaning: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        remedy,
    }
}

/// This crate's error codes.
pub const REGISTER: &[Entry] = &[
    entry(
        "SGTL001",
        "TLS could not be configured",
        "report this with the message: it is a defect in Signet",
    ),
    entry(
        "SGTL002",
        "own certificate and key do not fit",
        "give the key that the certificate was issued for",
    ),
    entry(
        "SGTL003",
        "own private key cannot be used for TLS",
        "use a P-256, P-384, Ed25519 or RSA key in PKCS #8",
    ),
    entry(
        "SGTL004",
        "peer has another identity than expected",
        "check the address: it leads to another service than was meant",
    ),
    entry(
        "SGTL005",
        "self-signed certificate with names",
        "show an X.509-SVID, or a certificate with nothing but the node's key",
    ),
    entry(
        "SGTL006",
        "certificate without identity that is not self-signed",
        "show an X.509-SVID, or the node's own self-signed certificate",
    ),
    entry(
        "SGTL007",
        "self-signed certificate cannot be used",
        "make the node's key anew: P-256, P-384, Ed25519 or RSA of 2048 bits",
    ),
    entry(
        "SGTL008",
        "join string of another root",
        "make a new join string on the server that the agent is to join, and check the server's address",
    ),
    entry(
        "SGTL009",
        "own certificate or key file cannot be read",
        "give PEM files: the certificate chain with the leaf first, and its unencrypted private key",
    ),
    entry(
        "SGTL010",
        "own private key is another certificate's",
        "give the key that the certificate was issued for; after a renewal replace both files",
    ),
];
