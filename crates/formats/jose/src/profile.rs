use crate::{ASSERTION_BYTES_MAX, AlgorithmSet, JoseError, TOKEN_BYTES_MAX};
use core::time::Duration;

/// What a token must be to be taken at one place. The only way to read a token is through one.
#[derive(Clone, Debug)]
pub struct Profile {
    pub(crate) kind: TokenKind,
    pub(crate) issuer: IssuerRule,
    pub(crate) audience: AudienceRule,
    pub(crate) algorithms: AlgorithmSet,
    pub(crate) lifetime_max: Option<Duration>,
    pub(crate) leeway: Leeway,
    pub(crate) kid: KidRule,
}

/// The kinds of tokens. Each is told apart by its `typ`, or by an issuer and keys that sign nothing else.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenKind {
    /// An OAuth access token (RFC 9068).
    AccessToken,
    /// A DPoP proof (RFC 9449): the one kind whose key comes in the header.
    DpopProof,
    /// A workload identity token (WIMSE).
    Wit,
    /// A proof of possession for a workload identity token (WIMSE).
    Wpt,
    /// A transaction token.
    TransactionToken,
    /// An identity assertion authorization grant.
    IdentityAssertion,
    /// A security event token (RFC 8417).
    SecurityEvent,
    /// A token status list.
    StatusList,
    /// A signed introspection answer (RFC 9701).
    Introspection,
    /// A client's own assertion (RFC 7523).
    ClientAssertion,
    /// A JWT-SVID: separated from other tokens without `typ` by issuer and keys.
    JwtSvid,
    /// An OpenID Connect ID token of a foreign issuer: likewise separated.
    IdToken,
    /// A JWT of a foreign issuer that says no more than that: likewise separated.
    Jwt,
}

/// What the header's `typ` must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypRule {
    /// This one, byte for byte and without `application/`, as WIT-SVID §2 writes it.
    Verbatim(&'static str),
    /// This one.
    Exactly(&'static str),
    /// This one, or `JWT`, or none at all.
    ExactlyOrGeneric(&'static str),
    /// `JWT`, or none at all.
    Generic,
    /// `JWT`, `JOSE`, or none at all (JWT-SVID §2.3).
    Svid,
}

impl TokenKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::AccessToken,
        Self::DpopProof,
        Self::Wit,
        Self::Wpt,
        Self::TransactionToken,
        Self::IdentityAssertion,
        Self::SecurityEvent,
        Self::StatusList,
        Self::Introspection,
        Self::ClientAssertion,
        Self::JwtSvid,
        Self::IdToken,
        Self::Jwt,
    ];

    /// What its `typ` must be.
    #[must_use]
    pub const fn typ(self) -> TypRule {
        match self {
            Self::AccessToken => TypRule::Exactly("at+jwt"),
            Self::DpopProof => TypRule::Exactly("dpop+jwt"),
            Self::Wit => TypRule::Verbatim("wit+jwt"),
            Self::Wpt => TypRule::Exactly("wpt+jwt"),
            Self::TransactionToken => TypRule::Exactly("txntoken+jwt"),
            Self::IdentityAssertion => TypRule::Exactly("oauth-id-jag+jwt"),
            Self::SecurityEvent => TypRule::Exactly("secevent+jwt"),
            Self::StatusList => TypRule::Exactly("statuslist+jwt"),
            Self::Introspection => TypRule::Exactly("token-introspection+jwt"),
            Self::ClientAssertion => TypRule::ExactlyOrGeneric("client-authentication+jwt"),
            Self::JwtSvid => TypRule::Svid,
            Self::IdToken | Self::Jwt => TypRule::Generic,
        }
    }

    const fn bytes_max(self) -> usize {
        match self {
            Self::ClientAssertion | Self::IdentityAssertion => ASSERTION_BYTES_MAX,
            _ => TOKEN_BYTES_MAX,
        }
    }
}

impl TypRule {
    /// Compares after taking off one leading `application/`, without regard to case (RFC 7515 §4.1.9), unless the rule
    /// is [`TypRule::Verbatim`].
    pub(crate) fn takes(self, typ: Option<&str>) -> bool {
        let bare = typ.map(|typ| match typ.split_at_checked("application/".len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
            _ => typ,
        });
        let is = |wanted: &str| bare.is_some_and(|bare| bare.eq_ignore_ascii_case(wanted));
        match self {
            Self::Verbatim(wanted) => typ == Some(wanted),
            Self::Exactly(wanted) => is(wanted),
            Self::ExactlyOrGeneric(wanted) => typ.is_none() || is(wanted) || is("JWT"),
            Self::Generic => typ.is_none() || is("JWT"),
            Self::Svid => typ.is_none() || is("JWT") || is("JOSE"),
        }
    }
}

