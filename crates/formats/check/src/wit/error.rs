use super::PROOF_LIFE_MAX;
use crate::subject::SubjectError;
use signet_fault::{Coded, Entry, remedy_of};
use signet_id::{IdError, TrustDomain};
use signet_jose::JoseError;
use std::borrow::Cow;

/// Why a WIT-SVID, or the proof that came with it, was refused.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitSvidError {
    /// `sub` is missing.
    #[error("claim `sub` is missing")]
    NoSubject,
    /// `sub` is not a SPIFFE ID.
    #[error("claim `sub` is not a spiffe id: {0}")]
    Subject(#[source] IdError),
    /// `sub` names a trust domain and not a workload.
    #[error("claim `sub` names the trust domain `{trust_domain}` and no workload in it")]
    SubjectWithoutPath {
        /// The domain.
        trust_domain: TrustDomain,
    },
    /// There is no bundle for the subject's trust domain.
    #[error("no bundle for the trust domain `{trust_domain}`")]
    NoBundle {
        /// The domain.
        trust_domain: TrustDomain,
    },
    /// The bundle of the subject's trust domain has no such key.
    #[error("the bundle of `{trust_domain}` has no such wit key")]
    UnknownKey {
        /// The domain.
        trust_domain: TrustDomain,
    },
    /// The key is tainted.
    #[error("the wit key in the bundle of `{trust_domain}` is tainted")]
    Tainted {
        /// The domain.
        trust_domain: TrustDomain,
    },
    /// The key is published for another use.
    #[error("the key in the bundle of `{trust_domain}` is not for wit-svids")]
    Use {
        /// The domain.
        trust_domain: TrustDomain,
    },
    /// Form, header, signature, claims or `cnf` of the token.
    #[error(transparent)]
    Token(#[from] JoseError),
    /// The verifier named no audience of its own for proofs.
    #[error("an audience to check proofs for must be given")]
    NoAudience,
    /// Form, header, signature or claims of the proof.
    #[error("proof of possession: {0}")]
    Proof(#[source] JoseError),
    /// The proof is about another token: its `wth` is not the digest of this one.
    #[error("proof of possession is for another wit-svid")]
    ProofOfOther,
    /// The proof is good for longer than [`PROOF_LIFE_MAX`].
    #[error("proof of possession lives {life_s} s more, allowed are {} s", PROOF_LIFE_MAX.as_secs())]
    ProofLife {
        /// How long, in seconds.
        life_s: u64,
    },
    /// The proof was sent before.
    #[error("proof of possession was used before")]
    ProofRepeated,
    /// A WIT-SVID stands in the `Authorization` header, as if it were a bearer token.
    #[error("a wit-svid stands in the `authorization` header")]
    Bearer,
    /// One of the two headers came without the other.
    #[error("the header `{header}` is missing")]
    HeaderMissing {
        /// Which one.
        header: &'static str,
    },
    /// One of the two headers is there twice, or is no token.
    #[error("the header `{header}` is there twice or is no token")]
    HeaderForm {
        /// Which one.
        header: &'static str,
    },
    /// More proofs within a minute than the verifier remembers.
    #[error("no room to remember one more proof of possession")]
    ManyProofs,
}

impl From<SubjectError> for WitSvidError {
    fn from(error: SubjectError) -> Self {
        match error {
            SubjectError::Missing => Self::NoSubject,
            SubjectError::NotAnId(error) => Self::Subject(error),
            SubjectError::WithoutPath(trust_domain) => Self::SubjectWithoutPath { trust_domain },
            SubjectError::NoBundle(trust_domain) => Self::NoBundle { trust_domain },
            SubjectError::UnknownKey(trust_domain) => Self::UnknownKey { trust_domain },
            SubjectError::Tainted(trust_domain) => Self::Tainted { trust_domain },
            SubjectError::Use(trust_domain) => Self::Use { trust_domain },
            SubjectError::Token(error) => Self::Token(error),
        }
    }
}

impl Coded for WitSvidError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoSubject => "SGCK201",
            Self::Subject(_) => "SGCK202",
            Self::SubjectWithoutPath { .. } => "SGCK203",
            Self::NoBundle { .. } => "SGCK204",
            Self::UnknownKey { .. } => "SGCK205",
            Self::Tainted { .. } => "SGCK206",
            Self::Use { .. } => "SGCK207",
            Self::Token(error) => error.code(),
            Self::NoAudience => "SGCK208",
            Self::Proof(_) => "SGCK209",
            Self::ProofOfOther => "SGCK210",
            Self::ProofLife { .. } => "SGCK211",
            Self::ProofRepeated => "SGCK212",
            Self::ManyProofs => "SGCK213",
            Self::Bearer => "SGCK214",
            Self::HeaderMissing { .. } => "SGCK215",
            Self::HeaderForm { .. } => "SGCK216",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Token(error) => error.remedy(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}

const fn entry(code: &'static str, meaning: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        remedy,
    }
}

/// The error codes of this module; those of a token's form are in `signet_jose::REGISTER`.
pub const REGISTER: &[Entry] = &[
    entry(
        "SGCK201",
        "a wit-svid has no subject",
        "have the issuer put the workload's SPIFFE ID into `sub`",
    ),
    entry(
        "SGCK202",
        "a wit-svid's subject is not a SPIFFE ID",
        "have the issuer put the workload's SPIFFE ID into `sub`",
    ),
    entry(
        "SGCK203",
        "a wit-svid's subject names no workload",
        "register the workload with a SPIFFE ID that has a path",
    ),
    entry(
        "SGCK204",
        "a wit-svid is of a trust domain that is not trusted here",
        "federate with the trust domain, or ask why a workload from there calls",
    ),
    entry(
        "SGCK205",
        "a wit-svid is signed with a key that its trust domain's bundle does not have for wit-svids",
        "check that bundles reach this machine; a token signed before a key was retired has to be fetched anew",
    ),
    entry(
        "SGCK206",
        "a wit-svid is signed with a tainted key",
        "fetch a new wit-svid: its issuer signs with another key by now",
    ),
    entry(
        "SGCK207",
        "a wit-svid is signed with a key for another use",
        "have the trust domain publish the key with the use wit-svid",
    ),
    entry(
        "SGCK208",
        "no audience to check a proof of possession for",
        "name the audience that this service is known by",
    ),
    entry(
        "SGCK209",
        "a wit-svid came with a proof of possession that is not right",
        "sign a proof of type wpt+jwt with the wit-svid's own key, with its alg, for this service alone",
    ),
    entry(
        "SGCK210",
        "a proof of possession is for another wit-svid",
        "make a new proof whenever the wit-svid is renewed",
    ),
    entry(
        "SGCK211",
        "a proof of possession lives too long",
        "make proofs that live at most a minute, and compare the two machines' clocks",
    ),
    entry(
        "SGCK212",
        "a proof of possession was used before",
        "make a new proof for each request; if the caller does, somebody repeats what it sent",
    ),
    entry(
        "SGCK213",
        "too many proofs of possession at a time",
        "try again within a minute, or give the verifier more room",
    ),
    entry(
        "SGCK214",
        "a wit-svid was sent as bearer token",
        "send it in `workload-identity-token`, with a proof of its key in `workload-proof-token`",
    ),
    entry(
        "SGCK215",
        "a wit-svid came without proof of possession, or a proof without wit-svid",
        "send the wit-svid in `workload-identity-token` and a new proof in `workload-proof-token`",
    ),
    entry(
        "SGCK216",
        "a header for a wit-svid or its proof is malformed",
        "send each of the two headers once, with the token and nothing else",
    ),
];
