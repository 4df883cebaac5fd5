use crate::{KeyRing, KeysError, Purpose};
use signet_jose::{Jwk, JwkParams};
use signet_trust::{Bundle, JwtAuthority, X509Authority};

/// What a JWK for JWT-SVIDs says of its use (JWT-SVID §6.1).
const USE: &str = "jwt-svid";

impl KeyRing {
    /// The bundle of the own trust domain: every root and JWT key that is prepared, active or draining, and the
    /// intermediates that were called off, as tainted.
    ///
    /// # Errors
    /// [`KeysError::Publish`].
    pub fn bundle(&self) -> Result<Bundle, KeysError> {
        // Intermediates travel with what they signed; only that one was called off must be told, and for as long as the
        // ring remembers it, which is past its end.
        let called_off = self.of(Purpose::X509Svid).filter(|key| key.is_tainted());
        let x509 = self
            .published(Purpose::X509Root)
            .chain(called_off)
            .filter_map(|key| {
                Some(X509Authority {
                    certificate: key.certificate()?.clone(),
                    tainted: key.is_tainted(),
                })
            })
            .collect();
        let mut jwt = Vec::new();
        for key in self.published(Purpose::JwtSvid) {
            let refuse = |e: &dyn core::fmt::Display| KeysError::Publish {
                kid: key.kid().to_owned(),
                why: e.to_string(),
            };
            let params = JwkParams {
                kid: Some(key.kid().to_owned()),
                alg: Some(key.jws_algorithm()),
                use_: Some(USE.to_owned()),
            };
            jwt.push(JwtAuthority {
                kid: key.kid().to_owned(),
                jwk: Jwk::from_public_key(key.public_key(), params).map_err(|e| refuse(&e))?,
                tainted: key.is_tainted(),
            });
        }
        let domain = self.trust_domain().clone();
        Bundle::new(domain, self.sequence().0, self.refresh_hint(), x509, jwt).map_err(|e| {
            KeysError::Publish {
                kid: "bundle".to_owned(),
                why: e.to_string(),
            }
        })
    }
}
