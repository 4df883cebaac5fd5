use core::fmt;
use core::hash::{BuildHasher as _, Hasher as _};
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::hash_map::RandomState;
use std::sync::OnceLock;

/// What a request is called in logs, answers and records: the caller's own name for it, if well-formed, else one made
/// here. Unique enough to find a line by; it is no secret and proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Box<str>);

/// Why a caller's request id is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id has 1 to 128 letters, digits, `.`, `_` or `-`")]
pub struct RequestIdError;

impl RequestId {
    /// The longest that is taken from a caller: room for a UUID or a trace id with a prefix.
    pub const BYTES_MAX: usize = 128;

    /// The header that carries it, both ways.
    pub const HEADER: &'static str = "x-request-id";

    /// Checks a caller's id. Nothing that could break a log line apart gets through.
    ///
    /// # Errors
    /// [`RequestIdError`] for what is not well-formed.
    pub fn parse(text: &str) -> Result<Self, RequestIdError> {
        let is_legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=Self::BYTES_MAX).contains(&text.len()) && text.bytes().all(is_legal) {
            Ok(Self(text.into()))
        } else {
            Err(RequestIdError)
        }
    }

    /// The caller's id where there is a well-formed one, else a new one.
    #[must_use]
    pub fn from_caller(header: Option<&[u8]>) -> Self {
        header
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .and_then(|text| Self::parse(text).ok())
            .unwrap_or_else(Self::generate)
    }

    /// A new id: 32 hex digits, half of them this process's own, half of them counting.
    #[must_use]
    pub fn generate() -> Self {
        static PROCESS: OnceLock<RandomState> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let process = PROCESS.get_or_init(RandomState::new);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let seed = process.build_hasher().finish();
        // The count is hashed only to spread it; the seed beside it keeps processes apart.
        Self(format!("{seed:016x}{:016x}", process.hash_one(count)).into())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_ids_are_taken() {
        for good in [
            "a",
            "0af7651916cd43dd8448eb211c80319c",
            "a-b_c.D9",
            &"a".repeat(128),
        ] {
            assert_eq!(RequestId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a\nb", "a\"b", "ä", "a{}", &"a".repeat(129)] {
            assert_eq!(RequestId::parse(bad), Err(RequestIdError), "{bad}");
            assert_ne!(RequestId::from_caller(Some(bad.as_bytes())).as_str(), bad);
        }
        assert_eq!(RequestId::from_caller(Some(b"abc")).as_str(), "abc");
        assert_eq!(RequestId::from_caller(Some(&[0xff])).as_str().len(), 32);
    }

    #[test]
    fn made_ids_are_well_formed_and_differ() {
        let made: std::collections::HashSet<_> = (0..10_000).map(|_| RequestId::generate()).collect();
        assert_eq!(made.len(), 10_000);
        assert!(made.iter().all(|id| RequestId::parse(id.as_str()).is_ok()));
    }
}
