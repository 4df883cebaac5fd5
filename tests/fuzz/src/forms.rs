//! Readers of forms: IDs, times, JSON, keys, bundles, certificates.

use crate::laws::{comes_back, is_fit_to_print, text};
use signet_crypto::{LocalKey, PublicKey};
use signet_id::{IdPattern, IdTemplate, Selector, SpiffeId, TemplateFact, TrustDomain};
use signet_jose::strict_json::{self, Limits};
use signet_jose::{Jwk, JwkSet, PrivateJwk};
use signet_time::{UnixTime, format_duration, parse_duration};
use signet_trust::Bundle;
use signet_x509::{Certificate, pem};

pub(crate) fn ids(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    comes_back(text, SpiffeId::parse);
    comes_back(text, TrustDomain::parse);
    comes_back(text, Selector::parse);
    if let Ok(id) = SpiffeId::parse(text) {
        assert_eq!(id.as_str(), text, "an id is compared by its bytes");
        assert!(TrustDomain::parse(id.trust_domain().as_str()).is_ok());
    }
    if let Err(error) = TrustDomain::parse_id(text) {
        is_fit_to_print(&error);
    }
}

/// A template and, behind a line feed each, values for its facts.
pub(crate) fn id_templates(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    comes_back(text, IdPattern::parse);
    let mut lines = text.split('\n');
    let template = lines.next().unwrap_or_default();
    let values: Vec<&str> = lines.collect();
    let template = match IdTemplate::parse(template) {
        Ok(template) => template,
        Err(error) => return is_fit_to_print(&error),
    };
    if let Err(error) = template.check_bound() {
        is_fit_to_print(&error);
    }
    let facts: Vec<TemplateFact> = template.facts().collect();
    assert!((1..=IdTemplate::FACTS_MAX).contains(&facts.len()));
    let value_of = |fact| {
        let place = facts.iter().position(|one| *one == fact);
        place
            .and_then(|place| values.get(place))
            .copied()
            .unwrap_or_default()
    };
    match template.expand(|fact| Ok(value_of(fact).into())) {
        Ok(id) => {
            assert_eq!(SpiffeId::parse(id.as_str()).as_ref(), Ok(&id));
            assert!(template.could_give(&id) && !id.is_reserved());
            let given = id.path().split('/').count();
            assert_eq!(
                given,
                template.as_str().split('/').count() - 2,
                "a value is one segment"
            );
            assert!(facts.iter().all(|fact| SpiffeId::is_segment(value_of(*fact))));
        }
        Err(error) => is_fit_to_print(&error),
    }
    // In two steps it is the same.
    let first = |fact| (Some(&fact) == facts.first()).then(|| value_of(fact).into());
    if let Ok(rest) = template.fill(first) {
        let whole = match rest {
            IdPattern::One(id) => Ok(id),
            IdPattern::Template(rest) => rest.expand(|fact| Ok(value_of(fact).into())),
        };
        let at_once = template.expand(|fact| Ok(value_of(fact).into()));
        assert_eq!(whole.ok().filter(|id| !id.is_reserved()), at_once.ok());
    }
}

pub(crate) fn times(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    comes_back(text, UnixTime::parse_rfc3339);
    match parse_duration(text) {
        Ok(duration) => assert_eq!(parse_duration(&format_duration(duration)), Ok(duration)),
        Err(error) => is_fit_to_print(&error),
    }
}

pub(crate) fn json(bytes: &[u8]) {
    let limits = Limits {
        bytes_max: 1 << 20,
        depth_max: 16,
    };
    match strict_json::parse(bytes, limits) {
        // Whatever is read here, every other reader reads alike: that is what strictness is for.
        Ok(value) => {
            let theirs = serde_json::from_slice::<serde_json::Value>(bytes);
            assert_eq!(theirs.ok(), Some(value));
        }
        Err(error) => is_fit_to_print(&error),
    }
}

