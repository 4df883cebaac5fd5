use crate::args::Global;
use crate::command::backup::{Backup, Restore};
use crate::command::config;
use crate::error::CliError;
use crate::failure::Failure;
use crate::file::{self, Readers};
use crate::{Outcome, clock, output, runtime, style};
use clap::Subcommand;
use serde::Serialize;
use signet_crypto::{Secret, digest};
use signet_id::TrustDomain;
use signet_keys::{JwtAlgorithm, X509Algorithm};
use signet_server::{InitOptions, InitSummary};
use signet_settings::SettingsError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tracing::info;

/// `signet server ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum Server {
    /// Make the directory, keys and settings of a new server.
    Init(Init),
    /// Run the server until SIGTERM or Ctrl-C.
    Run {
        /// Its settings, such as the server.toml that `signet server init` wrote.
        #[arg(long, value_name = "FILE", default_value = "/etc/signet/server.toml")]
        config: PathBuf,
    },
    /// Write a backup of the running server.
    Backup(Backup),
    /// Make a server's directory from a backup.
    Restore(Restore),
}

/// `signet server init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The server's directory: absent or empty.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The trust domain, such as example.org.
    #[arg(long, value_name = "NAME")]
    trust_domain: TrustDomain,
    /// What seals the keys: file=PATH, a key file outside the directory, made if it is not there.
    #[arg(long, value_name = "SEAL")]
    seal: String,
    /// Where the means to recover from a lost seal go: a file, or - for standard output. Keep it offline.
    #[arg(long, value_name = "FILE")]
    recovery_out: PathBuf,
    /// What certificates are signed with: p256, p384, ed25519, ml-dsa-44, ml-dsa-65 or ml-dsa-87.
    #[arg(long, value_name = "ALGORITHM", default_value = "p256", value_parser = parse_x509)]
    x509_alg: X509Algorithm,
    /// What JWT-SVIDs are signed with: es256, es384, rs256, rs256-3072, ps256 or ps256-3072.
    #[arg(long, value_name = "ALGORITHM", default_value = "es256", value_parser = parse_jwt)]
    jwt_alg: JwtAlgorithm,
}

fn parse_x509(text: &str) -> Result<X509Algorithm, String> {
    X509Algorithm::parse(text).ok_or_else(|| format!("use {}", X509Algorithm::NAMES))
}

fn parse_jwt(text: &str) -> Result<JwtAlgorithm, String> {
    JwtAlgorithm::parse(text).ok_or_else(|| format!("use {}", JwtAlgorithm::NAMES))
}

impl Server {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Init(init) => init.run(global),
            Self::Run { config } => run(&config),
            Self::Backup(backup) => backup.run(global),
            Self::Restore(restore) => restore.run(global),
        }
    }
}

/// What `init` writes.
#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    summary: InitSummary,
    /// Where the means of recovery are; null where they stand in `recovery`.
    recovery_file: Option<PathBuf>,
    /// Them themselves, with `--recovery-out -` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<String>,
}

impl Init {
    fn run(self, global: &Global) -> Outcome {
        let is_printed = self.recovery_out == Path::new("-");
        if !is_printed && self.recovery_out.exists() {
            let source = std::io::Error::from(ErrorKind::AlreadyExists);
            let path = self.recovery_out;
            let refused = Failure::from(CliError::Write { path, source });
            return Err(
                refused.next("name a file that does not exist: it may hold what recovers another server")
            );
        }
        file::make_parents(&self.dir)?;
        if let Some(key) = self.seal.strip_prefix("file=") {
            file::make_parents(Path::new(key))?;
        }
        // A server whose means of recovery could not be written would be one without them.
        if !is_printed {
            file::reserve(&self.recovery_out)?;
        }
        let options = InitOptions {
            dir: self.dir,
            trust_domain: self.trust_domain,
            seal: self.seal,
            x509: self.x509_alg,
            jwt: self.jwt_alg,
        };
        let made = runtime::client(async { Ok(signet_server::init(options, clock::system()).await?) });
        if made.is_err() && !is_printed {
            // Still empty, and ours.
            let _ = std::fs::remove_file(&self.recovery_out);
        }
        let summary = made?;
        let recovery = recovery(&summary)?;
        let recovery_text = || String::from_utf8_lossy(recovery.expose()).into_owned();
        if !is_printed {
            file::write(&self.recovery_out, recovery.expose(), Readers::Owner)?;
        }
        let made = Made {
            recovery_file: (!is_printed).then_some(self.recovery_out),
            recovery: is_printed.then(recovery_text),
            summary,
        };
        output::result(global.output, &made, shown)
    }
}

