use core::fmt;
use signet_fault::{Coded, remedy_of};
use std::borrow::Cow;
use std::sync::Arc;

/// One fact about a workload as an attestor states it: `unix:uid:1000` has the kind `unix` and the value `uid:1000`.
///
/// Compared byte for byte. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(Arc<str>);

/// Why a selector was refused.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Not `KIND:VALUE`, or the kind has a byte outside `[a-z0-9_-]`, or a control character stands in the value.
    #[error("`{text}` is not a selector")]
    Form {
        /// What was written, cut to 64 characters.
        text: String,
    },
    /// Longer than [`Selector::BYTES_MAX`].
    #[error("a selector has at most 1024 bytes, this one has {bytes}")]
    Length {
        /// Its length.
        bytes: usize,
    },
}

impl Coded for SelectorError {
    fn code(&self) -> &'static str {
        match self {
            Self::Form { .. } => "SGID007",
            Self::Length { .. } => "SGID008",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(crate::REGISTER, self.code())
    }
}

impl Selector {
    /// The longest selector that is accepted.
    pub const BYTES_MAX: usize = 1024;

    /// Reads `KIND:VALUE`.
    ///
    /// # Errors
    /// [`SelectorError::Form`] without both parts or with bytes that they may not hold, [`SelectorError::Length`]
    /// beyond [`Selector::BYTES_MAX`].
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > Self::BYTES_MAX {
            return Err(SelectorError::Length { bytes: text.len() });
        }
        let form = || SelectorError::Form {
            text: signet_fault::shown(text, 64),
        };
        let (kind, value) = text.split_once(':').ok_or_else(form)?;
        let kind_allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if kind.is_empty()
            || !kind.bytes().all(kind_allowed)
            || value.is_empty()
            || value.chars().any(char::is_control)
        {
            return Err(form());
        }
        Ok(Self(text.into()))
    }

    /// The attestor that states it: the part before the first colon.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or("", |(kind, _)| kind)
    }

    /// What it states: the part behind the first colon.
    #[must_use]
    pub fn value(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, value)| value)
    }

    /// The whole selector.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::str::FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

impl serde::Serialize for Selector {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Selector {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_selector_has_a_kind_and_a_value() {
        let selector = Selector::parse("unix:path:/usr/bin/a:b").unwrap();
        assert_eq!((selector.kind(), selector.value()), ("unix", "path:/usr/bin/a:b"));
        for bad in ["", "unix", ":x", "unix:", "Unix:uid:1", "un ix:a", "unix:a\nb"] {
            assert!(
                matches!(Selector::parse(bad), Err(SelectorError::Form { .. })),
                "{bad}"
            );
        }
        assert_eq!(
            Selector::parse(&format!("a:{}", "b".repeat(1023))),
            Err(SelectorError::Length { bytes: 1025 })
        );
    }

    proptest! {
        #[test]
        fn no_input_panics_and_what_parses_is_unchanged(text in "\\PC{0,40}") {
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert_eq!(selector.as_str(), &text);
            }
        }
    }
}
