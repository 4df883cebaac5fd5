//! Tokens that are bound to a key: WIT-SVIDs and their proofs.

use super::numbered;
use crate::file::{self, Readers};
use crate::output::Format;
use crate::{Outcome, clock, output};
use serde::Serialize;
use signet_check::wit::{PROOF_HEADER, SeenProofs, TOKEN_HEADER, validate_svid};
use signet_id::SpiffeId;
use signet_time::UnixTime;
use signet_trust::TrustView;
use signet_workload::{WitSvid, WorkloadClient, WorkloadError};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Wit {
    /// Prove the key to this service as well: writes both headers of one request, good once and for half a minute.
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// For this identity alone.
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<SpiffeId>,
    /// Write svid.wit and its key, svid.jwk (mode 0600), into this directory; further identities get numbers.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ValidateWit {
    /// Who checks: must be the proof's only audience.
    #[arg(long, value_name = "AUDIENCE")]
    audience: String,
    /// The token.
    #[arg(value_name = "TOKEN")]
    token: String,
    /// The proof of its key. That it was not sent before is for the service to remember.
    #[arg(value_name = "PROOF")]
    proof: String,
}

/// What `wit` writes as JSON. The key is not shown: `--write` is the one way to have that.
#[derive(Serialize)]
struct Tokens {
    svids: Vec<Token>,
}

#[derive(Serialize)]
struct Token {
    spiffe_id: SpiffeId,
    wit_svid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Written>,
}

#[derive(Serialize)]
struct Written {
    svid: PathBuf,
    key: PathBuf,
}

impl Wit {
    pub(super) async fn run(self, client: &WorkloadClient, format: Format) -> Outcome {
        let svids = client.fetch_wit(self.spiffe_id.as_ref()).await?;
        let dir = self.write.as_deref().map(file::own_dir).transpose()?;
        let now = clock::system().now();
        let shown = svids.iter().enumerate().map(|(n, svid)| {
            let audience = self.audience.as_deref();
            Ok(Token {
                spiffe_id: svid.id.clone(),
                wit_svid: svid.token.clone(),
                proof: audience.map(|audience| svid.proof(audience, now)).transpose()?,
                hint: svid.hint.clone(),
                written: dir.as_deref().map(|dir| write(dir, n, svid)).transpose()?,
            })
        });
        let tokens = Tokens {
            svids: shown.collect::<Outcome<_>>()?,
        };
        if format == Format::Text && tokens.svids.len() > 1 {
            let more = tokens.svids.len() - 1;
            output::note(&format!(
                "The token of the default identity; {more} more with -o json, or name one with --spiffe-id."
            ));
        }
        output::result(format, &tokens, |tokens| {
            let first = tokens.svids.first();
            first.map(Token::text).unwrap_or_default()
        })
    }
}

impl Token {
    /// The token alone on its line; with a proof the two headers, in the form that `curl -H @FILE` reads.
    fn text(&self) -> String {
        match &self.proof {
            None => self.wit_svid.clone(),
            Some(proof) => format!("{TOKEN_HEADER}: {}\n{PROOF_HEADER}: {proof}", self.wit_svid),
        }
    }
}

/// Writes the `n`th identity.
fn write(dir: &Path, n: usize, svid: &WitSvid) -> Outcome<Written> {
    let written = Written {
        svid: numbered(dir, n, "svid", "wit"),
        key: numbered(dir, n, "svid", "jwk"),
    };
    // The key first: whoever sees the new token finds the key that it is bound to.
    file::write(&written.key, svid.key.to_text()?.expose(), Readers::Owner)?;
    file::write(&written.svid, svid.token.as_bytes(), Readers::All)?;
    Ok(written)
}

/// What `validate-wit` writes.
#[derive(Serialize)]
struct Valid {
    spiffe_id: SpiffeId,
    expires_at: UnixTime,
    claims: serde_json::Map<String, serde_json::Value>,
}

impl ValidateWit {
    pub(super) async fn run(self, client: &WorkloadClient, format: Format) -> Outcome {
        // The own trust domain's clocks are closer to ours than those of others.
        let own = client.fetch_wit(None).await?;
        let own = own.first().ok_or(WorkloadError::Ended)?.id.trust_domain().clone();
        let mut view = TrustView::new(own);
        for bundle in client.fetch_wit_bundles().await? {
            view = view.with_bundle(bundle);
        }
        let now = clock::system().now();
        let found = validate_svid(&self.token, &view, now)?.prove(
            &self.proof,
            &self.audience,
            &mut SeenProofs::new(1),
            now,
        )?;
        let valid = Valid {
            spiffe_id: found.id,
            expires_at: found.exp,
            claims: found.claims,
        };
        output::result(format, &valid, |valid| {
            let claims = valid
                .claims
                .iter()
                .map(|(name, value)| format!("{name}  {value}"));
            let lines: Vec<String> = core::iter::once(format!("valid: {}", valid.spiffe_id))
                .chain(claims)
                .collect();
            lines.join("\n")
        })
    }
}
