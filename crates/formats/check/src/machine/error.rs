use signet_fault::{Coded, Entry, remedy_of};
use signet_time::UnixTime;
use signet_x509::X509Error;
use std::borrow::Cow;

/// Why a machine did not prove itself, or why authorities of machines cannot be relied on.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// No authority at all.
    #[error("no certificate of an authority")]
    NoAuthorities,
    /// More authorities than [`super::AUTHORITIES_MAX`].
    #[error("{count} authorities, more than {max}")]
    ManyAuthorities {
        /// How many.
        count: usize,
        /// What is accepted.
        max: usize,
    },
    /// A certificate among the authorities is none's, or cannot be read.
    #[error("certificate {index} is not one of an authority that may sign others")]
    Authority {
        /// Its place, from 0.
        index: usize,
        /// Why it cannot be read, if that is it.
        #[source]
        source: Option<X509Error>,
    },
    /// No certificate of a machine.
    #[error("no machine certificate was shown")]
    NoCertificates,
    /// More certificates than [`super::CHAIN_MAX`].
    #[error("machine certificate with a chain of {count}, more than {max}")]
    LongChain {
        /// How many.
        count: usize,
        /// What is accepted.
        max: usize,
    },
    /// A certificate longer than [`super::CERTIFICATE_BYTES_MAX`].
    #[error("certificate {index} of the machine's chain has more than {max} bytes")]
    LongCertificate {
        /// Its place, 0 is the leaf.
        index: usize,
        /// What is accepted.
        max: usize,
    },
    /// A certificate that cannot be read.
    #[error("certificate {index} of the machine's chain")]
    Malformed {
        /// Its place, 0 is the leaf.
        index: usize,
        /// Why.
        #[source]
        source: X509Error,
    },
    /// The leaf has a SPIFFE ID: it is no machine's certificate.
    #[error("the machine certificate has a spiffe id")]
    SpiffeId,
    /// The leaf is a CA's.
    #[error("the machine certificate is a certificate authority's")]
    LeafIsCa,
    /// The leaf's key usage is missing, or not that of a key that only signs.
    #[error(
        "the machine certificate needs the key usage digitalSignature, and neither keyCertSign nor cRLSign"
    )]
    KeyUsage,
    /// The key of a certificate is too weak, or of a kind that is not taken.
    #[error("key of certificate {index} of the machine's chain")]
    Key {
        /// Its place, 0 is the leaf.
        index: usize,
        /// Why.
        #[source]
        source: X509Error,
    },
    /// A certificate behind the leaf may not sign certificates.
    #[error("certificate {index} of the machine's chain may not sign certificates")]
    NotAnAuthority {
        /// Its place, 0 is the leaf.
        index: usize,
    },
    /// The signature is not by the leaf's key, or not for this connection and this node key.
    #[error("the machine's signature does not verify for this connection and node key")]
    Possession,
    /// A certificate is past its end.
    #[error("machine certificate, or one behind it, expired at {not_after}")]
    Expired {
        /// Its end.
        not_after: UnixTime,
    },
    /// A certificate is before its begin.
    #[error("machine certificate, or one behind it, is valid only from {not_before} on")]
    NotYetValid {
        /// Its begin.
        not_before: UnixTime,
    },
    /// The chain does not lead to one of the authorities.
    #[error("the machine certificate does not lead to a configured authority")]
    UnknownAuthority,
    /// Extended key usage does not allow client authentication.
    #[error("extended key usage of the machine certificate does not allow client authentication")]
    ExtendedKeyUsage,
    /// Any other reason that the path builder had.
    #[error("verify the machine's chain: {why}")]
    Path {
        /// What it said.
        why: String,
    },
}

/// What the path builder refused.
pub(super) fn refusal(error: webpki::Error) -> MachineError {
    use webpki::Error as E;
    let time = |time: rustls_pki_types::UnixTime| UnixTime::from_secs(time.as_secs());
    match error {
        E::CertExpired { not_after, .. } => MachineError::Expired {
            not_after: time(not_after),
        },
        E::CertNotValidYet { not_before, .. } => MachineError::NotYetValid {
            not_before: time(not_before),
        },
        E::UnknownIssuer => MachineError::UnknownAuthority,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => MachineError::ExtendedKeyUsage,
        E::CaUsedAsEndEntity => MachineError::LeafIsCa,
        other => MachineError::Path {
            why: format!("{other:?}"),
        },
    }
}

impl Coded for MachineError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoAuthorities | Self::ManyAuthorities { .. } | Self::Authority { .. } => "SGCK301",
            Self::NoCertificates => "SGCK302",
            Self::LongChain { .. } | Self::LongCertificate { .. } => "SGCK303",
            Self::Malformed { .. } => "SGCK304",
            Self::SpiffeId => "SGCK305",
            Self::LeafIsCa => "SGCK306",
            Self::KeyUsage => "SGCK307",
            Self::Key { .. } => "SGCK308",
            Self::NotAnAuthority { .. } => "SGCK309",
            Self::Possession => "SGCK310",
            Self::Expired { .. } => "SGCK311",
            Self::NotYetValid { .. } => "SGCK312",
            Self::UnknownAuthority => "SGCK313",
            Self::ExtendedKeyUsage => "SGCK314",
            Self::Path { .. } => "SGCK315",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

const fn entry(code: &'static str, meaning: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        remedy,
    }
}

const REISSUE: &str = "use a certificate of the machine's own with the key usage digitalSignature and, if any, the extended key usage clientAuth";

/// This module's error codes.
pub(crate) const REGISTER: &[Entry] = &[
    entry(
        "SGCK301",
        "authorities of machines cannot be relied on",
        "name a PEM file with 1 to 64 certificates of authorities that have cA and keyCertSign",
    ),
    entry(
        "SGCK302",
        "no machine certificate",
        "name a PEM file that begins with the machine's certificate",
    ),
    entry(
        "SGCK303",
        "machine certificate chain too long",
        "show the machine's certificate and at most three intermediates, of 16 KiB each",
    ),
    entry(
        "SGCK304",
        "certificate of a machine's chain cannot be read",
        "have the certificate issued again as X.509 version 3",
    ),
    entry(
        "SGCK305",
        "machine certificate with a SPIFFE ID",
        "use the machine's own certificate; an SVID is none",
    ),
    entry("SGCK306", "machine certificate is a CA's", REISSUE),
    entry("SGCK307", "machine certificate with another key usage", REISSUE),
    entry(
        "SGCK308",
        "key of a machine's chain too weak or of an unknown kind",
        "use P-256, P-384, P-521, Ed25519, RSA of 2048, 3072 or 4096 bits with exponent 65537, or ML-DSA",
    ),
    entry(
        "SGCK309",
        "certificate in a machine's chain that may not sign others",
        "show intermediates only behind the machine's certificate",
    ),
    entry(
        "SGCK310",
        "machine did not prove its key for this connection",
        "check that certificate and key belong together; if they do, somebody is between agent and server",
    ),
    entry(
        "SGCK311",
        "machine certificate expired",
        "renew the machine's certificate, and compare the clocks",
    ),
    entry(
        "SGCK312",
        "machine certificate not yet valid",
        "compare the clocks of the machine and the server",
    ),
    entry(
        "SGCK313",
        "machine certificate of an unknown authority",
        "add its authority to the server's `attest.x509pop.ca`, or show the intermediates that lead there",
    ),
    entry("SGCK314", "machine certificate is not for clients", REISSUE),
    entry(
        "SGCK315",
        "machine's chain refused by the path builder",
        "read the message; have the certificate issued again",
    ),
];
