//! The facts that our attestors state, and the form of each: the one list that both who states a fact and who asks
//! for one go by, so that nobody can ask for what can never be stated.

use crate::{Selector, SelectorError, unit_name};
use core::fmt::Display;

/// A kind of fact about a process, such as `unix:uid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fact {
    kind: &'static str,
    key: &'static str,
    form: Form,
    values: Values,
}

/// How many values of one fact a process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Values {
    One,
    Several,
}

/// What the value of a fact looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// 0 to 4294967295 in decimal digits, without leading zeros.
    Number,
    /// Any text.
    Name,
    /// An absolute path without empty segments, `.` and `..`: as the kernel tells it.
    Path,
    /// 64 lower-case hexadecimal digits.
    Sha256,
    /// The name of a systemd unit that processes run in.
    Unit,
    /// The name of a systemd slice.
    Slice,
}

/// What is wrong with a selector whose kind is one of ours.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactError {
    /// No attestor states anything under this key.
    #[error("`{selector}` can never match: what is known of `{kind}` is {known}")]
    Key {
        /// The whole selector.
        selector: Selector,
        /// Its kind.
        kind: &'static str,
        /// The keys that there are.
        known: String,
    },
    /// The value is not of the form that this fact has.
    #[error("`{selector}` can never match: `{kind}:{key}:` is followed by {expected}")]
    Value {
        /// The whole selector.
        selector: Selector,
        /// Its kind.
        kind: &'static str,
        /// Its key.
        key: &'static str,
        /// The form, in words.
        expected: &'static str,
    },
}

impl Fact {
    /// The user that a process runs as.
    pub const UNIX_UID: Self = Self::new("unix", "uid", Form::Number);
    /// Its primary group.
    pub const UNIX_GID: Self = Self::new("unix", "gid", Form::Number);
    /// The name of its user.
    pub const UNIX_USER: Self = Self::new("unix", "user", Form::Name);
    /// The name of its primary group.
    pub const UNIX_GROUP: Self = Self::new("unix", "group", Form::Name);
    /// One of its further groups.
    pub const UNIX_SUPPLEMENTARY_GID: Self = Self::several("unix", "supplementary_gid", Form::Number);
    /// The name of one of its further groups.
    pub const UNIX_SUPPLEMENTARY_GROUP: Self = Self::several("unix", "supplementary_group", Form::Name);
    /// The executable that it runs.
    pub const UNIX_PATH: Self = Self::new("unix", "path", Form::Path);
    /// What is in that executable.
    pub const UNIX_SHA256: Self = Self::new("unix", "sha256", Form::Sha256);
    /// The unit of the system that it runs in.
    pub const SYSTEMD_UNIT: Self = Self::new("systemd", "unit", Form::Unit);
    /// A slice that this unit lies in.
    pub const SYSTEMD_SLICE: Self = Self::several("systemd", "slice", Form::Slice);
    /// The unit of its user's own manager that it runs in.
    pub const SYSTEMD_USER_UNIT: Self = Self::new("systemd", "user-unit", Form::Unit);

    /// Every fact there is.
    pub const ALL: [Self; 11] = [
        Self::UNIX_UID,
        Self::UNIX_GID,
        Self::UNIX_USER,
        Self::UNIX_GROUP,
        Self::UNIX_SUPPLEMENTARY_GID,
        Self::UNIX_SUPPLEMENTARY_GROUP,
        Self::UNIX_PATH,
        Self::UNIX_SHA256,
        Self::SYSTEMD_UNIT,
        Self::SYSTEMD_SLICE,
        Self::SYSTEMD_USER_UNIT,
    ];

    const fn new(kind: &'static str, key: &'static str, form: Form) -> Self {
        Self {
            kind,
            key,
            form,
            values: Values::One,
        }
    }

    const fn several(kind: &'static str, key: &'static str, form: Form) -> Self {
        Self {
            values: Values::Several,
            ..Self::new(kind, key, form)
        }
    }

