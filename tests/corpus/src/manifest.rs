use crate::{Failure, folder};
use serde::{Deserialize, Serialize};
use signet_time::UnixTime;
use std::collections::BTreeMap;

/// What is known of all files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// One for each file, right ones included, by file name.
    pub cases: Vec<Case>,
}

/// What a file is, and so who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Certificates in DER, one after the other, leaf first.
    Chain,
    /// A compact JWS, or what poses as one.
    Token,
    /// A certificate request (PKCS #10) in DER.
    Request,
    /// A SPIFFE bundle of `example.org`; what is wrong shows at once, or when [`Case::then`] is checked against it.
    Bundle,
    /// A SPIFFE bundle map.
    BundleMap,
    /// A SPIFFE bundle that comes after the one of the twin.
    NextBundle,
}

/// What Signet says of a file that it refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The error's code, as in docs/errors.md; `older` for a bundle that takes no newer one's place.
    pub code: String,
    /// The error with its causes: which variant, and what it found.
    pub says: String,
}

/// One file and what has to be known to judge it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name in the folder.
    pub file: String,
    /// What it is.
    pub kind: Kind,
    /// The rules that it breaks, as docs/rules names them; of a right file none, or those that have it accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// What is broken; of a right file, what it is.
    pub what: String,
    /// What Signet says; nothing of a right file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// The code with which the authority refuses what it asks for, though it reads; shown by the authority's tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_by_authority: Option<String>,
    /// The right file that it is otherwise like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<String>,
    /// The one place at which the two differ, in the file or in what it is judged with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
    /// When it is judged.
    pub now: UnixTime,
    /// The verifier's bundles: files by trust domain. The verifier is in `example.org`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bundles: BTreeMap<String, String>,
    /// Certificates that the verifier was told to be tainted. Bundles have no word for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tainted: Vec<String>,
    /// Whom a token must be for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The private key that comes with a chain, PKCS #8 in DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The file that is checked against a bundle once it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
}

impl Manifest {
    /// The manifest as it is checked in.
    ///
    /// # Errors
    /// Where it is not there or not in this form.
    pub fn read() -> Result<Self, Failure> {
        let path = folder().join(Self::FILE);
        let text = std::fs::read(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// The case of a file.
    ///
    /// # Errors
    /// Where there is none.
    pub fn case(&self, file: &str) -> Result<&Case, Failure> {
        self.cases
            .iter()
            .find(|case| case.file == file)
            .ok_or_else(|| format!("no case `{file}`").into())
    }

    /// Its name in the folder.
    pub const FILE: &'static str = "manifest.json";
}

impl Case {
    /// The code with which Signet refuses it, here or in the authority; nothing of a right file.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        let here = self.refused.as_ref().map(|refused| refused.code.as_str());
        here.or(self.refused_by_authority.as_deref())
    }

    /// The bytes of its file.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn bytes(&self) -> Result<Vec<u8>, Failure> {
        file(&self.file)
    }
}

/// The bytes of a file in the folder.
pub(crate) fn file(name: &str) -> Result<Vec<u8>, Failure> {
    let path = folder().join(name);
    std::fs::read(&path).map_err(|e| format!("read {}: {e}", path.display()).into())
}