/// Whose tokens are taken. Compared byte for byte (token-J9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerRule {
    /// This issuer's.
    Exactly(String),
    /// The [`crate::KeyResolver`] finds keys by something else, as a SPIFFE bundle is found by the subject's trust
    /// domain. `iss` is not looked at.
    ByKeys,
}

/// Whom a token must be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudienceRule {
    /// This audience must be among the token's.
    Contains(String),
    /// This audience must be the token's only one.
    Only(String),
    /// The token must not have an audience, as a WIT must not.
    Absent,
    /// This kind of token is bound to its receiver by something else, as a DPoP proof is by `htu`.
    NotUsed,
}

/// Whether the header must name its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KidRule {
    /// It must.
    Required,
    /// It may leave the key unnamed where the issuer has a single candidate: client assertions and foreign issuers.
    SoleKeyAllowed,
}

/// How far clocks may differ: 60 seconds at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leeway(Duration);

impl Leeway {
    /// No difference.
    pub const NONE: Self = Self(Duration::ZERO);
    /// For tokens that we issued.
    pub const OURS: Self = Self(Duration::from_secs(5));
    /// For tokens of others.
    pub const FOREIGN: Self = Self(Duration::from_secs(30));
    /// The most.
    pub const MAX: Self = Self(Duration::from_secs(60));

    /// This much.
    ///
    /// # Errors
    /// [`JoseError::Leeway`] above 60 seconds.
    pub fn new(leeway: Duration) -> Result<Self, JoseError> {
        if leeway > Self::MAX.0 {
            return Err(JoseError::Leeway {
                leeway_s: leeway.as_secs(),
            });
        }
        Ok(Self(leeway))
    }

    /// The difference.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl Profile {
    /// Tokens of `kind` by `issuer` for `audience`, with the default algorithms (the nine of JWT-SVID for that kind),
    /// our own tokens' leeway, a `kid` required (save for a DPoP proof, whose key comes with it), and no bound on the
    /// life.
    #[must_use]
    pub fn new(kind: TokenKind, issuer: IssuerRule, audience: AudienceRule) -> Self {
        let algorithms = match kind {
            TokenKind::JwtSvid | TokenKind::Wit => AlgorithmSet::SVID,
            _ => AlgorithmSet::DEFAULT,
        };
        let kid = match kind {
            TokenKind::DpopProof => KidRule::SoleKeyAllowed,
            _ => KidRule::Required,
        };
        Self {
            kind,
            issuer,
            audience,
            algorithms,
            lifetime_max: None,
            leeway: Leeway::OURS,
            kid,
        }
    }

    /// WIT-SVIDs (WIT-SVID §2, §3): the nine algorithms, `kid` required, no audience, keys of the subject's bundle.
    ///
    /// What comes out is not an identity yet: whoever sent the token has still to prove its [`crate::Confirmation`].
    #[must_use]
    pub fn wit_svid() -> Self {
        Self::new(TokenKind::Wit, IssuerRule::ByKeys, AudienceRule::Absent)
    }

    /// Takes exactly these algorithms.
    #[must_use]
    pub fn algorithms(mut self, algorithms: AlgorithmSet) -> Self {
        self.algorithms = algorithms;
        self
    }

    /// Takes tokens with at most this long between `iat` and `exp`; `iat` is then required.
    #[must_use]
    pub fn lifetime_max(mut self, lifetime: Duration) -> Self {
        self.lifetime_max = Some(lifetime);
        self
    }

    /// Gives this leeway.
    #[must_use]
    pub fn leeway(mut self, leeway: Leeway) -> Self {
        self.leeway = leeway;
        self
    }

    /// Takes a header without `kid` as `rule` says.
    #[must_use]
    pub fn kid(mut self, rule: KidRule) -> Self {
        self.kid = rule;
        self
    }

    /// The kind of token that it takes.
    #[must_use]
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.kind.bytes_max()
    }

    pub(crate) fn takes_header_jwk(&self) -> bool {
        self.kind == TokenKind::DpopProof
    }
}
