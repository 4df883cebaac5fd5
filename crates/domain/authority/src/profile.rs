use crate::IssueError;
use signet_decision::{Action, Principal};
use signet_id::{SpiffeId, TrustDomain};
use signet_record::CredentialKind;

/// The bounds of what is issued.
pub mod limits {
    use core::time::Duration;

    /// How far before now a certificate begins: clocks of verifiers may be that late.
    pub const BACKDATE: Duration = Duration::from_secs(30);
    /// The longest life of an X.509-SVID: leaves of this class have no revocation list.
    pub const X509_TTL_MAX: Duration = Duration::from_secs(6 * 3_600);
    /// The longest life of a JWT-SVID.
    pub const JWT_TTL_MAX: Duration = Duration::from_secs(24 * 3_600);
    /// The longest life of a WIT-SVID: bound to a key as an X.509-SVID is, it lives as long.
    pub const WIT_TTL_MAX: Duration = X509_TTL_MAX;
    /// The shortest life that can still be rotated in time.
    pub const TTL_MIN: Duration = Duration::from_secs(5);
    /// A certificate that its issuer's end shortens to less than this, or than what was asked, is refused: a workload
    /// that gets one dead on arrival fails later and further from the cause.
    pub const SHORTENED_MIN: Duration = Duration::from_secs(600);
    /// Audiences of one token.
    pub const AUDIENCES_MAX: usize = 16;
    /// The longest audience.
    pub const AUDIENCE_BYTES_MAX: usize = 512;
    /// The longest reason for a minted credential: it stands in its record.
    pub const REASON_BYTES_MAX: usize = 512;
}

/// Whom a certificate is for. The profile says which identities it may have, and who has to allow what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// A workload: never below `/signet/`.
    Workload,
    /// A workload, on the word of an operator who says why; the same identities as [`Profile::Workload`].
    Minted,
    /// A node: below `/signet/node/`, or outside `/signet/` where its join token says so.
    Node,
    /// A server: `/signet/server/NAME`, and nobody but the server itself may ask.
    Server,
}

impl Profile {
    /// What has to be allowed.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Workload => Action::ISSUE_X509_SVID,
            Self::Minted => Action::MINT_X509_SVID,
            Self::Node => Action::ISSUE_NODE_SVID,
            Self::Server => Action::ISSUE_SERVER_SVID,
        }
    }

    pub(crate) const fn record_kind(self) -> CredentialKind {
        match self {
            Self::Workload | Self::Minted => CredentialKind::X509Svid,
            Self::Node => CredentialKind::Node,
            Self::Server => CredentialKind::Server,
        }
    }

    pub(crate) fn check_principal(self, principal: &Principal) -> Result<(), IssueError> {
        match self {
            Self::Server if *principal != Principal::Ourselves => Err(IssueError::NotOurselves),
            _ => Ok(()),
        }
    }

    pub(crate) fn check_id(self, id: &SpiffeId) -> Result<(), IssueError> {
        let mut segments = id.segments();
        let place = (segments.next(), segments.next(), segments.next(), segments.next());
        let fits = match self {
            Self::Workload | Self::Minted => !id.is_reserved(),
            Self::Node => !id.is_reserved() || matches!(place, (_, Some("node"), Some(_), Some(_))),
            Self::Server => matches!(place, (Some("signet"), Some("server"), Some(_), None)),
        };
        if fits {
            Ok(())
        } else {
            Err(IssueError::Reserved { id: id.clone() })
        }
    }
}

/// Refuses a credential that an operator asks for without a reason that fits into its record.
pub(crate) fn check_reason(action: Action, reason: &str) -> Result<(), IssueError> {
    let minted = [
        Action::MINT_X509_SVID,
        Action::MINT_JWT_SVID,
        Action::MINT_WIT_SVID,
    ];
    if !minted.contains(&action) {
        return Ok(());
    }
    let fits = (1..=limits::REASON_BYTES_MAX).contains(&reason.len());
    if fits && !reason.trim().is_empty() && !reason.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(IssueError::Reason)
    }
}

/// Refuses an identity that is not of `own` or names the whole trust domain (X509-SVID §3.1).
pub(crate) fn check_own(id: &SpiffeId, own: &TrustDomain) -> Result<(), IssueError> {
    if id.trust_domain() != own {
        return Err(IssueError::OtherTrustDomain {
            id: id.clone(),
            own: own.clone(),
        });
    }
    if !id.has_path() {
        return Err(IssueError::NoPath { id: id.clone() });
    }
    Ok(())
}
