mod wit;

use crate::args::Global;
use crate::failure::Failure;
use crate::file::{self, Readers};
use crate::output::Format;
use crate::{Outcome, clock, output, runtime, style};
use clap::Subcommand;
use serde::Serialize;
use signet_id::SpiffeId;
use signet_time::UnixTime;
use signet_trust::Bundle;
use signet_workload::{Endpoint, WorkloadClient, WorkloadError, X509Context, X509Svid};
use signet_x509::{Certificate, pem};
use std::path::{Path, PathBuf};

/// `signet svid ...`.
#[derive(Debug, clap::Args)]
pub(crate) struct Svid {
    /// The agent's Workload API.
    #[arg(
        long,
        global = true,
        env = "SPIFFE_ENDPOINT_SOCKET",
        hide_env_values = true,
        value_name = "URL",
        default_value = "unix:///run/signet/agent.sock"
    )]
    socket: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The certificates of this process.
    X509(X509),
    /// A signed token for an audience.
    Jwt(Jwt),
    /// A token bound to a key of this process (incubating).
    Wit(wit::Wit),
    /// What this process verifies others with: the roots as PEM, with -o json all keys.
    Bundle,
    /// Follow the certificates of this process: one line for each change, until Ctrl-C.
    Watch,
    /// Have the agent check a token.
    ValidateJwt(ValidateJwt),
    /// Check a token that is bound to a key, and the proof that came with it (incubating).
    ValidateWit(wit::ValidateWit),
}

#[derive(Debug, clap::Args)]
struct X509 {
    /// Write svid.pem, svid.key (mode 0600) and bundle.pem into this directory; further identities get numbers.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Jwt {
    /// Whom the token is for; several times for several.
    #[arg(long, value_name = "AUDIENCE", required = true)]
    audience: Vec<String>,
    /// For this identity alone.
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<SpiffeId>,
}

#[derive(Debug, clap::Args)]
struct ValidateJwt {
    /// Who checks: must be among the token's audiences.
    #[arg(long, value_name = "AUDIENCE")]
    audience: String,
    /// The token.
    #[arg(value_name = "TOKEN")]
    token: String,
}

impl Svid {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let endpoint =
            Endpoint::parse(&self.socket).map_err(|e| Failure::from(WorkloadError::from(e)).usage())?;
        let format = global.output;
        runtime::client(async move {
            let client = WorkloadClient::connect(&endpoint).await.map_err(|error| {
                Failure::from(error).next(
                    "start `signet dev` or `signet agent run`, and name its socket with --socket or \
                     SPIFFE_ENDPOINT_SOCKET",
                )
            })?;
            match self.command {
                Command::X509(x509) => x509.run(&client, format).await,
                Command::Jwt(jwt) => jwt.run(&client, format).await,
                Command::Wit(wit) => wit.run(&client, format).await,
                Command::Bundle => bundle(&client, format).await,
                Command::Watch => watch(&client, format).await,
                Command::ValidateJwt(validate) => validate.run(&client, format).await,
                Command::ValidateWit(validate) => validate.run(&client, format).await,
            }
        })
    }
}

/// A certificate of this process, as it is shown. Its key is not: `--write` is the one way to have that.
#[derive(Serialize)]
struct Shown {
    spiffe_id: SpiffeId,
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
    serial: String,
    not_before: UnixTime,
    not_after: UnixTime,
    /// Leaf first, as PEM.
    x509_svid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Written>,
}

#[derive(Serialize)]
struct Written {
    svid: PathBuf,
    key: PathBuf,
    bundle: PathBuf,
}

/// What `x509` and each line of `watch` hold.
#[derive(Serialize)]
struct Certificates {
    svids: Vec<Shown>,
}

impl Shown {
    fn of(svid: &X509Svid) -> Outcome<Self> {
        let leaf = svid.chain.first().ok_or(WorkloadError::Ended)?;
        let leaf = Certificate::parse(leaf)?;
        Ok(Self {
            spiffe_id: svid.id.clone(),
            hint: svid.hint.clone(),
            serial: leaf.serial_hex(),
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
            x509_svid: pem::encode_certs(&svid.chain),
            written: None,
        })
    }

