use signet_fault::{Coded, Entry, remedy_of};
use signet_id::{IdError, TrustDomain};
use signet_time::UnixTime;
use signet_x509::X509Error;
use std::borrow::Cow;

/// Why a certificate chain is not a valid X.509-SVID (X509-SVID §5). One variant per rule.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum X509SvidError {
    /// No certificate at all.
    #[error("no certificate was shown")]
    NoCertificates,
    /// More certificates than [`super::CHAIN_MAX`].
    #[error("chain of {count} certificates, more than {max}")]
    LongChain {
        /// How many.
        count: usize,
        /// What is accepted.
        max: usize,
    },
    /// A certificate that cannot be read.
    #[error("certificate {index} of the chain")]
    Malformed {
        /// Its place, 0 is the leaf.
        index: usize,
        /// Why.
        #[source]
        source: X509Error,
    },
    /// The leaf has no URI name.
    #[error("leaf has no uri name and so no spiffe id")]
    NoUriName,
    /// The leaf has several URI names.
    #[error("leaf has {count} uri names, an svid has exactly one")]
    ManyUriNames {
        /// How many.
        count: usize,
    },
    /// The leaf's URI name is no SPIFFE ID.
    #[error("uri name of the leaf is no spiffe id")]
    NotSpiffeId(#[source] IdError),
    /// The leaf's ID has no path: it names the trust domain itself.
    #[error("spiffe id of the leaf names the trust domain `{trust_domain}` and no workload")]
    RootPath {
        /// The trust domain.
        trust_domain: TrustDomain,
    },
    /// The leaf is a CA's.
    #[error("leaf is a certificate authority's")]
    LeafIsCa,
    /// The leaf may sign certificates.
    #[error("leaf has the key usage keyCertSign")]
    LeafSignsCertificates,
    /// The leaf may sign revocation lists.
    #[error("leaf has the key usage cRLSign")]
    LeafSignsLists,
    /// The leaf may not sign anything.
    #[error("leaf lacks the key usage digitalSignature")]
    NoDigitalSignature,
    /// A certificate behind the leaf may not sign certificates: cA is false, or keyCertSign is missing.
    #[error("certificate {index} of the chain may not sign certificates")]
    NotAnAuthority {
        /// Its place, 0 is the leaf.
        index: usize,
    },
    /// A certificate is past its end.
    #[error("certificate expired at {not_after}")]
    Expired {
        /// Its end.
        not_after: UnixTime,
    },
    /// A certificate is before its begin.
    #[error("certificate is valid only from {not_before} on")]
    NotYetValid {
        /// Its begin.
        not_before: UnixTime,
    },
    /// There is no bundle for the leaf's trust domain.
    #[error("no bundle for the trust domain `{trust_domain}`")]
    NoBundle {
        /// The trust domain.
        trust_domain: TrustDomain,
    },
    /// The bundle has no X.509 authority that is to be believed.
    #[error("bundle of `{trust_domain}` has no x.509 authority that is valid now")]
    EmptyBundle {
        /// The trust domain.
        trust_domain: TrustDomain,
    },
    /// The chain does not lead to an authority of its own trust domain's bundle.
    #[error("chain does not lead to an authority of `{trust_domain}`")]
    UnknownAuthority {
        /// The trust domain.
        trust_domain: TrustDomain,
    },
    /// A signature in the chain is wrong.
    #[error("a signature of the chain does not verify")]
    Signature,
    /// A critical extension that is not understood.
    #[error("a certificate of the chain has a critical extension that is not understood")]
    CriticalExtension,
    /// A name constraint of an authority is violated, or is one on URI names, which cannot be evaluated.
    #[error("a name constraint of the chain is violated or cannot be evaluated")]
    NameConstraint,
    /// A certificate is for other purposes than TLS.
    #[error("extended key usage of a certificate allows neither server nor client authentication")]
    ExtendedKeyUsage,
    /// More authorities than a path length allows.
    #[error("chain is longer than a path length constraint allows")]
    PathLength,
    /// The chain relies on an authority that is tainted.
    #[error("certificate {index} of the chain is a tainted authority's")]
    TaintedAuthority {
        /// Its place, 0 is the leaf.
        index: usize,
    },
    /// The key of a certificate is too weak, or of a kind that is not taken.
    #[error("key of certificate {index} of the chain")]
    Key {
        /// Its place, 0 is the leaf.
        index: usize,
        /// Why.
        #[source]
        source: X509Error,
    },
    /// The private key does not belong to the certificate.
    #[error("private key does not belong to the certificate")]
    PrivateKey,
    /// Any other reason that the path builder had.
    #[error("verify chain: {why}")]
    Path {
        /// What it said.
        why: String,
    },
}

