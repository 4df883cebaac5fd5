use super::settings::SdsSettings;
use crate::AgentError;
use crate::identity::Sight;
use signet_fault::shown;
use signet_id::{SpiffeId, TrustDomain};
use std::collections::BTreeMap;

/// What one resource name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The certificate of this identity.
    Identity(SpiffeId),
    /// The certificate of the first identity.
    First,
    /// The validation context of this trust domain.
    Domain(TrustDomain),
    /// That of the own trust domain.
    Own,
    /// That of all trust domains which the caller may verify.
    All,
}

/// What a stream wants, by the names under which it is sent.
pub(super) type Wanted = BTreeMap<String, Asked>;

/// Reads the names of one request.
///
/// # Errors
/// [`AgentError::SecretRequest`] beyond the bounds; [`AgentError::SecretUnknown`] for a name that stands for nothing.
pub(super) fn read(names: &[String], settings: &SdsSettings) -> Result<Wanted, AgentError> {
    check_number(names.len())?;
    names
        .iter()
        .map(|name| Ok((name.clone(), Asked::read(name, settings)?)))
        .collect()
}

/// What is wanted when `come` is wanted, too, and `go` no more of what was `wanted`. [`ALL`] in them is left out.
///
/// # Errors
/// As [`read`], which also goes for what is wanted altogether; [`AgentError::SecretRequest`] for a name that comes and goes.
pub(super) fn change(
    wanted: &Wanted,
    come: &[String],
    go: &[String],
    settings: &SdsSettings,
) -> Result<Wanted, AgentError> {
    check_number(go.len())?;
    go.iter().try_for_each(|name| check_length(name))?;
    if come.iter().any(|name| go.contains(name)) {
        return Err(AgentError::SecretRequest(
            "a resource name is both subscribed and unsubscribed",
        ));
    }
    let come: Vec<_> = come.iter().filter(|name| *name != ALL).cloned().collect();
    let come = read(&come, settings)?;
    let stays = wanted.iter().filter(|(name, _)| !go.contains(name));
    let stays = stays.map(|(name, asked)| (name.clone(), asked.clone()));
    let wanted: Wanted = stays.chain(come).collect();
    check_number(wanted.len())?;
    Ok(wanted)
}

/// Whether all that there is is among `names`.
pub(super) fn has_all(names: &[String]) -> bool {
    names.iter().any(|name| name == ALL)
}

/// # Errors
/// [`AgentError::SecretRequest`].
pub(super) fn check_length(name: &str) -> Result<(), AgentError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(AgentError::SecretRequest(
            "a resource name is longer than 2048 bytes",
        ));
    }
    Ok(())
}

fn check_number(names: usize) -> Result<(), AgentError> {
    if names > NAMES_MAX {
        return Err(AgentError::SecretRequest("it has more than 128 resource names"));
    }
    Ok(())
}

/// Everything that `sight` has: what is sent to those who name nothing.
pub(super) fn everything(sight: &Sight) -> Wanted {
    let identities = sight.entries.iter().filter_map(|entry| entry.spiffe_id.one());
    let identities = identities.map(|id| (id.to_string(), Asked::Identity(id.clone())));
    let domains = sight
        .bundles
        .trust
        .bundles()
        .map(|bundle| bundle.trust_domain())
        .map(|domain| (domain.id(), Asked::Domain(domain.clone())));
    identities.chain(domains).collect()
}

impl Asked {
    fn read(name: &str, settings: &SdsSettings) -> Result<Self, AgentError> {
        check_length(name)?;
        if name == settings.default_svid_name {
            return Ok(Self::First);
        }
        if name == settings.default_bundle_name {
            return Ok(Self::Own);
        }
        if name == settings.default_all_bundles_name {
            return Ok(Self::All);
        }
        match SpiffeId::parse(name) {
            Ok(id) if id.has_path() => Ok(Self::Identity(id)),
            Ok(id) => Ok(Self::Domain(id.trust_domain().clone())),
            Err(_) => Err(unknown(name)),
        }
    }

    /// Whether it is a certificate, so that one has to be made.
    pub(super) const fn is_certificate(&self) -> bool {
        matches!(self, Self::Identity(_) | Self::First)
    }
}

/// There is nothing under `name`.
pub(super) fn unknown(name: &str) -> AgentError {
    AgentError::SecretUnknown(shown(name, SHOWN_CHARS_MAX))
}

/// What all that there is is called where names come and go.
const ALL: &str = "*";
/// Many times what one Envoy needs: a certificate and a validation context for each of its listeners and clusters.
const NAMES_MAX: usize = 128;
/// The longest SPIFFE ID (SPIFFE-ID §2.3).
const NAME_BYTES_MAX: usize = 2048;
/// As much of a name as an error repeats.
const SHOWN_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str) -> Result<Asked, AgentError> {
        Asked::read(name, &SdsSettings::default())
    }

    #[test]
    fn spiffe_100_each_name_stands_for_one_thing() {
        assert_eq!(one("default").expect("name"), Asked::First);
        assert_eq!(one("ROOTCA").expect("name"), Asked::Own);
        assert_eq!(one("ALL").expect("name"), Asked::All);
        let id = "spiffe://a.test/web";
        assert_eq!(one(id).expect("name"), Asked::Identity(id.parse().expect("id")));
        assert_eq!(
            one("spiffe://a.test").expect("name"),
            Asked::Domain("a.test".parse().expect("domain"))
        );
    }

    #[test]
    fn spiffe_101_what_is_no_name_is_an_error_that_shows_it_safely() {
        for name in [
            "",
            "Default",
            "rootca",
            "all",
            "default ",
            "spiffe://",
            "spiffe://a.test/",
            "spiffe://A.test",
            "a.test",
            "https://a.test",
            "spiffe://a.test/../b",
            "\u{1b}[2J",
        ] {
            let error = one(name).expect_err(name);
            assert!(matches!(error, AgentError::SecretUnknown(_)), "{error}");
            assert!(!error.to_string().contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn spiffe_101_names_have_bounds_in_number_and_length() {
        let settings = SdsSettings::default();
        let many: Vec<String> = (0..=NAMES_MAX).map(|n| format!("spiffe://a.test/{n}")).collect();
        assert!(matches!(
            read(&many, &settings),
            Err(AgentError::SecretRequest(_))
        ));
        assert_eq!(
            read(&many[1..], &settings).expect("as many as may be").len(),
            NAMES_MAX
        );
        let long = "spiffe://a.test/".to_owned() + &"a".repeat(NAME_BYTES_MAX);
        assert!(matches!(
            read(&[long], &settings),
            Err(AgentError::SecretRequest(_))
        ));
    }

    #[test]
    fn names_of_the_settings_replace_those_that_stand_there_otherwise() {
        let settings = SdsSettings {
            default_svid_name: "mine".to_owned(),
            ..SdsSettings::default()
        };
        assert_eq!(Asked::read("mine", &settings).expect("name"), Asked::First);
        assert!(Asked::read("default", &settings).is_err());
    }
}