    /// The second part of its selectors.
    #[must_use]
    pub const fn key(self) -> &'static str {
        self.key
    }

    /// The first part of its selectors.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        self.kind
    }

    /// Whether a process has one value of it at most.
    #[must_use]
    pub const fn is_single(self) -> bool {
        matches!(self.values, Values::One)
    }

    /// Whether its value may be one segment of a path.
    #[must_use]
    pub const fn may_be_segment(self) -> bool {
        !matches!(self.form, Form::Path)
    }

    /// A regular expression of its selectors, without look-around, for those who describe them: what
    /// [`Fact::check`] takes for this fact, as far as it is a selector.
    #[must_use]
    pub fn pattern(self) -> String {
        format!("^{}:{}:{}$", self.kind, self.key, self.form.pattern())
    }

    /// The longest selector of this fact, in bytes.
    #[must_use]
    pub const fn selector_bytes_max(self) -> usize {
        match self.form {
            Form::Unit | Form::Slice => self.kind.len() + self.key.len() + 2 + unit_name::BYTES_MAX,
            Form::Number | Form::Name | Form::Path | Form::Sha256 => Selector::BYTES_MAX,
        }
    }

    /// Whether one of our attestors states facts of this kind. Other kinds may come from a later version.
    #[must_use]
    pub fn is_kind(kind: &str) -> bool {
        Self::ALL.iter().any(|fact| fact.kind == kind)
    }

    /// The selector that states this fact with `value`. `None` where the value is not of its form or does not fit
    /// into a selector: no entry can ask for it either.
    #[must_use]
    pub fn stated(self, value: impl Display) -> Option<Selector> {
        let selector: Result<Selector, SelectorError> =
            Selector::parse(&format!("{}:{}:{value}", self.kind, self.key));
        selector
            .ok()
            .filter(|selector| Self::check(selector) == Ok(Some(self)))
    }

    /// The fact that `selector` asks for; `None` if its kind is none of ours.
    ///
    /// # Errors
    /// [`FactError`] if no process can ever be found to be so.
    pub fn check(selector: &Selector) -> Result<Option<Self>, FactError> {
        let Some(kind) = Self::ALL.iter().find(|fact| fact.kind == selector.kind()) else {
            return Ok(None);
        };
        let (key, value) = selector.value().split_once(':').unwrap_or((selector.value(), ""));
        let known = Self::ALL.into_iter().filter(|fact| fact.kind == kind.kind);
        let Some(fact) = known.clone().find(|fact| fact.key == key) else {
            let known: Vec<String> = known.map(|fact| format!("`{}`", fact.key)).collect();
            return Err(FactError::Key {
                selector: selector.clone(),
                kind: kind.kind,
                known: known.join(", "),
            });
        };
        if fact.form.holds(value) {
            Ok(Some(fact))
        } else {
            Err(FactError::Value {
                selector: selector.clone(),
                kind: fact.kind,
                key: fact.key,
                expected: fact.form.in_words(),
            })
        }
    }
}

