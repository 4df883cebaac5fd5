use crate::{IdError, TrustDomain};
use core::fmt;
use core::hash::{Hash, Hasher};

pub(crate) const SCHEME: &str = "spiffe://";

/// A SPIFFE ID in canonical form: `spiffe://TRUST-DOMAIN` and, unless it names the domain itself, a path.
#[derive(Clone)]
pub struct SpiffeId {
    text: Box<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// The longest ID that is accepted or emitted (SPIFFE-ID §2.3).
    pub const BYTES_MAX: usize = 2048;

    /// Reads an ID.
    ///
    /// # Errors
    /// One variant of [`IdError`] for each rule of SPIFFE-ID §2.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.len() > Self::BYTES_MAX {
            return Err(IdError::Length { bytes: text.len() });
        }
        let rest = text.strip_prefix(SCHEME).ok_or(IdError::Scheme)?;
        let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let trust_domain = TrustDomain::parse(name)?;
        check_path(path)?;
        Ok(Self {
            text: text.into(),
            trust_domain,
        })
    }

    /// The ID with the path `path` (`/a/b`, or empty) in `trust_domain`.
    ///
    /// # Errors
    /// As [`SpiffeId::parse`]; a path that does not begin with a slash is [`IdError::PathSegment`].
    pub fn new(trust_domain: &TrustDomain, path: &str) -> Result<Self, IdError> {
        if !path.is_empty() && !path.starts_with('/') {
            return Err(IdError::PathSegment { index: 0 });
        }
        Self::parse(&format!("{SCHEME}{trust_domain}{path}"))
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading slash; empty where the ID names the trust domain itself.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text
            .get(SCHEME.len() + self.trust_domain.as_str().len()..)
            .unwrap_or_default()
    }

    /// The segments of the path.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path().split('/').skip(1)
    }

    /// Whether the ID has a path. One without names a trust domain and may not be a workload's (X509-SVID §3.1).
    #[must_use]
    pub fn has_path(&self) -> bool {
        !self.path().is_empty()
    }

    /// Whether the ID lies below `/signet/`, which is kept for our own processes.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.segments().next() == Some("signet")
    }

    /// The whole ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whether `segment` may stand in a path (SPIFFE-ID §2.2).
