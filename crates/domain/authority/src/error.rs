use core::time::Duration;
use signet_crypto::CryptoError;
use signet_decision::Denied;
use signet_fault::{Coded, Entry, remedy_of};
use signet_id::{SpiffeId, TrustDomain};
use signet_jose::JoseError;
use signet_keys::KeysError;
use signet_record::RecordError;
use signet_time::format_duration;
use signet_x509::X509Error;
use std::borrow::Cow;

/// Why nothing was issued.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The decision does not allow it, or is about something else.
    #[error("{0}")]
    Denied(#[source] Denied),
    /// Only the server itself may ask for this.
    #[error("only the server itself may ask for a server's identity or certificate")]
    NotOurselves,
    /// The identity is of another trust domain.
    #[error("`{id}` is not of the trust domain `{own}`")]
    OtherTrustDomain {
        /// The identity.
        id: SpiffeId,
        /// Ours.
        own: TrustDomain,
    },
    /// The identity names the whole trust domain.
    #[error("`{id}` has no path")]
    NoPath {
        /// The identity.
        id: SpiffeId,
    },
    /// The identity is not one of this profile: `/signet/` is kept for our own processes.
    #[error("`{id}` is not an identity of this kind: paths below `/signet` are kept for our own processes")]
    Reserved {
        /// The identity.
        id: SpiffeId,
    },
    /// The certificate request names another identity.
    #[error("the certificate request names `{named}`, admitted is `{admitted}`")]
    CsrIdentity {
        /// What it names, cut to 256 characters.
        named: String,
        /// What it may have.
        admitted: SpiffeId,
    },
    /// The certificate request names other DNS names.
    #[error("the certificate request names other dns names than the admitted ones")]
    CsrDnsNames,
    /// The key in the certificate request is one of our own issuing keys.
    #[error("the key in the certificate request is an issuing key")]
    CsrIssuerKey,
    /// The life asked for is out of bounds.
    #[error("a life of {} is outside {} to {}", shown(asked), shown(min), shown(max))]
    Lifetime {
        /// What was asked.
        asked: Duration,
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// The issuer's end would leave too little.
    #[error(
        "the issuer ends in {}, which would leave less than {}",
        shown(left),
        shown(needed)
    )]
    IssuerEnds {
        /// What is left of the issuer.
        left: Duration,
        /// What the certificate needs.
        needed: Duration,
    },
    /// Too few or too many audiences.
    #[error("{given} audiences, allowed are 1 to {max}")]
    AudienceCount {
        /// How many were given.
        given: usize,
        /// How many may be.
        max: usize,
    },
    /// An audience is empty, too long or has control characters.
    #[error("audience {index} is empty, longer than 512 bytes, or has control characters")]
    AudienceForm {
        /// Which one, counted from 0.
        index: usize,
    },
    /// An audience is an OAuth resource.
    #[error("audience `{audience}` is an oauth resource: it takes access tokens")]
    AudienceReserved {
        /// The audience.
        audience: String,
    },
    /// The entry is bound to other audiences.
    #[error("audience `{audience}` is none of those that the entry allows")]
    AudienceNotAllowed {
        /// The audience.
        audience: String,
    },
    /// A WIT-SVID cannot be bound to a key of this kind.
    #[error("a wit-svid cannot be bound to a key of the kind {kind}")]
    WitKey {
        /// The kind.
        kind: &'static str,
    },
    /// An operator asks without saying why.
    #[error(
        "a reason of 1 to {} bytes without control characters is needed",
        crate::limits::REASON_BYTES_MAX
    )]
    Reason,
    /// The key that would sign is tainted or revoked.
    #[error("the signing key `{kid}` is tainted or revoked")]
    Tainted {
        /// Its name.
        kid: String,
    },
    /// There is no key to sign with.
    #[error("signing key")]
    Keys(#[source] KeysError),
    /// The certificate could not be built, or its bytes broke a lint.
    #[error("certificate")]
    X509(#[source] X509Error),
    /// The token could not be built.
    #[error("token")]
    Jose(#[source] JoseError),
    /// The key did not sign.
    #[error("sign")]
    Sign(#[source] CryptoError),
    /// It could not be recorded, so it was thrown away.
    #[error("record")]
    Record(#[source] RecordError),
}

fn shown(span: &Duration) -> String {
    format_duration(*span)
}

impl IssueError {
    /// Whether the fault is ours, so that the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::IssuerEnds { .. } | Self::Tainted { .. } | Self::Keys(_) | Self::Sign(_) | Self::Record(_)
        )
    }
}

macro_rules! register {
    ($($code:literal $meaning:literal $remedy:literal)*) => {
        /// The codes of this crate.
        pub const REGISTER: &[Entry] = &[$(Entry { code: $code, meaning: $meaning, remedy: $remedy }),*];
    };
}

register! {
    "SGAU001" "issue: only for the server" "nobody else can get a server's identity"
    "SGAU002" "issue: other trust domain" "ask for an identity of this server's trust domain"
    "SGAU003" "issue: no path" "ask for an identity with a path"
    "SGAU004" "issue: reserved identity" "use a path outside /signet"
    "SGAU005" "issue: csr names another identity" "leave the names out of the request, or name what the entry gives"
    "SGAU006" "issue: csr names other dns names" "leave the names out of the request, or name what the entry gives"
    "SGAU007" "issue: csr with an issuing key" "make a key of your own"
    "SGAU008" "issue: lifetime" "ask for a life within the bounds named"
    "SGAU009" "issue: issuer ends" "the server renews its intermediate at half its life: see its log for why it has not"
    "SGAU010" "issue: number of audiences" "name between 1 and 16 audiences"
    "SGAU011" "issue: audience" "use audiences of 1 to 512 bytes without control characters"
    "SGAU012" "issue: audience is an oauth resource" "get an access token for it: a workload could write such a jwt-svid for itself"
    "SGAU013" "issue: audience not allowed" "add the audience to the entry's jwt_audiences, or use one that is there"
    "SGAU014" "issue: signing key tainted" "ask again: another key signs now; if not, rotate it with `signet ca rotate --now`"
    "SGAU015" "issue: certificate" "see the server's log"
    "SGAU016" "issue: token" "see the server's log"
    "SGAU017" "issue: signing failed" "see the server's log and the key store"
    "SGAU018" "issue: key for a wit-svid" "bind it to an ecdsa or rsa key: ed25519 and ml-dsa are not among the algorithms of SVIDs"
    "SGAU019" "mint: reason" "say in --reason what the credential is for: it stands in the record"
}

impl Coded for IssueError {
    fn code(&self) -> &'static str {
        match self {
            Self::Denied(e) => e.code(),
            Self::NotOurselves => "SGAU001",
            Self::OtherTrustDomain { .. } => "SGAU002",
            Self::NoPath { .. } => "SGAU003",
            Self::Reserved { .. } => "SGAU004",
            Self::CsrIdentity { .. } => "SGAU005",
            Self::CsrDnsNames => "SGAU006",
            Self::CsrIssuerKey => "SGAU007",
            Self::Lifetime { .. } => "SGAU008",
            Self::IssuerEnds { .. } => "SGAU009",
            Self::AudienceCount { .. } => "SGAU010",
            Self::AudienceForm { .. } => "SGAU011",
            Self::AudienceReserved { .. } => "SGAU012",
            Self::AudienceNotAllowed { .. } => "SGAU013",
            Self::Tainted { .. } => "SGAU014",
            Self::X509(_) => "SGAU015",
            Self::Jose(_) => "SGAU016",
            Self::Sign(_) => "SGAU017",
            Self::WitKey { .. } => "SGAU018",
            Self::Reason => "SGAU019",
            Self::Keys(e) => e.code(),
            Self::Record(e) => e.code(),
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Denied(e) => e.remedy(),
            Self::Keys(e) => e.remedy(),
            Self::Record(e) => e.remedy(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}