    fn facts(&self, now: UnixTime) -> String {
        let written = |path: fn(&Written) -> &Path| {
            self.written
                .as_ref()
                .map(|w| path(w).display().to_string())
                .unwrap_or_default()
        };
        style::facts(&[
            ("spiffe id", self.spiffe_id.to_string()),
            ("hint", self.hint.clone()),
            ("serial", self.serial.clone()),
            ("valid until", style::time(self.not_after, now)),
            ("svid", written(|w| &w.svid)),
            ("key", written(|w| &w.key)),
            ("bundle", written(|w| &w.bundle)),
        ])
    }
}

impl Certificates {
    fn of(context: &X509Context) -> Outcome<Self> {
        let svids = context.svids().iter().map(Shown::of).collect::<Outcome<_>>()?;
        Ok(Self { svids })
    }
}

impl X509 {
    async fn run(self, client: &WorkloadClient, format: Format) -> Outcome {
        let context = client.fetch_x509().await?;
        let mut certificates = Certificates::of(&context)?;
        if let Some(dir) = &self.write {
            let dir = file::own_dir(dir)?;
            for (n, (svid, shown)) in context.svids().iter().zip(&mut certificates.svids).enumerate() {
                shown.written = Some(write_svid(&dir, n, svid, &context)?);
            }
        }
        let now = clock::system().now();
        output::result(format, &certificates, |certificates| {
            let shown: Vec<String> = certificates.svids.iter().map(|svid| svid.facts(now)).collect();
            shown.join("\n\n")
        })
    }
}

/// Writes the `n`th identity: `svid.pem` for the first, `svid.1.pem` for the next.
fn write_svid(dir: &Path, n: usize, svid: &X509Svid, context: &X509Context) -> Outcome<Written> {
    let name = |stem: &str, ending: &str| numbered(dir, n, stem, ending);
    let written = Written {
        svid: name("svid", "pem"),
        key: name("svid", "key"),
        bundle: name("bundle", "pem"),
    };
    let own = context.view().bundle(svid.id.trust_domain());
    let roots: Vec<_> = own
        .iter()
        .flat_map(|bundle| bundle.x509())
        .map(|authority| &authority.certificate)
        .collect();
    let key = pem::encode_key(&svid.key.to_pkcs8()?);
    // The key first: whoever sees the new certificate finds the key that fits it.
    file::write(&written.key, key.expose(), Readers::Owner)?;
    file::write(
        &written.bundle,
        pem::encode_certs(&roots).as_bytes(),
        Readers::All,
    )?;
    file::write(
        &written.svid,
        pem::encode_certs(&svid.chain).as_bytes(),
        Readers::All,
    )?;
    Ok(written)
}

/// The file of the `n`th identity: `svid.pem` for the first, `svid.1.pem` for the next.
fn numbered(dir: &Path, n: usize, stem: &str, ending: &str) -> PathBuf {
    match n {
        0 => dir.join(format!("{stem}.{ending}")),
        n => dir.join(format!("{stem}.{n}.{ending}")),
    }
}

/// What `jwt` writes as JSON.
#[derive(Serialize)]
struct Tokens {
    svids: Vec<Token>,
}

#[derive(Serialize)]
struct Token {
    spiffe_id: SpiffeId,
    svid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
}

