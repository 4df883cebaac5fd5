use crate::{KeyRing, KeysError, Purpose};
use signet_jose::{Jwk, JwkParams};
use signet_trust::{Bundle, JwtAuthority, WitAuthority, X509Authority};

impl KeyRing {
    /// The bundle of the own trust domain: every root and key for tokens that is prepared, active or draining, and the
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
        let jwt = self
            .jwks(Purpose::JwtSvid)
            .map(|(kid, jwk, tainted)| {
                Ok(JwtAuthority {
                    kid,
                    jwk: jwk?,
                    tainted,
                })
            })
            .collect::<Result<_, _>>()?;
        let wit = self
            .jwks(Purpose::WitSvid)
            .map(|(kid, jwk, tainted)| {
                Ok(WitAuthority {
                    kid,
                    jwk: jwk?,
                    tainted,
                })
            })
            .collect::<Result<_, _>>()?;
        let domain = self.trust_domain().clone();
        Bundle::new(domain, self.sequence().0, self.refresh_hint(), x509, jwt)
            .and_then(|bundle| bundle.with_wit(wit))
            .map_err(|e| KeysError::Publish {
                kid: "bundle".to_owned(),
                why: e.to_string(),
            })
    }

    /// The published keys of a purpose that signs tokens: name, key and taint of each. What a JWK says of its use is
    /// the purpose's own name (JWT-SVID §6.1, WIT-SVID §6.1).
    fn jwks(&self, purpose: Purpose) -> impl Iterator<Item = (String, Result<Jwk, KeysError>, bool)> {
        self.published(purpose).map(move |key| {
            let kid = key.kid().to_owned();
            let params = JwkParams {
                kid: Some(kid.clone()),
                alg: Some(key.jws_algorithm()),
                use_: Some(purpose.as_str().to_owned()),
            };
            let jwk = Jwk::from_public_key(key.public_key(), params).map_err(|e| KeysError::Publish {
                kid: kid.clone(),
                why: e.to_string(),
            });
            (kid, jwk, key.is_tainted())
        })
    }
}
