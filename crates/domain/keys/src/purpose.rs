use crate::records;
use core::fmt;

/// What a key signs. Each purpose has keys of its own: no key signs two kinds of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Intermediates. Published in the bundle as certificate.
    X509Root,
    /// X.509-SVIDs; an intermediate. Travels with what it signed, so it is not published.
    X509Svid,
    /// JWT-SVIDs. Published in the bundle as JWK.
    JwtSvid,
    /// WIT-SVIDs. Published in the bundle as JWK, for that use alone.
    WitSvid,
}

impl Purpose {
    /// All of them. Roots come first: the others may need one.
    pub const ALL: [Self; 4] = [Self::X509Root, Self::X509Svid, Self::JwtSvid, Self::WitSvid];

    /// The name that users see, and that sealed keys are bound to.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X509Root => "x509-root",
            Self::X509Svid => "x509-svid",
            Self::JwtSvid => "jwt-svid",
            Self::WitSvid => "wit-svid",
        }
    }

    /// Whether verifiers must know the key beforehand.
    pub(crate) const fn is_published(self) -> bool {
        match self {
            Self::X509Root | Self::JwtSvid | Self::WitSvid => true,
            Self::X509Svid => false,
        }
    }

    /// Whether the key goes with a certificate; the others sign tokens.
    pub(crate) const fn has_certificate(self) -> bool {
        match self {
            Self::X509Root | Self::X509Svid => true,
            Self::JwtSvid | Self::WitSvid => false,
        }
    }

    pub(crate) const fn to_record(self) -> records::Purpose {
        match self {
            Self::X509Root => records::Purpose::X509Root,
            Self::X509Svid => records::Purpose::X509Svid,
            Self::JwtSvid => records::Purpose::JwtSvid,
            Self::WitSvid => records::Purpose::WitSvid,
        }
    }

    pub(crate) const fn from_record(purpose: records::Purpose) -> Option<Self> {
        match purpose {
            records::Purpose::Unspecified => None,
            records::Purpose::X509Root => Some(Self::X509Root),
            records::Purpose::X509Svid => Some(Self::X509Svid),
            records::Purpose::JwtSvid => Some(Self::JwtSvid),
            records::Purpose::WitSvid => Some(Self::WitSvid),
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What may be done with a key. States only ever move down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyState {
    /// Published, unused.
    Prepared,
    /// Signs.
    Active,
    /// Accepted, unused.
    Draining,
    /// Neither: the private key is gone.
    Retired,
}

impl KeyState {
    /// Every state, in the order in which a key passes through them.
    pub const ALL: [Self; 4] = [Self::Prepared, Self::Active, Self::Draining, Self::Retired];

    /// The name that users see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Retired => "retired",
        }
    }

    pub(crate) const fn to_record(self) -> records::State {
        match self {
            Self::Prepared => records::State::Prepared,
            Self::Active => records::State::Active,
            Self::Draining => records::State::Draining,
            Self::Retired => records::State::Retired,
        }
    }

    pub(crate) const fn from_record(state: records::State) -> Option<Self> {
        match state {
            records::State::Unspecified => None,
            records::State::Prepared => Some(Self::Prepared),
            records::State::Active => Some(Self::Active),
            records::State::Draining => Some(Self::Draining),
            records::State::Retired => Some(Self::Retired),
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
