use crate::{IssueError, JwtSvid, TlsServerCertificate, WitSvid, X509Svid};
use core::future::Future;
use signet_keys::IssuingKey;
use signet_record::IssueRecord;
use std::sync::Arc;

/// Proof that a request met its profile, that a decision allowed it and that the bytes to be signed linted clean.
/// Made only by [`crate::Authority`]; used up by signing.
#[must_use = "nothing is signed yet"]
pub struct Admitted<C: Credential> {
    pub(crate) pending: C::Pending,
    pub(crate) key: Arc<IssuingKey>,
    pub(crate) record: IssueRecord,
}

impl<C: Credential> core::fmt::Debug for Admitted<C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Admitted")
            .field("subject", &self.record.subject)
            .finish_non_exhaustive()
    }
}

/// A kind of credential that this crate issues. Sealed.
pub trait Credential: sealed::Sealed {}

impl Credential for X509Svid {}
impl Credential for JwtSvid {}
impl Credential for WitSvid {}
impl Credential for TlsServerCertificate {}

pub(crate) mod sealed {
    use super::{Future, IssueError, IssuingKey};

    pub trait Sealed: Sized + Send {
        /// What is to be signed, and what belongs around it.
        type Pending: Send;

        /// Signs, and gives the credential with the SHA-256 of its bytes.
        fn sign(
            pending: Self::Pending,
            key: &IssuingKey,
        ) -> impl Future<Output = Result<(Self, [u8; 32]), IssueError>> + Send;
    }
}