/// With the seal's key lost, the keys of the server are lost. This is the key once more, to be kept elsewhere.
fn recovery(summary: &InitSummary) -> Outcome<Secret> {
    let key = std::fs::read(&summary.seal_key)
        .map(Secret::new)
        .map_err(|source| CliError::Read {
            path: summary.seal_key.clone(),
            source,
        })?;
    let hex = Secret::new(digest::hex(key.expose()).into_bytes());
    let head = format!(
        "signet recovery 1\n\
         trust domain: {}\n\
         root sha256:  {}\n\
         Whoever has this can open the server's keys. Keep it offline and apart from backups of {}.\n\
         To make the key file again: grep ^seal-key: THIS-FILE | cut -d: -f2 | xxd -r -p > KEY && chmod 600 KEY\n\
         seal-key:",
        summary.trust_domain,
        summary.root_sha256.join(" "),
        summary.dir.display(),
    );
    let text = [head.as_bytes(), hex.expose(), b"\n"].concat();
    Ok(Secret::new(text))
}

fn shown(made: &Made) -> String {
    let summary = &made.summary;
    let key = summary.seal_key.display();
    let key = if summary.seal_key_made {
        format!("{key} (made now)")
    } else {
        key.to_string()
    };
    let recovery = made.recovery_file.as_ref().map(|path| path.display().to_string());
    let facts = style::facts(&[
        ("trust domain", summary.trust_domain.to_string()),
        ("directory", summary.dir.display().to_string()),
        ("seal's key", key),
        ("recovery", recovery.unwrap_or_default()),
        ("settings", summary.config.display().to_string()),
        ("root sha256", summary.root_sha256.join("\n             ")),
    ]);
    let next = format!("Next: signet server run --config {}", summary.config.display());
    match &made.recovery {
        Some(recovery) => format!("{facts}\n\n{next}\n\n{recovery}"),
        None => format!("{facts}\n\n{next}"),
    }
}

fn run(path: &Path) -> Outcome {
    runtime::logs("info")?;
    let config = signet_server::Config::load(path).map_err(|error| {
        let is_absent = matches!(&error, SettingsError::Read { source, .. } if source.kind() == ErrorKind::NotFound);
        let failure = config::failure(error);
        if is_absent {
            // The default is where a package would put it; `init` writes it into the server's directory.
            return failure.next(
                "name the server.toml that `signet server init` wrote, with --config; a server that is new is made with \
                 `signet server init`",
            );
        }
        failure
    })?;
    runtime::harden();
    runtime::service(async {
        let stop = runtime::stop_signal()?;
        let hangups = runtime::Hangups::listen()?;
        let server = signet_server::Server::start(config, clock::system()).await?;
        let token = server.shutdown_token();
        let (path, reloader) = (path.to_path_buf(), server.reloader());
        let read = move || signet_server::Config::load(&path);
        hangups.reload(Some(read), move |new| reloader.take_over(new), token.clone());
        tokio::select! {
            signal = stop => {
                info!(signal, "stopping");
                server.shutdown();
            }
            // A part failed; `finished` says which.
            () = token.cancelled() => {}
        }
        Ok(server.finished().await?)
    })
}
