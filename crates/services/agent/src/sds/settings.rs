use serde::Deserialize;
use std::collections::HashSet;

/// `[sds]`: what Envoys are given. Keys and defaults are those of SPIRE's agent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct SdsSettings {
    /// The resource name of the certificate of the first identity.
    pub default_svid_name: String,
    /// The resource name of the validation context of the own trust domain.
    pub default_bundle_name: String,
    /// The resource name of the validation context of all trust domains.
    pub default_all_bundles_name: String,
    /// Whether validation contexts go without Envoy's SPIFFE certificate validator, unless a node's metadata says
    /// otherwise.
    pub disable_spiffe_cert_validation: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    default_svid_name: String,
    default_bundle_name: String,
    default_all_bundles_name: String,
    disable_spiffe_cert_validation: bool,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            default_svid_name: "default".to_owned(),
            default_bundle_name: "ROOTCA".to_owned(),
            default_all_bundles_name: "ALL".to_owned(),
            disable_spiffe_cert_validation: false,
        }
    }
}

impl Default for SdsSettings {
    fn default() -> Self {
        Self::from_checked(Raw::default())
    }
}

impl SdsSettings {
    fn from_checked(raw: Raw) -> Self {
        Self {
            default_svid_name: raw.default_svid_name,
            default_bundle_name: raw.default_bundle_name,
            default_all_bundles_name: raw.default_all_bundles_name,
            disable_spiffe_cert_validation: raw.disable_spiffe_cert_validation,
        }
    }
}

impl TryFrom<Raw> for SdsSettings {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let mut seen = HashSet::new();
        for (key, name) in [
            ("default_svid_name", &raw.default_svid_name),
            ("default_bundle_name", &raw.default_bundle_name),
            ("default_all_bundles_name", &raw.default_all_bundles_name),
        ] {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(format!("`{key}` must have 1 to {NAME_BYTES_MAX} bytes"));
            }
            if name.chars().any(char::is_control) {
                return Err(format!("`{key}` must not hold control characters"));
            }
            // These stand for themselves.
            if name.starts_with("spiffe:") {
                return Err(format!("`{key}` must not be a SPIFFE ID"));
            }
            if !seen.insert(name) {
                return Err(format!("`{key}` must differ from the other names"));
            }
        }
        Ok(Self::from_checked(raw))
    }
}

const NAME_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use crate::AgentSettings;

    fn parse(sds: &str) -> Result<super::SdsSettings, String> {
        signet_settings::parse::<AgentSettings>(&format!("[sds]\n{sds}"), "agent.toml")
            .map(|settings| settings.sds)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_settings_the_names_are_those_that_envoys_of_others_use() {
        let settings = parse("").expect("defaults");
        assert_eq!(settings, super::SdsSettings::default());
        assert_eq!(
            [
                settings.default_svid_name.as_str(),
                &settings.default_bundle_name,
                &settings.default_all_bundles_name
            ],
            ["default", "ROOTCA", "ALL"]
        );
        assert!(!settings.disable_spiffe_cert_validation);
    }

    #[test]
    fn names_that_could_not_be_told_apart_are_refused_with_their_key() {
        for (line, key) in [
            ("default_svid_name = \"\"", "default_svid_name"),
            ("default_bundle_name = \"spiffe://a.test\"", "default_bundle_name"),
            ("default_bundle_name = \"a\\u0000\"", "default_bundle_name"),
            (
                "default_all_bundles_name = \"ROOTCA\"",
                "default_all_bundles_name",
            ),
            ("default_svid = \"a\"", "default_svid"),
            ("disable_spiffe_cert_validation = \"yes\"", "disable_spiffe"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(key), "{error}");
        }
        let long = format!("default_svid_name = \"{}\"", "a".repeat(257));
        assert!(parse(&long).is_err());
        assert_eq!(
            parse("default_svid_name = \"mine\"")
                .expect("another")
                .default_svid_name,
            "mine"
        );
    }
}