impl Form {
    fn holds(self, value: &str) -> bool {
        match self {
            // What a number is written as is the same number written again: no sign, no leading zero.
            Self::Number => value.parse::<u32>().is_ok_and(|n| n.to_string() == value),
            Self::Name => !value.is_empty(),
            Self::Path => value
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(|segment| !matches!(segment, "" | "." | ".."))),
            Self::Sha256 => {
                value.len() == 64 && value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            }
            Self::Unit => unit_name::is_unit(value),
            Self::Slice => unit_name::is_slice(value),
        }
    }

    /// As [`Form::holds`], without the control characters that no selector has.
    fn pattern(self) -> String {
        let pattern = match self {
            Self::Number => {
                "(?:0|[1-9][0-9]{0,8}|[1-3][0-9]{9}|4[01][0-9]{8}|42[0-8][0-9]{7}|429[0-3][0-9]{6}|4294[0-8][0-9]{5}|\
                 42949[0-5][0-9]{4}|429496[0-6][0-9]{3}|4294967[01][0-9]{2}|42949672[0-8][0-9]|429496729[0-5])"
            }
            Self::Name => r"[^\u0000-\u001f\u007f-\u009f]+",
            // A segment with something but a dot among its first two characters, or with more than two.
            Self::Path => {
                r"(?:/(?:\.?[^./\u0000-\u001f\u007f-\u009f][^/\u0000-\u001f\u007f-\u009f]*|\.\.[^/\u0000-\u001f\u007f-\u009f]+))+"
            }
            Self::Sha256 => "[0-9a-f]{64}",
            Self::Unit => {
                let suffixes = unit_name::WITH_PROCESSES.join("|");
                return format!(r"[0-9a-zA-Z:_.\\-]+(?:@[0-9a-zA-Z:_.\\@-]+)?\.(?:{suffixes})");
            }
            Self::Slice => r"[0-9a-zA-Z:_.\\]+(?:-[0-9a-zA-Z:_.\\]+)*\.slice",
        };
        pattern.to_owned()
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Number => "a number from 0 to 4294967295",
            Self::Name => "a name",
            Self::Path => "a whole path, beginning with `/` and without `//`, `.` and `..`",
            Self::Sha256 => "64 lower-case hexadecimal digits",
            Self::Unit => {
                "a whole unit name that ends in `.service`, `.scope`, `.socket`, `.mount` or `.swap`, escaped as systemd shows it"
            }
            Self::Slice => "a whole slice name that ends in `.slice`, other than the root's",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) -> Result<Option<Fact>, FactError> {
        Fact::check(&Selector::parse(text).unwrap())
    }

    #[test]
    fn what_can_be_stated_can_be_asked_for() {
        let hash = "0123456789abcdef".repeat(4);
        for (text, fact) in [
            ("unix:uid:0", Fact::UNIX_UID),
            ("unix:gid:4294967295", Fact::UNIX_GID),
            ("unix:user:billing", Fact::UNIX_USER),
            ("unix:group:a b:c", Fact::UNIX_GROUP),
            ("unix:supplementary_gid:44", Fact::UNIX_SUPPLEMENTARY_GID),
            ("unix:supplementary_group:video", Fact::UNIX_SUPPLEMENTARY_GROUP),
            ("unix:path:/usr/bin/a:b", Fact::UNIX_PATH),
            (&format!("unix:sha256:{hash}"), Fact::UNIX_SHA256),
            ("systemd:unit:getty@tty1.service", Fact::SYSTEMD_UNIT),
            ("systemd:unit:dbus-:1.2-a.B@0.service", Fact::SYSTEMD_UNIT),
            ("systemd:slice:system-getty.slice", Fact::SYSTEMD_SLICE),
            (
                r"systemd:user-unit:app-org.a\x2db-7.scope",
                Fact::SYSTEMD_USER_UNIT,
            ),
        ] {
            assert_eq!(check(text), Ok(Some(fact)), "{text}");
        }
        assert_eq!(check("k8s:ns:a"), Ok(None), "a later attestor may state it");
    }

    #[test]
    fn what_can_never_match_is_refused() {
        for text in [
            "unix:uid",
            "unix:uid:",
            "unix:uid:01",
            "unix:uid:+1",
            "unix:uid:-1",
            "unix:uid:4294967296",
        ] {
            assert!(
                matches!(check(text), Err(FactError::Value { key: "uid", .. })),
                "{text}"
            );
        }
        for path in ["usr/bin/a", "/", "/a/", "//a", "/a/../b", "/a/./b", ""] {
            let text = format!("unix:path:{path}");
            assert!(
                matches!(check(&text), Err(FactError::Value { key: "path", .. })),
                "{text}"
            );
        }
        let (upper, short) = ("A".repeat(64), "a".repeat(63));
        for hash in [upper.as_str(), short.as_str(), "x"] {
            let text = format!("unix:sha256:{hash}");
            assert!(
                matches!(check(&text), Err(FactError::Value { key: "sha256", .. })),
                "{text}"
            );
        }
        for unit in [
            "unit:nginx",
            "unit:system.slice",
            "unit:getty@.service",
            "slice:-.slice",
            "user-unit:",
        ] {
            let text = format!("systemd:{unit}");
            assert!(matches!(check(&text), Err(FactError::Value { .. })), "{text}");
        }
        let error = check("unix:uuid:1000").unwrap_err();
        assert!(matches!(error, FactError::Key { .. }));
        assert!(error.to_string().contains("`uid`, `gid`"), "{error}");
    }

    proptest! {
        #[test]
        fn a_stated_fact_is_always_accepted_and_is_itself(n in 0..Fact::ALL.len(), text in "\\PC{0,80}", number: u32) {
            let fact = Fact::ALL[n];
            for value in [text, number.to_string(), format!("/opt/{number}"), format!("{number:064x}"), format!("a-{number}.slice"), format!("a@{number}.service")] {
                if let Some(selector) = fact.stated(&value) {
                    prop_assert_eq!(Fact::check(&selector), Ok(Some(fact)));
                    let written = format!("{}:{}:{}", fact.kind, fact.key, value);
                    prop_assert_eq!(selector.as_str(), written);
                }
            }
        }
    }
}
