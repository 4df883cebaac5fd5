use signet_check::machine::Machine;
use signet_crypto::digest;
use signet_id::{SpiffeId, TrustDomain};

/// The path of the node that a machine becomes, such as `/signet/node/x509pop/{fingerprint}`.
///
/// `{fingerprint}` is the SHA-256 of the machine's certificate, `{public_key}` that of its SubjectPublicKeyInfo, which
/// stays the same where the certificate is renewed for the same key; both in hex. One of them must be there, so that
/// no two machines are one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTemplate(String);

/// Why a text is no template for nodes.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Elsewhere, a node might take the place of one that joined otherwise, or of a workload.
    #[error("does not begin with `{}`", NodeTemplate::PREFIX)]
    Prefix,
    /// All machines would be one node.
    #[error("holds neither `{{fingerprint}}` nor `{{public_key}}`, so that all machines would be one node")]
    Constant,
    /// With values in the place of what stands in braces, it is not the path of a SPIFFE ID.
    #[error(
        "is no path: letters, digits, `.`, `-`, `_`, and in braces `fingerprint` or `public_key` alone; below 1024 bytes"
    )]
    Path,
}

impl NodeTemplate {
    /// What every template begins with.
    pub const PREFIX: &str = "/signet/node/x509pop/";
    /// The template where none is set.
    pub const DEFAULT: &str = "/signet/node/x509pop/{fingerprint}";
    const BYTES_MAX: usize = 1024;

    /// Checks `text`.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if !text.starts_with(Self::PREFIX) {
            return Err(TemplateError::Prefix);
        }
        if ![FINGERPRINT, PUBLIC_KEY].iter().any(|name| text.contains(name)) {
            return Err(TemplateError::Constant);
        }
        let example = text.replace(FINGERPRINT, ZEROS).replace(PUBLIC_KEY, ZEROS);
        let segments = example.strip_prefix('/').unwrap_or_default().split('/');
        if example.len() <= Self::BYTES_MAX && segments.into_iter().all(SpiffeId::is_segment) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TemplateError::Path)
        }
    }

    /// The identity of the node that `machine` becomes.
    ///
    /// # Panics
    /// Never: what was parsed, with hex digits in its place, is a path of at most 1,024 bytes.
    #[expect(clippy::expect_used, reason = "see Panics")]
    pub(crate) fn id(&self, own: &TrustDomain, machine: &Machine) -> SpiffeId {
        let path = self
            .0
            .replace(FINGERPRINT, &digest::hex(&machine.fingerprint))
            .replace(PUBLIC_KEY, &digest::hex(&machine.key.fingerprint()));
        SpiffeId::new(own, &path).expect("checked with digits of the same number")
    }
}

impl Default for NodeTemplate {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

const FINGERPRINT: &str = "{fingerprint}";
const PUBLIC_KEY: &str = "{public_key}";
/// As long as every value.
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_names_each_machine_apart_below_its_own_prefix() {
        for good in [
            NodeTemplate::DEFAULT,
            "/signet/node/x509pop/{public_key}",
            "/signet/node/x509pop/plant-7/{fingerprint}",
            "/signet/node/x509pop/a.{public_key}.{fingerprint}",
        ] {
            assert_eq!(NodeTemplate::parse(good), Ok(NodeTemplate(good.to_owned())));
        }
        let long = format!("{}{}/{{fingerprint}}", NodeTemplate::PREFIX, "a".repeat(1024));
        for (bad, why) in [
            ("", TemplateError::Prefix),
            ("/machines/{fingerprint}", TemplateError::Prefix),
            ("/signet/node/join/{fingerprint}", TemplateError::Prefix),
            ("signet/node/x509pop/{fingerprint}", TemplateError::Prefix),
            ("/signet/node/x509pop/", TemplateError::Constant),
            ("/signet/node/x509pop/all", TemplateError::Constant),
            ("/signet/node/x509pop/{subject}", TemplateError::Constant),
            (
                "/signet/node/x509pop/{fingerprint}/{subject}",
                TemplateError::Path,
            ),
            ("/signet/node/x509pop/{fingerprint}/", TemplateError::Path),
            ("/signet/node/x509pop//{fingerprint}", TemplateError::Path),
            ("/signet/node/x509pop/../{fingerprint}", TemplateError::Path),
            ("/signet/node/x509pop/a b{fingerprint}", TemplateError::Path),
            (long.as_str(), TemplateError::Path),
        ] {
            assert_eq!(NodeTemplate::parse(bad), Err(why), "{bad}");
        }
    }
}
