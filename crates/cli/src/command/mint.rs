use crate::api::Api;
use crate::args::Global;
use crate::error::CliError;
use crate::failure::Failure;
use crate::file::{self, Readers};
use crate::output::Format;
use crate::{Outcome, clock, output, runtime, style};
use clap::Subcommand;
use core::time::Duration;
use serde::Serialize;
use signet_api::{
    MintJwtReply, MintJwtRequest, MintWitReply, MintWitRequest, MintX509Reply, MintX509Request,
};
use signet_crypto::{KeyKind, LocalKey, Secret};
use signet_id::SpiffeId;
use signet_jose::{JwsAlgorithm, PrivateJwk};
use signet_time::{UnixTime, parse_duration};
use signet_x509::{make_csr, pem};
use std::io;
use std::path::{Path, PathBuf};

/// `signet mint ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum Mint {
    /// A certificate, for a key that is made here and that the server never sees.
    X509(X509),
    /// A token for an audience.
    Jwt(Jwt),
    /// A token (WIT-SVID, incubating) for a key that the server never sees.
    Wit(Wit),
}

/// What every minted credential needs.
#[derive(Debug, clap::Args)]
struct Common {
    /// The identity: any of the trust domain, but those below /signet/ and those of nodes.
    #[arg(long, value_name = "ID")]
    spiffe_id: SpiffeId,
    /// What it is for. It stands in the server's record, beside who asked.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How long it lives.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Replace files that are there already.
    #[arg(long, requires = "write")]
    force: bool,
}

/// `signet mint x509`.
#[derive(Debug, clap::Args)]
pub(crate) struct X509 {
    #[command(flatten)]
    common: Common,
    /// A DNS name for the certificate; several times for several.
    #[arg(long = "dns", value_name = "NAME")]
    dns_names: Vec<String>,
    /// Write svid.pem, svid.key (mode 0600) and bundle.pem into this directory, instead of key and chain to standard
    /// output.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

/// `signet mint jwt`.
#[derive(Debug, clap::Args)]
pub(crate) struct Jwt {
    #[command(flatten)]
    common: Common,
    /// Whom the token is for; several times for several.
    #[arg(long, value_name = "AUDIENCE", required = true)]
    audience: Vec<String>,
    /// Write svid.jwt (mode 0600) into this directory, instead of the token to standard output.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

/// `signet mint wit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Wit {
    #[command(flatten)]
    common: Common,
    /// Bind the token to the key of this certificate request (PKCS #10 as PEM, - for standard input) instead of a key
    /// that is made here.
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// Write svid.wit and the key that is made here, svid.jwk (mode 0600), into this directory; with --csr the token
    /// alone, which goes to standard output without it.
    #[arg(long, value_name = "DIR", required_unless_present = "csr")]
    write: Option<PathBuf>,
}

impl Mint {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let api = Api::new(global)?;
        match self {
            Self::X509(x509) => x509.run(&api, global.output),
            Self::Jwt(jwt) => jwt.run(&api, global.output),
            Self::Wit(wit) => wit.run(&api, global.output),
        }
    }
}

/// A certificate, as JSON.
#[derive(Serialize)]
struct Certificate<'a> {
    #[serde(flatten)]
    minted: MintX509Reply,
    /// The private key as PEM, where it was written nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    x509_svid_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Written>,
}

#[derive(Serialize)]
struct Written {
    svid: PathBuf,
    key: PathBuf,
    bundle: PathBuf,
}

impl X509 {
    fn run(self, api: &Api, format: Format) -> Outcome {
        // Before anything is minted: what cannot be kept need not be.
        let place = match &self.write {
            Some(dir) => Some(Place::of(
                dir,
                &["svid.pem", "svid.key", "bundle.pem"],
                self.common.force,
            )?),
            None => None,
        };
        let key = LocalKey::generate(KeyKind::P256)?;
        let wish = MintX509Request {
            csr: pem::encode_csr(&make_csr(&key, Some(&self.common.spiffe_id), &self.dns_names)?),
            spiffe_id: self.common.spiffe_id,
            dns_names: self.dns_names,
            ttl: self.common.ttl,
            reason: self.common.reason,
        };
        let minted = runtime::client(api.mint_x509(&wish))?;
        let key = pem::encode_key(&key.to_pkcs8()?);
        let Some(place) = place else {
            return shown(format, minted, &key);
        };
        let written = Written {
            svid: place.path("svid.pem"),
            key: place.path("svid.key"),
            bundle: place.path("bundle.pem"),
        };
        // The key first: whoever sees the new certificate finds the key that fits it.
        file::write(&written.key, key.expose(), Readers::Owner)?;
        file::write(&written.bundle, minted.bundle.as_bytes(), Readers::All)?;
        file::write(&written.svid, minted.x509_svid.as_bytes(), Readers::All)?;
        let certificate = Certificate {
            minted,
            x509_svid_key: None,
            written: Some(written),
        };
        output::result(format, &certificate, |it| {
            let path = |of: fn(&Written) -> &Path| {
                let written = it.written.as_ref();
                written.map(|w| of(w).display().to_string()).unwrap_or_default()
            };
            let minted = &it.minted;
            facts(
                &minted.spiffe_id,
                ("serial", &minted.serial),
                minted.not_after,
                &[
                    ("svid", path(|w| &w.svid)),
                    ("key", path(|w| &w.key)),
                    ("bundle", path(|w| &w.bundle)),
                ],
            )
        })
    }
}

