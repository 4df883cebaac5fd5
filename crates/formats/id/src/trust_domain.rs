use crate::IdError;
use core::fmt;
use std::sync::Arc;

/// A trust domain name: 1 to 255 bytes of `[a-z0-9._-]` (SPIFFE-ID §2.1). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// The longest name that is accepted (SPIFFE-ID §2.3).
    pub const BYTES_MAX: usize = 255;

    /// Checks `name`, which stands alone: no scheme, no path. Upper case is refused.
    ///
    /// # Errors
    /// [`IdError::TrustDomainLength`] outside 1..=255 bytes, [`IdError::TrustDomainByte`] at the first byte that is
    /// not allowed.
    pub fn parse(name: &str) -> Result<Self, IdError> {
        if !(1..=Self::BYTES_MAX).contains(&name.len()) {
            return Err(IdError::TrustDomainLength { bytes: name.len() });
        }
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        match name.bytes().enumerate().find(|(_, b)| !allowed(*b)) {
            Some((offset, byte)) => Err(IdError::TrustDomainByte { offset, byte }),
            None => Ok(Self(name.into())),
        }
    }

    /// Reads the trust domain's own ID, `spiffe://NAME`: the key of bundle maps (Workload API §5.2.1).
    ///
    /// # Errors
    /// As [`TrustDomain::parse`]; [`IdError::Scheme`] where the scheme is missing.
    pub fn parse_id(id: &str) -> Result<Self, IdError> {
        Self::parse(id.strip_prefix(crate::spiffe_id::SCHEME).ok_or(IdError::Scheme)?)
    }

    /// The name, without scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `spiffe://NAME`, the ID that names the domain itself.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}{}", crate::spiffe_id::SCHEME, self.0)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::str::FromStr for TrustDomain {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl serde::Serialize for TrustDomain {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for TrustDomain {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
