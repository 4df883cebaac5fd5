use crate::{CredentialKind, IssueRecord, RecordError};
use bytes::Bytes;

/// A reserved place in the record, for exactly one credential.
///
/// It gives the credential its serial number or `jti`: 128 bits that nobody can foresee.
#[derive(Debug)]
pub struct Slot {
    identifier: [u8; 16],
}

impl Slot {
    /// Where all identifiers come from.
    pub(crate) fn draw() -> Result<Self, RecordError> {
        let identifier = signet_crypto::random::<16>().map_err(RecordError::Random)?;
        Ok(Self { identifier })
    }

    /// The 16 bytes of a serial number, as an unsigned big-endian number. Never zero but with probability 2^-128.
    #[must_use]
    pub fn serial(&self) -> [u8; 16] {
        self.identifier
    }

    /// The `jti`: the same bytes in lower-case hexadecimal.
    #[must_use]
    pub fn jti(&self) -> String {
        signet_crypto::digest::hex(&self.identifier)
    }

    /// A record of this slot with everything else still to be filled in.
    #[must_use]
    pub fn record(&self, kind: CredentialKind) -> IssueRecord {
        IssueRecord {
            kind: kind.into(),
            identifier: Bytes::copy_from_slice(&self.identifier),
            ..IssueRecord::default()
        }
    }
}
