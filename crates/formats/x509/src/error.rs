use crate::lint::LintError;
use signet_crypto::CryptoError;
use signet_fault::{Coded, Entry, remedy_of};
use signet_id::{SpiffeId, TrustDomain};
use signet_time::UnixTime;
use std::borrow::Cow;

/// Why a certificate was not read or not built.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum X509Error {
    /// Not one DER certificate (RFC 5280 §4.1) and nothing else.
    #[error("malformed certificate: {what}")]
    Malformed {
        /// The part that could not be read.
        what: &'static str,
    },
    /// A leaf's SPIFFE ID must have a path (X509-SVID §3.1).
    #[error("`{id}` has no path and so cannot be a workload's identity")]
    IdWithoutPath {
        /// The ID.
        id: SpiffeId,
    },
    /// An issuer of one trust domain was asked for an ID of another.
    #[error("an issuer of `{issuer}` may not sign for `{subject}`")]
    OtherTrustDomain {
        /// The issuer's trust domain.
        issuer: TrustDomain,
        /// That of the certificate to be.
        subject: TrustDomain,
    },
    /// The validity ends before it begins, or lies beyond the year 9999.
    #[error("validity from {not_before} to {not_after} is empty or not expressible")]
    Validity {
        /// Begin.
        not_before: UnixTime,
        /// End.
        not_after: UnixTime,
    },
    /// A certificate must not outlive its issuer's.
    #[error("would end {not_after}, after its issuer's end {issuer_not_after}")]
    OutlivesIssuer {
        /// The end that was asked for.
        not_after: UnixTime,
        /// The issuer's end.
        issuer_not_after: UnixTime,
    },
    /// The certificate is not one that may sign others.
    #[error("certificate cannot issue: {why}")]
    NotAnIssuer {
        /// What it lacks.
        why: &'static str,
    },
    /// The algorithm does not fit the key, or has no form in X.509 here.
    #[error("signature algorithm {algorithm:?} does not fit the issuer's {key:?} key")]
    Algorithm {
        /// The algorithm.
        algorithm: signet_crypto::SignatureAlgorithm,
        /// The issuer's key.
        key: signet_crypto::KeyKind,
    },
    /// Not a DNS name that may stand in a certificate.
    #[error("`{name}` is not a DNS name that a certificate can carry")]
    DnsName {
        /// The name.
        name: String,
    },
    /// More names than a certificate may carry.
    #[error("{count} DNS names; a certificate carries at most {max}")]
    ManyNames {
        /// How many were asked for.
        count: usize,
        /// How many may be.
        max: usize,
    },
    /// A server's certificate without any name.
    #[error("a server's certificate has at least one name")]
    NoNames,
    /// An authority's common name must have 1 to 64 characters (RFC 5280 appendix A.1).
    #[error("common name `{name}` does not have 1 to 64 characters")]
    CommonName {
        /// The name.
        name: String,
    },
    /// A serial number must not be zero.
    #[error("serial number is zero")]
    ZeroSerial,
    /// The encoder refused the template. Ours.
    #[error("encode certificate: {why}")]
    Encode {
        /// What it said.
        why: String,
    },
    /// A signature that cannot be one. Ours.
    #[error("signature of {bytes} bytes")]
    Signature {
        /// Its length.
        bytes: usize,
    },
    /// The final bytes broke a lint. Ours: nothing was signed.
    #[error("lint of the to-be-signed bytes")]
    Lint(#[from] LintError),
    /// A key or signature was refused.
    #[error("certificate key")]
    Crypto(#[from] CryptoError),
    /// Not PEM with the blocks that were looked for.
    #[error("read pem: {why}")]
    Pem {
        /// What is wrong.
        why: &'static str,
    },
}

impl Coded for X509Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "SGXC001",
            Self::IdWithoutPath { .. } => "SGXC002",
            Self::OtherTrustDomain { .. } => "SGXC003",
            Self::Validity { .. } => "SGXC004",
            Self::OutlivesIssuer { .. } => "SGXC005",
            Self::NotAnIssuer { .. } => "SGXC006",
            Self::Algorithm { .. } => "SGXC007",
            Self::DnsName { .. } => "SGXC008",
            Self::ManyNames { .. } => "SGXC009",
            Self::CommonName { .. } => "SGXC010",
            Self::ZeroSerial => "SGXC011",
            Self::Encode { .. } => "SGXC012",
            Self::Signature { .. } => "SGXC013",
            Self::Lint(lint) => lint.code(),
            Self::Crypto(_) => "SGXC014",
            Self::Pem { .. } => "SGXC015",
            Self::NoNames => "SGXC018",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

impl Coded for LintError {
    fn code(&self) -> &'static str {
        "SGXC020"
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

/// Why a certificate request (PKCS #10, RFC 2986) was refused. Always the sender's fault.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    /// Longer than [`crate::Csr::BYTES_MAX`].
    #[error("certificate request of {bytes} bytes, more than {max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// What is accepted.
        max: usize,
    },
    /// Not one DER request.
    #[error("malformed certificate request: {what}")]
    Malformed {
        /// The part that could not be read.
        what: &'static str,
    },
    /// Bytes after the request.
    #[error("{bytes} bytes follow the certificate request")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The key is of a kind or size that is not accepted.
    #[error("key of the certificate request")]
    Key(#[source] CryptoError),
    /// The signature algorithm is unknown or does not fit the key.
    #[error("signature algorithm of the certificate request does not fit its key")]
    Algorithm,
    /// The signature was not made with the key asked for: no proof that the sender has it.
    #[error("signature of the certificate request")]
    Signature(#[source] CryptoError),
    /// Asks to become an authority.
    #[error("certificate request asks for a certificate authority")]
    WantsCa,
    /// Asks for the right to sign certificates or revocation lists.
    #[error("certificate request asks for keyCertSign or cRLSign")]
    WantsCertSign,
    /// More than one URI name (X509-SVID §2).
    #[error("{count} URI names; an svid has exactly one")]
    ManyUriNames {
        /// How many.
        count: usize,
    },
    /// More names than [`crate::Csr::NAMES_MAX`].
    #[error("{count} names, more than {max}")]
    ManyNames {
        /// How many.
        count: usize,
        /// What is accepted.
        max: usize,
    },
    /// A name that is neither URI nor DNS name.
    #[error("a name that is neither uri nor dns name")]
    NameKind,
    /// Not a DNS name that a certificate can carry.
    #[error("`{name}` is not a DNS name that a certificate can carry")]
    DnsName {
        /// The name, cut to its first 64 characters.
        name: String,
    },
    /// An extension or attribute stands twice.
    #[error("an attribute or extension of the certificate request stands twice")]
    Duplicate,
    /// Asks for a critical extension that is not understood.
    #[error("certificate request asks for a critical extension that is not understood")]
    CriticalExtension,
}

impl Coded for CsrError {
    fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "SGXC030",
            Self::Malformed { .. } => "SGXC031",
            Self::Trailing { .. } => "SGXC032",
            Self::Key(_) => "SGXC033",
            Self::Algorithm => "SGXC034",
            Self::Signature(_) => "SGXC035",
            Self::WantsCa => "SGXC036",
            Self::WantsCertSign => "SGXC037",
            Self::ManyUriNames { .. } => "SGXC038",
            Self::ManyNames { .. } => "SGXC039",
            Self::NameKind => "SGXC040",
            Self::DnsName { .. } => "SGXC041",
            Self::Duplicate => "SGXC042",
            Self::CriticalExtension => "SGXC043",
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

/// This crate's error codes.
pub const REGISTER: &[Entry] = &[
    entry(
        "SGXC001",
        "malformed certificate",
        "give one certificate in DER, or in PEM where a file is asked for",
    ),
    entry(
        "SGXC002",
        "SPIFFE ID without a path",
        "give the workload an ID with a path, such as spiffe://example.org/web",
    ),
    entry(
        "SGXC003",
        "issuer and subject are of different trust domains",
        "ask the server of the ID's own trust domain",
    ),
    entry(
        "SGXC004",
        "validity empty or not expressible",
        "ask for a life of at least one second that ends before the year 10000",
    ),
    entry(
        "SGXC005",
        "certificate would outlive its issuer",
        "ask for a shorter life, or rotate the issuer",
    ),
    entry(
        "SGXC006",
        "certificate cannot issue",
        "use a CA certificate with keyCertSign and a subject key identifier",
    ),
    entry(
        "SGXC007",
        "signature algorithm does not fit the issuer's key",
        "choose an algorithm of the issuer's own key kind",
    ),
    entry(
        "SGXC008",
        "not a DNS name",
        "use letters, digits, hyphens and dots, without wildcard",
    ),
    entry(
        "SGXC009",
        "too many DNS names",
        "split the names over several entries",
    ),
    entry(
        "SGXC010",
        "common name too long or empty",
        "give the authority a name of 1 to 64 characters",
    ),
    entry(
        "SGXC011",
        "serial number is zero",
        "report this: the source of randomness is broken",
    ),
    entry(
        "SGXC012",
        "certificate could not be encoded",
        "report this with the message: it is a defect in Signet",
    ),
    entry(
        "SGXC013",
        "key store returned something that is no signature",
        "check the key store; its log says what it did",
    ),
    entry(
        "SGXC014",
        "key or signature of a certificate refused",
        "use a P-256, P-384, Ed25519 or RSA key of at least 2048 bits",
    ),
    entry(
        "SGXC015",
        "file is not the PEM that was looked for",
        "give a file with the PEM blocks that the message names",
    ),
    entry(
        "SGXC018",
        "server certificate: no name",
        "give the server a DNS name or an address",
    ),
    entry(
        "SGXC020",
        "certificate broke a rule before it was signed",
        "report this with the message: it is a defect in Signet",
    ),
    entry(
        "SGXC030",
        "certificate request too long",
        "send a request of at most 16 KiB",
    ),
    entry(
        "SGXC031",
        "malformed certificate request",
        "send a PKCS #10 request in DER",
    ),
    entry(
        "SGXC032",
        "bytes after the certificate request",
        "send one request and nothing else",
    ),
    entry(
        "SGXC033",
        "key of the certificate request refused",
        "use a P-256, P-384, Ed25519 or RSA key of at least 2048 bits",
    ),
    entry(
        "SGXC034",
        "signature algorithm of the certificate request does not fit",
        "sign with the hash of the key's curve: SHA-256 for P-256, SHA-384 for P-384 (`openssl req -sha384`), SHA-512 for P-521; for RSA with PKCS#1 and SHA-256 or longer",
    ),
    entry(
        "SGXC035",
        "signature of the certificate request does not verify",
        "sign the request with the very key it asks a certificate for",
    ),
    entry(
        "SGXC036",
        "certificate request asks for a CA",
        "leave basicConstraints out of the request",
    ),
    entry(
        "SGXC037",
        "certificate request asks for keyCertSign or cRLSign",
        "leave keyUsage out of the request",
    ),
    entry(
        "SGXC038",
        "more than one URI name",
        "ask for one SPIFFE ID per request",
    ),
    entry(
        "SGXC039",
        "too many names in the certificate request",
        "ask for at most 64 names",
    ),
    entry(
        "SGXC040",
        "name that is neither URI nor DNS name",
        "ask for URI and DNS names only",
    ),
    entry(
        "SGXC041",
        "not a DNS name",
        "use letters, digits, hyphens and dots, without wildcard",
    ),
    entry(
        "SGXC042",
        "attribute or extension stands twice",
        "name each attribute and extension once",
    ),
    entry(
        "SGXC043",
        "critical extension that is not understood",
        "leave the extension out, or mark it not critical",
    ),
];