pub(crate) fn check_segment(index: usize, segment: &str, offset: usize) -> Result<(), IdError> {
    if matches!(segment, "" | "." | "..") {
        return Err(IdError::PathSegment { index });
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match segment.bytes().enumerate().find(|(_, b)| !allowed(*b)) {
        Some((at, byte)) => Err(IdError::PathByte {
            offset: offset + at,
            byte,
        }),
        None => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), IdError> {
    let mut offset = 1;
    for (index, segment) in path.split('/').skip(1).enumerate() {
        check_segment(index, segment, offset)?;
        offset += segment.len() + 1;
    }
    Ok(())
}

impl SpiffeId {
    /// Whether `segment` is one legal path segment (SPIFFE-ID §2.2).
    #[must_use]
    pub fn is_segment(segment: &str) -> bool {
        check_segment(0, segment, 0).is_ok()
    }
}

impl PartialEq for SpiffeId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SpiffeId {}

impl Hash for SpiffeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for SpiffeId {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SpiffeId {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl core::str::FromStr for SpiffeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl serde::Serialize for SpiffeId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for SpiffeId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> IdError {
        SpiffeId::parse(text).expect_err(text)
    }

    #[test]
    fn spiffe_1_the_scheme_is_spiffe_without_query_or_fragment() {
        for text in [
            "http://td/a",
            "",
            "spiffe:",
            "spiffe:/td/a",
            "SPIFFE://td/a",
            " spiffe://td/a",
        ] {
            assert_eq!(error(text), IdError::Scheme, "{text}");
        }
        assert_eq!(error("spiffe://"), IdError::TrustDomainLength { bytes: 0 });
        assert_eq!(error("spiffe:///p"), IdError::TrustDomainLength { bytes: 0 });
        assert_eq!(
            error("spiffe://td/a?x"),
            IdError::PathByte {
                offset: 2,
                byte: b'?'
            }
        );
        assert_eq!(
            error("spiffe://td/a#f"),
            IdError::PathByte {
                offset: 2,
                byte: b'#'
            }
        );
        assert_eq!(
            error("spiffe://td?x"),
            IdError::TrustDomainByte {
                offset: 2,
                byte: b'?'
            }
        );
    }

    #[test]
    fn spiffe_2_trust_domains_hold_lower_case_letters_digits_dots_dashes_underscores() {
        for text in [
            "spiffe://Td/a",
            "spiffe://t%64/a",
            "spiffe://td:80/a",
            "spiffe://u@td/a",
            "spiffe://[::1]/a",
            "spiffe://tü/a",
        ] {
            assert!(matches!(error(text), IdError::TrustDomainByte { .. }), "{text}");
        }
        for text in [
            "spiffe://127.0.0.1/a",
            "spiffe://-/a",
            "spiffe://a..b/a",
            "spiffe://_x_/a",
            "spiffe://.",
            "spiffe://0",
        ] {
            assert!(SpiffeId::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn spiffe_3_path_segments_hold_letters_digits_dots_dashes_underscores() {
        for text in [
            "spiffe://td//",
            "spiffe://td/",
            "spiffe://td/a/",
            "spiffe://td/a//b",
            "spiffe://td/.",
            "spiffe://td/a/..",
            "spiffe://td/./a",
        ] {
            assert!(matches!(error(text), IdError::PathSegment { .. }), "{text}");
        }
        for text in [
            "spiffe://td/%41",
            "spiffe://td/ü",
            "spiffe://td/a b",
            "spiffe://td/a:b",
            "spiffe://td/a\0",
        ] {
            assert!(matches!(error(text), IdError::PathByte { .. }), "{text}");
        }
        for text in [
            "spiffe://td/...",
            "spiffe://td/.a",
            "spiffe://td/a..b",
            "spiffe://td/A-b_C.9",
        ] {
            assert!(SpiffeId::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn spiffe_4_ids_end_at_2048_bytes_and_trust_domains_at_255() {
        let id = |bytes: usize| format!("spiffe://td/{}", "a".repeat(bytes - 12));
        assert!(SpiffeId::parse(&id(2048)).is_ok());
        assert_eq!(error(&id(2049)), IdError::Length { bytes: 2049 });
        assert!(SpiffeId::parse(&format!("spiffe://{}/a", "t".repeat(255))).is_ok());
        assert_eq!(
            error(&format!("spiffe://{}/a", "t".repeat(256))),
            IdError::TrustDomainLength { bytes: 256 }
        );
        let td = TrustDomain::parse("td").unwrap();
        assert_eq!(
            SpiffeId::new(&td, &format!("/{}", "a".repeat(2048))),
            Err(IdError::Length { bytes: 2060 })
        );
    }

    #[test]
    fn spiffe_5_upper_case_is_refused_in_the_domain_and_kept_in_the_path() {
        assert!(matches!(
            error("spiffe://TD/a"),
            IdError::TrustDomainByte {
                offset: 0,
                byte: b'T'
            }
        ));
        let (lower, upper) = (
            SpiffeId::parse("spiffe://td/a").unwrap(),
            SpiffeId::parse("spiffe://td/A").unwrap(),
        );
        assert_ne!(lower, upper);
        assert_eq!(upper.as_str(), "spiffe://td/A");
    }

    #[test]
    fn parts_of_an_id() {
        let id = SpiffeId::parse("spiffe://td/a/b").unwrap();
        assert_eq!((id.path(), id.has_path()), ("/a/b", true));
        assert_eq!(id.segments().collect::<Vec<_>>(), ["a", "b"]);
        let domain = SpiffeId::parse("spiffe://td").unwrap();
        assert_eq!(
            (domain.path(), domain.has_path(), domain.segments().count()),
            ("", false, 0)
        );
        assert!(
            SpiffeId::parse("spiffe://td/signet/node/x")
                .unwrap()
                .is_reserved()
        );
        assert!(!SpiffeId::parse("spiffe://td/signets").unwrap().is_reserved());
        assert_eq!(
            SpiffeId::new(id.trust_domain(), "a"),
            Err(IdError::PathSegment { index: 0 })
        );
        assert_eq!(SpiffeId::new(id.trust_domain(), "").unwrap(), domain);
    }

    proptest! {
        #[test]
        fn what_parses_is_written_back_unchanged(text in "spiffe://[a-z0-9._-]{1,20}(/[A-Za-z0-9_-]{1,9}){0,4}") {
            let id = SpiffeId::parse(&text).unwrap();
            prop_assert_eq!(id.as_str(), &text);
            prop_assert_eq!(SpiffeId::new(id.trust_domain(), id.path()).unwrap(), id);
        }

        #[test]
        fn no_input_panics(text in "\\PC{0,60}", tail in any::<Vec<u8>>()) {
            let _ = SpiffeId::parse(&text);
            let _ = SpiffeId::parse(&format!("spiffe://{text}"));
            let _ = SpiffeId::parse(&String::from_utf8_lossy(&tail));
        }
    }
}