/// Key and chain on standard output, in the one form that programs read from one file.
fn shown(format: Format, minted: MintX509Reply, key: &Secret) -> Outcome {
    // It is what was asked for, and standard output is the only place it goes to.
    let key = core::str::from_utf8(key.expose()).unwrap_or_default();
    match format {
        Format::Text => {
            output::text(key)?;
            output::text(&minted.x509_svid)
        }
        Format::Json => {
            let certificate = Certificate {
                minted,
                x509_svid_key: Some(key),
                written: None,
            };
            output::result(format, &certificate, |_| String::new())
        }
    }
}

/// A token, as JSON.
#[derive(Serialize)]
struct Token {
    #[serde(flatten)]
    minted: MintJwtReply,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<PathBuf>,
}

impl Jwt {
    fn run(self, api: &Api, format: Format) -> Outcome {
        let place = match &self.write {
            Some(dir) => Some(Place::of(dir, &["svid.jwt"], self.common.force)?),
            None => None,
        };
        let wish = MintJwtRequest {
            spiffe_id: self.common.spiffe_id,
            audience: self.audience,
            ttl: self.common.ttl,
            reason: self.common.reason,
        };
        let minted = runtime::client(api.mint_jwt(&wish))?;
        let written = place.map(|place| place.path("svid.jwt"));
        if let Some(path) = &written {
            // A bearer secret: whoever reads it has it.
            file::write(path, minted.svid.as_bytes(), Readers::Owner)?;
        }
        let token = Token { minted, written };
        output::result(format, &token, |it| match &it.written {
            // Alone on its line, so that TOKEN=$(signet mint jwt ...) works.
            None => it.minted.svid.clone(),
            Some(path) => {
                let written = ("token", path.display().to_string());
                facts(
                    &it.minted.spiffe_id,
                    ("jti", &it.minted.jti),
                    it.minted.expires_at,
                    &[written],
                )
            }
        })
    }
}

/// A token that is bound to a key, as JSON.
#[derive(Serialize)]
struct Bound {
    #[serde(flatten)]
    minted: MintWitReply,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<BoundFiles>,
}

#[derive(Serialize)]
struct BoundFiles {
    svid: PathBuf,
    /// Of a key that was made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
}

impl Wit {
    fn run(self, api: &Api, format: Format) -> Outcome {
        let names: &[&str] = match self.csr {
            None => &["svid.wit", "svid.jwk"],
            Some(_) => &["svid.wit"],
        };
        let place = match &self.write {
            Some(dir) => Some(Place::of(dir, names, self.common.force)?),
            None => None,
        };
        let (csr, key) = match &self.csr {
            Some(path) => (file::read(path, CSR_BYTES_MAX)?, None),
            None => {
                let key = LocalKey::generate(KeyKind::P256)?;
                let csr = pem::encode_csr(&make_csr(&key, Some(&self.common.spiffe_id), &[])?);
                (csr, Some(PrivateJwk::new(key, JwsAlgorithm::Es256)?.to_text()?))
            }
        };
        let wish = MintWitRequest {
            spiffe_id: self.common.spiffe_id,
            csr,
            ttl: self.common.ttl,
            reason: self.common.reason,
        };
        let minted = runtime::client(api.mint_wit(&wish))?;
        let written = place
            .map(|place| written(&place, &minted, key.as_ref()))
            .transpose()?;
        output::result(format, &Bound { minted, written }, |it| match &it.written {
            // Alone on its line, so that WIT=$(signet mint wit --csr ...) works.
            None => it.minted.svid.clone(),
            Some(files) => {
                let key = files.key.as_ref();
                let key = key.map(|path| ("key", path.display().to_string()));
                let token = ("token", files.svid.display().to_string());
                let written: Vec<_> = [token].into_iter().chain(key).collect();
                facts(
                    &it.minted.spiffe_id,
                    ("jti", &it.minted.jti),
                    it.minted.expires_at,
                    &written,
                )
            }
        })
    }
}

fn written(place: &Place, minted: &MintWitReply, key: Option<&Secret>) -> Outcome<BoundFiles> {
    let files = BoundFiles {
        svid: place.path("svid.wit"),
        key: key.map(|_| place.path("svid.jwk")),
    };
    // The key first: whoever sees the new token finds the key that it is bound to.
    if let (Some(path), Some(key)) = (&files.key, key) {
        file::write(path, key.expose(), Readers::Owner)?;
    }
    file::write(&files.svid, minted.svid.as_bytes(), Readers::All)?;
    Ok(files)
}

/// A certificate request of 16 KiB, the most that servers read, as PEM, and some text around it.
const CSR_BYTES_MAX: u64 = 64 << 10;

fn facts(id: &SpiffeId, name: (&str, &str), until: UnixTime, written: &[(&str, String)]) -> String {
    let mut facts = vec![
        ("spiffe id", id.to_string()),
        (name.0, name.1.to_owned()),
        ("valid until", style::time(until, clock::system().now())),
    ];
    facts.extend(written.iter().cloned());
    style::facts(&facts)
}

/// A directory that credentials may be written to.
struct Place(PathBuf);

impl Place {
    /// The directory `dir`, which holds none of the files `names`, unless they may be replaced.
    fn of(dir: &Path, names: &[&str], replace: bool) -> Outcome<Self> {
        let place = Self(file::own_dir(dir)?);
        let taken = names
            .iter()
            .map(|name| place.path(name))
            .find(|path| path.exists());
        match taken.filter(|_| !replace) {
            None => Ok(place),
            Some(path) => {
                let source = io::Error::from(io::ErrorKind::AlreadyExists);
                let refused = Failure::from(CliError::Write { path, source });
                Err(refused.next(
                    "name another directory, or replace what is there with --force; nothing was minted",
                ))
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
