use crate::error::bounded;
use crate::limits::{CERTIFICATE_BYTES_MAX, JWK_BYTES_MAX};
use crate::{Capabilities, Capability, FeedError};
use bytes::Bytes;
use core::time::Duration;
use signet_id::TrustDomain;
use signet_jose::Jwk;
use signet_proto::agent::v1;
use signet_trust::{Bundle, JwtAuthority, WitAuthority, X509Authority};
use signet_x509::Certificate;

/// A bundle with what a side that named `capabilities` knows of. `own` marks that of the server's own domain.
#[must_use]
pub fn bundle_for(bundle: &Bundle, own: bool, capabilities: Capabilities) -> v1::Bundle {
    let mut message = bundle_to_proto(bundle, own);
    if !capabilities.has(Capability::WitSvid) {
        message.wit.clear();
    }
    message
}

/// A whole bundle in the form in which it goes over the wire. `own` marks that of the server's own domain.
#[must_use]
pub fn bundle_to_proto(bundle: &Bundle, own: bool) -> v1::Bundle {
    v1::Bundle {
        trust_domain: bundle.trust_domain().to_string(),
        sequence: bundle.sequence(),
        refresh_hint_s: bundle.refresh_hint().map_or(0, |hint| hint.as_secs()),
        x509: bundle
            .x509()
            .iter()
            .map(|authority| v1::X509Authority {
                certificate: Bytes::copy_from_slice(&authority.certificate),
                tainted: authority.tainted,
            })
            .collect(),
        jwt: bundle
            .jwt()
            .iter()
            .map(|authority| v1::JwtAuthority {
                kid: authority.kid.clone(),
                jwk: authority.jwk.to_value().to_string(),
                tainted: authority.tainted,
            })
            .collect(),
        own,
        wit: bundle
            .wit()
            .iter()
            .map(|authority| v1::WitAuthority {
                kid: authority.kid.clone(),
                jwk: authority.jwk.to_value().to_string(),
                tainted: authority.tainted,
            })
            .collect(),
    }
}

/// Reads a bundle. Everything in it must be usable: a peer of ours sends nothing that is not.
///
/// # Errors
/// [`FeedError`] says which member is wrong.
pub fn bundle_from_proto(bundle: &v1::Bundle) -> Result<Bundle, FeedError> {
    let trust_domain = TrustDomain::parse(&bundle.trust_domain).map_err(|source| FeedError::Id {
        what: "a bundle's trust domain",
        source,
    })?;
    bounded(
        "keys of a bundle",
        bundle.x509.len() + bundle.jwt.len() + bundle.wit.len(),
        Bundle::KEYS_MAX,
    )?;
    let x509 = bundle
        .x509
        .iter()
        .map(|authority| read_x509(authority, &trust_domain))
        .collect::<Result<_, _>>()?;
    let jwt = bundle
        .jwt
        .iter()
        .map(|authority| {
            Ok(JwtAuthority {
                jwk: read_jwk(&authority.kid, &authority.jwk, &trust_domain)?,
                kid: authority.kid.clone(),
                tainted: authority.tainted,
            })
        })
        .collect::<Result<_, _>>()?;
    let wit = bundle
        .wit
        .iter()
        .map(|authority| {
            Ok(WitAuthority {
                jwk: read_jwk(&authority.kid, &authority.jwk, &trust_domain)?,
                kid: authority.kid.clone(),
                tainted: authority.tainted,
            })
        })
        .collect::<Result<_, _>>()?;
    let hint = (bundle.refresh_hint_s != 0).then(|| Duration::from_secs(bundle.refresh_hint_s));
    Bundle::new(trust_domain, bundle.sequence, hint, x509, jwt)
        .and_then(|bundle| bundle.with_wit(wit))
        .map_err(FeedError::Bundle)
}

fn read_x509(authority: &v1::X509Authority, trust_domain: &TrustDomain) -> Result<X509Authority, FeedError> {
    bounded(
        "bytes of a certificate",
        authority.certificate.len(),
        CERTIFICATE_BYTES_MAX,
    )?;
    let certificate =
        Certificate::parse(&authority.certificate).map_err(|source| FeedError::Certificate {
            trust_domain: trust_domain.clone(),
            source,
        })?;
    if !certificate.is_ca() {
        return Err(FeedError::NotAnAuthority {
            trust_domain: trust_domain.clone(),
        });
    }
    Ok(X509Authority {
        certificate: certificate.der().clone(),
        tainted: authority.tainted,
    })
}

fn read_jwk(kid: &str, jwk: &str, trust_domain: &TrustDomain) -> Result<Jwk, FeedError> {
    bounded("bytes of a key", jwk.len(), JWK_BYTES_MAX)?;
    let jwk = Jwk::parse_text(jwk.as_bytes()).map_err(|source| FeedError::Key {
        trust_domain: trust_domain.clone(),
        source,
    })?;
    // The name outside is what tokens are matched by; two names for one key would be two answers.
    if jwk.kid() != Some(kid) {
        return Err(FeedError::Malformed { what: "a key's kid" });
    }
    Ok(jwk)
}