impl Coded for X509SvidError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoCertificates => "SGCK001",
            Self::LongChain { .. } => "SGCK002",
            Self::Malformed { .. } => "SGCK003",
            Self::NoUriName => "SGCK004",
            Self::ManyUriNames { .. } => "SGCK005",
            Self::NotSpiffeId(_) => "SGCK006",
            Self::RootPath { .. } => "SGCK007",
            Self::LeafIsCa => "SGCK008",
            Self::LeafSignsCertificates => "SGCK009",
            Self::LeafSignsLists => "SGCK010",
            Self::NoDigitalSignature => "SGCK011",
            Self::NotAnAuthority { .. } => "SGCK012",
            Self::Expired { .. } => "SGCK013",
            Self::NotYetValid { .. } => "SGCK014",
            Self::NoBundle { .. } => "SGCK015",
            Self::EmptyBundle { .. } => "SGCK016",
            Self::UnknownAuthority { .. } => "SGCK017",
            Self::Signature => "SGCK018",
            Self::CriticalExtension => "SGCK019",
            Self::NameConstraint => "SGCK020",
            Self::ExtendedKeyUsage => "SGCK021",
            Self::PathLength => "SGCK022",
            Self::TaintedAuthority { .. } => "SGCK023",
            Self::PrivateKey => "SGCK024",
            Self::Path { .. } => "SGCK025",
            Self::Key { .. } => "SGCK026",
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

const REISSUE: &str =
    "the issuer made a certificate that is no X.509-SVID: have it issued again by one that does";

/// This module's error codes.
pub(crate) const REGISTER: &[Entry] = &[
    entry(
        "SGCK001",
        "no certificate was shown",
        "give the peer an X.509-SVID to show",
    ),
    entry(
        "SGCK002",
        "certificate chain too long",
        "show the leaf and its intermediates only",
    ),
    entry(
        "SGCK003",
        "certificate of the chain cannot be read",
        "check that the chain is DER, leaf first, and not PEM",
    ),
    entry(
        "SGCK004",
        "certificate without SPIFFE ID",
        "show an X.509-SVID; a certificate for a host name is none",
    ),
    entry("SGCK005", "certificate with several URI names", REISSUE),
    entry("SGCK006", "URI name that is no SPIFFE ID", REISSUE),
    entry("SGCK007", "SPIFFE ID of a leaf without path", REISSUE),
    entry(
        "SGCK008",
        "leaf is a CA certificate",
        "show the workload's own certificate first, not its issuer's",
    ),
    entry("SGCK009", "leaf with keyCertSign", REISSUE),
    entry("SGCK010", "leaf with cRLSign", REISSUE),
    entry("SGCK011", "leaf without digitalSignature", REISSUE),
    entry(
        "SGCK012",
        "certificate in the chain that may not sign others",
        "show intermediates only behind the leaf",
    ),
    entry(
        "SGCK013",
        "certificate expired",
        "check that the peer's agent runs and rotates, and compare the clocks",
    ),
    entry(
        "SGCK014",
        "certificate not yet valid",
        "compare the clocks of both machines and the server",
    ),
    entry(
        "SGCK015",
        "no bundle for the trust domain",
        "federate with the trust domain, or check the peer's ID for a typing error",
    ),
    entry(
        "SGCK016",
        "bundle without valid X.509 authority",
        "refresh the bundle of the trust domain",
    ),
    entry(
        "SGCK017",
        "chain does not lead to an authority of the trust domain",
        "check that the peer's certificate is from that domain's server, and refresh the bundle",
    ),
    entry(
        "SGCK018",
        "signature of the chain does not verify",
        "have the certificate issued again; if it happens again, suspect an attack",
    ),
    entry("SGCK019", "critical extension that is not understood", REISSUE),
    entry(
        "SGCK020",
        "name constraint violated or not evaluable",
        "use authorities without URI name constraints: the trust domain is enforced by its bundle",
    ),
    entry("SGCK021", "certificate is not for TLS", REISSUE),
    entry(
        "SGCK022",
        "path length constraint exceeded",
        "shorten the chain, or raise the path length of the authority",
    ),
    entry(
        "SGCK023",
        "chain relies on a tainted authority",
        "have the certificate issued again by an authority that is trusted",
    ),
    entry(
        "SGCK024",
        "private key does not belong to the certificate",
        "use the key that the certificate was issued for",
    ),
    entry(
        "SGCK025",
        "chain refused by the path builder",
        "read the message; have the certificate issued again",
    ),
    entry(
        "SGCK026",
        "key of a certificate is too weak or of an unknown kind",
        "use P-256, P-384, P-521, Ed25519, RSA of 2048, 3072 or 4096 bits with exponent 65537, or ML-DSA",
    ),
];