pub(crate) fn jwks(bytes: &[u8]) {
    match Jwk::parse_text(bytes) {
        Ok(key) => {
            let again = Jwk::parse(&key.to_value());
            assert_eq!(again.as_ref(), Ok(&key));
            assert_eq!(again.map(|again| again.thumbprint()), Ok(key.thumbprint()));
        }
        Err(error) => is_fit_to_print(&error),
    }
    match JwkSet::parse(bytes) {
        Ok(set) => assert_eq!(JwkSet::parse(set.to_value().to_string().as_bytes()), Ok(set)),
        Err(error) => is_fit_to_print(&error),
    }
}

pub(crate) fn bundles(bytes: &[u8]) {
    let Ok(domain) = TrustDomain::parse("example.org") else {
        return;
    };
    match Bundle::parse_spiffe(domain.clone(), bytes) {
        Ok(bundle) => {
            let written = bundle.to_spiffe_json();
            let again = written.and_then(|json| Bundle::parse_spiffe(domain, &json));
            let is_same = again.as_ref().is_ok_and(|again| *again == bundle);
            assert!(is_same, "{bundle:?} comes back as {again:?}");
            for set in [
                bundle.to_jwks_json(),
                bundle.to_wit_jwks_json(),
                bundle.to_oidc_jwks_json(),
            ] {
                assert!(serde_json::from_slice::<serde_json::Value>(&set).is_ok());
            }
        }
        Err(error) => is_fit_to_print(&error),
    }
    match Bundle::parse_map(bytes) {
        Ok(map) => {
            for (domain, bundle) in map {
                assert_eq!(bundle.trust_domain(), &domain);
                assert_eq!(bundle.refresh_hint(), None);
            }
        }
        Err(error) => is_fit_to_print(&error),
    }
}

pub(crate) fn certificates(bytes: &[u8]) {
    match Certificate::parse(bytes) {
        Ok(certificate) => {
            assert_eq!(certificate.der().as_ref(), bytes);
            if let Ok(key) = certificate.public_key() {
                assert_eq!(key.spki_der(), certificate.spki_der());
                // Whether it is self-signed or not: it must not fall over.
                let _ = certificate.verify_signed_by(&key);
            }
            assert!(
                certificate.uri_names().len() + certificate.dns_names().len() <= certificate.name_count()
            );
        }
        Err(error) => is_fit_to_print(&error),
    }
    match pem::parse_certs(bytes) {
        Ok(certificates) => {
            let again = pem::parse_certs(pem::encode_certs(&certificates).as_bytes());
            assert_eq!(again.ok(), Some(certificates));
        }
        Err(error) => is_fit_to_print(&error),
    }
    match pem::parse_key(bytes) {
        Ok(key) => {
            let again = pem::parse_key(pem::encode_key(&key).expose());
            assert!(again.is_ok_and(|again| again.ct_eq(key.expose())));
        }
        Err(error) => is_fit_to_print(&error),
    }
}

pub(crate) fn keys(bytes: &[u8]) {
    match PublicKey::from_spki_der(bytes) {
        Ok(key) => {
            let again = PublicKey::from_spki_der(key.spki_der());
            assert!(again.is_ok_and(|again| again == key && again.kind() == key.kind()));
        }
        Err(error) => is_fit_to_print(&error),
    }
    if let Ok(key) = LocalKey::from_pkcs8(bytes) {
        let again = key.to_pkcs8().and_then(|der| LocalKey::from_pkcs8(der.expose()));
        assert!(again.is_ok_and(|again| again.public_key() == key.public_key()));
    }
    match PrivateJwk::parse(bytes) {
        Ok(jwk) => {
            let again = jwk.to_text().and_then(|text| PrivateJwk::parse(text.expose()));
            assert!(again.is_ok_and(|again| again.to_public() == jwk.to_public()));
        }
        Err(error) => is_fit_to_print(&error),
    }
}
