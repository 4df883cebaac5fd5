use crate::TrustError;
use signet_id::TrustDomain;
use signet_jose::Jwk;
use signet_x509::{Certificate, Der};
use std::collections::BTreeSet;
use std::time::Duration;

/// What is trusted for one trust domain, at one time (SPIFFE Trust Domain and Bundle §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    trust_domain: TrustDomain,
    sequence: u64,
    refresh_hint: Option<Duration>,
    x509: Vec<X509Authority>,
    jwt: Vec<JwtAuthority>,
    wit: Vec<WitAuthority>,
}

/// A certificate that X.509-SVIDs of the domain may chain up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Authority {
    /// The certificate.
    pub certificate: Der,
    /// Whether it is no longer to be believed, though still listed.
    pub tainted: bool,
}

/// A key that JWT-SVIDs of the domain may be signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtAuthority {
    /// Its name, unique in the bundle.
    pub kid: String,
    /// The key.
    pub jwk: Jwk,
    /// Whether it is no longer to be believed, though still listed.
    pub tainted: bool,
}

/// A key that WIT-SVIDs of the domain may be signed with. A type of its own, so that it never stands where a
/// [`JwtAuthority`] is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitAuthority {
    /// Its name, unique in the bundle: no JWT authority has it either (WIT-SVID §6.1).
    pub kid: String,
    /// The key.
    pub jwk: Jwk,
    /// Whether it is no longer to be believed, though still listed.
    pub tainted: bool,
}

impl Bundle {
    /// The longest bundle document that is read.
    pub const BYTES_MAX: usize = 4 << 20;

    /// The most keys that a bundle may have, of all kinds.
    pub const KEYS_MAX: usize = 1_000;

    /// The most bundles that a map may have.
    pub const MAP_MAX: usize = 1_000;

    /// A bundle of these authorities, and of no WIT authorities: those come with [`Bundle::with_wit`].
    ///
    /// # Errors
    /// [`TrustError::ManyKeys`], [`TrustError::SameKid`], [`TrustError::NoKid`] for an empty `kid`.
    pub fn new(
        trust_domain: TrustDomain,
        sequence: u64,
        refresh_hint: Option<Duration>,
        x509: Vec<X509Authority>,
        jwt: Vec<JwtAuthority>,
    ) -> Result<Self, TrustError> {
        let bundle = Self {
            trust_domain,
            sequence,
            refresh_hint,
            x509,
            jwt,
            wit: Vec::new(),
        };
        bundle.check()?;
        Ok(bundle)
    }

    /// The same bundle with exactly these WIT authorities.
    ///
    /// # Errors
    /// As [`Bundle::new`]; a `kid` must be unique among JWT and WIT authorities together (WIT-SVID §6.1).
    pub fn with_wit(mut self, wit: Vec<WitAuthority>) -> Result<Self, TrustError> {
        self.wit = wit;
        self.check()?;
        Ok(self)
    }

    /// Bound and names of the keys.
    fn check(&self) -> Result<(), TrustError> {
        let count = self.x509.len() + self.jwt.len() + self.wit.len();
        if count > Self::KEYS_MAX {
            return Err(TrustError::ManyKeys {
                count,
                max: Self::KEYS_MAX,
            });
        }
        let jwt = self.jwt.iter().map(|key| &key.kid);
        let kids = jwt.chain(self.wit.iter().map(|key| &key.kid));
        let mut seen = BTreeSet::new();
        for (index, kid) in kids.enumerate() {
            if kid.is_empty() {
                return Err(TrustError::NoKid { index });
            }
            if !seen.insert(kid.as_str()) {
                return Err(TrustError::SameKid { kid: kid.clone() });
            }
        }
        Ok(())
    }

    /// A bundle that trusts nothing: every SVID of the domain is refused.
    #[must_use]
    pub fn empty(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            sequence: 0,
            refresh_hint: None,
            x509: Vec::new(),
            jwt: Vec::new(),
            wit: Vec::new(),
        }
    }

    /// Whose bundle it is.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its number; it rises with every change. 0 where the publisher gave none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How long the publisher would have one wait before looking again.
    #[must_use]
    pub fn refresh_hint(&self) -> Option<Duration> {
        self.refresh_hint
    }

    pub(crate) fn forget_hint(&mut self) {
        self.refresh_hint = None;
    }

    /// Whether this may take the place of `current`: it is of the same domain and not older (§4.1.1, Federation §4.2).
    ///
    /// A publisher that gives no sequence says nothing about age, so what it gives last stands.
    #[must_use]
    pub fn may_replace(&self, current: &Self) -> bool {
        self.trust_domain == current.trust_domain && (self.sequence == 0 || self.sequence >= current.sequence)
    }

    /// The X.509 authorities, tainted ones included: also tainted intermediates, which are listed only so that what
    /// they signed is refused.
    #[must_use]
    pub fn x509(&self) -> &[X509Authority] {
        &self.x509
    }

    /// The JWT authorities, tainted ones included.
    #[must_use]
    pub fn jwt(&self) -> &[JwtAuthority] {
        &self.jwt
    }

    /// The WIT authorities, tainted ones included.
    #[must_use]
    pub fn wit(&self) -> &[WitAuthority] {
        &self.wit
    }

    /// The JWT authority named `kid`, unless it is tainted.
    #[must_use]
    pub fn jwt_key(&self, kid: &str) -> Option<&JwtAuthority> {
        self.jwt.iter().find(|key| key.kid == kid && !key.tainted)
    }

    /// The X.509 authorities' certificates one after the other in DER: the form of the Workload API (§5.2.1).
    #[must_use]
    pub fn x509_concat_der(&self) -> Vec<u8> {
        self.anchors()
            .flat_map(|authority| authority.certificate.as_ref())
            .copied()
            .collect()
    }

    /// The X.509 authorities that may stand in a document for readers who know no taint: to them a tainted
    /// intermediate would be one more root.
    pub fn anchors(&self) -> impl Iterator<Item = &X509Authority> {
        let is_root = |der| Certificate::parse(der).is_ok_and(|certificate| certificate.is_self_issued());
        self.x509
            .iter()
            .filter(move |authority| !authority.tainted || is_root(&authority.certificate))
    }
}
