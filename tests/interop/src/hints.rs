//! The crate `spiffe` and a process with several identities, two of which have the same hint.

use crate::scenarios::ensure;
use crate::{Failure, Fleet};
use serde_json::Value;
use spiffe::workload_api::error::WorkloadApiError;
use spiffe::x509_source::SvidPicker;
use spiffe::{WorkloadApiClient, X509Source, X509Svid};
use std::sync::Arc;
use std::time::Duration;

/// The entries, oldest first: path and hint.
const ENTRIES: [(&str, &str); 4] = [
    ("/first", "internal"),
    ("/second", "internal"),
    ("/third", "external"),
    ("/plain", ""),
];
/// What the client must see of them: of two with the same hint the first has it, and the other is not withheld.
const SEEN: [(&str, Option<&str>); 4] = [
    ("/first", Some("internal")),
    ("/second", None),
    ("/third", Some("external")),
    ("/plain", None),
];
/// Renewed at half of that, so that a rotation is seen, too.
const TTL: &str = "20s";
const WITHIN: Duration = Duration::from_secs(120);

/// All identities come, with the hints that are theirs; by a hint the crate finds the right one, in certificates and in
/// tokens, across a rotation, and the next one when that one goes.
///
/// # Errors
/// The first check that fails.
pub(crate) fn unique() -> Result<String, Failure> {
    let fleet = Fleet::start()?;
    let mut first = String::new();
    for (path, hint) in ENTRIES {
        let entry = fleet.entitle_with(path, TTL, &["--hint", hint])?;
        if path == "/first" {
            let id = entry.get("id").and_then(Value::as_str);
            id.ok_or_else(|| format!("no id in {entry}"))?
                .clone_into(&mut first);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async { tokio::time::timeout(WITHIN, seen_by_crate(&fleet, &first)).await? })
}

async fn seen_by_crate(fleet: &Fleet, first: &str) -> Result<String, Failure> {
    let endpoint = fleet.workload_api.as_str();
    let client = WorkloadApiClient::connect_to(endpoint).await?;
    // The last entry may take a moment to come to the agent.
    let context = loop {
        let context = client.fetch_x509_context().await?;
        if context.svids().len() == ENTRIES.len() {
            break context;
        }
    };
    let of = |svid: &Arc<X509Svid>| (svid.spiffe_id().path().to_owned(), svid.hint().map(str::to_owned));
    let certificates: Vec<_> = context.svids().iter().map(of).collect();
    same("certificates", &certificates, &SEEN)?;
    let tokens = client.fetch_all_jwt_svids(["backend"], None).await?;
    let of = |svid: &spiffe::JwtSvid| (svid.spiffe_id().path().to_owned(), svid.hint().map(str::to_owned));
    same("tokens", &tokens.iter().map(of).collect::<Vec<_>>(), &SEEN)?;
    for (hint, path) in [("internal", "/first"), ("external", "/third")] {
        let token = client.fetch_jwt_svid_by_hint(["backend"], None, hint).await?;
        ensure(token.spiffe_id().path() == path, || {
            format!("the token with the hint `{hint}` is {}", token.spiffe_id())
        })?;
    }
    let absent = client.fetch_jwt_svid_by_hint(["backend"], None, "absent").await;
    ensure(matches!(&absent, Err(WorkloadApiError::HintNotFound(_))), || {
        format!("a hint that nobody has: {absent:?}")
    })?;

    let internal = picked(endpoint, "internal").await?;
    let external = picked(endpoint, "external").await?;
    let mut rotated = 0;
    for (source, path) in [(&internal, "/first"), (&external, "/third")] {
        let mut updates = source.updated();
        let leaf = source.svid()?.leaf().as_bytes().to_vec();
        loop {
            let svid = source.svid()?;
            ensure(svid.spiffe_id().path() == path, || {
                format!("picked for {path}: {}", svid.spiffe_id())
            })?;
            if svid.leaf().as_bytes() != leaf {
                break;
            }
            updates.changed().await?;
        }
        rotated += 1;
    }

    // Who had it is gone: the one that also asked for it has it.
    let mut updates = internal.updated();
    fleet.administer(&["entry", "delete", first])?;
    while internal.svid()?.spiffe_id().path() != "/second" {
        updates.changed().await?;
    }
    let token = client
        .fetch_jwt_svid_by_hint(["backend"], None, "internal")
        .await?;
    ensure(token.spiffe_id().path() == "/second", || {
        format!("the token after that is {}", token.spiffe_id())
    })?;
    Ok(format!(
        "{} certificates and tokens, by two hints, {rotated} rotations, and a hint that passed on",
        SEEN.len()
    ))
}

fn same(
    what: &str,
    found: &[(String, Option<String>)],
    wanted: &[(&str, Option<&str>)],
) -> Result<(), Failure> {
    let is_same = found
        .iter()
        .map(|(path, hint)| (path.as_str(), hint.as_deref()))
        .eq(wanted.iter().copied());
    ensure(is_same, || format!("{what}: {found:?}"))
}

/// A source that shows the identity with this hint, and none where nobody has it.
async fn picked(endpoint: &str, hint: &'static str) -> Result<X509Source, Failure> {
    let builder = X509Source::builder().endpoint(endpoint).picker(ByHint(hint));
    Ok(builder.build().await?)
}

struct ByHint(&'static str);

impl SvidPicker for ByHint {
    fn pick_svid(&self, svids: &[Arc<X509Svid>]) -> Option<usize> {
        svids.iter().position(|svid| svid.hint() == Some(self.0))
    }
}