impl Jwt {
    async fn run(self, client: &WorkloadClient, format: Format) -> Outcome {
        let svids = client.fetch_jwt(&self.audience, self.spiffe_id.as_ref()).await?;
        let tokens = Tokens {
            svids: svids
                .into_iter()
                .map(|svid| Token {
                    spiffe_id: svid.id,
                    svid: svid.token,
                    hint: svid.hint,
                })
                .collect(),
        };
        if format == Format::Text && tokens.svids.len() > 1 {
            let more = tokens.svids.len() - 1;
            output::note(&format!(
                "The token of the default identity; {more} more with -o json, or name one with --spiffe-id."
            ));
        }
        // Alone on its line, so that TOKEN=$(signet svid jwt ...) works.
        output::result(format, &tokens, |tokens| {
            tokens
                .svids
                .first()
                .map(|token| token.svid.clone())
                .unwrap_or_default()
        })
    }
}

/// What `bundle` writes as JSON: per trust domain its SPIFFE bundle document and its keys for tokens.
#[derive(Serialize)]
struct Bundles {
    bundles: Vec<BundleShown>,
}

#[derive(Serialize)]
struct BundleShown {
    trust_domain: String,
    /// The roots as PEM.
    x509_pem: String,
    /// The keys of JWT-SVIDs, as a JWK Set.
    jwks: serde_json::Value,
    /// The keys of WIT-SVIDs, as a JWK Set.
    wit_jwks: serde_json::Value,
}

async fn bundle(client: &WorkloadClient, format: Format) -> Outcome {
    let x509 = client.fetch_x509_bundles().await?;
    let jwt = client.fetch_jwt_bundles().await?;
    // An agent without WIT-SVIDs has no bundles for them either.
    let wit = match client.fetch_wit_bundles().await {
        Err(error) if error.is_final() => Vec::new(),
        bundles => bundles?,
    };
    let keys = |of: &[Bundle], trust_domain, set: fn(&Bundle) -> Vec<u8>| {
        let bundle = of.iter().find(|bundle| bundle.trust_domain() == trust_domain);
        // What we wrote ourselves is JSON; a domain without such keys has null.
        bundle
            .and_then(|bundle| serde_json::from_slice(&set(bundle)).ok())
            .unwrap_or_default()
    };
    let bundles = x509
        .iter()
        .map(|bundle| {
            let roots: Vec<_> = bundle
                .x509()
                .iter()
                .map(|authority| &authority.certificate)
                .collect();
            BundleShown {
                trust_domain: bundle.trust_domain().to_string(),
                x509_pem: pem::encode_certs(&roots),
                jwks: keys(&jwt, bundle.trust_domain(), Bundle::to_jwks_json),
                wit_jwks: keys(&wit, bundle.trust_domain(), Bundle::to_wit_jwks_json),
            }
        })
        .collect();
    output::result(format, &Bundles { bundles }, |all| {
        // PEM readers pass over what stands between the blocks.
        all.bundles
            .iter()
            .map(|bundle| format!("# {}\n{}", bundle.trust_domain, bundle.x509_pem))
            .collect()
    })
}

async fn watch(client: &WorkloadClient, format: Format) -> Outcome {
    let mut stream = client.watch_x509().await?;
    let stop = runtime::stop_signal()?;
    tokio::pin!(stop);
    loop {
        let context = tokio::select! {
            message = stream.next() => message?.ok_or(WorkloadError::Ended)?,
            _ = &mut stop => return Ok(()),
        };
        let certificates = Certificates::of(&context)?;
        let now = clock::system().now();
        match format {
            Format::Json => output::json_line(&certificates)?,
            Format::Text => {
                for svid in &certificates.svids {
                    let until = style::time(svid.not_after, now);
                    output::text(&format!(
                        "{}  {}  serial {}  until {until}",
                        now.floor_secs(),
                        svid.spiffe_id,
                        svid.serial
                    ))?;
                }
            }
        }
    }
}

/// What `validate-jwt` writes.
#[derive(Serialize)]
struct Valid {
    spiffe_id: SpiffeId,
    claims: serde_json::Map<String, serde_json::Value>,
}

impl ValidateJwt {
    async fn run(self, client: &WorkloadClient, format: Format) -> Outcome {
        let found = client.validate_jwt(&self.audience, &self.token).await?;
        let valid = Valid {
            spiffe_id: found.id,
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
