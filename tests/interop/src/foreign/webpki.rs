//! rustls-webpki as TLS libraries use it, without what Signet adds.

use super::{Judge, roots};
use crate::Failure;
use rustls_pki_types::UnixTime;
use signet_corpus::{Case, Kind, Manifest, certificates};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

pub(super) fn judge(manifest: &Manifest) -> Result<Judge, Failure> {
    let mut verdicts = BTreeMap::new();
    for case in manifest.cases.iter().filter(|case| case.kind == Kind::Chain) {
        verdicts.insert(case.file.clone(), chain(case)?);
    }
    Ok(Judge {
        column: "rustls-webpki".to_owned(),
        tool: format!("`rustls-webpki` {}", version()?),
        verdicts,
    })
}

fn chain(case: &Case) -> Result<Option<String>, Failure> {
    let roots = roots(case)?;
    let anchors = roots
        .iter()
        .map(anchor_from_trusted_cert)
        .collect::<Result<Vec<_>, _>>()?;
    let certificates = certificates(&case.bytes()?)?;
    let Some((leaf, behind)) = certificates.split_first() else {
        return Ok(Some("no certificates".to_owned()));
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(case.now.as_secs()));
    let verified = EndEntityCert::try_from(leaf).and_then(|leaf| {
        let usage = KeyUsage::client_auth();
        leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, behind, now, usage, None, None)
            .map(drop)
    });
    // The variant's name: what stands behind it are times and object identifiers.
    Ok(verified.err().map(|error| {
        let text = format!("{error:?}");
        let end = text.find(['(', ' ']).unwrap_or(text.len());
        text.get(..end).unwrap_or(&text).to_owned()
    }))
}

/// The one version that the workspace is locked to.
fn version() -> Result<String, Failure> {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let text = std::fs::read_to_string(lock)?;
    let found = text
        .split_once("name = \"rustls-webpki\"\nversion = \"")
        .and_then(|(_, rest)| rest.split('"').next());
    Ok(found.ok_or("rustls-webpki is not in Cargo.lock")?.to_owned())
}
